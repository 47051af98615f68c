"""lmchat in a Python without what Windows lacks."""

from __future__ import annotations

import ast
import json
import os
import subprocess

import pytest

from lmchat.machine.watchdog import ALL_INPUT, watched
from tests.e2e.test_cli_tools import calling
from tests.support import mcp_server
from tests.support.programs import PYTHON, WAIT_S, Cli, run, start
from tests.support.pty_program import ROOT
from tests.support.scripted_products import CHAT, chat_reply, router

_MODULES = ("fcntl", "termios", "pwd", "grp", "resource", "tty", "pty", "readline")
_WITHOUT_ANY_LOCK = f"""
import asyncio, os, signal, subprocess, sys, tempfile, types
subprocess.Popen.kill = lambda process: process.send_signal(9)  # as Windows has it, without SIGKILL
for name in {_MODULES}:
    sys.modules[name] = None
for name in ("fork", "forkpty", "killpg", "getpgid", "getpgrp", "getsid", "pread", "ttyname", "mkfifo",
             "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY"):
    delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGTSTP", "SIGCONT", "SIGWINCH", "pause"):
    delattr(signal, name)
"""
_BLOCKED = f"""{_WITHOUT_ANY_LOCK}
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *_: None)
"""
_EVERY_MODULE = """
import importlib, pkgutil, lmchat
for module in pkgutil.walk_packages(lmchat.__path__, "lmchat."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""
_LMCHAT = "import runpy; sys.argv[0] = 'lmchat'; runpy.run_module('lmchat', run_name='__main__')"
_MAY_IMPORT = ("terminal/", "machine/", "engine/", "tui/quirks/driver.py")


class CliWithoutPosix(Cli):
    """Commands of a user whose Python lacks what Windows lacks."""

    blocked = _BLOCKED

    def argv(self, *words: str) -> list[str]:
        return [PYTHON, "-c", self.blocked + _LMCHAT, *super().argv(*words)[3:]]


@pytest.fixture(params=[_BLOCKED, _WITHOUT_ANY_LOCK], ids=["as on Windows", "without any lock"])
def without(request, tmp_path, server):
    cli = CliWithoutPosix(tmp_path, server.url)
    cli.blocked = request.param
    return cli


def test_every_module_can_be_imported(tmp_path):
    done = run([PYTHON, "-c", _BLOCKED + _EVERY_MODULE], home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_what_deals_with_the_system_imports_posix_modules():
    for path in (ROOT / "lmchat").rglob("*.py"):
        imports = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)
        ]
        found = {name.name for node in imports for name in node.names} & {*_MODULES} - {"readline"}
        assert not found or str(path.relative_to(ROOT / "lmchat")).startswith(_MAY_IMPORT), path


@pytest.mark.parametrize(
    "words", [("--help",), ("config", "show"), ("sessions",), ("doctor", "--help")]
)
def test_a_command_runs(without, words):
    done = without(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "There are no saved sessions." in done.stderr


def test_a_value_is_checked_against_its_schema(tmp_path):
    check = "del signal.setitimer; from lmchat.structured.json_schema import check_from_stdin; check_from_stdin()"
    order = {"schema": {"type": "integer"}, "text": "It is 7: 7", "thought": "", "limit_s": 5.0}
    given = json.dumps(order)
    done = run([PYTHON, "-c", _BLOCKED + check], home=tmp_path, stdin=given)
    assert (done.returncode, done.stdout) == (0, '{"misfit": "it has no JSON value"}'), done.stderr


def test_code_gets_its_colours_from_a_child_that_is_ended_where_it_hangs(tmp_path):
    colours = """
from lmchat.machine.highlighter import Highlighter
async def main():
    highlighter = Highlighter(limit_s=1)
    for language, code in (("python", "x = 1"), ("fish", '"' + 60 * chr(92)), ("python", "# x")):
        print(await highlighter.colours(language, code))
    await highlighter.aclose()
asyncio.run(main())
"""
    done = run([PYTHON, "-c", _BLOCKED + colours], home=tmp_path)
    expected = [repr(b"\0\0\0\0\4"), "None", repr(b"\1\1\1")]
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr


def test_a_saved_session_goes_on(without, server):
    server.on(CHAT, chat_reply("Hello."), chat_reply("Hello again."))
    assert without("ask", "--save", "Say hello.").returncode == 0
    done = without("ask", "-r", "last", "And again.")
    assert (done.returncode, done.stdout) == (0, "Hello again.\n"), done.stderr
    assert [message["content"] for message in server.seen(CHAT)[1].json["messages"]] == [
        *("Say hello.", "Hello.", "And again."),
    ]
    assert "Hello again." in without("export", "last").stdout


def test_a_chat_of_another_program_is_imported(without, tmp_path):
    talk = [
        {"role": "user", "content": "Which beans?"},
        {"role": "assistant", "content": "Broad ones."},
    ]
    (tmp_path / "chat.json").write_text(json.dumps({"messages": talk}))
    done = without("import", str(tmp_path / "chat.json"))
    assert done.returncode == 0, done.stderr
    assert "Broad ones." in without("export", "last").stdout


def test_models_are_compared(without, server):
    router(server)
    done = without("compare", "-m", "small", "-m", "large", "Hi")
    assert done.returncode == 0, done.stderr
    assert "## large\nHello there." in done.stdout


def test_the_plain_chat_saves_and_goes_on(without, server):
    server.on(CHAT, chat_reply("Hello."), chat_reply("Hello again."))
    done = without("--plain", stdin="Say hello.\n")
    assert (done.returncode, "Hello." in done.stdout) == (0, True), done.stderr
    done = without("--plain", "-r", "last", stdin="And again.\n")
    assert (done.returncode, "Hello again." in done.stdout) == (0, True), done.stderr
    assert len(server.seen(CHAT)[1].json["messages"]) == 3


def write_tools(cli):
    server = f"command = '{PYTHON}'\nargs = ['{mcp_server.__file__}']\n"
    cli.configure(f"[tools]\napprove = 'always'\n[[mcp]]\nname = 'files'\n{server}")
    (cli.folder / "tools.py").write_text(
        "def add(a: int) -> int:\n    'Add 2.'\n    return a + 2\n"
    )


def test_tools_run(without, server):
    write_tools(without)
    for name, arguments, expected in (
        ("python/add", '{"a": 3}', "5"),
        ("files/echo", '{"text": "x"}', "x"),
    ):
        done = without("tools", "call", name, arguments)
        assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("It is 5."))
    done = without("ask", "--tools", "3 and 2?")
    assert (done.returncode, "It is 5." in done.stdout) == (0, True), done.stderr


def test_the_tool_host_itself_runs_under_its_watchdog(tmp_path):
    """The children of the test above have a whole Python: here they are the ones that lack something."""
    (tmp_path / "taskkill").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "taskkill").chmod(0o755)
    (tmp_path / "tools.py").write_text("def add(a: int) -> int:\n    'Add 2.'\n    return a + 2\n")
    orders = {"functions": str(tmp_path / "tools.py"), "folder": str(tmp_path), "log": "tools.log"}
    order = {"number": 1, "server": "python", "tool": "add", "arguments": {"a": 3}}
    child = [PYTHON, "-c", f"{_BLOCKED}from lmchat.tools.host_program import main; main()"]
    words = watched(child, stdin=ALL_INPUT, grace_s=10.0)[4:]
    watchdog = f"{_BLOCKED}from lmchat.machine.watchdog import main; sys.argv[1:] = {words!r}; sys.exit(main())"
    lines = "".join(f"{json.dumps(line)}\n" for line in (orders, order))
    process = start(
        [PYTHON, "-c", watchdog],
        home=tmp_path,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
    )
    process.stdin.write(lines.encode())
    process.stdin.flush()
    reports = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert reports[1]["result"]["text"] == "5"
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
