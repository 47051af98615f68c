from __future__ import annotations

import json
import shlex
import signal
import subprocess

import pytest

from tests.support.programs import PYTHON, WAIT_S, Inside, run, wait_until
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, Cut, Hold, delta, finish, sse

Cli = Inside
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADA = {"name": "Ada", "age": 36}
ADA_TEXT = json.dumps(ADA)
OLD = '{"name": "Ada", "age": "old"}'
MISFIT = "The answer does not match the schema: at $.age: 'old' is not of type 'integer'."
CODE = "So:\n```sh\nls\n```\nand\n```sh\npwd\n```\n"


@pytest.fixture
def person(tmp_path):
    file = tmp_path / "person.json"
    file.write_text(json.dumps(PERSON))
    return str(file)


def test_the_real_server_fills_in_a_schema_for_a_pipe(real, person):
    command = shlex.join(real.argv("ask", "--schema", person, "--json", "Give a person."))
    read = f'{shlex.quote(PYTHON)} -c \'import json, sys; print(json.load(sys.stdin)["value"]["age"] + 1)\''
    done = run(["sh", "-c", f"{command} | {read}"], home=real.home)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) <= 121


def test_the_value_stands_alone_on_stdout(cli, server, person):
    server.on(CHAT, chat_reply("Of course:\n```json\n", ADA_TEXT, "\n```\nGlad to help."))
    done = cli("ask", "--schema", person, "Who", stdin="wrote Emma?\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == json.dumps(ADA, indent=2) + "\n"
    asked = server.seen(CHAT)[-1].json
    assert asked["messages"][-1]["content"] == "Who\n\nwrote Emma?"
    assert asked["response_format"]["json_schema"] == {"name": "person", "schema": PERSON}


def test_null_and_other_scalars_are_values(cli, server, tmp_path):
    (tmp_path / "any.json").write_text("{}")
    for text in ("null", "0", "false", '""', "[]"):
        server.on(CHAT, chat_reply(text))
        done = cli("ask", "--schema", str(tmp_path / "any.json"), "hi")
        assert (done.returncode, done.stdout) == (0, text + "\n")


def test_lines_stream_and_end_with_the_value(cli, server, person):
    server.on(CHAT, chat_reply('{"name": "Ada",', ' "age": 36}'))
    done = cli("ask", "--stream-json", "--schema", person, "Who?")
    *chunks, last = map(json.loads, done.stdout.splitlines())
    assert "".join(line["chunk"] for line in chunks) == ADA_TEXT
    assert last == {"done": True, "finish_reason": "stop", "value": ADA}


def test_an_answer_that_does_not_fit_is_asked_for_once_more(cli, server, person):
    server.on(CHAT, chat_reply(OLD), chat_reply(ADA_TEXT))
    done = cli("ask", "--save", "--schema", person, "Who?")
    assert (done.returncode, json.loads(done.stdout)) == (0, ADA)
    assert done.stderr.startswith(f"lmchat: {MISFIT} Asking again.\nlmchat: saved; ")
    saved = cli.json("sessions", "show", "last", "--json")["messages"]
    assert [message["role"] for message in saved] == ["user", "assistant", "user", "assistant"]
    repair = server.seen(CHAT)[-1].json["messages"][-1]["content"]
    assert repair.startswith("Your answer does not match: at $.age")


@pytest.mark.parametrize("flags", [(), ("--json",), ("--stream-json",)])
def test_an_answer_that_never_fits_fails_with_the_path(flags, cli, server, person):
    server.on(CHAT, chat_reply(OLD))
    done = cli("ask", *flags, "--schema", person, "Who?")
    assert done.returncode == 1
    final = MISFIT.replace("schema:", "schema, also at the second attempt:")
    assert final in done.stderr
    assert len(server.seen(CHAT)) == 2
    lines = done.stdout.splitlines()
    if flags == ("--json",):
        value = json.loads(done.stdout)
        assert (value["value"], value["reply"], value["state"]) == (None, OLD, "complete")
        assert (value["detail"]["error"], value["detail"]["message"]) == ("schema", final)
    elif flags:
        assert {"repair": MISFIT} in map(json.loads, lines)
        assert json.loads(lines[-1])["detail"]["error"] == "schema"
        assert not any("done" in json.loads(line) for line in lines)
    else:
        assert lines == []


@pytest.mark.parametrize("flags", [(), ("--json",), ("--stream-json",)])
def test_an_answer_that_breaks_off_is_not_held_against_the_schema(flags, cli, server, person):
    server.on(CHAT, sse('{"name": "A', Cut()))
    done = cli("ask", *flags, "--schema", person, "Who?")
    assert done.returncode == 1
    assert "does not match" not in done.stderr
    assert len(server.seen(CHAT)) == 1
    if flags == ("--json",):
        value = json.loads(done.stdout)
        assert (value["state"], value["value"], value["reply"]) == (
            "interrupted",
            None,
            '{"name": "A',
        )
        assert value["detail"]["error"] == "interrupted"
    elif not flags:
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"type": "person"}', "at $.type: 'person' is not valid"),
        (
            b'{"properties": {"a": {"$ref": "http://127.0.0.1:9/a"}}}',
            "'http://127.0.0.1:9/a' does not exist in it",
        ),
        (b'{"type":\n "object",}', "is not valid JSON: line 2, column 11"),
        (b'{"type": "object", "type": "array"}', "has the name 'type' twice"),
        (b"\xff\xfe", "is not UTF-8 text"),
        pytest.param(b" " * (1 << 20) + b"{}", "File too large", id="large"),
    ],
)
def test_a_file_that_holds_no_schema_is_refused_before_anything_is_sent(
    content, why, cli, server, tmp_path
):
    (tmp_path / "schema.json").write_bytes(content)
    done = cli("ask", "--json", "--schema", str(tmp_path / "schema.json"), "hi")
    assert done.returncode == 2
    assert why in done.stderr
    assert why in json.loads(done.stdout)["detail"]["message"]
    assert server.seen() == []


@pytest.mark.parametrize("name", ["missing.json", ".", "/dev/null", "", "~nobody-of-this-name/a"])
def test_a_schema_that_cannot_be_read_is_told(name, cli, server, tmp_path):
    done = cli(
        "ask", "--schema", name and str(tmp_path / name) if name[:1] not in "/~" else name, "hi"
    )
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("lmchat: ")
    assert "Traceback" not in done.stderr
    assert server.seen() == []


def test_a_schema_may_come_out_of_a_pipe(cli, server, person):
    server.on(CHAT, chat_reply(ADA_TEXT))
    command = shlex.join(cli.argv("ask", "--schema", "PIPE", "Who?")).replace(
        "PIPE", f"<(cat {person})"
    )
    done = run(["bash", "-c", command], home=cli.home)
    assert (done.returncode, json.loads(done.stdout)) == (0, ADA)


def test_a_wrong_schema_is_told_before_stdin_is_waited_for(cli, tmp_path):
    (tmp_path / "schema.json").write_text('{"type": 1}')
    with cli.start(
        "ask", "--schema", str(tmp_path / "schema.json"), stdin=subprocess.PIPE
    ) as program:
        assert program.wait(WAIT_S) == 2


def test_ctrl_c_while_the_second_answer_comes_ends_in_good_order(cli, server, person):
    server.on(CHAT, chat_reply(OLD), sse('{"name"', Hold()))
    with cli.start("ask", "--json", "--schema", person, "Who?") as program:
        seen = server.wait_for(CHAT, count=2, timeout_s=WAIT_S)
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=WAIT_S)
        assert seen.client_left.wait(WAIT_S)
    assert program.returncode == 130
    assert json.loads(out)["value"] is None


def test_the_code_stands_alone_on_stdout(cli, server):
    server.on(CHAT, chat_reply(CODE))
    done = cli("ask", "--code", "How?")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ls\n\npwd\n", "")
    assert "response_format" not in server.seen(CHAT)[-1].json
    value = cli.json("ask", "--code", "--json", "How?")
    assert (value["code"], value["reply"]) == ("ls\n\npwd", CODE)
    lines = cli("ask", "--code", "--stream-json", "How?").stdout.splitlines()
    assert json.loads(lines[-1]) == {"done": True, "finish_reason": "stop", "code": "ls\n\npwd"}


@pytest.mark.parametrize("flags", [(), ("--json",), ("--stream-json",)])
def test_an_answer_without_code_fails(flags, cli, server):
    server.on(CHAT, chat_reply("Use `ls`."))
    done = cli("ask", "--code", *flags, "How?")
    assert done.returncode == 1
    assert done.stderr.startswith("lmchat: The answer has no code block.\n")
    assert len(server.seen(CHAT)) == 1
    if flags:
        document = done.stdout if flags == ("--json",) else done.stdout.splitlines()[-1]
        assert json.loads(document)["detail"]["error"] == "no_code"
    else:
        assert done.stdout == ""


@pytest.mark.parametrize("cut", ["", "\n", "\n`", "\n``"])
def test_the_code_of_an_answer_that_breaks_off_is_what_came_of_it(cut, cli, server):
    server.on(CHAT, sse("So:\n```sh\nls\n", f"pwd{cut}", Cut()))
    done = cli("ask", "--code", "How?")
    assert (done.returncode, done.stdout.rstrip("\n")) == (1, "ls\npwd")
    assert "lmchat: " in done.stderr


def test_a_thought_of_code_is_no_code(cli, server):
    server.on(CHAT, sse(delta(reasoning_content="```\nhm\n```"), "```\nls\n```", finish(), DONE))
    assert cli("ask", "--code", "How?").stdout == "ls\n"


def test_ctrl_c_leaves_the_code_that_came(cli, server):
    server.on(CHAT, sse("```sh\nls\n", Hold()))
    with cli.start("ask", "--save", "--code", "How?") as program:
        wait_until(lambda: "ls" in cli("sessions", "show", "last").stdout, "the code on the disk")
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=WAIT_S)
    assert (program.returncode, out) == (130, b"ls\n")


def test_schema_and_code_exclude_each_other(cli, server, person):
    done = cli("ask", "--schema", person, "--code", "hi")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--schema and --code" in done.stderr
    assert server.seen() == []
