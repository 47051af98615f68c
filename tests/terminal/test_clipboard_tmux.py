"""The clipboard inside a real tmux with its default configuration, with a terminal around it."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.programs import run
from tests.support.pty_program import PtyProgram

pytestmark = pytest.mark.slow
WORDS = "words for the clipboard, 漢字"
_COPY = f"""
import asyncio, os, pathlib
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.terminal_checks import try_ways

clipboard = Clipboard(environ=os.environ, write=lambda data: False, file=pathlib.Path("unused"))

async def tell():
    for way in await try_ways(clipboard):
        print("tried", way.way, way.works, way.reason, flush=True)

asyncio.run(tell())
input()
print(asyncio.run(clipboard.copy({WORDS!r})).words, flush=True)
input()
"""


@contextmanager
def inside_tmux(folder: Path, term: str) -> Iterator[tuple[PtyProgram, list[str]]]:
    """Run the script above in a window of tmux, with `term` around it."""
    tmux = shutil.which("tmux")
    assert tmux, "this test needs tmux 3.2 or later: install it, or leave out the slow tests"
    script = folder / "copy.py"
    script.write_text(_COPY)
    server = [tmux, "-S", str(folder / "socket"), "-f", os.devnull]
    environ = {"PYTHONPATH": os.getcwd(), "TERM": term}  # noqa: PTH109 - text for the environment
    argv = [*server, "new-session", f"{sys.executable} {script}"]
    with PtyProgram(argv, home=folder, env=environ, size=(240, 30)) as program:
        try:
            yield program, server
        finally:
            run([*server, "kill-server"])


def buffers(server: list[str]) -> str:
    return run([*server, "list-buffers"]).stdout


def test_the_terminal_around_it_gets_the_text_and_its_buffer_too(tmp_path: Path) -> None:
    with inside_tmux(tmp_path, "xterm-256color") as (program, server):
        program.wait_for("tried tmux True")
        program.wait_for("tried file")
        assert buffers(server) == "", "the doctor leaves no buffer behind"
        assert b"\x1b]52;" not in program.raw, "nor anything in the clipboard of the terminal"
        program.type("\r", sees="Copied (tmux, passed on to its terminal)")
        program.wait_for_raw(b"\x1b]52;")
        program.wait_for_raw(base64.b64encode(WORDS.encode()))
        assert run([*server, "show-buffer"]).stdout == WORDS
        program.type("\r")
        assert program.wait_exit() == 0


def test_a_terminal_of_which_tmux_knows_no_clipboard_is_told_as_such(tmp_path: Path) -> None:
    with inside_tmux(tmp_path, "screen-256color") as (program, server):
        program.wait_for("tried tmux False")
        program.wait_for("screen-256color:clipboard")
        program.wait_for("tried file")
        program.type("\r", sees="Copied inside tmux: paste with prefix ]")
        assert run([*server, "show-buffer"]).stdout == WORDS
        assert b"\x1b]52;" not in program.raw
