"""lmchat in a Python without what Windows lacks."""

from __future__ import annotations

import ast
import json

import pytest

from tests.support.programs import PYTHON, Cli, run
from tests.support.pty_program import ROOT
from tests.support.scripted_server import DONE, finish, sse

_MODULES = ("fcntl", "termios", "pwd", "grp", "resource", "tty", "pty", "readline")
_BLOCKED = f"""
import asyncio, os, signal, sys, tempfile, types
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *_: None)
for name in {_MODULES}:
    sys.modules[name] = None
for name in ("fork", "forkpty", "killpg", "getpgid", "getpgrp", "getsid", "pread", "ttyname", "mkfifo",
             "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY"):
    delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGTSTP", "SIGCONT", "SIGWINCH"):
    delattr(signal, name)
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
    def argv(self, *words: str) -> list[str]:
        return [PYTHON, "-c", _BLOCKED + _LMCHAT, *super().argv(*words)[3:]]


@pytest.fixture
def without(tmp_path, server):
    return CliWithoutPosix(tmp_path, server.url)


def test_every_module_can_be_imported(tmp_path):
    done = run([PYTHON, "-c", _BLOCKED + _EVERY_MODULE], home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_what_deals_with_the_system_imports_posix_modules():
    for path in (ROOT / "lmchat").rglob("*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
        found = {name.name for node in imports for name in node.names} & {*_MODULES} - {"readline"}
        assert not found or str(path.relative_to(ROOT / "lmchat")).startswith(_MAY_IMPORT), path


@pytest.mark.parametrize("words", [("--help",), ("config", "show"), ("sessions",), ("doctor", "--help")])
def test_a_command_runs(without, words):
    done = without(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "There are no saved sessions." in done.stderr


def test_an_answer_comes_is_saved_and_found(without, server):
    server.on("POST /v1/chat/completions", sse("Hel", "lo.", finish(), DONE))
    done = without("ask", "--save", "Say hello.")
    assert (done.returncode, done.stdout) == (0, "Hello.\n"), done.stderr
    assert "Say hello." in without("sessions").stdout
    assert "Hello." in without("export", "last").stdout


def test_a_value_is_checked_against_its_schema(tmp_path):
    check = "del signal.setitimer; from lmchat.structured.schema import answer; answer()"
    given = json.dumps([{"type": "integer"}, "It is 7: 7", "", 5.0])
    done = run([PYTHON, "-c", _BLOCKED + check], home=tmp_path, stdin=given)
    assert (done.returncode, done.stdout) == (0, '[null, "it has no JSON value"]'), done.stderr


def test_the_plain_chat_answers(without, server):
    server.on("POST /v1/chat/completions", sse("Hel", "lo.", finish(), DONE))
    done = without("--plain", stdin="Say hello.\n")
    assert done.returncode == 0, done.stderr
    assert "Hello." in done.stdout
