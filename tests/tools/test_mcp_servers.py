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
from lmchat.errors import EndpointNotAllowed
from lmchat.servers.request import Tool
from lmchat.tools.calls import MAX_RESULT_CHARS
from lmchat.tools.mcp_servers import McpServers
from lmchat.tools.protocols import ToolServerState
from tests.support import mcp_server
from tests.support.programs import is_running, until
from tests.support.scripted_server import ScriptedServer, json_reply, text_reply
from tests.support.start_desk import put

SCRIPT = str(Path(mcp_server.__file__))
SOURCE = Path(SCRIPT).read_text()
TIME = str(Path(sys.executable).with_name("mcp-server-time"))
ONE = "def one() -> int: 'Return 1.'; return 1"


def scripted(name="files", **settings):
    settings = {"args": (SCRIPT,)} | settings
    return McpSettings(name=name, command=sys.executable, **settings)


@asynccontextmanager
async def a_host(home, *servers, functions="", environ=None, refuses=""):
    """Yield tool servers; at their end no process of them may be left."""

    def check(url):
        if url == refuses:
            raise EndpointNotAllowed("Endpoint not allowed: elsewhere.")

    if functions:
        (home / "tools.py").write_text(functions)
    files = {"functions": home / "tools.py", "folder": home, "log_file": home / "tools.log"}
    host = McpServers(servers, **files, environ=os.environ | (environ or {}), check_address=check)
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


async def states(host, *, restarts=False):
    """Return the error of each server, or its state."""
    servers = await host.start_servers(restarts=restarts)
    return {server.name: server.error or server.state.value for server in servers}


async def test_servers_list_their_tools_and_answer_calls(tmp_path):
    """One of the servers is a real one, made with the SDK; two others have many tools."""
    servers = (
        McpSettings(name="time", command=TIME),
        scripted(env={"LOG": "off"}, cwd=str(tmp_path)),
        scripted("many", env={"MORE_TOOLS": "500"}),
        scripted("endless", env={"MORE_TOOLS": "5000"}),
    )
    async with a_host(tmp_path, *servers, environ={"SECRET": "a", "LMCHAT_API_KEY": "b"}) as host:
        time, _, many, endless = await host.start_servers()
        assert time.state is ToolServerState.READY
        assert "time__get_current_time" in [tool.wire_name for tool in time.tools]
        assert len(many.tools) == 500 + len(mcp_server.NAMES)
        assert len(endless.tools) == 1000
        assert [tool.name for tool in many.tools if tool.is_read_only] == ["echo"]

        good = await call(host, "time/get_current_time", timezone="Asia/Tokyo")
        assert json.loads(good.text)["timezone"] == "Asia/Tokyo"
        assert (await call(host, "time/get_current_time", timezone="Mars")).is_error

        found = json.loads((await call(host, "files/environment")).text)
        assert found["cwd"] == str(tmp_path)
        assert found["env"]["LOG"] == "off"
        assert not {"SECRET", "LMCHAT_API_KEY"} & set(found["env"])

        parts = await call(host, "files/parts")
        assert parts.text == "first\n[image/png: not shown]\ninside\n[resource_link: file:///b]"
        escape = await call(host, "files/escape")
        assert escape.text == "\x1b[2J\x1b]0;owned\x07"  # the screen filters
        failed = await call(host, "files/fail")
        assert (failed.text, failed.is_error) == ("It went wrong", True)
        long = await call(host, "files/echo", text="y" * 100_000)
        assert long.text.startswith("y" * MAX_RESULT_CHARS + "\n[cut: 100000 characters")
        # it is not checked against the slow schema of its server
        checked = await call(host, "files/checked", 10)
        assert (json.loads(checked.text), checked.is_error) == (mcp_server.SLOW_VALUE, False)


async def test_an_error_of_a_living_server_reaches_the_model_and_a_dead_one_starts_again(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        for tool in ("refuse", "lost"):
            result = await call(host, f"files/{tool}")
            assert (result.text, result.is_error) == (mcp_server.ERRORS[tool]["message"], True)
            assert host.servers[0].state is ToolServerState.READY
        assert (await call(host, "files/echo", text="still here")).text == "still here"

        # what does not answer is ended, and starts again when it is used
        slow = await call(host, "files/never", 0.5)
        assert (slow.text, slow.is_error) == ("No answer within 0.5 s.", True)
        assert (await call(host, "files/echo", text="a")).text == "a"

        broken = await call(host, "files/die")
        words = "The server files ended. It starts again when it is used."
        assert (broken.text, broken.is_error) == (words, True)
        assert (await call(host, "files/echo", text="again")).text == "again"


GROWING = """
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("growing")

@server.tool()
async def grow(context: Context) -> str:
    "Add a tool."
    def grown() -> str:
        "Return a word."
        return "new"
    server.add_tool(grown)
    await context.notify_tools_changed()
    return "done"

server.run()
"""


async def test_tools_that_a_server_adds_are_there_before_the_next_answer(tmp_path):
    """One server is made with the SDK, which sends notices only where they are asked for."""
    program = tmp_path / "growing.py"
    program.write_text(GROWING)
    sdk = McpSettings(name="sdk", command=sys.executable, args=(str(program),))
    async with a_host(tmp_path, scripted(), sdk) as host:
        before = await host.start_servers()
        assert await host.start_servers() == before
        for name in ("files", "sdk"):
            assert (await call(host, f"{name}/grow")).text == "done"
        after = before
        async with asyncio.timeout(20):
            while not all(any(one.name == "grown" for one in server.tools) for server in after):
                after = await host.start_servers()  # the notice may come behind the result
        names = [{tool.name for tool in server.tools} for server in before]
        assert [{tool.name for tool in server.tools} for server in after] == [
            one | {"grown"} for one in names
        ]
        assert (await call(host, "sdk/grown")).text == "new"


async def test_programs_start_in_the_folder_of_the_configuration_and_never_in_the_current_one(
    tmp_path, monkeypatch
):
    """The current folder has programs and modules with well-known names, which leave a trace."""
    hostile = tmp_path / "hostile"
    for name in ("serve", "only_here", "server.py", "asyncio.py", "helper.py"):
        put(hostile, name, f"open({str(tmp_path / 'trace')!r}, 'w')")
    monkeypatch.chdir(hostile)
    home = tmp_path / "home"
    (home / "notes").mkdir(parents=True)
    for folder, name in ((home, "server.py"), (home, "serve"), (tmp_path / "bin", "serve")):
        put(folder, name, SOURCE)
    commands = {
        "module": (sys.executable, "-m", "server"),
        "name": ("serve",),
        "path": ("./serve",),
        "file": (sys.executable, "server.py"),
    }
    servers = [
        McpSettings(name=name, command=command, args=tuple(args))
        for name, (command, *args) in commands.items()
    ]
    servers += [
        McpSettings(name="lonely", command="only_here"),
        McpSettings(name="beside", command="./only_here"),
    ]
    missing = {"lonely": "only_here", "beside": home / "only_here"}
    environ = {
        "PATH": os.pathsep.join(["", ".", str(tmp_path / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(["", ".", os.environ["PYTHONPATH"]]),
    }
    secrets = {"WIKI_TOKEN": "a", "OPENAI_API_KEY": "b", "LMCHAT_API_KEY": "c"}
    async with a_host(
        home,
        *servers,
        scripted("notes", cwd="notes"),
        functions=WHERE,
        environ=environ | secrets,
    ) as host:
        for name in commands:
            found = json.loads((await call(host, f"{name}/environment")).text)
            assert found["cwd"] == str(home), name
        found = json.loads((await call(host, "notes/environment")).text)
        assert found["cwd"] == str(home / "notes")
        for name, command in missing.items():
            said = (await call(host, f"{name}/environment")).text
            words = f"The server {name} cannot start: {command} does not exist. Check [[mcp]]."
            assert said == words
        found = json.loads((await call(host, "python/where")).text)
    assert found["cwd"] == str(home)
    assert not set(secrets) & set(found["names"])
    assert {"HOME", "PATH"} <= set(found["names"])
    assert not (tmp_path / "trace").exists()


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


async def test_servers_that_cannot_start_have_failed_with_a_reason_and_start_on_demand_only(
    tmp_path,
):
    program = ("-c", "open('starts', 'a').write('x')")
    servers = (
        McpSettings(name="lost", command="no-such-program"),
        McpSettings(name="sad", command=sys.executable, args=program, cwd=str(tmp_path)),
        McpSettings(name="refused", url="http://elsewhere/mcp"),
        McpSettings(
            name="keyless", url="http://127.0.0.1:1/mcp", headers_env={"Authorization": "NO_TOKEN"}
        ),
        McpSettings(name="down", url="http://127.0.0.1:1/mcp"),
    )
    starts = tmp_path / "starts"
    async with a_host(tmp_path, *servers, refuses="http://elsewhere/mcp") as host:
        see = f"See {tmp_path / 'tools.log'}."
        assert await states(host) == {
            "lost": "The server lost cannot start: no-such-program does not exist. Check [[mcp]].",
            "sad": f"The server sad failed: Connection closed. {see}",
            "refused": "Endpoint not allowed: elsewhere.",
            "keyless": "The environment variable NO_TOKEN of the server keyless is not set. Set it.",
            "down": "The server down failed: All connection attempts failed.",
        }
        assert (await call(host, "refused/x")).text == "Endpoint not allowed: elsewhere."
        await states(host)
        assert starts.read_text() == "x"
        await states(host, restarts=True)
        assert (await call(host, "sad/x")).is_error
        assert starts.read_text() == "xxx"


async def test_a_server_over_http_gets_its_headers_and_a_session_that_has_ended_begins_anew(
    tmp_path, http
):
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
    server = over_http(http, Authorization="WIKI_TOKEN", Plain="PLAIN_TOKEN")
    environ = {"WIKI_TOKEN": " \tBearer abc\r\n", "PLAIN_TOKEN": "def"}
    async with a_host(tmp_path, server, environ=environ) as host:
        assert (await call(host, "wiki/echo", text="first")).text == "first"
        ended.append("session-0")
        words = "The server wiki ended. It starts again when it is used."
        assert (await call(host, "wiki/echo", text="lost")).text == words
        assert (await call(host, "wiki/echo", text="again")).text == "again"
    sent = {(seen.headers["authorization"], seen.headers["plain"]) for seen in http.requests}
    assert sent == {("Bearer abc", "def")}


NO_OAUTH = "lmchat has no OAuth."
REFUSALS = {
    401: ("401 Unauthorized", f"If it needs a key, add headers_env to [[mcp]]; {NO_OAUTH}"),
    403: ("403 Forbidden", f"If it needs a key, add headers_env to [[mcp]]; {NO_OAUTH}"),
    404: ("404 Not Found", "Check the path of its url, which often ends in /mcp."),
    405: ("405 Method Not Allowed", "Check the path of its url, which often ends in /mcp."),
    429: ("429 Too Many Requests", "Try again later."),
    500: ("500 Internal Server Error", "The fault is the server's: see its log."),
    503: ("503 Service Unavailable", "The fault is the server's: see its log."),
    530: ("530", "The fault is the server's: see its log."),
    418: ("418 I'm a Teapot", "Check its url and headers_env."),
}


async def test_a_server_that_refuses_is_told_by_its_status_and_what_it_means(tmp_path, http):
    for status, (name, step) in REFUSALS.items():
        for body in ("", "<html>no</html>", '{"error": "no"}'):
            http.unknown = lambda _, status=status, body=body: text_reply(body, status=status)
            async with a_host(tmp_path, over_http(http)) as host:
                words = f"The server wiki answers {name}. {step}"
                assert await states(host) == {"wiki": words}
                assert (await call(host, "wiki/echo")).text == words
                assert host.servers[0].can_correct is (status < 500 and status != 429)
    http.unknown = lambda _: text_reply("", status=403)
    server = over_http(http, Authorization="WIKI_TOKEN")
    async with a_host(tmp_path, server, environ={"WIKI_TOKEN": "abc"}) as host:
        step = f"Check the value of WIKI_TOKEN; {NO_OAUTH}"
        assert await states(host) == {"wiki": f"The server wiki answers 403 Forbidden. {step}"}


async def test_a_refused_call_says_why_and_the_server_goes_on(tmp_path, http):
    status = 200

    def reply(seen):
        if not seen.body:
            return text_reply("", status=405)
        if seen.json["method"] == "tools/call" and status >= 400:
            return text_reply("", status=status)
        found = mcp_server.replies(seen.json)
        return json_reply(found[-1]) if found else text_reply("", status=202)

    http.unknown = reply
    async with a_host(tmp_path, over_http(http)) as host:
        assert (await call(host, "wiki/echo", text="a")).text == "a"
        status = 502
        words = "The server wiki answers 502 Bad Gateway. The fault is the server's: see its log."
        assert (await call(host, "wiki/echo")).text == words
        status = 200
        assert (await call(host, "wiki/refuse")).text == "The garden is closed"
        assert (await call(host, "wiki/echo", text="b")).text == "b"
        assert host.servers[0].state is ToolServerState.READY


async def test_a_header_that_cannot_be_sent_is_refused_by_its_variable_before_anything_starts(
    tmp_path, http
):
    for value in ("s3cret\nX-More: s3cret", "s3cret\x07", "s3crét", "s3cret\u202e"):
        server = over_http(http, Authorization="WIKI_TOKEN")
        async with a_host(tmp_path, server, environ={"WIKI_TOKEN": value}) as host:
            said = await states(host)
            assert said["wiki"].startswith(
                "The environment variable WIKI_TOKEN of the server wiki has control characters "
                "or letters beyond ASCII"
            )
            assert (await call(host, "wiki/echo")).text == said["wiki"]
        assert "s3cr" not in said["wiki"]
    assert http.connections == 0
    assert not (tmp_path / "tools.log").exists()


async def test_without_the_sdk_each_server_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp.client.client", None)
    async with a_host(tmp_path, scripted(), functions=ONE) as host:
        words = "The MCP SDK is not installed. Install it with: pip install 'lmchat[tools]'."
        assert await states(host) == {"files": words, "python": words}
        assert (await call(host, "python/one")).text == words
    assert not (tmp_path / "tools.log").exists()


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
        (server,) = await host.start_servers()
        assert server.error.startswith("tools.py, line 11: The function broken cannot be a tool:")
        texts = {}
        for tool in server.tools:
            timeout_s = 1 if tool.name == "sleeps" else 20
            texts[tool.name] = (await host.call(tool, {}, timeout_s=timeout_s)).text
        assert texts == {
            "add": "The arguments of add do not fit: Object missing required field `a`.",
            "fails": "tools.py, line 12: ZeroDivisionError: division by zero.",
            "leaves": "tools.py, line 13: SystemExit: 3.",
            "sleeps": "No answer within 1 s.",
            "no_text": "?",
        }
        assert "do not fit" in (await call(host, "python/add", a="\udcff")).text
        assert (await call(host, "python/add", a=1)).text == "3"
    assert "this goes to the log\nthis too" in (tmp_path / "tools.log").read_text()


BLOCKING = """
import os, re, time
from pathlib import Path

def sleeps() -> None:
    "Sleep."
    Path("pid").write_text(f"{os.getpid()}\\n")
    time.sleep(600)

def locks() -> None:
    "Let nothing else of the process run."
    Path("pid").write_text(f"{os.getpid()}\\n")
    re.match("(a|a)*b", 60 * "a")

async def blocks() -> None:
    "Let no other function run."
    sleeps()

def one() -> int: "Return 1."; return 1
"""


@pytest.mark.parametrize("name", ["sleeps", "locks", "blocks"])
async def test_a_stopped_function_ends_with_its_process_and_the_next_call_starts_another(
    tmp_path, name
):
    note = tmp_path / "pid"
    async with a_host(tmp_path, functions=BLOCKING) as host:
        running = asyncio.create_task(call(host, f"python/{name}", 60))
        await until(lambda: note.exists() and note.read_text().endswith("\n"), "the function runs")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        pid = int(note.read_text())
        await until(lambda: not is_running(pid), "the end of the process")
        assert (await call(host, "python/one", 60)).text == "1"


async def test_a_message_without_end_ends_its_server_and_delays_no_other(tmp_path):
    flood = "import sys\nwhile True: sys.stdout.write(65536 * 'x')"
    server = McpSettings(name="flood", command=sys.executable, args=("-c", flood))
    async with a_host(tmp_path, server, scripted()) as host:
        words = "The server flood sent a message of more than 32 MB. Correct it."
        assert await states(host) == {"flood": words, "files": "ready"}


async def test_an_error_of_a_server_does_not_repeat_the_header_that_it_got(tmp_path, http):
    http.unknown = lambda seen: json_reply(
        {
            "jsonrpc": "2.0",
            "id": seen.json.get("id"),
            "error": {"code": 1, "message": f"No entry with {seen.headers['authorization']}"},
        }
    )
    server = over_http(http, Authorization="WIKI_TOKEN")
    async with a_host(tmp_path, server, environ={"WIKI_TOKEN": "Bearer abcdef123"}) as host:
        found = await states(host)
        assert found == {"wiki": "The server wiki failed: No entry with …."}
    quoting = scripted(args=(SCRIPT, "--max-tokens", "closed", "--author", "garden"))
    async with a_host(tmp_path, quoting) as host:
        assert (await call(host, "files/refuse")).text == "The garden is closed"


async def test_an_error_in_the_file_is_told_with_its_line_until_it_is_corrected(tmp_path):
    async with a_host(tmp_path, functions="x = 1\ny = = 2\n") as host:
        assert await states(host) == {"python": "tools.py, line 2: SyntaxError: invalid syntax."}
        (tmp_path / "tools.py").write_text("def f():\n    return {}['a']\nf()\n")
        assert await states(host, restarts=True) == {"python": "tools.py, line 2: KeyError: 'a'."}
        (tmp_path / "tools.py").write_text(ONE)
        assert await states(host, restarts=True) == {"python": "ready"}
        assert (await call(host, "python/two")).text == "tools.py has no function two."
