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
from tests.support.scripted_server import Reply, ScriptedServer, Seen, body_reply

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
"""


@pytest.fixture
def relay(start_real_server):
    real = start_real_server(reasoning=8)

    def forward(seen: Seen) -> Reply:
        body = seen.body
        if b'"tool_choice"' in body:
            body = json.dumps(seen.json | _BIAS).encode()
        headers = {"content-type": "application/json"} if body else {}
        with httpx.Client(timeout=60, trust_env=False) as client:
            reply = client.request(seen.method, real.url + seen.path, content=body, headers=headers)
        kind, product = (reply.headers.get(name, "") for name in ("content-type", "server"))
        return body_reply(
            reply.content, status=reply.status_code, content_type=kind, headers={"Server": product}
        )

    with ScriptedServer() as server:
        server.unknown = forward
        yield server


def _calls(server) -> list[dict]:
    """The tool messages that the model was sent, of all requests."""
    sent = [one.json["messages"] for one in server.seen(CHAT)]
    return [message for messages in sent for message in messages if message["role"] == "tool"]


def test_ask_runs_a_tool_of_an_mcp_server_that_the_model_calls(relay, tmp_path):
    configure(tmp_path, _CONFIG.replace("APPROVE", "always"))
    done = Cli(home=tmp_path, url=relay.url).json("ask", "--tools", "--json", "What time is it in Tokyo?")
    step = done["steps"][0]
    assert step["tool"].startswith("time/")
    assert _calls(relay)[0]["content"] == step["result"]
    assert done["reply"]
