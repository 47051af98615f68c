"""lmchat in a Python without what Windows lacks."""

from __future__ import annotations

import ast
import json

import pytest

from tests.support import mcp_server
from tests.support.programs import PYTHON, ROOT, Cli, run, write_tools
from tests.support.scripted_products import CHAT, LLAMA, calling, chat_reply, plain, router
from tests.support.scripted_server import ScriptedServer, json_reply

_MODULES = ("fcntl", "termios", "pwd", "grp", "resource", "tty", "pty", "readline")
_BLOCKED = f"""
import asyncio, os, signal, subprocess, sys, tempfile, types
import mcp.client.client, mcp.server.stdio  # it asks for Windows by name, which this is not
subprocess.Popen.kill = lambda process: process.send_signal(9)  # as Windows has it, without SIGKILL
for name in {_MODULES}:
    sys.modules[name] = None
for name in ("fork", "forkpty", "killpg", "getpgid", "getpgrp", "getsid", "pread", "ttyname", "mkfifo",
             "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY"):
    delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGTSTP", "SIGCONT", "SIGWINCH", "pause"):
    delattr(signal, name)
def start(process, *args, creationflags=0, start=subprocess.Popen.__init__, **options):
    start(process, *args, **options)
subprocess.Popen.__init__ = start
class WindowsJob:
    is_running = False
    def __init__(self, pid):
        self.end = lambda: os.kill(pid, 9)
sys.modules["lmchat.base.processes.windows_job"] = types.SimpleNamespace(WindowsJob=WindowsJob)
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *_: None)
"""
_EVERY_MODULE = """
import importlib, pkgutil, lmchat
for module in pkgutil.walk_packages(lmchat.__path__, "lmchat."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""
_COMMANDS = """
import json
from lmchat.__main__ import main
done, printed = [], sys.stdout
for words, typed in json.load(sys.stdin):
    sys.stdin, sys.stdout, sys.stderr = (
        tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(3)
    )
    sys.stdin.write(typed)
    sys.stdin.seek(0)
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    for file in (sys.stdout, sys.stderr):
        file.seek(0)
    done.append((code or 0, sys.stdout.read(), sys.stderr.read()))
printed.write(json.dumps(done))
"""
_MAY_IMPORT = (
    "app/terminal/",
    "base/processes/",
    "base/files/disk.py",
    "base/files/locks.py",
    "app/tui/quirks/driver.py",
)


def test_every_module_can_be_imported(tmp_path):
    done = run([PYTHON, "-c", _BLOCKED + _EVERY_MODULE], home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_what_deals_with_the_system_imports_posix_modules():
    for path in (ROOT / "lmchat").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imported = {
            *(name.name for node in nodes if isinstance(node, ast.Import) for name in node.names),
            *(node.module for node in nodes if isinstance(node, ast.ImportFrom)),
        }
        found = imported & {*_MODULES} - {"readline"}
        assert not found or str(path.relative_to(ROOT / "lmchat")).startswith(_MAY_IMPORT), path


def answer(seen):
    """Call a function where the request offers some and the prompt is the last message."""
    has_tools = bool(seen.json.get("tools")) and seen.json["messages"][-1]["role"] == "user"
    if has_tools:
        return calling(("python__add", '{"a": 3}'))
    return chat_reply(f"Answer {len(seen.json['messages'])} of {seen.json['model']}.")


@pytest.fixture
def other():
    """A server that is not known to lack tools."""
    with plain(ScriptedServer(), "tiny") as scripted:
        yield scripted.on(CHAT, answer)


@pytest.mark.timeout(90)
def test_commands_chats_imports_and_tools_work(tmp_path, server, other):
    without_tools = {"chat_template_caps": {"supports_tools": False}}
    router(server).on(CHAT, answer).on("GET /props", json_reply(without_tools, headers=LLAMA))
    cli = Cli(tmp_path)
    talk = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "Broad ones."}]
    (tmp_path / "chat.json").write_text(json.dumps({"messages": talk}))
    write_tools(cli, config="[tools]\napprove = 'always'\n")
    cli.add_servers(files={"command": PYTHON, "args": [mcp_server.__file__]})
    at = ["--endpoint", server.url, "-m", "small"]
    steps = [
        ([*at, "ask", "--save", "Say hello."], "", "Answer 1 of small."),
        ([*at, "ask", "-r", "last", "And again."], "", "Answer 3 of small."),
        ([*at, "--plain"], "Say hello.\n", "Answer 1 of small."),
        ([*at, "--plain", "-r", "last"], "And again.\n", "Answer 3 of small."),
        (["sessions"], "", "Say hello."),
        (["export", "last"], "", "Answer 3 of small."),
        (["config", "show"], "", "approve"),
        (["import", str(tmp_path / "chat.json")], "", ""),
        (["export", "last"], "", "Broad ones."),
        ([*at[:2], "compare", "-m", "small", "-m", "large", "Hi"], "", "Answer 1 of large."),
        (["tools", "call", "python/add", '{"a": 3}'], "", "5"),
        (["tools", "call", "files/echo", '{"text": "x"}'], "", "x"),
        (["--endpoint", other.url, "ask", "--tools", "3 and 2?"], "", "Answer 3 of tiny."),
    ]
    given = json.dumps([step[:2] for step in steps])
    argv = [PYTHON, "-c", f"{_BLOCKED}{_COMMANDS}"]
    done = run(argv, home=tmp_path, stdin=given, wait_s=60)
    assert done.returncode == 0, done.stderr
    for (words, _, wanted), (code, printed, told) in zip(
        steps, json.loads(done.stdout), strict=True
    ):
        assert code == 0, (words, told)
        assert wanted in printed, (words, told)
