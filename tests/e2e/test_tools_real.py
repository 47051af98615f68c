"""A tool end to end: a real llama.cpp server and a real MCP server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.lmchat_screen import STEADY, configure
from tests.support.programs import Cli
from tests.support.scripted_server import (
    DONE,
    Reply,
    ScriptedServer,
    Seen,
    body_reply,
    delta,
    finish,
    sse,
)

pytestmark = pytest.mark.timeout(120)
_TIME = Path(sys.executable).with_name("mcp-server-time")
_CONFIG = f"""{STEADY}
max_tokens = 40
[tools]
approve = "always"
[[mcp]]
name = "time"
command = "{_TIME}"
args = ["--local-timezone", "UTC"]
"""


def _forward(real_url: str, seen: Seen, **more: object) -> Reply:
    """Ask the real server the same, with more fields in the body."""
    body = json.dumps(seen.json | more).encode() if more else seen.body
    headers = {"content-type": "application/json"} if body else {}
    with httpx.Client(timeout=60, trust_env=False) as client:
        reply = client.request(seen.method, real_url + seen.path, content=body, headers=headers)
    kind, product = (reply.headers.get(name, "") for name in ("content-type", "server"))
    return body_reply(
        reply.content, status=reply.status_code, content_type=kind, headers={"Server": product}
    )


@pytest.mark.rule("R-45")
def test_the_prompt_after_a_tool_call_has_the_thought_in_front_of_the_call(
    start_real_server, tmp_path
):
    """The first answer is scripted; the real server tells the prompt that it made of the next request."""
    real = start_real_server(reasoning=8)
    prompts: list[str] = []
    function = {"name": "time__get_current_time", "arguments": '{"timezone": "Asia/Tokyo"}'}
    call = {"index": 0, "id": "c0", "type": "function", "function": function}
    first = sse(
        delta(reasoning_content="The clock "),
        delta(reasoning_content="will tell."),
        delta(tool_calls=[call]),
        finish("tool_calls"),
        DONE,
    )

    def play(seen: Seen) -> Reply:
        if seen.path != "/v1/chat/completions":
            return _forward(real.url, seen)
        if seen.json["messages"][-1]["role"] == "user":
            return first
        reply = _forward(real.url, seen, verbose=True)
        told = b"".join(step for step in reply.steps if isinstance(step, bytes)).decode()
        lines = [line.removeprefix("data: ") for line in told.splitlines() if '"__verbose"' in line]
        prompts.append(json.loads(lines[-1])["__verbose"]["prompt"])
        return reply

    configure(tmp_path, _CONFIG)
    with ScriptedServer() as server:
        server.unknown = play
        cli = Cli(home=tmp_path, url=server.url, wait_s=60)
        done = cli.json("ask", "--tools", "--json", "What time is it in Tokyo?")
    assert [step["tool"] for step in done["steps"]] == ["time/get_current_time"]
    called = '<tool_call>\n{"name": "time__get_current_time"'
    assert f"<think>\nThe clock will tell.\n</think>\n\n\n{called}" in prompts[0]
    assert prompts[0].index("<tool_response>") > prompts[0].index(called)
