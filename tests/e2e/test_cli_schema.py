from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT
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


@pytest.fixture
def person(tmp_path):
    file = tmp_path / "person.json"
    file.write_text(json.dumps(PERSON))
    return str(file)


def test_the_real_server_fills_in_a_schema(real, person):
    value = real.json("ask", "--schema", person, "--json", "Give a person.")["value"]
    assert {*value} == {"name", "age"}
    assert value["age"] <= 120


def test_a_schema_may_come_out_of_a_pipe_and_a_value_of_a_thought(cli, server, person):
    server.on(CHAT, sse(delta(reasoning_content=ADA_TEXT), finish(), DONE))
    reader, writer = os.pipe()
    os.write(writer, Path(person).read_text(encoding="utf-8").encode("utf-16"))
    os.close(writer)
    done = cli("ask", "--schema", f"/dev/fd/{reader}", "Who?")
    os.close(reader)
    assert (done.returncode, json.loads(done.stdout)) == (0, ADA)
    assert server.seen(CHAT)[-1].json["response_format"]["json_schema"]["schema"] == PERSON


def test_a_thought_of_code_is_no_code(cli, server):
    server.on(CHAT, sse(delta(reasoning_content="```\nhm\n```"), "```\nls\n```", finish(), DONE))
    assert cli("ask", "--code", "How?").stdout == "ls\n"
