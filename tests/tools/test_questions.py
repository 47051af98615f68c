"""Questions of tool servers (elicitation): one is made with the SDK, the other plays the protocol before 2026."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lmchat.config.credentials import Credentials
from lmchat.config.settings import McpSettings
from lmchat.errors import RequestInvalid
from lmchat.servers.request import Tool
from lmchat.tools.mcp_servers import McpServers
from lmchat.tools.questions import fields_of
from tests.support import mcp_server

ROOT = str(Path(mcp_server.__file__).parents[2])


@asynccontextmanager
async def asking(tmp_path, user):
    servers = [
        McpSettings(
            name=name,
            command=sys.executable,
            args=("-m", f"tests.support.{module}"),
            env={"PYTHONPATH": ROOT},
        )
        for name, module in (("garden", "oauth_server"), ("older", "mcp_server"))
    ]
    host = McpServers(
        tuple(servers),
        functions=tmp_path / "tools.py",
        folder=tmp_path,
        log_file=None,
        environ=os.environ,
        check_address=lambda _: None,
        credentials=Credentials(tmp_path / "credentials.toml"),
    )
    host.ask_user = user
    try:
        yield host
    finally:
        await host.aclose()


async def call(host, name, timeout_s=50):
    server, _, tool = name.partition("/")
    return await host.call(Tool(server=server, name=tool), {}, timeout_s=timeout_s)


async def test_a_server_asks_within_a_call_whose_time_then_does_not_run(tmp_path):
    seen = []

    async def user(question):
        seen.append(question)
        await asyncio.sleep(2.5)
        typed = {"name": "west", "kind": "herbs", "rows": "3"}
        answers = (one.answer(typed.get(one.name, "no")) for one in question.fields)
        return dict(pair for answer in answers for pair in answer.items())

    async with asking(tmp_path, user) as host:
        await host.start_servers()
        planted = json.loads((await call(host, "garden/plant", timeout_s=2)).text)
        assert planted == {"name": "west", "kind": "herbs", "rows": 3, "is_sunny": False}
        _, answer = json.loads((await call(host, "older/ask", timeout_s=2)).text)
        content = {"name": "west", "kind": "herbs", "rows": 3, "sunny": False}
        assert answer == {"action": "accept", "content": content}
        assert [question.title for question in seen] == ["garden asks", "older asks"]
        assert seen[1].text.startswith("Which bed?\n\nThis is a question of the tool server.")
        assert "Do not type passwords" in seen[1].text
        name, kind, rows, sunny = seen[1].fields
        assert (name.words, name.is_required) == ("Name of the bed", True)
        assert (kind.words, kind.default) == ("kind (herbs, roots; may be empty)", "roots")
        assert rows.words == "How many (a whole number)"
        assert (sunny.words, sunny.default) == ("sunny (yes, no; may be empty)", "yes")
        assert json.loads((await call(host, "older/pay")).text)[1] == {"action": "accept"}
        assert seen[-1].url == "https://pay.example/1"


async def test_a_no_reaches_the_server_and_one_that_insists_is_stopped_by_a_limit(tmp_path):
    seen = []

    async def user(question):
        seen.append(question)

    async with asking(tmp_path, user) as host:
        assert (await call(host, "garden/plant")).text == "decline"
        seen.clear()
        asked, answer = json.loads((await call(host, "older/insist")).text)
        assert (asked, len(seen), answer) == (30, 10, {"action": "decline"})
        host.ask_user = None
        assert json.loads((await call(host, "older/ask")).text)[1] == {"action": "decline"}
        assert (await call(host, "garden/plant")).text == "decline"


async def test_a_stopped_call_takes_its_question_from_the_screen(tmp_path):
    async with asking(tmp_path, None) as host:
        for tool in ("older/ask", "garden/plant"):
            shown, closed = asyncio.Event(), asyncio.Event()

            async def user(_, shown=shown, closed=closed):
                shown.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    closed.set()

            host.ask_user = user
            running = asyncio.create_task(call(host, tool))
            async with asyncio.timeout(50):
                await shown.wait()
                running.cancel()
                await closed.wait()
            with pytest.raises(asyncio.CancelledError):
                await running
        host.ask_user = None
        assert (await call(host, "garden/plant")).text == "decline"


def field(**schema):
    [found] = fields_of({"type": "object", "properties": {"x": schema}})
    return found


def test_fields_take_what_their_schema_names():
    assert field(type="number").answer("2.5") == {"x": 2.5}
    assert field(type="number").answer("") == {}
    assert field(type="boolean", default=False).default == "no"
    titled = {"oneOf": [{"const": "a", "title": "Apple"}, {"const": "b"}]}
    one = field(type="string", default="a", **titled)
    assert (one.default, one.answer("Apple"), one.answer("b")) == ("Apple", {"x": "a"}, {"x": "b"})
    assert field(type="integer", enum=[1, 2], default=1).answer("2") == {"x": 2}
    many = field(type="array", items={"type": "string", "enum": ["a", "b"]}, default=["a"])
    assert (many.default, many.answer("a, b")) == ("a", {"x": ["a", "b"]})
    assert many.words == "x (a, b; one or more; may be empty)"
    assert field(type="string", title="T", description="D").words == "T: D (may be empty)"
    assert len(field(type="string", title="T" * 200_000).label) < 1000
    for kind, typed in (("integer", "2.5"), ("number", "x"), ("boolean", "maybe")):
        with pytest.raises(RequestInvalid, match="Type "):
            field(type=kind).answer(typed)
    with pytest.raises(RequestInvalid, match="one of Apple, b"):
        one.answer("c")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"type": "object"}}},
        {"properties": {"x": {"type": "array", "items": {"type": "string"}}}},
        {"properties": {"x": {}}},
        {"properties": {"x": 3}},
        {"properties": [1]},
        {"properties": {f"f{number}": {"type": "string"} for number in range(101)}},
        {"properties": {"x": {"enum": [f"c{number}" for number in range(101)], "type": "string"}}},
        {"properties": {"x": {"enum": ["c" * 5000], "type": "string"}}},
        {"properties": {"x": {"type": "string", "default": "d" * 5000}}},
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_a_form_that_cannot_be_shown_is_refused(schema):
    with pytest.raises(RequestInvalid, match="The question has"):
        fields_of(schema)
