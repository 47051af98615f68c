"""The scenarios for clients of `modelcontextprotocol/conformance` that speak of the start and of tools.

The definitions in `conformance.json`, the replies and the checks are those of its commit c321dd32, version
0.2.0-alpha.11 (MIT, and Apache-2.0 for what was added since 2026): `src/scenarios/client` and `src/mock-server`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmchat.core.config.settings import McpSettings
from lmchat.core.tools.calls import ToolServerState
from tests.core.tools.test_mcp_servers import a_host, call
from tests.support.scripted_server import ScriptedServer, json_reply, text_reply

TOOLS = json.loads(Path(__file__).with_name("conformance.json").read_text("utf-8"))
OLDER = ("2025-06-18", "2025-11-25")
NEWER = "2026-07-28"
META = "io.modelcontextprotocol/"


class Scenario:
    """A server of MCP: one that knows `OLDER` protocols, or one that knows only the newer one."""

    def __init__(self, http: ScriptedServer, tools=(), *, version: str) -> None:
        self.tools = list(tools)
        self.version = version
        self.seen: list = []
        self.refuses_first = False
        http.unknown = self.reply
        self.settings = McpSettings(name="c", url=f"{http.url}/mcp")

    def reply(self, seen):
        if seen.method != "POST":
            return text_reply("", status=405)
        self.seen.append(seen)
        asked = seen.json
        method = asked["method"]
        params = asked.get("params") or {}
        if "id" not in asked:
            return text_reply("", status=202)
        if self.version == NEWER and (error := self.refusal(seen, params)):
            return json_reply({"jsonrpc": "2.0", "id": asked["id"], "error": error}, status=400)
        result = {"tools/list": {"tools": self.tools}, "tools/call": self.called(params)}.get(
            method
        )
        if self.version == NEWER:
            if method == "server/discover":
                result = {"supportedVersions": [NEWER], "capabilities": {"tools": {}}}
            hints = {} if method == "tools/call" else {"ttlMs": 0, "cacheScope": "private"}
            result = result and {**result, **hints, "resultType": "complete"}
        elif method == "initialize":
            info = {"name": "test-server", "version": "1.0.0"}
            result = {"protocolVersion": self.version, "serverInfo": info, "capabilities": {}}
        # the scenario `initialize` answers anything else with an empty result
        return json_reply({"jsonrpc": "2.0", "id": asked["id"], "result": result or {}})

    def refusal(self, seen, params):
        meta = params["_meta"]
        assert seen.headers["mcp-protocol-version"] == meta[f"{META}protocolVersion"]
        assert isinstance(meta[f"{META}clientCapabilities"], dict)
        assert meta[f"{META}clientInfo"]["name"] == "lmchat"
        assert seen.headers["mcp-method"] == seen.json["method"]
        if self.refuses_first:
            self.refuses_first = False
            data = {"supported": [NEWER], "requested": "x"}
            return {"code": -32022, "message": "Unsupported protocol version", "data": data}
        return None

    def called(self, params):
        given = params.get("arguments") or {}
        if params.get("name") == "add_numbers":
            assert [type(given[name]) for name in "ab"] == [int, float]
            text = f"The sum of {given['a']} and {given['b']} is {given['a'] + given['b']}"
            return {"content": [{"type": "text", "text": text}]}
        return {"content": [{"type": "text", "text": json.dumps(given)}]}


@pytest.fixture
def http():
    with ScriptedServer() as server:
        yield server


@pytest.fixture(params=(*OLDER, NEWER))
def version(request):
    return request.param


async def listed(tmp_path, scenario):
    async with a_host(tmp_path, scenario.settings) as host:
        [state] = await host.start_servers()
        assert state.state is ToolServerState.READY, state.error
        return state


@pytest.mark.parametrize("older", OLDER)
async def test_initialize(tmp_path, http, older):
    scenario = Scenario(http, version=older)
    assert (await listed(tmp_path, scenario)).tools == ()
    asked = {seen.json["method"]: seen.json for seen in scenario.seen}
    sent = asked["initialize"]["params"]
    assert sent["protocolVersion"] in (*OLDER, NEWER)
    assert sent["clientInfo"]["name"] == "lmchat"
    assert sent["clientInfo"]["version"]
    assert "id" not in asked["notifications/initialized"]


async def test_tools_call(tmp_path, http, version):
    scenario = Scenario(http, TOOLS["tools_call"], version=version)
    async with a_host(tmp_path, scenario.settings) as host:
        result = await call(host, "c/add_numbers", a=5, b=3.5)
        assert (result.text, result.is_error) == ("The sum of 5 and 3.5 is 8.5", False)


async def test_request_metadata(tmp_path, http):
    """The server checks each request, and refuses the first for its version."""
    scenario = Scenario(http, TOOLS["tools_call"], version=NEWER)
    scenario.refuses_first = True
    assert len((await listed(tmp_path, scenario)).tools) == 1
    assert not scenario.refuses_first


async def test_http_invalid_tool_headers(tmp_path, http):
    scenario = Scenario(http, TOOLS["http-invalid-tool-headers"], version=NEWER)
    async with a_host(tmp_path, scenario.settings) as host:
        [state] = await host.start_servers()
        assert [tool.name for tool in state.tools] == ["valid_tool"]
        assert "10 tools that cannot be used: " in state.error
        assert "invalid_empty_header (its x-mcp-header is not valid)" in state.error
        assert (
            await call(host, "c/valid_tool", region="us-west1")
        ).text == '{"region": "us-west1"}'
    assert scenario.seen[-1].headers["mcp-param-region"] == "us-west1"


async def test_json_schema_2020_12_preservation(tmp_path, http, version):
    tools = TOOLS["json-schema-2020-12-preservation"]
    [tool] = (await listed(tmp_path, Scenario(http, tools, version=version))).tools
    assert tool.schema == tools[0]["inputSchema"]


async def test_json_schema_ref_no_deref(tmp_path, http, version):
    tools = json.loads(
        json.dumps(TOOLS["json-schema-ref-no-deref"]).replace("CANARY", f"{http.url}/canary")
    )
    [tool] = (await listed(tmp_path, Scenario(http, tools, version=version))).tools
    assert tool.schema == tools[0]["inputSchema"]
    assert not [seen for seen in http.requests if seen.path == "/canary"]
