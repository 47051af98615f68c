from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from base64 import b64encode
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from lmchat.base.errors import EndpointNotAllowed
from lmchat.base.extras import install_command
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.settings import McpSettings
from lmchat.core.servers.request import Tool
from lmchat.core.tools.calls import MAX_RESULT_CHARS, ToolServerState
from lmchat.core.tools.mcp_servers import McpServers
from tests.support import mcp_server
from tests.support.files_to_attach import image
from tests.support.programs import PYTHON, is_running, until
from tests.support.scripted_server import (
    Hold,
    ScriptedServer,
    body_reply,
    json_reply,
    raw_reply,
    text_reply,
)
from tests.support.small_programs import put

SCRIPT = str(Path(mcp_server.__file__))
SOURCE = Path(SCRIPT).read_text(encoding="utf-8")
ONE = "def one() -> int: 'Return 1.'; return 1"


def scripted(name="files", **settings):
    settings = {"args": (SCRIPT,)} | settings
    return McpSettings(name=name, command=sys.executable, **settings)


def _children():
    return set(psutil.Process().children(recursive=True))


@asynccontextmanager
async def a_host(home, *servers, functions="", environ=None, refuses="", has_log=True):
    """Yield tool servers; at their end no process of them may be left."""

    def check(url):
        if url == refuses:
            raise EndpointNotAllowed("Endpoint not allowed: elsewhere.")

    if functions:
        (home / "tools.py").write_text(functions, encoding="utf-8")
    files = {"functions": home / "tools.py", "folder": home, "log_file": None}
    if has_log:
        files["log_file"] = home / "tools.log"
    host = McpServers(
        servers,
        **files,
        environ=os.environ | (environ or {}),
        check_address=check,
        credentials=Credentials(home / "credentials.toml"),
        timeout_s=60.0,
    )
    has_programs = bool(functions) or any(server.command for server in servers)
    others = _children() if has_programs else set()
    try:
        yield host
    finally:
        own = _children() - others if has_programs else set()
        await host.aclose()
        assert not [process for process in own if is_running(process.pid)]


@pytest.fixture
def http():
    with ScriptedServer() as server:
        yield server


def over_http(http, **headers):
    """Return a server at this address; a header is given with its variable."""
    values = {header: f"${{{variable}}}" for header, variable in headers.items()}
    return McpSettings(name="wiki", url=f"{http.url}/mcp", headers=values)


async def call(host, name, _s=20, _tell=lambda _: None, **arguments):
    server, _, tool = name.partition("/")
    tool = Tool(server=server, name=tool)
    return await host.call(tool, arguments, timeout_s=_s, tell=_tell)


INSTALL = "Install it, or write its whole path."
CHECK = "Check its command and folder."
ENV = "Check its arguments and variables."


async def states(host, *, restarts=False):
    """Return the error of each server, or its state."""
    servers = await host.start_servers(restarts=restarts)
    return {server.name: server.problem or server.state.value for server in servers}


async def test_servers_list_their_tools_and_answer_calls(tmp_path):
    """One of the servers is a real one, made with the SDK; two others have many tools."""
    servers = (
        McpSettings(name="time", command=sys.executable, args=("-m", "mcp_server_time")),
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


@pytest.mark.slow  # ten limits of time
async def test_progress_begins_the_limit_anew_ten_times_at_most_and_its_words_are_told(tmp_path):
    told = []
    async with a_host(tmp_path, scripted()) as host:
        await host.start_servers()
        done = await call(host, "files/work", 1, told.append, steps=4)  # takes 1.6 s
        assert (done.text, done.is_error) == ("done", False)
        assert told == [f"step {step} ␛[2J" for step in range(4)]
        started_s = time.monotonic()
        endless = await call(host, "files/work", 0.5, steps=1000)
        assert (endless.text, endless.is_error) == ("No answer within 5 s.", True)
        assert time.monotonic() - started_s > 5
        assert (await call(host, "files/echo", text="a")).text == "a"


async def test_a_program_that_is_gone_when_it_starts_again_is_told_as_at_its_first_start(tmp_path):
    program = Path(put(tmp_path, "serve", SOURCE))
    server = McpSettings(name="files", command=f"./{program.name}")
    async with a_host(tmp_path, server) as host:
        assert await states(host) == {"files": "ready"}
        await asyncio.to_thread(program.unlink)
        assert (await call(host, "files/die")).is_error
        words = f"The server files cannot start: {program} does not exist. {CHECK}"
        assert (await call(host, "files/echo", text="a")).text == words


UNDECLARED = "Client did not declare the form elicitation capability"
GROWING = """
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from tests.support.oauth_server import add_questions

server = MCPServer("growing")
add_questions(server)

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


async def test_a_server_that_asks_is_refused_and_tools_that_it_adds_are_there_at_once(tmp_path):
    """One plays the protocol before 2026; the other is made with the SDK and speaks the newest.

    That one sends notices only where they are asked for.
    """

    async def user(question):
        pytest.fail(f"A question was shown: {question}")

    program = tmp_path / "growing.py"
    program.write_text(GROWING, encoding="utf-8")
    root = str(Path(SCRIPT).parents[3])
    sdk = McpSettings(
        name="sdk", command=sys.executable, args=(str(program),), env={"PYTHONPATH": root}
    )
    async with a_host(tmp_path, scripted(), sdk) as host:
        host.ask_user = user
        before = await host.start_servers()
        assert await host.start_servers() == before
        for tool in ("ask", "pay"):
            declared, answer = json.loads((await call(host, f"files/{tool}")).text)
            assert declared == {}
            assert answer == {"code": -32600, "message": "Elicitation not supported"}
        planted = await call(host, "sdk/plant")
        assert (planted.text.partition(" required")[0], planted.is_error) == (UNDECLARED, True)

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
        assert [server.state for server in host.servers] == [ToolServerState.READY] * 2


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
        McpSettings(name="lonely", command="only_here", env={"PATH": str(hostile)}),
        McpSettings(name="beside", command="./only_here"),
    ]
    missing = {
        "lonely": f"only_here is not in PATH. {INSTALL}",
        "beside": f"{home / 'only_here'} does not exist. {CHECK}",
    }
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
        for name, words in missing.items():
            said = (await call(host, f"{name}/environment")).text
            assert said == f"The server {name} cannot start: {words}"
        found = json.loads((await call(host, "python/where")).text)
    assert found["cwd"] == str(home)
    assert not set(secrets) & set(found["names"])
    assert {"TZ", "PATH"} <= set(found["names"])
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


DOWN = "http://127.0.0.1:1/mcp"
UNSET = (
    "The environment variable NO_TOKEN of the server {} is not set. "
    "Set it, or write its value there."
)


async def test_servers_that_cannot_start_have_failed_with_a_reason_and_start_on_demand_only(
    tmp_path, monkeypatch
):
    program = ("-c", "open('starts', 'a').write('x')")
    servers = (
        McpSettings(name="lost", command="no-such-program"),
        McpSettings(name="sad", command=sys.executable, args=program, cwd=str(tmp_path)),
        McpSettings(name="refused", url="http://elsewhere/mcp"),
        McpSettings(
            name="keyless",
            url=DOWN,
            headers={"Authorization": "Bearer ${env:NO_TOKEN}"},
        ),
        McpSettings(name="whole", url=DOWN, headers={"Authorization": "${NO_TOKEN}"}),
        McpSettings(name="folder", command="sh", args=("${workspaceFolder}/server",)),
        McpSettings(name="asked", command="sh", env={"KEY": "${input:garden-key}"}),
        McpSettings(name="down", url=DOWN),
        McpSettings(name="far", url="http://mcp.example/mcp"),
    )
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    starts = tmp_path / "starts"
    async with a_host(tmp_path, *servers, refuses="http://elsewhere/mcp") as host:
        see = f"See {tmp_path / 'tools.log'}."
        wordless = "it ended with exit code 0, and without a word"
        assert await states(host) == {
            "lost": f"The server lost cannot start: no-such-program is not in PATH. {INSTALL}",
            "sad": f"The server sad failed: {wordless}. {see} {ENV}",
            "refused": "Endpoint not allowed: elsewhere.",
            "keyless": UNSET.format("keyless"),
            "whole": UNSET.format("whole"),
            "folder": "The environment variable workspaceFolder of the server folder is not set. "
            "Set it, or write its value there.",
            "asked": "The server asked has ${input:garden-key}, which lmchat does not know. "
            "Write its value there, or ${NAME} for an environment variable.",
            "down": "Nothing answers at localhost:1. Start the server there.",
            "far": "Nothing answers at the proxy 127.0.0.1:1, which the environment names for "
            "mcp.example. Start the proxy, correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name "
            "the host in NO_PROXY.",
        }
        assert (await call(host, "refused/x")).text == "Endpoint not allowed: elsewhere."
        await states(host)
        assert starts.read_text(encoding="utf-8") == "xx"  # each time for both handshakes
        await states(host, restarts=True)
        assert (await call(host, "sad/x")).is_error
        assert starts.read_text(encoding="utf-8") == "xxxxxx"


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
        assert (await call(host, "wiki/echo", text="again")).text == "again"
    sent = {(seen.headers["authorization"], seen.headers["plain"]) for seen in http.requests}
    assert sent == {("Bearer abc", "def")}


def gone(seen, code=-32000):
    return {"jsonrpc": "2.0", "id": seen.json["id"], "error": {"code": code, "message": "gone"}}


FORGOTTEN = {
    "404 with an error of the call": lambda seen: json_reply(gone(seen), status=404),
    "404 in HTML": lambda _: text_reply("<html>nothing here</html>", status=404),
    "404 without a word": lambda _: text_reply("", status=404),
    "400 with an error of no call": lambda seen: json_reply(gone(seen) | {"id": None}, status=400),
    "400 with other JSON": lambda _: json_reply({"detail": "Who are you?"}, status=400),
    "400 in a text": lambda _: text_reply("No valid session", status=400),
    "401 without a word": lambda _: text_reply("", status=401),
    "401 with JSON": lambda _: json_reply({"error": "invalid_session"}, status=401),
}


class Forgetful:
    """A server over HTTP; each session works for so many calls."""

    def __init__(self, http, refusal, *, lasts=1):
        self.refusal = refusal
        self.lasts = lasts
        self.sessions = {}  # calls, by session
        self.sent = self.ran = 0
        http.unknown = self

    def __call__(self, seen):
        if not seen.body:
            return text_reply("", status=405)
        if seen.path == "/mcp":  # as some frameworks do
            return text_reply("", status=307, headers={"Location": "/mcp/"})
        method = seen.json["method"]
        if method == "initialize":
            session = f"session-{len(self.sessions)}"
            self.sessions[session] = 0
        else:
            session = seen.headers.get("mcp-session-id", "")
        if method == "tools/call":
            self.sent += 1
            self.sessions[session] += 1
            if self.sessions[session] > self.lasts:
                return self.refusal(seen)
            self.ran += 1
        found = mcp_server.replies(seen.json)
        if not found:
            return text_reply("", status=202)
        return json_reply(found[-1], headers={"Mcp-Session-Id": session})


KEY = {"Authorization": "WIKI_TOKEN"}


@pytest.mark.parametrize(
    ("what", "headers"),
    [
        *((what, {}) for what in FORGOTTEN),
        *((what, KEY) for what in FORGOTTEN if what.startswith(("401", "404 without"))),
    ],
)
async def test_a_call_in_a_forgotten_session_is_sent_once_more_in_a_new_one(
    tmp_path, http, what, headers
):
    server = Forgetful(http, FORGOTTEN[what])
    environ = {"WIKI_TOKEN": "abc"}
    async with a_host(tmp_path, over_http(http, **headers), environ=environ) as host:
        for text in ("a", "b", "c"):
            assert (await call(host, "wiki/echo", text=text)).text == text
            assert host.servers[0].state is ToolServerState.READY
        assert (server.ran, server.sent, len(server.sessions)) == (3, 5, 3)
        server.lasts = 0
        assert (await call(host, "wiki/echo")).is_error
        assert (server.ran, server.sent, len(server.sessions)) == (3, 7, 4)
        server.lasts = 1
        assert (await call(host, "wiki/echo", text="d")).text == "d"


async def test_of_calls_at_the_same_time_none_runs_twice(tmp_path, http):
    server = Forgetful(http, FORGOTTEN["404 without a word"], lasts=3)
    async with a_host(tmp_path, over_http(http)) as host:
        for text in "abc":
            assert (await call(host, "wiki/echo", text=text)).text == text
        results = await asyncio.gather(*(call(host, "wiki/echo", text=text) for text in "de"))
        # the end of the session may come before the answer of the other call
        answers = [result.text for result in results if not result.is_error]
        assert answers
        assert (server.ran, len(server.sessions)) == (3 + len(answers), 2)


async def test_notices_and_a_call_without_an_answer_hold_up_no_other_call(tmp_path, http):
    def reply(seen):
        if not seen.body or '"slow"' in seen.body.decode():
            return raw_reply(Hold())
        found = mcp_server.replies(seen.json)
        return json_reply(found[-1]) if found else text_reply("", status=202)

    http.unknown = reply
    async with a_host(tmp_path, over_http(http)) as host:
        slow = asyncio.create_task(call(host, "wiki/echo", text="slow"))
        await until(lambda: any(b'"slow"' in one.body for one in http.seen()), "the call")
        assert (await call(host, "wiki/echo", text="a")).text == "a"
        slow.cancel()


@pytest.mark.parametrize("status", [400, 401, 403, 409, 500, 503])
@pytest.mark.parametrize("id_type", [int, str])  # some servers make a text of it
async def test_an_answer_to_the_call_or_another_refusal_does_not_begin_a_session(
    tmp_path, http, status, id_type
):
    def refuse(seen):
        return json_reply(gone(seen) | {"id": id_type(seen.json["id"])}, status=status)

    server = Forgetful(http, refuse, lasts=0)
    async with a_host(
        tmp_path, over_http(http, Authorization="WIKI_TOKEN"), environ={"WIKI_TOKEN": "abc"}
    ) as host:
        assert "gone" in (await call(host, "wiki/echo")).text
        assert (server.sent, len(server.sessions)) == (1, 1)


NO_KEY = "If it needs a key, add headers to it in mcp.json."
NO_PATH = "Check the path of its url, which often ends in /mcp."
FAULT = "Try again later, or see the log of the server."
REFUSALS = {
    400: ("400 Bad Request", "Check its url and headers."),
    401: ("401 Unauthorized", NO_KEY),
    403: ("403 Forbidden", NO_KEY),
    404: ("404 Not Found", NO_PATH),
    405: ("405 Method Not Allowed", NO_PATH),
    429: ("429 Too Many Requests", FAULT),
    500: ("500 Internal Server Error", FAULT),
    503: ("503 Service Unavailable", FAULT),
    530: ("530", FAULT),
    418: ("418 I'm a Teapot", "Check its url and headers."),
}
BODIES = {
    "": "",
    "<html><body>no</body></html>": "",
    "<html><title>Sign in</title></html>": "Sign in",
    '{"error": "no"}': "no",
    '{"error": {"message": "The key has expired."}}': "The key has expired",
    '{"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "no"}}': "no",
    "Only members may enter\n": "Only members may enter",
}


async def test_a_server_that_refuses_is_told_by_its_status_its_words_and_what_they_mean(
    tmp_path, http
):
    for status, (name, step) in REFUSALS.items():
        for body, said in BODIES.items() if status == 401 else [*BODIES.items()][:1]:
            reply = json_reply if body.startswith("{") else text_reply
            content = json.loads(body) if body.startswith("{") else body
            http.unknown = lambda _, r=reply, c=content, status=status: r(c, status=status)
            async with a_host(tmp_path, over_http(http)) as host:
                words = f"The server wiki answers {name}{f': {said}' if said else ''}. {step}"
                assert await states(host) == {"wiki": words}
                assert (await call(host, "wiki/echo")).text == words
    http.unknown = lambda _: text_reply("", status=403)
    server = over_http(http, Authorization="WIKI_TOKEN")
    async with a_host(tmp_path, server, environ={"WIKI_TOKEN": "abc"}) as host:
        step = "Check its Authorization in mcp.json."
        assert await states(host) == {"wiki": f"The server wiki answers 403 Forbidden. {step}"}
    http.unknown = lambda seen: text_reply(f"no {seen.headers['authorization']} here", status=400)
    async with a_host(tmp_path, server, environ={"WIKI_TOKEN": "s3cret" * 20}) as host:
        assert "s3cr" not in (await states(host))["wiki"]
    http.unknown = lambda seen: text_reply(f"no {seen.path} here", status=400)
    keyed = McpSettings(name="wiki", url=f"{http.url}/${{WIKI_TOKEN}}/mcp")
    async with a_host(tmp_path, keyed, environ={"WIKI_TOKEN": "s3cret-garden"}) as host:
        words = "The server wiki answers 400 Bad Request: no /…/mcp here."
        assert (await states(host))["wiki"].startswith(words)
        assert (await call(host, "wiki/echo")).text.startswith(words)


async def test_a_refused_call_and_one_without_a_server_say_why_and_the_next_one_works(
    tmp_path, http
):
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
        words = f"The server wiki answers 502 Bad Gateway. {FAULT}"
        assert (await call(host, "wiki/echo")).text == words
        status = 200
        assert (await call(host, "wiki/refuse")).text == "The garden is closed"
        assert (await call(host, "wiki/echo", text="b")).text == "b"
        assert host.servers[0].state is ToolServerState.READY

        await asyncio.to_thread(http.stop)
        words = "The server wiki failed: Connection closed. Start it, or check its url."
        assert (await call(host, "wiki/echo")).text == words
        assert (await call(host, "wiki/echo")).is_error
        await asyncio.to_thread(http.start)
        assert (await call(host, "wiki/echo", text="c")).text == "c"


async def test_a_header_that_cannot_be_sent_is_refused_by_its_name_before_anything_starts(
    tmp_path, http
):
    for value in ("s3cret\nX-More: s3cret", "s3cret\x07", "s3crét", "s3cret\u202e"):
        server = over_http(http, Authorization="WIKI_TOKEN")
        async with a_host(tmp_path, server, environ={"WIKI_TOKEN": value}) as host:
            said = await states(host)
            assert said["wiki"].startswith(
                "The header Authorization of the server wiki has control characters "
                "or letters beyond ASCII"
            )
            assert (await call(host, "wiki/echo")).text == said["wiki"]
        assert "s3cr" not in said["wiki"]
    assert http.connections == 0
    assert not (tmp_path / "tools.log").exists()


async def test_without_the_sdk_each_server_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp.client.client", None)
    async with a_host(tmp_path, scripted(), functions=ONE) as host:
        words = f"The MCP SDK is not installed. Install it: {install_command('tools')}"
        assert await states(host) == {"files": words, "python": words}
        assert (await call(host, "python/one")).text == words
    assert not (tmp_path / "tools.log").exists()


FUNCTIONS = """
import os, re, time
from json import dumps
from pathlib import Path

def add(a: int, b: int = 2) -> int:
    "Add two numbers."
    print("this goes to the log")
    os.write(1, b"this too")
    return a + b

def broken(a): "Do nothing."
def fails(): "Divide by zero."; return 1 / 0
def leaves(): "Leave."; raise SystemExit(3)
def no_text(): "Name a file that is no text."; return "\\udcff"
def _private(a: int): "Not a tool."

def locks() -> None:
    "Let nothing else of the process run."
    Path("pid").write_text(f"{os.getpid()}\\n")
    re.match("(a|a)*b", 60 * "a")

async def blocks() -> None:
    "Let no other function run."
    Path("pid").write_text(f"{os.getpid()}\\n")
    time.sleep(600)
"""


@pytest.mark.timeout(120)
async def test_functions_of_a_corrected_file_are_tools_and_a_stopped_one_ends_with_its_process(
    tmp_path,
):
    async with a_host(tmp_path, functions="x = 1\ny = = 2\n") as host:
        hint = f"Correct {tmp_path / 'tools.py'}."
        words = f"tools.py, line 2: SyntaxError: invalid syntax. {hint}"
        assert await states(host) == {"python": words}
        (tmp_path / "tools.py").write_text("def f():\n    return {}['a']\nf()\n", encoding="utf-8")
        words = f"tools.py, line 2: KeyError: 'a'. {hint}"
        assert await states(host, restarts=True) == {"python": words}
        (tmp_path / "tools.py").write_text(FUNCTIONS, encoding="utf-8")
        (server,) = await host.start_servers(restarts=True)
        assert server.state is ToolServerState.READY
        assert server.error.startswith("tools.py, line 12: The function broken cannot be a tool:")
        assert (await call(host, "python/two")).text == "tools.py has no function two."
        assert "do not fit" in (await call(host, "python/add", a="\udcff")).text
        assert (await call(host, "python/add", a=1)).text == "3"
        blocking = ("locks", "blocks")
        texts = {}
        for name in [tool.name for tool in server.tools if tool.name not in blocking]:
            texts[name] = (await call(host, f"python/{name}")).text
        assert texts == {
            "add": "The arguments of add do not fit: needs a.",
            "fails": "tools.py, line 13: ZeroDivisionError: division by zero.",
            "leaves": "tools.py, line 14: SystemExit: 3.",
            "no_text": "?",
        }

        note = tmp_path / "pid"
        for name in blocking:  # each call starts another process
            running = asyncio.create_task(call(host, f"python/{name}", 60))
            await until(
                lambda: note.exists() and note.read_text(encoding="utf-8").endswith("\n"),
                "the function runs",
            )
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            pid = int(note.read_text(encoding="utf-8"))
            if name == blocking[0]:
                await until(lambda pid=pid: not is_running(pid), "the end of the process")
                note.unlink()
        await asyncio.sleep(0.2)  # the other one is being ended, as all are
    assert "this goes to the log\nthis too" in (tmp_path / "tools.log").read_text(encoding="utf-8")


async def test_a_program_that_ends_as_lmchat_does_is_not_started_again(tmp_path):
    starts = tmp_path / "starts"
    text = f"""import subprocess
open({str(starts)!r}, "a").write("x")
input()  # older programs end at a request that they do not know; this one leaves a child
subprocess.Popen(["sleep", "9"], stdin=-3, stdout=-3, stderr=-3)"""
    server = McpSettings(name="files", command=sys.executable, args=("-c", text))
    async with a_host(tmp_path, server) as host:
        starting = asyncio.create_task(host.start_servers())
        await until(starts.exists, "the start")
        await asyncio.sleep(0.4)
    await starting
    assert starts.read_text(encoding="utf-8") == "x"


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
        words = (
            "The server wiki failed: No entry with …. Check its url, or see the log of the server."
        )
        assert found == {"wiki": words}
    telling = "import os, sys; sys.exit(' '.join(os.environ[name] for name in 'ABC'))"
    keys = {"A": "s3cret-of-16-and-more", "B": "${SEED}", "C": "off"}
    told = scripted(args=("-c", telling), env=keys)
    async with a_host(tmp_path, told, environ={"SEED": "s3cret"}) as host:
        assert (await states(host))["files"].startswith("The server files failed: … … off.")
    quoting = scripted(args=(SCRIPT, "--max-tokens", "closed", "--author", "garden"))
    async with a_host(tmp_path, quoting) as host:
        assert (await call(host, "files/refuse")).text == "The garden is closed"


BED = {"type": "object", "properties": {"bed": {"type": "string"}}, "required": ["bed"]}


def tool(name, schema=BED, **more):
    return {"name": name, "inputSchema": schema} | more


USABLE = [
    # what only other clients need is not looked at
    tool("output", outputSchema={"$ref": "#/$defs/Bed", "$defs": {"Bed": {"type": "object"}}}),
    tool("texts", outputSchema="none", title=3, icons="x", execution=[], _meta=1),
    tool("notes", description=["A"], annotations={"readOnlyHint": "yes", "title": 7}),
    # the schema of a tool without arguments, or without the type that every one has
    tool("empty", {}),
    tool("null", None),
    tool("none of PHP", []),
    {"name": "none"},
    tool("dialect", {"$schema": "http://json-schema.org/draft-07/schema#"}),
    tool("untyped", {"properties": {"bed": {"type": "string"}}}),
    tool("nullable", {"type": ["object", "null"]}),
    tool("empty in PHP", {"type": "object", "properties": [], "required": {}}),
    tool("of lists", {"properties": {"bed": [], "plot": {"properties": []}}, "required": "bed"}),
    tool("ref", {"$ref": "#/$defs/Bed", "$defs": {"Bed": BED}}),
    # names that no request may have
    tool("weather.today now"),
    tool("Gärten/Beete"),
    tool("x" * 200),
    tool("x" * 199),
]
UNSEEN = "its name has unseen characters"
UNUSABLE = {
    "text": (tool("text", {"type": "string"}), "its inputSchema is of the type string, not object"),
    "list": (tool("list", [BED]), "its inputSchema is not an object"),
    "number 3": (None, "it has no name"),
    "number 4": (tool(" "), "it has no name"),
    "number 5": (tool(["a"]), "it has no name"),
    "wipe␛[2K Run": (tool("wipe\x1b[2K\rRun"), UNSEEN),
    "wipe   Run": (tool("wipe   Run"), UNSEEN),
}


async def over_both(tmp_path, http, pages, results=(), **handshake):
    """Yield the server with these pages of tools, over HTTP and as a program."""
    mcp_server.PAGES.clear()
    mcp_server.PAGES.update(pages)
    mcp_server.HANDSHAKE.update(handshake)
    http.unknown = mcp_reply
    mcp_server.RESULTS[:] = results
    program = (
        "from tests.support import mcp_server as m; m.PAGES |= {!r}; m.RESULTS += {!r}; "
        "m.HANDSHAKE |= {!r}; m.main()"
    )
    program = program.format(pages, mcp_server.RESULTS, handshake)
    root = str(Path(mcp_server.__file__).parents[3])
    piped = scripted("wiki", args=("-c", program), env={"PYTHONPATH": root})
    try:
        for server in (over_http(http), piped):
            async with a_host(tmp_path, server) as host:
                [state] = await host.start_servers()
                assert state.state is ToolServerState.READY
                yield host, state
    finally:
        mcp_server.PAGES.clear()
        mcp_server.HANDSHAKE.clear()


def mcp_reply(seen):
    if not seen.body:
        return text_reply("", status=405)
    found = mcp_server.replies(seen.json)
    return json_reply(found[-1]) if found else text_reply("", status=202)


async def test_a_definition_that_cannot_be_used_costs_its_tool_alone_and_says_why(tmp_path, http):
    pages = {None: {"tools": [*(bad for bad, _ in UNUSABLE.values()), *USABLE]}}
    async for host, state in over_both(tmp_path, http, pages):
        assert [one.name for one in state.tools] == [one["name"] for one in USABLE]
        assert all(one.schema["type"] == "object" for one in state.tools)
        schemas = {one.name: one.schema for one in state.tools}
        assert schemas["output"] == BED
        assert schemas["empty in PHP"] == {"type": "object"}
        wire_names = [one.wire_name for one in state.tools]
        assert len(set(wire_names)) == len(wire_names)
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in wire_names)
        named = ", ".join(f"{name} ({why})" for name, (_, why) in UNUSABLE.items())
        said = f"The server wiki has 7 tools that cannot be used: {named}."
        assert (state.error, state.next_step) == (said, "Tell its author.")
        assert (await call(host, "wiki/weather.today now", text="sun")).text == "sun"


@pytest.mark.parametrize(
    "handshake",
    [
        {"capabilities": [], "serverInfo": None},  # as PHP writes an empty object
        {"capabilities": {"tools": [], "logging": None, "experimental": []}},
        {"capabilities": {"tools": True}, "serverInfo": {"name": "wiki"}},
        {"serverInfo": {"name": "wiki", "version": 1.2, "icons": "x"}, "instructions": ["a"]},
    ],
)
async def test_what_a_server_says_of_itself_costs_no_tool(tmp_path, http, handshake):
    async for host, state in over_both(tmp_path, http, {None: {"tools": [tool("a")]}}, **handshake):
        assert [one.name for one in state.tools] == ["a"]
        assert state.error == ""
        assert (await call(host, "wiki/a", text="sun")).text == "sun"


async def test_a_list_of_tools_that_is_null_is_empty(tmp_path, http):
    async for _, state in over_both(tmp_path, http, {None: {"tools": None}}):
        assert (state.tools, state.error) == ((), "")


async def test_tools_are_listed_page_by_page_and_one_name_is_one_tool(tmp_path, http):
    """A cursor may be empty, and a server may repeat one for ever."""
    pages = {
        None: {"tools": [tool("a"), tool("b")], "nextCursor": ""},
        "": {"tools": [], "nextCursor": "x"},
        "x": {"tools": [tool("a"), tool("b", {}), tool("c")], "nextCursor": "x"},
    }
    async for _, state in over_both(tmp_path, http, pages):
        assert [(one.name, one.schema) for one in state.tools] == [
            ("a", BED),
            ("b", BED),
            ("c", BED),
        ]
        assert "1 tool that cannot be used: b (it is listed twice: the first" in state.error
    pages = {None: {"tools": [tool("a")], "nextCursor": 2, "_meta": 1}}  # and no page "2"
    async for _, state in over_both(tmp_path, http, pages):
        assert [one.name for one in state.tools] == ["a"]
        assert "the rest of its list (unknown cursor)" in state.error


async def test_a_server_without_tools_works_and_has_none(tmp_path, http):
    def reply(seen):
        if seen.body and seen.json["method"] == "tools/list":
            error = {"code": -32601, "message": "Method not found"}
            return json_reply({"jsonrpc": "2.0", "id": seen.json["id"], "error": error})
        return mcp_reply(seen)

    http.unknown = reply
    async with a_host(tmp_path, over_http(http)) as host:
        assert await states(host) == {"wiki": "ready"}


async def test_an_answer_that_is_not_mcp_is_told_in_plain_words(tmp_path, http):
    def answering(result):
        return lambda seen: json_reply({"jsonrpc": "2.0", "id": seen.json["id"], "result": result})

    broken = {
        "Failed to parse JSON response: its answer does not follow MCP": lambda _: json_reply(
            {"hello": "world"}
        ),
        "Unsupported protocol version from the server: 1999-01-01": answering(
            {
                "protocolVersion": "1999-01-01",
                "capabilities": {},
                "serverInfo": {"name": "old", "version": "1"},
            }
        ),
        "its answer does not follow MCP": answering({}),
        "Unexpected content type: text/html": lambda _: text_reply(
            "<html>hi</html>", headers={"Content-Type": "text/html"}
        ),
        "Redirect to https://elsewhere.example/mcp not followed; use that URL as the endpoint if "
        "it is the intended server": lambda _: text_reply(
            "", status=301, headers={"Location": "https://elsewhere.example/mcp"}
        ),
    }
    for words, reply in broken.items():
        http.unknown = reply
        async with a_host(tmp_path, over_http(http)) as host:
            said = await states(host)
            assert said == {
                "wiki": f"The server wiki failed: {words}. Check its url, or see the log of the server."
            }


async def test_the_older_transport_is_named_where_its_address_is_used(tmp_path, http):
    http.unknown = lambda _: text_reply("", status=405)
    async with a_host(tmp_path, McpSettings(name="old", url=f"{http.url}/sse")) as host:
        assert "does not speak its older transport (SSE)" in (await states(host))["old"]


async def test_an_error_without_an_id_answers_all_that_waits(tmp_path, http):
    """But not one behind a notification, which some servers answer: as `deaf` to `refuse`."""
    unnamed = SOURCE.replace(
        "    else:\n        return []",
        '    elif number is None:\n        return [{"jsonrpc": "2.0", "error": ERRORS["refuse"]}]',
    ).replace(
        "json.dumps(reply)\n", "json.dumps(reply | ({'id': None} if 'error' in reply else {}))\n"
    )
    deaf = unnamed.replace('"tools/list":', '"tools/list":\n        return [BROKEN]\n    elif 0:')
    broken = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "bad bean"}}
    deaf = deaf.replace("PAGE = 100", f"PAGE = 100\nBROKEN = {broken}")
    servers = []
    for name, source in {"unnamed": unnamed, "deaf": deaf}.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
        servers.append(scripted(name, args=(str(tmp_path / name),), timeout_s=5))
    async with a_host(tmp_path, *servers) as host:
        said = await states(host)
        assert said["unnamed"] == "ready"
        assert said["deaf"].startswith("The server deaf failed: bad bean.")
        waiting = asyncio.create_task(call(host, "unnamed/never"))
        await asyncio.sleep(0)
        results = [await call(host, "unnamed/refuse"), await waiting]
        assert [one.text for one in results] == ["The garden is closed"] * 2
        assert (await call(host, "unnamed/echo", text="a")).text == "a"

    def reply(seen):
        found = mcp_server.replies(seen.json) if seen.body else []
        if not found:
            return text_reply("", status=202 if seen.body else 405)
        return json_reply(found[-1] | ({"id": None} if "error" in found[-1] else {}))

    http.unknown = reply
    async with a_host(tmp_path, over_http(http)) as host:
        assert (await call(host, "wiki/refuse", _s=5)).text == "The garden is closed"


DEEP = 200_000 * "[" + 200_000 * "]"
ODD = {
    "list": '{"jsonrpc":"2.0","id":ID,"result":[1]}',
    "text": '{"jsonrpc":"2.0","id":ID,"result":"x"}',
    "null": '{"jsonrpc":"2.0","id":ID,"result":null}',
    "none": '{"jsonrpc":"2.0","id":ID}',
    "error in words": '{"jsonrpc":"2.0","id":ID,"error":"boom"}',
    "error without a code": '{"jsonrpc":"2.0","id":ID,"error":{"message":"boom"}}',
    "long number": f'{{"jsonrpc":"2.0","id":ID,"result":{5000 * "9"}}}',
    "long number within": f'{{"id":ID,"jsonrpc":"2.0","result":{{"content":[{5000 * "9"}]}}}}',
    "deep": f'{{"jsonrpc":"2.0","id":ID,"result":{DEEP}}}',
    "deep with its id behind": f'{{"result":{{"content":{DEEP}}},"jsonrpc":"2.0","id":ID}}',
    "byte order mark": '\ufeff{"jsonrpc":"2.0","id":ID,"result":null}',
    "id as a float": '{"jsonrpc":"2.0","id":ID.0,"result":{"content":[]}}',
    "id as text": '{"jsonrpc":"2.0","id":"ID","result":[]}',
    "two objects": '{"_meta":{},"id":ID,"jsonrpc":"2.0","result":[1]}',
    "older version": '{"jsonrpc":"1.0","id":ID,"result":{"content":[]}}',
    "no version": '{"id":ID,"result":{"content":[]}}',
    "no JSON number": '{"jsonrpc":"2.0","id":ID,"result":NaN}',
    "half an emoji": '{"jsonrpc":"2.0","id":ID,"result":"\\ud83c"}',
    "empty": '{"jsonrpc":"2.0","id":ID,"result":{}}',
    "batch": '[{"jsonrpc":"2.0","id":ID,"result":{"content":[]}}]',
}
NO_ANSWERS = [
    'DEBUG got {"jsonrpc":"2.0","id":ID,"method":"tools/call"}',
    "{'id': ID, 'result': 'of Python'}",
    '{"level":"debug","id":ID,"msg":"a log in JSON"}',
    '{"jsonrpc":"2.0","id":ID,"method":"roots/list","params":[]}',
    '{"jsonrpc":"2.0","id":ID,"result":',
    '{"jsonrpc":"2.0","id":99,"result":[1]}',
    "[]",
    "ID",
    "{" + 50_000 * "[",
]
NOT_MCP = "its answer does not follow MCP"


async def test_a_line_with_the_id_of_a_request_is_its_answer_at_once_and_its_server_stays(tmp_path):
    async with a_host(tmp_path, scripted()) as host:
        for what, line in ODD.items():
            result = await call(host, "files/echo", lines=[line])
            assert (what, result.text, result.is_error) == (what, NOT_MCP, True)
            assert host.servers[0].state is ToolServerState.READY
        right = '{"jsonrpc":"2.0","id":ID,"result":{"content":"right"}}'
        for line in NO_ANSWERS:
            assert (await call(host, "files/echo", lines=[line, right])).text == right[-8:-3], line
    steps = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":ID,%s}}'
    told = []
    async with a_host(tmp_path, scripted()) as host:
        await host.start_servers()
        odd = ('"progress":"half"', '"progress":null', '"progress":[]', '"message":"sown"')
        lines = [*(steps % step for step in odd), right]
        assert (await call(host, "files/echo", 1, told.append, lines=lines)).text == "right"
    assert told == ["sown"]


async def test_an_odd_answer_at_a_start_is_told_at_once(tmp_path):
    page = '{"jsonrpc":"2.0","id":ID,"result":{"tools":[{"name":"a"}],"nextCursor":"2"}}'
    starts = {
        "handshake": {"initialize": [ODD["list"]]},
        "discovery": {"server/discover": [ODD["long number"]]},
        "tools": {"tools/list": [ODD["error in words"]]},
        "more tools": {"tools/list": [page], "tools/list 2": [ODD["null"]]},
    }
    servers = [
        scripted(name, env={"RAW_LINES": json.dumps(lines)}) for name, lines in starts.items()
    ]
    async with a_host(tmp_path, *servers) as host, asyncio.timeout(30):
        said = await states(host)
        see = f"See {tmp_path / 'tools.log'}. {ENV}"
        for name in ("handshake", "tools"):
            assert said[name] == f"The server {name} failed: {NOT_MCP}. {see}"
        assert said["discovery"] == "ready"
        assert f"the rest of its list ({NOT_MCP})" in said["more tools"]
        assert (await call(host, "more tools/a", text="sun")).text == "sun"


async def test_half_an_emoji_costs_neither_the_server_nor_a_result(tmp_path, http):
    program = tmp_path / "server.py"
    program.write_text(
        SOURCE.replace(
            '{"name": name, "inputSchema"', '{"name": name, "description": "\\ud83c", "inputSchema"'
        ),
        encoding="utf-8",
    )
    async with a_host(tmp_path, scripted(args=(str(program),))) as host:
        [state] = await host.start_servers()
        assert state.tools[0].description == "�"
        assert (await call(host, "files/echo", text="leaf \ud83c")).text == "leaf �"

    def answering(kind):
        def reply(seen):
            found = mcp_server.replies(seen.json) if seen.body else []
            if not found:
                return text_reply("", status=202 if seen.body else 405)
            text = (
                json.dumps(found[-1]).replace("scripted", "\\ud83c").replace("leaf", "leaf \\ud83c")
            )
            frame = f"event: message\ndata: {text}\n\n" if kind == "text/event-stream" else text
            return body_reply(frame.encode(), content_type=kind)

        return reply

    for kind in ("application/json", "text/event-stream"):
        http.unknown = answering(kind)
        async with a_host(tmp_path, over_http(http)) as host:
            assert await states(host) == {"wiki": "ready"}
            assert (await call(host, "wiki/echo", text="leaf")).text == "leaf �"
            # more than the SDK takes of an event by itself
            assert not (await call(host, "wiki/echo", text="x" * 2**20)).is_error


# the end of what a program writes, and the line that tells why it has ended
LAST_WORDS = {
    "seedbank: starting\nseedbank: set SEED_TOKEN first\n": "seedbank: set SEED_TOKEN first",
    "no line end": "no line end",
    "\x1b[31mred\x1b[0m \x07bell\r\n\n \n": "red ␇bell",
    "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'SEED'\n": "KeyError: 'SEED'",
    "Error: no token\n    at a (b.js:1:2) {\n  code: 'E'\n}\n\nNode.js v22.3.0\n": "Error: no token",
    "npm error code E404\nnpm error 404 Not Found - GET https://registry.npmjs.org/seeds\n"
    "npm error 404\nnpm error 404  The package seeds could not be found.\nnpm error 404\n"
    "npm error 404 Note that you can also install from a\nnpm error 404 tarball, folder, http url, "
    "or git url.\nnpm error A complete log of this run can be found in: /a.log\nnpm notice\n": (
        "npm error 404  The package seeds could not be found"
    ),
    "error: No solution found\n  cause: Because seeds was not found.\n": (
        "cause: Because seeds was not found"
    ),
    "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?\n\n"
    "Run 'docker run --help' for more information\n": (
        "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?"
    ),
    "docker: invalid reference format.\nSee 'docker run --help'.\n": (
        "docker: invalid reference format"
    ),
    "thread 'main' panicked at m.rs:1:69:\nset TOKEN first: NotPresent\n"
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n": (
        "set TOKEN first: NotPresent"
    ),
    "panic: set TOKEN first\n\ngoroutine 1 [running]:\nmain.need(...)\n\t/g/main.go:3\n"
    "example.org/seeds.(*Bed).Run(0x0)\n\t/g/bed.go:4 +0x3d\nexit status 2\n": (
        "panic: set TOKEN first"
    ),
    "error: No solution found\n  cause: it is not in the cache.\n\nhint: The network is off.\n": (
        "cause: it is not in the cache"
    ),
    "  indented only\n": "indented only",
    "ab\xff": "ab�",
    "x" * 9000: "x" * 299 + "…",
}


async def test_a_program_that_ends_at_its_start_is_told_by_its_last_words(tmp_path):
    """With a log and without one, as in a temporary chat, or where it cannot be written."""
    servers = []
    for number, written in enumerate(LAST_WORDS):
        code = f"import os; os.write(2, {written.encode('latin-1')!r}); os._exit(3)"
        servers.append(McpSettings(name=str(number), command=sys.executable, args=("-c", code)))
    async with a_host(tmp_path, *servers) as host:
        said = await states(host)
    async with a_host(tmp_path, *servers[:2], has_log=False) as host:
        without = await states(host)
    for number, (written, words) in enumerate(LAST_WORDS.items()):
        name = str(number)
        failed = f"The server {name} failed: {words}."
        assert said[name] == f"{failed} See {tmp_path / 'tools.log'}. {ENV}"
        assert without.get(name, f"{failed} {ENV}") == f"{failed} {ENV}"
        assert written.encode("latin-1") in (tmp_path / "tools.log").read_bytes()
    (tmp_path / "tools.log").unlink()
    (tmp_path / "tools.log").mkdir()
    async with a_host(tmp_path, *servers[:2]) as host:
        assert await states(host) == without


async def test_what_a_program_writes_without_end_does_not_fill_the_disk(tmp_path):
    code = "import os; [os.write(2, b'x' * 65_535 + b'\\n') for _ in range(300)]"
    code += "; os.write(2, b'SEED_TOKEN is not set'); os._exit(3)"
    server = McpSettings(name="seeds", command=sys.executable, args=("-c", code))
    async with a_host(tmp_path, server) as host:
        assert "SEED_TOKEN is not set" in (await states(host))["seeds"]
    log = (tmp_path / "tools.log").read_bytes()
    assert (log.endswith(b"SEED_TOKEN is not set"), len(log) < 5_000_000) == (True, True)


async def test_a_program_without_errors_is_told_by_its_last_line_that_is_no_message(tmp_path):
    code = "print('Error: set SEED_TOKEN first\\n', flush=True); input()"
    server = McpSettings(name="seeds", command=sys.executable, args=("-c", code))
    async with a_host(tmp_path, server) as host:
        assert (await states(host))["seeds"].startswith(
            "The server seeds failed: Error: set SEED_TOKEN first. See "
        )


@pytest.mark.slow  # a limit of time
async def test_a_start_may_take_its_time_and_the_hint_after_it_speaks_of_time(tmp_path):
    """The program does not answer, or answers when the test has let it."""
    gate = tmp_path / "gate"
    waiting = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
    program = tmp_path / "slow.py"
    program.write_text(SOURCE.replace("def main():", f"{waiting}def main():"), encoding="utf-8")
    words = "import sys, time; sys.stderr.write('Open https://garden.example to sign in\\n'); "
    servers = (
        McpSettings(name="slow", command=sys.executable, args=(str(program),)),
        scripted("silent", args=("-c", words + "time.sleep(600)"), timeout_s=2),
        scripted("early"),
    )
    async with a_host(tmp_path, *servers) as host:
        starting = asyncio.create_task(states(host))
        # one that stops waiting stops at once, and no server with it
        waiter = asyncio.create_task(states(host))
        await asyncio.sleep(0)
        waiter.cancel()
        assert (await asyncio.wait([waiter], timeout=0.5))[0] == {waiter}
        gate.touch()
        found = await starting
        assert (found["slow"], found["early"]) == ("ready", "ready")
        assert found["silent"] == (
            "The server silent failed: no answer within 2 s. It said: Open https://garden.example "
            f"to sign in. See {tmp_path / 'tools.log'}. If it needs longer for its first start, "
            "set timeout_s in mcp.json."
        )
        # of a call, too
        never = await call(host, "silent/x", 60)
        assert never.text == "No answer within 2 s."


async def test_a_program_that_ends_at_any_request_but_its_handshake_works(tmp_path):
    """As servers do that are made with the Rust SDK of 2025: see the text of its error."""
    program = tmp_path / "strict.py"
    strict = SOURCE.replace(
        "        for reply in replies(json.loads(line)):",
        "        if not started and json.loads(line)['method'] != 'initialize':\n"
        "            sys.exit('Error: ExpectedInitializeRequest(Some(server/discover))')\n"
        "        started = True\n"
        "        for reply in replies(json.loads(line)):",
    ).replace("    for line in sys.stdin:", "    started = False\n    for line in sys.stdin:")
    program.write_text(strict, encoding="utf-8")
    async with a_host(tmp_path, scripted(args=(str(program),))) as host:
        assert await states(host) == {"files": "ready"}
        assert (await call(host, "files/echo", text="a")).text == "a"


async def test_what_cannot_be_started_is_told_with_its_cure(tmp_path, monkeypatch):
    files = {
        "plain": "",
        "lost": "#!/no/such/interpreter\n",
        "bare": "\x7f\x00\x01",
        "bad.exe": "x",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        (tmp_path / name).chmod(0o700 if content else 0o600)
    put(tmp_path, "serve", SOURCE)
    (tmp_path / "beds").mkdir()
    plain, beds, lost, bare = (tmp_path / name for name in ("plain", "beds", "lost", "bare"))
    npx = "Install Node.js, or set command to the path of npx."
    check = "Check its permissions (chmod u+x) and its first line (#!/usr/bin/env python3)."
    if os.name == "nt":
        check = "Name one that ends in .exe or .cmd."
    cases = {
        ("npx", ""): ("npx does not exist", npx),
        ("uvx", ""): (
            "uvx does not exist",
            "Install uv, or set command to the path of uvx.",
        ),
        ("node seeds.js --port 1", ""): ("node seeds.js --port 1 is not in PATH", INSTALL),
        ("./beds", ""): (f"{beds} cannot be run", check),
    }
    if os.name == "nt":
        cases |= {
            (f"./{file.name}", ""): (f"{file} cannot be run", check)
            for file in (plain, lost, bare, tmp_path / "bad.exe")
        }
        # Windows has one error for these
        cases |= {(PYTHON, name): (f"{tmp_path / name}: ", CHECK) for name in ("gone", "plain")}
    else:
        cases |= {
            ("./plain", ""): (f"{plain} cannot be run", check),
            ("./lost", ""): (f"{lost} cannot be run", check),
            ("./bare", ""): (f"{bare} cannot be run", check),
            (PYTHON, "gone"): (f"{tmp_path}/gone does not exist", CHECK),
            ("serve", "gone"): (f"{tmp_path}/gone does not exist", CHECK),
            (PYTHON, "plain"): (f"{plain}: Not a directory", CHECK),
        }
    for (command, cwd), (reason, hint) in cases.items():
        server = McpSettings(name="garden", command=command, cwd=cwd)
        with monkeypatch.context() as elsewhere:  # an environment of developers has uvx
            elsewhere.setattr(sys, "executable", str(tmp_path / "environment" / "python"))
            async with a_host(tmp_path, server, environ={"PATH": str(tmp_path)}) as host:
                [state] = await host.start_servers()
        assert state.error.startswith(f"The server garden cannot start: {reason}")
        assert state.next_step == hint
    # pip puts programs beside its Python, which need not be in PATH
    put(tmp_path / "environment", "mcp-server-beds", SOURCE)
    beside = McpSettings(name="beside", command="mcp-server-beds")
    with monkeypatch.context() as installed:
        installed.setattr(sys, "executable", str(tmp_path / "environment" / "python"))
        async with a_host(tmp_path, beside) as host:
            assert await states(host) == {"beside": "ready"}
    put(tmp_path / "a folder", "serve", SOURCE)
    home = McpSettings(name="home", command="~/a folder/serve", cwd="~")
    for variable in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(variable, str(tmp_path))
    async with a_host(tmp_path, home) as host:
        assert await states(host) == {"home": "ready"}


RESULTS = [
    ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
    ({"content": [], "structuredContent": {"rows": 3}}, '{"rows":3}'),
    # what the SDK does not know costs no more than its block
    ({"content": None, "structuredContent": [1]}, "[1]"),
    (
        {"content": [{"type": "widget", "x": 1}, {"type": "text", "text": "b"}]},
        "[widget: not shown]\nb",
    ),
    ({"content": [{"type": "text", "text": {"a": 1}}]}, '{"a":1}'),
    ({"content": [{"type": "resource", "resource": {"text": "inside"}}]}, "inside"),
    ({"content": [{"type": "resource_link", "uri": "x"}]}, "[resource_link: x]"),
    ({"content": ["plain", 7, None]}, "plain\n7\nnull"),
    ({"content": "plain"}, "plain"),
    ({"content": {"type": "text", "text": "one"}}, "one"),
    (
        {"content": [{"type": "text", "text": "a", "annotations": 3}], "_meta": 1, "isError": "no"},
        "a",
    ),
    (
        {"content": [{"type": "image", "data": 5, "mimeType": "image/png"}]},
        "[image/png: not shown]",
    ),
]


PIXEL = image(size=(4, 4))
PICTURES = {
    "data": {"type": "image", "data": b64encode(PIXEL).decode(), "mimeType": "image/jpeg"},
    "blob": {
        "type": "resource",
        "resource": {"uri": "x:y", "mimeType": "image/jpeg", "blob": b64encode(PIXEL).decode()},
    },
}


@pytest.mark.parametrize("block", PICTURES.values(), ids=PICTURES)
async def test_pictures_of_a_result_are_kept_by_their_names_in_the_text(tmp_path, http, block):
    sound = {"type": "audio", "mimeType": "audio/wav", "data": "AAAA"}
    many = [{"type": "text", "text": "Beds:"}, *11 * [block], sound]
    pages = {None: {"tools": [tool("echo")]}}
    names = [f"image-{number}.png" for number in range(1, 11)]
    rest = ["[image/jpeg: x:y]" if "resource" in block else "[image/jpeg: not shown]"]
    rest.append("[audio/wav: not shown]")
    async for host, _ in over_both(tmp_path, http, pages, results=[{"content": many}]):
        result = await call(host, "wiki/result", number=0)
        texts = ["Beds:", *(f"[image {name}]" for name in names), *rest]
        assert result.text == "\n".join(texts)
        assert result.images == dict.fromkeys(names, PIXEL)


async def test_a_result_is_read_as_far_as_it_can_be(tmp_path, http):
    pages = {None: {"tools": [tool("echo")]}}
    results = [result for result, _ in RESULTS]
    async for host, _ in over_both(tmp_path, http, pages, results):
        for number, (_, text) in enumerate(RESULTS):
            result = await call(host, "wiki/result", number=number)
            assert (result.text, result.is_error, result.images) == (text, False, {})
