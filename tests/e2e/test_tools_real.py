"""Tools end to end: a real llama.cpp server, a real MCP server, and functions of a real `tools.py`.

A relay adds a bias to the calls that must be made: the model of 135M parameters would rather chat. What it
calls with is held to the schema by the server's grammar.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.lmchat_screen import STEADY, configure
from tests.support.programs import Cli
from tests.support.scripted_products import CHAT
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
_BIAS = {"logit_bias": [["<tool_call>", 4]], "stop": ["</tool_call>"], "parallel_tool_calls": False}
_TIME = Path(sys.executable).with_name("mcp-server-time")
_CONFIG = f"""{STEADY}
reasoning_effort = "none"
max_tokens = 40
[tools]
choice = "required"
approve = "APPROVE"
[[mcp]]
name = "time"
command = "{_TIME}"
args = ["--local-timezone", "UTC"]
[tools.approval]
"time/convert_time" = "never"
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


@pytest.fixture
def relay(start_real_server):
    real = start_real_server(reasoning=8)

    def forward(seen: Seen) -> Reply:
        more = _BIAS if b'"tool_choice"' in seen.body else {}
        return _forward(real.url, seen, **more)

    with ScriptedServer() as server:
        server.unknown = forward
        yield server


def _calls(server) -> list[dict]:
    """The tool messages that the model was sent, of all requests."""
    sent = [one.json["messages"] for one in server.seen(CHAT)]
    return [message for messages in sent for message in messages if message["role"] == "tool"]


def test_ask_runs_a_tool_of_an_mcp_server_that_the_model_calls(relay, tmp_path):
    configure(tmp_path, _CONFIG.replace("APPROVE", "always"))
    done = Cli(home=tmp_path, url=relay.url, wait_s=60).json(
        "ask", "--tools", "--json", "What time is it in Tokyo?"
    )
    step = done["steps"][0]
    assert step["tool"].startswith("time/")
    assert _calls(relay)[0]["content"] == step["result"]
    assert done["reply"]


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

    config = _CONFIG.replace("APPROVE", "always").replace('reasoning_effort = "none"', "")
    configure(tmp_path, config)
    with ScriptedServer() as server:
        server.unknown = play
        cli = Cli(home=tmp_path, url=server.url, wait_s=60)
        done = cli.json("ask", "--tools", "--json", "What time is it in Tokyo?")
    assert [step["tool"] for step in done["steps"]] == ["time/get_current_time"]
    called = '<tool_call>\n{"name": "time__get_current_time"'
    assert f"<think>\nThe clock will tell.\n</think>\n\n\n{called}" in prompts[0]
    assert prompts[0].index("<tool_response>") > prompts[0].index(called)
