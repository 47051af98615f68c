from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, delta, finish, sse

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
MISFIT = 'The answer does not match the schema: at $.age: "old" is not of type "integer".'
CODE = "So:\n```sh\nls\n```\nand\n```sh\npwd\n```\n"


@pytest.fixture
def person(tmp_path):
    file = tmp_path / "person.json"
    file.write_text(json.dumps(PERSON))
    return str(file)


def test_the_real_server_fills_in_a_schema(real, person):
    value = real.json("ask", "--schema", person, "--json", "Give a person.")["value"]
    assert {*value} == {"name", "age"}
    assert value["age"] <= 120


def test_the_value_stands_alone_on_stdout(cli, server, person, tmp_path):
    for reply in (
        sse(delta(reasoning_content=ADA_TEXT), finish(), DONE),
        chat_reply("Of course:\n```json\n", ADA_TEXT, "\n```\nGlad to help."),
    ):
        server.on(CHAT, reply)
        done = cli("ask", "--schema", person, "Who", stdin="wrote Emma?\n")
        printed = (done.returncode, done.stdout, done.stderr)
        assert printed == (0, json.dumps(ADA, indent=2) + "\n", "")
    asked = server.seen(CHAT)[-1].json
    assert asked["messages"][-1]["content"] == "Who\n\nwrote Emma?"
    assert asked["response_format"]["json_schema"] == {"name": "person", "schema": PERSON}
    server.on(CHAT, chat_reply('{"name": "Ada",', ' "age": 36}'))
    done = cli("ask", "--stream-json", "--schema", json.dumps(PERSON), "Who?")
    assert server.seen(CHAT)[-1].json["response_format"]["json_schema"]["schema"] == PERSON
    *chunks, last = map(json.loads, done.stdout.splitlines())
    assert "".join(line["chunk"] for line in chunks) == ADA_TEXT
    assert last == {"done": True, "finish_reason": "stop", "value": ADA}
    (tmp_path / "any.json").write_text('{"type": ["null", "boolean"], "requird": []}')
    server.on(CHAT, chat_reply("null"))
    done = cli("ask", "--schema", str(tmp_path / "any.json"), "hi")
    assert (done.returncode, done.stdout) == (0, "null\n")
    assert "that check nothing: requird." in done.stderr


def test_an_answer_that_does_not_fit_is_asked_for_once_more(cli, server, person):
    server.on(CHAT, chat_reply(OLD), chat_reply(ADA_TEXT))
    done = cli("ask", "--save", "--schema", person, "Who?")
    assert (done.returncode, json.loads(done.stdout)) == (0, ADA)
    assert done.stderr.startswith(f"lmchat: {MISFIT} Asking again.\nlmchat: saved; ")
    saved = cli.json("sessions", "show", "last", "--json")["messages"]
    assert [message["role"] for message in saved] == ["user", "assistant", "user", "assistant"]
    repair = server.seen(CHAT)[-1].json["messages"][-1]["content"]
    assert repair.startswith("Your answer does not match: at $.age")


def test_an_answer_that_never_fits_fails_with_the_path(cli, server, person):
    server.on(CHAT, chat_reply(OLD))
    done = cli("ask", "--schema", person, "Who?")
    assert (done.returncode, done.stdout, len(server.seen(CHAT))) == (1, "", 2)
    assert MISFIT in done.stderr
    value = cli.json("ask", "--json", "--schema", person, "Who?", code=1)
    assert (value["value"], value["reply"], value["state"]) == (None, OLD, "complete")
    assert (value["detail"]["error"], value["detail"]["message"]) == ("schema", MISFIT)
    done = cli("ask", "--stream-json", "--schema", person, "Who?")
    *lines, last = map(json.loads, done.stdout.splitlines())
    assert {"repair": MISFIT} in lines
    assert (done.returncode, last["detail"]["error"]) == (1, "schema")
    assert not any("done" in line for line in lines)


def test_a_schema_may_come_out_of_a_pipe(cli, server, person):
    server.on(CHAT, chat_reply(ADA_TEXT))
    reader, writer = os.pipe()
    os.write(writer, Path(person).read_bytes())
    os.close(writer)
    done = cli("ask", "--schema", f"/dev/fd/{reader}", "Who?")
    os.close(reader)
    assert (done.returncode, json.loads(done.stdout)) == (0, ADA)


def test_the_code_stands_alone_on_stdout(cli, server):
    server.on(CHAT, chat_reply(CODE))
    done = cli("ask", "--code", "How?")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ls\n\npwd\n", "")
    assert "response_format" not in server.seen(CHAT)[-1].json
    value = cli.json("ask", "--code", "--json", "How?")
    assert (value["code"], value["reply"]) == ("ls\n\npwd", CODE)
    lines = cli("ask", "--code", "--stream-json", "How?").stdout.splitlines()
    assert json.loads(lines[-1]) == {"done": True, "finish_reason": "stop", "code": "ls\n\npwd"}


def test_a_thought_of_code_is_no_code(cli, server):
    server.on(CHAT, sse(delta(reasoning_content="```\nhm\n```"), "```\nls\n```", finish(), DONE))
    assert cli("ask", "--code", "How?").stdout == "ls\n"
