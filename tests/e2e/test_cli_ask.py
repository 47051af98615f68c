from __future__ import annotations

import json
import shlex
import signal
import subprocess

import pytest

from tests.support.lmchat_screen import STEADY, configure
from tests.support.programs import PYTHON, WAIT_S, run, wait_until
from tests.support.programs import Inside as Cli
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    delta,
    finish,
    html_reply,
    json_reply,
    raw_reply,
    sse,
    usage,
)

CHAT = "POST /v1/chat/completions"


def _moved(location):
    head = f"HTTP/1.1 307 Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    return raw_reply(head.encode())


def test_json_has_every_figure_of_a_real_answer(real, real_server):
    value = real.json("ask", "--json", "Say hello.")
    assert list(value) == [
        *("reply", "reasoning", "tool_calls", "model", "asked_model", "endpoint", "session_id"),
        *(
            "finish_reason",
            "state",
            "usage",
            "ttft_ms",
            "tokens_per_second",
            "elapsed_ms",
            "retries",
        ),
        *("refused", "sampling", "steps"),
    ]
    assert value["reply"]
    assert (value["model"], value["asked_model"]) == (real_server.models[0], None)
    assert value["endpoint"] == real_server.url
    assert (value["session_id"], value["state"], value["finish_reason"]) == (
        None,
        "complete",
        "stop",
    )
    usage_of = value["usage"]
    assert usage_of["total_tokens"] == usage_of["prompt_tokens"] + usage_of["completion_tokens"] > 0
    assert usage_of["estimated"] is False
    assert 0 < value["ttft_ms"] <= value["elapsed_ms"]


def test_an_answer_of_the_real_server_begins_with_the_text_of_start(real):
    done = real("ask", "Say hello.", "--start", "Ahoy there, my  ")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Ahoy there, my")
    assert done.stdout.count("Ahoy there, my") == 1
    value = real.json("ask", "--json", "Say hello.", "--start", "Ahoy there, my")
    assert f"{value['reply']}\n" == done.stdout
    lines = real("ask", "--stream-json", "Say hello.", "--start", "Ahoy there, my").stdout
    chunks = [json.loads(line).get("chunk") for line in lines.splitlines()[:-1]]
    assert chunks[0] == "Ahoy there, my"
    assert "".join(chunks) == value["reply"]


def test_start_at_a_server_that_continues_no_text_sends_nothing(cli, server):
    done = cli("ask", "Hi", "--start", "Ahoy")
    assert done.returncode == 2
    assert "cannot continue a text that you have written." in done.stderr
    assert server.seen(CHAT) == []


def test_a_blank_start_is_none(cli, server):
    server.on(CHAT, sse("Hello.", finish(), DONE))
    assert cli("ask", "Hi", "--start", " ").stdout == "Hello.\n"
    assert server.seen(CHAT)[0].json["messages"] == [{"role": "user", "content": "Hi"}]


def test_a_model_that_a_real_server_does_not_list_is_refused_before_it_is_asked(real, real_server):
    done = real("ask", "--json", "-m", "smollm2", "Say hello.")
    assert (done.returncode, json.loads(done.stdout)["detail"]["error"]) == (2, "model_missing")
    assert f"No server has a model smollm2; did you mean {real_server.models[0]}?" in done.stderr


_CALL = {
    "index": 0,
    "id": "call_1",
    "function": {"name": "weather", "arguments": '{"city":"a\x1bb"}'},
}


def test_a_model_that_asks_for_a_tool_is_told(cli, server):
    server.on(CHAT, sse(delta(tool_calls=[_CALL]), finish("tool_calls"), DONE))
    done = cli("ask", "hi")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == ('lmchat: the model called a tool (not run): weather({"city":"a␛b"})\n')


def test_a_script_gets_the_tools_that_a_model_asks_for(cli, server):
    asked = {"id": "call_1", "name": "weather", "arguments": '{"city":"a\x1bb"}'}
    server.on(CHAT, sse("Look:", delta(tool_calls=[_CALL]), finish("tool_calls"), DONE))
    value = cli.json("ask", "--json", "hi")
    assert (value["reply"], value["finish_reason"], value["tool_calls"]) == (
        "Look:",
        "tool_calls",
        [asked],
    )
    lines = [json.loads(line) for line in cli("ask", "--stream-json", "hi").stdout.splitlines()]
    last = {"done": True, "finish_reason": "tool_calls"}
    assert lines == [{"chunk": "Look:"}, {"tool_call": asked}, last]


def test_half_a_tool_call_is_no_line(cli, server):
    server.on(CHAT, sse(delta(tool_calls=[_CALL]), Cut()))
    done = cli("ask", "--stream-json", "hi")
    assert done.returncode == 1
    assert [list(json.loads(line)) for line in done.stdout.splitlines()] == [["detail"]]


def test_stream_json_is_chunks_and_then_done(real):
    done = real("ask", "--stream-json", "Say hello.")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1] == {"done": True, "finish_reason": "stop"}
    assert all(list(line) == ["chunk"] and line["chunk"] for line in lines[:-1])
    assert len(lines) > 2


def test_a_window_that_fills_up_while_the_real_server_answers_is_told(tmp_path, start_real_server):
    cli = Cli(home=tmp_path, url=start_real_server(ctx=256).url)
    cli.configure("[chat]\ntemperature = 0.0\n")
    done = cli("ask", f"Write a very long story about {'a king, ' * 45} and a queen.")
    assert (done.returncode, done.stderr) == (
        0,
        "lmchat: the answer was cut short: context is full.\n",
    )


DIGITS = " ".join(str(number) for number in range(100, 122))
"""A text of many more tokens than its letters let expect."""


@pytest.mark.timeout(120)  # four programs, each with a prompt that fills the window of a real model
def test_a_session_that_fills_the_window_of_the_real_server_goes_on_after_each_restart(
    tmp_path, start_real_server
):
    cli = Cli(home=tmp_path, url=start_real_server(ctx=256).url)
    cli.configure("[chat]\ntemperature = 0.0\nmax_tokens = 16\n")
    done = [cli("ask", "--save", f"Keep these: {DIGITS}")]
    done += [cli("ask", "-r", "last", f"And {number}: {DIGITS}") for number in range(3)]
    assert [run.returncode for run in done] == [0] * 4, [run.stderr for run in done]
    assert done[-1].stderr.count("left out") == 1


def test_max_tokens_that_are_used_up_are_kept_and_told(cli, server):
    server.on(CHAT, sse("Half an", finish("length"), usage(5, 2), DONE))
    cli.configure("[chat]\nmax_tokens = 2\n")
    done = cli("ask", "--save", "hi")
    told, way_on = done.stderr.splitlines()
    assert (done.returncode, told) == (0, "lmchat: the answer was cut short: max tokens reached.")
    saved = cli.json("sessions", "show", "last", "--json")["messages"][-1]["receipt"]
    assert (saved["finish_reason"], saved["limit"]) == ("length", "max tokens reached")
    *way, short_id = way_on.split()[-3:]
    last = json.loads(cli(*way, short_id, "--stream-json", "Go on").stdout.splitlines()[-1])
    assert last.pop("session_id").startswith(short_id)
    assert last == {"done": True, "finish_reason": "length"}


def test_ctrl_c_ends_the_lines_with_the_last_one(cli, server):
    server.on(CHAT, sse("Half", Hold()))
    with cli.start("ask", "--stream-json", "hi") as program:
        assert json.loads(program.stdout.readline()) == {"chunk": "Half"}
        program.send_signal(signal.SIGINT)
        assert json.loads(program.stdout.read()) == {"done": True, "finish_reason": "cancelled"}
        assert program.wait(WAIT_S) == 130


def test_stdin_is_appended_to_the_prompt(cli, server):
    assert cli("ask", "Explain", stdin="line 1\nline 2\n").returncode == 0
    (message,) = server.seen(CHAT)[-1].json["messages"]
    assert message["content"] == "Explain\n\nline 1\nline 2"


def test_stdin_alone_is_a_prompt(cli, server):
    cli("ask", stdin=b"caf\xe9")
    assert server.seen(CHAT)[-1].json["messages"][0]["content"] == "caf\u00e9"


@pytest.mark.parametrize("words", [["ask"], ["ask", "  "]])
def test_nothing_to_ask_is_wrong_use(cli, server, words):
    done = cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmchat: The prompt is empty.\n")
    assert server.seen() == []


def test_nothing_of_an_answer_is_saved_unless_it_is_asked_for(cli):
    cli("ask", "a secret")
    assert cli.json("sessions", "--json")["data"] == []
    assert b"a secret" not in (cli.folder / "sessions.db").read_bytes()


def test_a_saved_answer_can_be_gone_on_with(cli, server):
    session_id = cli.json("ask", "--save", "--json", "first")["session_id"]
    again = cli.json("-r", session_id[:4], "ask", "--json", "second")
    assert again["session_id"] == session_id
    sent = server.seen(CHAT)[-1].json["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("user", "first"),
        ("assistant", "Hello there."),
        ("user", "second"),
    ]
    (row,) = cli.json("sessions", "--json")["data"]
    assert (row["id"], row["messages"], row["title"]) == (session_id, 4, "first")


@pytest.mark.parametrize("option", ["--no-save", "--temporary"])
def test_going_on_without_saving_leaves_the_session_as_it_was(cli, option):
    session_id = cli.json("ask", "--save", "--json", "first")["session_id"]
    assert cli.json("ask", "-r", "last", option, "--json", "second")["session_id"] is None
    assert cli.json("sessions", "show", session_id, "--json")["session"]["message_count"] == 2


def test_system_model_and_sampling_reach_the_server(cli, server):
    cli.configure(
        "[chat]\ntemperature = 0.5\nmax_tokens = 7\n[profiles.p]\nsystem_prompt = 'of profile'\n"
    )
    cli("ask", "hi", "--profile", "p")
    cli(
        "--system", "of flag", "ask", "hi", "-m", "Some/Tiny"
    )  # the server knows it without its publisher
    of_profile, of_flag = (seen.json for seen in server.seen(CHAT))
    assert of_profile["messages"][0] == {"role": "system", "content": "of profile"}
    assert (of_profile["temperature"], of_profile["max_tokens"], of_profile["model"]) == (
        0.5,
        7,
        "tiny",
    )
    assert of_flag["messages"][0] == {"role": "system", "content": "of flag"}
    assert of_flag["model"] == "Some/Tiny"


@pytest.mark.parametrize(
    "words", [["ask", "hi"], ["--no-such"], ["ask", "hi", "--endpoint", "http://\x1b[2J.example"]]
)
def test_no_escape_byte_is_ever_printed_by_us(cli, words):
    for env in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}):
        done = cli(*words, **env)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_cut_answer_is_printed_and_told(cli, server):
    server.on(CHAT, sse("Half an", Cut()))
    done = cli("ask", "hi")
    assert (done.returncode, done.stdout) == (1, "Half an\n")
    assert done.stderr.startswith("lmchat: Streaming failed")
    assert "is not saved" in done.stderr


def test_a_cut_answer_that_is_saved_is_gone_on_with_by_the_command_that_is_told(cli, server):
    server.on(CHAT, sse("Half an", Cut()))
    words = cli("ask", "--save", "hi").stderr.rpartition("Continue with: lmchat ")[2]
    server.on(CHAT, sse(" hour", DONE))
    assert cli(*shlex.split(words)).returncode == 0
    said = [message["content"] for message in server.seen(CHAT)[-1].json["messages"]]
    assert said == ["hi", "Half an", "Go on"]


def test_json_of_a_cut_answer_has_the_text_and_the_reason(cli, server):
    server.on(CHAT, sse("Half an", Cut()))
    value = cli.json("ask", "--save", "--json", "hi", code=1)
    assert (value["reply"], value["state"]) == ("Half an", "interrupted")
    assert value["detail"]["message"].startswith("Streaming failed")
    saved = cli.json("sessions", "show", value["session_id"], "--json")["messages"][-1]
    assert (saved["state"], saved["parts"]) == (
        "interrupted",
        [{"type": "text", "text": "Half an"}],
    )


def test_stream_json_of_a_cut_answer_ends_in_the_reason(cli, server):
    server.on(CHAT, sse("Half", Cut()))
    lines = [json.loads(line) for line in cli("ask", "--stream-json", "hi").stdout.splitlines()]
    assert lines[0] == {"chunk": "Half"}
    assert list(lines[1]) == ["detail"]
    assert len(lines) == 2


_BUSY = json_reply(
    {"error": {"message": "slow down", "code": "rate_limit_exceeded"}},
    status=429,
    headers={"Retry-After": "0"},
)


def test_a_retry_is_told_on_stderr_and_counted(cli, server):
    server.on(CHAT, _BUSY, sse("Now", finish(), usage(), DONE))
    value = cli.json("ask", "--json", "hi")
    assert (value["reply"], value["retries"]) == ("Now", 1)
    assert "retry 2 of 3 in " in cli("ask", "hi").stderr or len(server.seen(CHAT)) == 3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (html_reply(), None),
        (json_reply({"error": {"message": "boom"}}, status=500), "server_error"),
        (raw_reply(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "bad_request"),
        (_moved("http://evil.example/v1/chat/completions"), "not_allowed"),
    ],
)
def test_a_refusal_is_one_document_and_exit_1(cli, server, reply, error):
    server.on(CHAT, reply)
    detail = cli.json("ask", "--json", "hi", code=1)["detail"]
    assert error is None or detail["error"] == error
    assert set(detail) == {"error", "message", "timestamp"}


def test_a_server_that_wants_a_key_is_told_and_gets_the_one_of_the_environment(
    tmp_path, start_real_server
):
    server = start_real_server(api_key="sk-test")
    configure(tmp_path, STEADY + "max_tokens = 16\n")
    cli = Cli(home=tmp_path, url=server.url)
    refused = cli("ask", "--json", "hi")
    assert (refused.returncode, json.loads(refused.stdout)["detail"]["error"]) == (1, "auth")
    cli.env["LMCHAT_API_KEY"] = "sk-test"
    assert cli.json("ask", "--json", "hi")["state"] == "complete"
    shown = cli("config", "show").stdout + cli("config", "show", "--json").stdout
    assert "sk-test" not in shown
    assert "********" in shown


def test_no_server_is_exit_3(alone):
    done = alone("ask", "--json", "hi")
    assert done.returncode == 3
    assert json.loads(done.stdout)["detail"]["error"] == "no_server"
    assert done.stderr.startswith(
        "lmchat: Nothing answers at 127.0.0.1:1.\nStart the server. `lmchat doctor`"
    )


def test_a_server_without_a_model_is_told_with_the_exact_words(cli, server):
    server.on("GET /v1/models", json_reply({"object": "list", "data": []}))
    detail = cli.json("ask", "--json", "hi", code=2)["detail"]
    assert detail["message"] == "No LM Studio model selected"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_in_good_order_with_what_had_come(cli, server, number):
    server.on(CHAT, sse("Half an", Hold()))
    with cli.start("ask", "--save", "--json", "hi") as program:
        _wait_for_words(cli, "Half an")
        program.send_signal(number)
        out, _ = program.communicate(timeout=WAIT_S)
    assert program.returncode == 128 + number
    value = json.loads(out)
    assert (value["reply"], value["state"], value["detail"]["error"]) == (
        "Half an",
        "stopped",
        "interrupted",
    )
    assert server.seen(CHAT)[-1].client_left.wait(WAIT_S)
    assert cli.json("sessions", "show", "last", "--json")["messages"][-1]["state"] == "stopped"


def test_ctrl_c_before_anything_came_is_still_one_document(cli, server):
    gate = Gate()
    server.on("GET /v1/models", sse(gate, Hold()))
    with cli.start("ask", "--json", "hi") as program:
        server.wait_for("GET /v1/models")
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=WAIT_S)
    assert program.returncode == 130
    assert json.loads(out)["detail"]["error"] == "interrupted"
    assert b"Traceback" not in err


def _wait_for_words(cli, words):
    """Wait until others see the words: they may read the store while a program writes."""
    wait_until(lambda: words in cli("sessions", "show", "last").stdout, f"{words!r} on the disk")


def test_a_closed_pipe_ends_the_answer_quietly(cli, server):
    gate = Gate()
    server.on(CHAT, sse("Half an", gate, *["more"] * 50, Hold()))
    with cli.start("ask", "--stream-json", "hi") as program:
        program.stdout.readline()
        program.stdout.close()
        gate.open()
        assert program.wait(WAIT_S) == 0
        assert program.stderr.read() == b""
    assert server.seen(CHAT)[-1].over.wait(WAIT_S)


def test_an_unexpected_error_is_a_sentence_with_an_id_and_the_log_has_it(cli):
    code = (
        "import sys, lmchat.cli.ask as ask\n"
        "async def broken(parts): raise RuntimeError('words of a chat')\n"
        "ask.ask = broken\n"
        "from lmchat.__main__ import main\n"
        "sys.exit(main(['ask', 'hi', '--json']))"
    )
    done = run([PYTHON, "-c", code], home=cli.home)
    assert done.returncode == 1
    assert json.loads(done.stdout)["detail"]["error"] == "bug"
    assert "Traceback" not in done.stderr
    error_id = done.stderr.split("(id ")[1].split(")")[0]
    entry = json.loads((cli.folder / "lmchat.log").read_text())
    assert error_id in entry["message"]
    assert "words of a chat" not in json.dumps(entry)


def test_an_unwritable_folder_costs_saving_only(cli):
    (cli.home / "lmchat").write_text("a file where the folder should be")
    done = cli("ask", "hi")
    assert (done.returncode, done.stdout) == (0, "Hello there.\n")
    saved = cli("ask", "--save", "hi")
    assert (saved.returncode, saved.stdout) == (1, "Hello there.\n")
    assert "lmchat/sessions.db cannot be used" in saved.stderr


def test_a_slow_answer_is_printed_while_it_arrives(cli, server):
    gate = Gate()
    server.on(CHAT, sse(delta("Hello"), gate, " there", finish(), DONE))
    with cli.start("ask", "hi") as program:
        assert program.stdout.read(5) == b"Hello"
        gate.open()
        assert program.stdout.read() == b" there\n"
    assert program.returncode == 0


def test_stdout_that_cannot_be_written_is_told(cli):
    done = run(
        ["/bin/sh", "-c", f"{shlex.join(cli.argv('ask', '--json', 'hi'))} >/dev/full"],
        home=cli.home,
    )
    assert done.returncode == 1
    assert done.stderr == "lmchat: The output cannot be written: No space left on device.\n"


def test_bytes_that_are_no_text_do_no_harm(cli, server):
    done = run([*cli.argv("ask", "--save"), b"caf\xe9 \xff"], home=cli.home)
    assert done.returncode == 0, done.stderr
    assert server.seen(CHAT)[-1].json["messages"][0]["content"] == "caf\ufffd \ufffd"
    assert "caf\ufffd" in cli("sessions").stdout


def test_a_terminal_that_does_not_speak_utf8_gets_what_it_can_show(cli, server):
    server.on(CHAT, sse("caf\u00e9 \u65e5", finish(), DONE))
    assert cli("ask", "hi", PYTHONIOENCODING="ascii").stdout == "caf? ?\n"
    done = cli("ask", "--json", "hi", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["reply"] == "caf\u00e9 \u65e5"


def test_ctrl_c_ends_the_wait_for_a_pipe(cli):
    with cli.start("ask", "--json", "hi", stdin=subprocess.PIPE) as program:
        program.stdin.write(
            b"x" * 1_000_000
        )  # more than a pipe holds: once it is written, somebody reads
        program.stdin.flush()
        program.send_signal(signal.SIGINT)
        assert program.wait(WAIT_S) == 130
        assert json.loads(program.stdout.read())["detail"]["error"] == "interrupted"
        assert b"Traceback" not in program.stderr.read()


def test_an_effort_that_the_server_does_not_take_is_said_and_the_answer_comes(cli):
    done = cli("ask", "--effort", "low", "hi")
    assert (done.returncode, done.stdout) == (0, "Hello there.\n")
    assert done.stderr == (
        "lmchat: This server does not support a reasoning effort, as far as lmchat knows. It is not sent.\n"
    )


def test_a_preset_makes_the_prompt_and_a_wrong_name_lists_the_known(cli, server):
    cli.configure("[prompts.french]\ntext = 'In French: {{input}}'\n")
    done = cli("ask", "-p", "french", "two cats")
    assert done.returncode == 0, done.stderr
    assert server.seen(CHAT)[0].json["messages"][-1]["content"] == "In French: two cats"
    done = cli("ask", "-p", "frensh", "two cats")
    assert (done.returncode, "Configured: french." in done.stderr) == (2, True)
