from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from lmchat.config.settings import McpSettings
from lmchat.domain.tool import MAX_RESULT_CHARS, ServerState, Tool
from lmchat.errors import EndpointNotAllowed
from lmchat.tools.host import McpHost
from tests.support import mcp_server
from tests.support.programs import is_running, until
from tests.support.scripted_server import ScriptedServer, json_reply, text_reply

SCRIPT = str(Path(mcp_server.__file__))
TIME = str(Path(sys.executable).with_name("mcp-server-time"))
ONE = "def one() -> int: 'Return 1.'; return 1"


def scripted(name="files", **settings):
    return McpSettings(name=name, command=sys.executable, args=(SCRIPT,), **settings)


@asynccontextmanager
async def a_host(home, *servers, functions="", environ=None, refuses=""):
    """Yield a tool host; at its end no process of it may be left."""

    def check(url):
        if url == refuses:
            raise EndpointNotAllowed("Endpoint not allowed: elsewhere.")

    if functions:
        (home / "tools.py").write_text(functions)
    files = {"functions": home / "tools.py", "log_file": home / "tools.log"}
    host = McpHost(servers, **files, environ=os.environ | (environ or {}), check_address=check)
    others = psutil.Process().children(recursive=True)
    try:
        yield host
    finally:
        own = set(psutil.Process().children(recursive=True)) - set(others)
        await host.aclose()
        assert not [process for process in own if is_running(process.pid)]


async def call(host, name, _s=20, **arguments):
    server, _, tool = name.partition("/")
    return await host.call(Tool(server=server, name=tool), arguments, timeout_s=_s)


async def states(host, *, again=False):
    """Return the error of each server, or its state."""
    servers = await host.list_servers(again=again)
    return {server.name: server.error or server.state.value for server in servers}


async def test_nothing_is_started_without_servers_and_functions(tmp_path):
    async with a_host(tmp_path, scripted(enabled=False)) as host:
        assert await host.list_servers() == ()
        assert not (tmp_path / "tools.log").exists()


async def test_a_real_server_lists_its_tools_and_answers_calls(tmp_path):
    async with a_host(tmp_path, McpSettings(name="time", command=TIME)) as host:
        (server,) = await host.list_servers()
        assert server.state is ServerState.READY
        assert "time__get_current_time" in [tool.wire_name for tool in server.tools]
        good = await call(host, "time/get_current_time", timezone="Asia/Tokyo")
        assert json.loads(good.text)["timezone"] == "Asia/Tokyo"
        assert (await call(host, "time/get_current_time", timezone="Mars")).is_error


async def test_a_server_gets_its_folder_and_only_the_usual_variables(tmp_path):
    server = scripted(env={"LOG": "off"}, cwd=str(tmp_path))
    async with a_host(tmp_path, server, environ={"SECRET": "a", "LMCHAT_API_KEY": "b"}) as host:
        found = json.loads((await call(host, "files/environment")).text)
        assert found["cwd"] == str(tmp_path)
        assert found["env"]["LOG"] == "off"
        assert not {"SECRET", "LMCHAT_API_KEY"} & set(found["env"])


async def test_all_pages_of_tools_are_listed_up_to_a_limit(tmp_path):
    servers = scripted("many", env={"MORE_TOOLS": "500"}), scripted("endless", env={"MORE_TOOLS": "5000"})
    async with a_host(tmp_path, *servers) as host:
        many, endless = await host.list_servers()
        assert len(many.tools) == 500 + len(mcp_server.NAMES)
        assert len(endless.tools) == 1000
        assert [tool.name for tool in many.tools if tool.is_read_only] == ["echo"]


async def test_results_become_text_and_a_changed_list_is_read_again(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        parts = await call(host, "files/parts")
        assert parts.text == "first\n[image/png: not shown]\ninside\n[resource_link: file:///b]"
        assert (await call(host, "files/escape")).text == "\x1b[2J\x1b]0;owned\x07"  # the screen filters
        failed = await call(host, "files/fail")
        assert (failed.text, failed.is_error) == ("It went wrong", True)
        long = await call(host, "files/echo", text="y" * 100_000)
        assert long.text.startswith("y" * MAX_RESULT_CHARS + "\n[cut: 100000 characters")
        await call(host, "files/grow")
        await until(lambda: "fresh" in [tool.name for tool in host.servers[0].tools], "the new tool")


async def test_a_silent_server_delays_no_other_call_and_is_told_of_the_cancelling(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        await host.list_servers()
        silent = asyncio.create_task(call(host, "files/never"))
        slow, quick = await asyncio.gather(call(host, "files/never", 0.5), call(host, "files/echo", text="a"))
        assert (slow.text, slow.is_error, quick.text) == ("No answer within 0.5 s.", True, "a")
        silent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await silent
        assert "2" in [(await call(host, "files/cancelled")).text for _ in range(50)]


async def test_a_server_that_dies_in_a_call_is_an_error_and_starts_again_with_the_next_one(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        broken = await call(host, "files/die")
        words = "The server files ended. It starts again when it is used."
        assert (broken.text, broken.is_error) == (words, True)
        assert (await call(host, "files/echo", text="again")).text == "again"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_flood_is_cut_and_delays_no_other_server(tmp_path):
    async with a_host(tmp_path, scripted(), scripted("other")) as host:
        flood = asyncio.create_task(call(host, "files/flood", 100))
        while not flood.done():
            assert (await call(host, "other/echo", 5, text="a")).text == "a"
            await asyncio.wait([flood], timeout=0.1)
        assert "[cut: 20000000 characters" in flood.result().text


async def test_servers_that_cannot_start_have_failed_with_a_reason(tmp_path):
    servers = (
        McpSettings(name="lost", command="no-such-program"),
        McpSettings(name="silent", command=sys.executable, args=("-c", "raise SystemExit(1)")),
        McpSettings(name="refused", url="http://elsewhere/mcp"),
        McpSettings(name="keyless", url="http://127.0.0.1:1/mcp", headers_env={"Authorization": "NO_TOKEN"}),
        McpSettings(name="down", url="http://127.0.0.1:1/mcp"),
    )
    async with a_host(tmp_path, *servers, refuses="http://elsewhere/mcp") as host:
        see = f"See {tmp_path / 'tools.log'}."
        assert await states(host) == {
            "lost": "The server lost cannot start: no-such-program does not exist. Check [[mcp]].",
            "silent": f"The server silent failed: Connection closed. {see}",
            "refused": "Endpoint not allowed: elsewhere.",
            "keyless": "The environment variable NO_TOKEN of the server keyless is not set.",
            "down": f"The server down failed: All connection attempts failed. {see}",
        }
        assert (await call(host, "refused/x")).text == "Endpoint not allowed: elsewhere."


async def test_a_server_that_has_failed_starts_again_with_a_call_or_on_demand_only(tmp_path):
    program = ("-c", "open('starts', 'a').write('x')")
    server = McpSettings(name="sad", command=sys.executable, args=program, cwd=str(tmp_path))
    async with a_host(tmp_path, server) as host:
        assert await states(host) == await states(host)
        assert (tmp_path / "starts").read_text() == "x"
        await states(host, again=True)
        assert (await call(host, "sad/x")).is_error
        assert (tmp_path / "starts").read_text() == "xxx"


async def test_a_server_over_http_gets_its_headers(tmp_path):
    def reply(seen):
        found = mcp_server.replies(seen.json)
        return json_reply(found[-1]) if found else text_reply("", status=202)

    with ScriptedServer() as http:
        http.unknown = reply
        server = McpSettings(name="wiki", url=f"{http.url}/mcp", headers_env={"Authorization": "WIKI_TOKEN"})
        async with a_host(tmp_path, server, environ={"WIKI_TOKEN": "Bearer abc"}) as host:
            assert (await call(host, "wiki/echo", text="over http")).text == "over http"
        assert {seen.headers["authorization"] for seen in http.requests if seen.body} == {"Bearer abc"}


async def test_without_the_sdk_only_functions_work(tmp_path):
    (tmp_path / "mcp.py").write_text("raise ImportError('hidden')")
    where = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    async with a_host(tmp_path, scripted(), functions=ONE, environ={"PYTHONPATH": where}) as host:
        assert "pip install 'lmchat[tools]'" in (await states(host))["files"]
        assert (await call(host, "python/one")).text == "1"


FUNCTIONS = """
import os, time
from json import dumps

def add(a: int, b: int = 2) -> int:
    "Add two numbers."
    print("this goes to the log")
    os.write(1, b"this too")
    return a + b

def broken(a): "Do nothing."
def fails(): "Divide by zero."; return 1 / 0
def leaves(): "Leave."; raise SystemExit(3)
def sleeps(): "Sleep."; time.sleep(600)
def no_text(): "Name a file that is no text."; return os.fsdecode(b"\\xff")
def _private(a: int): "Not a tool."
"""


async def test_functions_of_a_file_are_tools(tmp_path):
    async with a_host(tmp_path, functions=FUNCTIONS) as host:
        (server,) = await host.list_servers()
        assert server.error.startswith("tools.py, line 11: The function broken cannot be a tool:")
        names = [tool.name for tool in server.tools]
        assert {name: (await call(host, f"python/{name}", 1)).text for name in names} == {
            "add": "The arguments of add do not fit: Object missing required field `a`.",
            "fails": "tools.py, line 12: ZeroDivisionError: division by zero.",
            "leaves": "tools.py, line 13: SystemExit: 3.",
            "sleeps": "No answer within 1 s.",  # its thread does not delay the end
            "no_text": "?",
        }
        assert (await call(host, "python/add", a="\udcff")).text.startswith("The arguments cannot be sent")
        assert (await call(host, "python/add", a=1)).text == "3"
    assert "this goes to the log\nthis too" in (tmp_path / "tools.log").read_text()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\ny = = 2\n", "tools.py, line 2: SyntaxError: invalid syntax."),
        ("def f():\n    return {}['a']\nf()\n", "tools.py, line 2: KeyError: 'a'."),
    ],
)
async def test_an_error_in_the_file_is_told_with_its_line_until_it_is_corrected(tmp_path, text, error):
    async with a_host(tmp_path, functions=text) as host:
        assert await states(host) == {"python": error}
        (tmp_path / "tools.py").write_text(ONE)
        assert await states(host, again=True) == {"python": "ready"}
        assert (await call(host, "python/two")).text == "tools.py has no function two."


async def test_a_killed_child_is_an_error_and_starts_again_with_its_servers(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        await host.list_servers()
        waiting = asyncio.create_task(call(host, "files/never"))
        await call(host, "files/echo")
        child = next(one for one in psutil.Process().children() if "tools.child" in " ".join(one.cmdline()))
        child.kill()
        result = await waiting
        assert (result.text, result.is_error) == ("The tool host ended while this tool ran.", True)
        assert host.servers[0].state is ServerState.FAILED
        assert host.servers[0].tools
        assert (await call(host, "files/echo", text="again")).text == "again"
