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
from lmchat.domain.tool import HOST_SILENT, MAX_RESULT_CHARS, MAY_STILL_RUN, ServerState, Tool
from lmchat.errors import EndpointNotAllowed
from lmchat.tools.tool_host import McpHost
from tests.support import mcp_server
from tests.support.programs import is_running, until
from tests.support.scripted_server import ScriptedServer, json_reply, raw_reply, text_reply
from tests.support.start_desk import put

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
    files = {"functions": home / "tools.py", "folder": home, "log_file": home / "tools.log"}
    host = McpHost(servers, **files, environ=os.environ | (environ or {}), check_address=check)
    others = psutil.Process().children(recursive=True)
    try:
        yield host
    finally:
        own = set(psutil.Process().children(recursive=True)) - set(others)
        await host.aclose()
        assert not [process for process in own if is_running(process.pid)]


@pytest.fixture
def http():
    with ScriptedServer() as server:
        yield server


def over_http(http, **headers):
    """Return a server at this address; a header is given with its variable."""
    return McpSettings(name="wiki", url=f"{http.url}/mcp", headers_env=headers)


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


HOSTILE = "open({!r}, 'w')"


@pytest.fixture
def in_a_hostile_folder(tmp_path, monkeypatch):
    """Stand in a folder whose programs and modules have well-known names, and leave a trace."""
    folder = tmp_path / "hostile"
    trace = HOSTILE.format(str(tmp_path / "trace"))
    for name in ("serve", "server.py", "asyncio.py", "helper.py"):
        put(folder, name, trace)
    monkeypatch.chdir(folder)
    return tmp_path


def put_server(folder, name):
    put(folder, name, Path(SCRIPT).read_text())


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (sys.executable, ("-m", "server")),
        ("serve", ()),
        ("./serve", ()),
        (sys.executable, ("server.py",)),
    ],
)
async def test_a_server_starts_in_the_folder_of_the_configuration_file(
    in_a_hostile_folder, command, args
):
    home = in_a_hostile_folder / "home"
    put_server(home, "server.py")
    put_server(home, "serve")
    put_server(in_a_hostile_folder / "bin", "serve")
    path = os.pathsep.join(["", ".", str(in_a_hostile_folder / "bin"), os.environ["PATH"]])
    server = McpSettings(name="files", command=command, args=args)
    async with a_host(home, server, environ={"PATH": path}) as host:
        assert json.loads((await call(host, "files/environment")).text)["cwd"] == str(home)
    assert not (in_a_hostile_folder / "trace").exists()


async def test_a_program_of_the_current_folder_is_not_found(in_a_hostile_folder):
    home = in_a_hostile_folder / "home"
    home.mkdir()
    servers = [McpSettings(name=name, command=name) for name in ("serve", "./serve")]
    async with a_host(home, *servers, environ={"PATH": f".{os.pathsep}"}) as host:
        assert await states(host) == {
            "serve": "The server serve cannot start: serve does not exist. Check [[mcp]].",
            "./serve": "The server ./serve cannot start: ./serve does not exist. Check [[mcp]].",
        }
    assert not (in_a_hostile_folder / "trace").exists()


async def test_the_folder_of_a_server_is_relative_to_the_configuration_file(in_a_hostile_folder):
    home = in_a_hostile_folder / "home"
    (home / "notes").mkdir(parents=True)
    async with a_host(home, scripted(cwd="notes")) as host:
        assert json.loads((await call(host, "files/environment")).text)["cwd"] == str(
            home / "notes"
        )


WHERE = """
import os, sys
def where() -> dict[str, object]:
    "Say where it runs."
    try:
        import helper
    except ImportError:
        pass
    return {"cwd": os.getcwd(), "names": list(os.environ)}
"""


async def test_a_function_runs_beside_its_file_and_takes_no_code_of_the_current_folder(
    in_a_hostile_folder,
):
    home = in_a_hostile_folder / "home"
    home.mkdir()
    path = os.pathsep.join(["", ".", os.environ["PYTHONPATH"]])
    environ = {"PYTHONPATH": path, "WIKI_TOKEN": "a", "OPENAI_API_KEY": "b", "LMCHAT_API_KEY": "c"}
    async with a_host(home, functions=WHERE, environ=environ) as host:
        found = json.loads((await call(host, "python/where")).text)
    assert found["cwd"] == str(home)
    assert not {"WIKI_TOKEN", "OPENAI_API_KEY", "LMCHAT_API_KEY"} & set(found["names"])
    assert {"HOME", "PATH"} <= set(found["names"])
    assert not (in_a_hostile_folder / "trace").exists()


@pytest.mark.parametrize("tool", ["refuse", "lost"])
async def test_an_error_of_a_living_server_reaches_the_model_in_its_own_words(tmp_path, tool):
    async with a_host(tmp_path, scripted()) as host:
        result = await call(host, f"files/{tool}")
        assert (result.text, result.is_error) == (mcp_server.ERRORS[tool]["message"], True)
        assert host.servers[0].state is ServerState.READY
        assert (await call(host, "files/echo", text="still here")).text == "still here"


async def test_a_server_that_answers_all_with_an_error_has_not_ended(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        await call(host, "files/expire")
        result = await call(host, "files/echo")
        assert (result.text, result.is_error) == (mcp_server.ERRORS["expire"]["message"], True)
        assert host.servers[0].state is ServerState.READY


async def test_a_result_is_not_checked_against_the_slow_schema_of_its_server(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        result = await call(host, "files/checked", 10)
        assert (json.loads(result.text), result.is_error) == (mcp_server.SLOW_VALUE, False)
        assert (await call(host, "files/echo", text="still here")).text == "still here"


async def test_all_pages_of_tools_are_listed_up_to_a_limit(tmp_path):
    servers = (
        scripted("many", env={"MORE_TOOLS": "500"}),
        scripted("endless", env={"MORE_TOOLS": "5000"}),
    )
    async with a_host(tmp_path, *servers) as host:
        many, endless = await host.list_servers()
        assert len(many.tools) == 500 + len(mcp_server.NAMES)
        assert len(endless.tools) == 1000
        assert [tool.name for tool in many.tools if tool.is_read_only] == ["echo"]


async def test_results_become_text_and_a_changed_list_is_read_again(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        parts = await call(host, "files/parts")
        assert parts.text == "first\n[image/png: not shown]\ninside\n[resource_link: file:///b]"
        assert (
            await call(host, "files/escape")
        ).text == "\x1b[2J\x1b]0;owned\x07"  # the screen filters
        failed = await call(host, "files/fail")
        assert (failed.text, failed.is_error) == ("It went wrong", True)
        long = await call(host, "files/echo", text="y" * 100_000)
        assert long.text.startswith("y" * MAX_RESULT_CHARS + "\n[cut: 100000 characters")
        await call(host, "files/grow")
        await until(
            lambda: "fresh" in [tool.name for tool in host.servers[0].tools], "the new tool"
        )


async def test_a_silent_server_delays_no_other_call_and_is_told_of_the_cancelling(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        await host.list_servers()
        silent = asyncio.create_task(call(host, "files/never"))
        slow, quick = await asyncio.gather(
            call(host, "files/never", 0.5), call(host, "files/echo", text="a")
        )
        assert (slow.text, slow.is_error, quick.text) == ("No answer within 0.5 s.", True, "a")
        silent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await silent
        assert "2" in [(await call(host, "files/cancelled")).text for _ in range(50)]


async def test_a_server_that_dies_in_a_call_is_an_error_and_starts_again_with_the_next_one(
    tmp_path,
):
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
        McpSettings(
            name="keyless", url="http://127.0.0.1:1/mcp", headers_env={"Authorization": "NO_TOKEN"}
        ),
        McpSettings(name="down", url="http://127.0.0.1:1/mcp"),
    )
    async with a_host(tmp_path, *servers, refuses="http://elsewhere/mcp") as host:
        see = f"See {tmp_path / 'tools.log'}."
        assert await states(host) == {
            "lost": "The server lost cannot start: no-such-program does not exist. Check [[mcp]].",
            "silent": f"The server silent failed: Connection closed. {see}",
            "refused": "Endpoint not allowed: elsewhere.",
            "keyless": "The environment variable NO_TOKEN of the server keyless is not set. Set it.",
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


@pytest.mark.parametrize("value", ["Bearer abc", " \tBearer abc\r\n"])
async def test_a_server_over_http_gets_its_headers_without_blanks_and_line_ends_around(
    tmp_path, http, value
):
    def reply(seen):
        found = mcp_server.replies(seen.json)
        return json_reply(found[-1]) if found else text_reply("", status=202)

    http.unknown = reply
    server = over_http(http, Authorization="WIKI_TOKEN")
    async with a_host(tmp_path, server, environ={"WIKI_TOKEN": value}) as host:
        assert (await call(host, "wiki/echo", text="over http")).text == "over http"
    assert {seen.headers["authorization"] for seen in http.requests if seen.body} == {"Bearer abc"}


async def test_a_session_over_http_that_has_ended_begins_anew_with_the_next_call(tmp_path, http):
    ended = []

    def reply(seen):
        if ended and seen.headers.get("mcp-session-id") in ended:
            return text_reply("", status=404)
        if not seen.body:  # the end of a session, or a stream of notices
            return text_reply("", status=405)
        found = mcp_server.replies(seen.json)
        headers = {"Mcp-Session-Id": f"session-{len(ended)}"}
        return json_reply(found[-1], headers=headers) if found else text_reply("", status=202)

    http.unknown = reply
    async with a_host(tmp_path, over_http(http)) as host:
        assert (await call(host, "wiki/echo", text="first")).text == "first"
        ended.append("session-0")
        words = "The server wiki ended. It starts again when it is used."
        assert (await call(host, "wiki/echo", text="lost")).text == words
        assert (await call(host, "wiki/echo", text="again")).text == "again"


def echoing(seen):
    """Refuse a request with its own header: in the words, in JSON of no use, and in the header of a reply."""
    said = seen.headers["authorization"]
    return text_reply(f"{said} is not known", status=401, headers={"X-Echo": said})


@pytest.mark.parametrize(
    "value", ["s3cret\nX-More: s3cret", "s3cret\x07", "s3crét", "s3cret\u202e"]
)
async def test_a_header_that_cannot_be_sent_is_refused_by_its_variable_before_anything_starts(
    tmp_path, http, value
):
    server = over_http(http, Authorization="WIKI_TOKEN")
    async with a_host(tmp_path, server, environ={"WIKI_TOKEN": value}) as host:
        said = await states(host)
        assert said["wiki"].startswith(
            "The environment variable WIKI_TOKEN of the server wiki has control characters "
            "or letters beyond ASCII"
        )
        assert (await call(host, "wiki/echo")).text == said["wiki"]
    assert http.connections == 0
    assert "s3cr" not in said["wiki"]
    assert not (tmp_path / "tools.log").exists()


@pytest.mark.parametrize(
    "reply",
    [
        echoing,
        lambda seen: json_reply(
            {
                "jsonrpc": "2.0",
                "id": seen.json.get("id"),
                "error": {"code": -1, "message": f"unknown: {seen.headers['authorization']}"},
            }
        ),
        lambda seen: json_reply({"of no use": seen.headers["authorization"]}),
        lambda seen: raw_reply(
            f"HTTP/1.1 200 OK\r\nX-Echo: {seen.headers['authorization']}\0\r\n\r\n".encode()
        ),
    ],
    ids=["status", "error", "no JSON-RPC", "broken header"],
)
async def test_a_server_that_repeats_its_header_gets_it_neither_into_errors_nor_into_the_log(
    tmp_path, http, reply
):
    http.unknown = reply
    server = over_http(http, Authorization="WIKI_TOKEN")
    async with a_host(tmp_path, server, environ={"WIKI_TOKEN": "Bearer s3cret-4711"}) as host:
        said = await states(host)
        assert "The server wiki failed" in said["wiki"]
        told = said["wiki"] + (await call(host, "wiki/echo")).text
    assert http.requests
    assert "s3cret" not in told + (tmp_path / "tools.log").read_text()


_REPEATING = """
import json, os, sys
error = {"code": -32602, "message": " ".join([*sys.argv[1:], os.environ["WIKI_KEY"]])}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
"""


async def test_a_server_that_repeats_its_arguments_gets_no_token_into_errors_or_the_log(tmp_path):
    tokens = (
        "--token=s3cret1",
        "--api-key",
        "s3cret2",
        "--header",
        "Authorization: Bearer s3cret3",
    )
    arguments = (
        "-c",
        _REPEATING,
        *tokens,
        "PASSWORD=s3cret4",
        "https://a:s3cret5@b/c?d=s3cret6",
        "notes.md",
    )
    server = McpSettings(
        name="wiki", command=sys.executable, args=arguments, env={"WIKI_KEY": "s3cret7"}
    )
    async with a_host(tmp_path, server) as host:
        said = (await states(host))["wiki"]
        assert "The server wiki failed: --token=… --api-key …" in said
        assert "notes.md" in said
        told = said + (await call(host, "wiki/echo")).text
    assert "s3cret" not in told + (tmp_path / "tools.log").read_text()


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
        texts = {}
        for tool in server.tools:
            texts[tool.name] = (await host.call(tool, {}, timeout_s=1)).text
        assert texts == {
            "add": "The arguments of add do not fit: Object missing required field `a`.",
            "fails": "tools.py, line 12: ZeroDivisionError: division by zero.",
            "leaves": "tools.py, line 13: SystemExit: 3.",
            "sleeps": f"No answer within 1 s. {MAY_STILL_RUN}",
            "no_text": "?",
        }
        assert (await call(host, "python/add", a="\udcff")).text.startswith(
            "The arguments cannot be sent"
        )
        assert (await call(host, "python/add", a=1)).text == "3"
    assert "this goes to the log\nthis too" in (tmp_path / "tools.log").read_text()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\ny = = 2\n", "tools.py, line 2: SyntaxError: invalid syntax."),
        ("def f():\n    return {}['a']\nf()\n", "tools.py, line 2: KeyError: 'a'."),
    ],
)
async def test_an_error_in_the_file_is_told_with_its_line_until_it_is_corrected(
    tmp_path, text, error
):
    async with a_host(tmp_path, functions=text) as host:
        assert await states(host) == {"python": error}
        (tmp_path / "tools.py").write_text(ONE)
        assert await states(host, again=True) == {"python": "ready"}
        assert (await call(host, "python/two")).text == "tools.py has no function two."


BLOCKING = """
import time
async def blocks() -> int: "Let nothing else run."; time.sleep(600); return 1
"""


async def test_of_an_async_function_that_blocks_is_said_that_it_may_still_run(tmp_path):
    async with a_host(tmp_path, functions=BLOCKING) as host:
        (server,) = await host.list_servers()
        result = await host.call(server.tools[0], {}, timeout_s=0.5)
        assert result.text == f"No answer within 0.5 s. {MAY_STILL_RUN}"


async def test_a_host_that_does_not_answer_is_ended_and_starts_again_with_its_servers(
    tmp_path, monkeypatch
):
    async with a_host(tmp_path, scripted(), functions=BLOCKING) as host:
        await host.list_servers()
        blocked = asyncio.create_task(call(host, "python/blocks", 100))
        await asyncio.sleep(0)
        monkeypatch.setattr("lmchat.tools.tool_host._LISTING_S", 1.0)
        async with asyncio.timeout(15):
            assert await states(host) == {"files": HOST_SILENT, "python": HOST_SILENT}
        assert (await blocked).text == "The tool host ended while this tool ran."
        monkeypatch.undo()
        assert await states(host) == {"files": "ready", "python": "ready"}
        assert (await call(host, "files/echo", text="again")).text == "again"


STUCK = """
import re, subprocess, sys
from pathlib import Path

def holds_the_lock() -> bool:
    "Never return, and let no other thread run."
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(__file__).with_name("begun").touch()
    return bool(re.match("(a*)*b", "a" * 50))
"""


async def test_a_host_that_a_function_holds_up_ends_with_its_servers_and_programs(tmp_path):
    sign = str(tmp_path / "of-the-server")
    others = set(psutil.Process().children(recursive=True))
    async with a_host(tmp_path, scripted(env={"IGNORE_END": sign}), functions=STUCK) as host:
        await host.list_servers()
        stuck = asyncio.create_task(call(host, "python/holds_the_lock"))
        await until((tmp_path / "begun").exists, "the function")
        stuck.cancel()
        own = set(psutil.Process().children(recursive=True)) - others
        await host.aclose()
    await until(lambda: not [one for one in own if is_running(one.pid)], "the end of all processes")


async def test_a_killed_child_is_an_error_and_starts_again_with_its_servers(tmp_path):
    others = set(psutil.Process().children())
    async with a_host(tmp_path, scripted()) as host:
        await host.list_servers()
        waiting = asyncio.create_task(call(host, "files/never"))
        await call(host, "files/echo")
        (watchdog,) = set(psutil.Process().children()) - others
        (child,) = [
            one for one in watchdog.children() if "tools.host_program" in " ".join(one.cmdline())
        ]
        child.kill()
        result = await waiting
        assert (result.text, result.is_error) == ("The tool host ended while this tool ran.", True)
        assert host.servers[0].state is ServerState.FAILED
        assert host.servers[0].tools
        assert (await call(host, "files/echo", text="again")).text == "again"
