"""Keys of a real console of Windows, which needs no screen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.programs import clean_environment

PROGRAM = """
import asyncio, ctypes, signal, sys
from pathlib import Path
from textual.app import App
from textual.drivers import win32
from textual.widgets import TextArea
from lmchat.app.tui.quirks.driver import guard_terminal

SHIFT = 0x10

def type_text(text):
    units = text.encode("utf-16-le")
    records = (win32.INPUT_RECORD * len(units))()
    for place, record in enumerate(records):
        at = place // 2 * 2
        char = units[at:at + 2].decode("utf-16-le", "surrogatepass")
        record.EventType = 1
        record.Event.KeyEvent.bKeyDown = place % 2 == 0
        record.Event.KeyEvent.wVirtualKeyCode = SHIFT if char == "\\0" else 0
        record.Event.KeyEvent.uChar.UnicodeChar = char
    console, count = win32.GetStdHandle(win32.STD_INPUT_HANDLE), win32.DWORD()
    win32.KERNEL32.WriteConsoleInputW(console, ctypes.byref(records), len(records), ctypes.byref(count))

class Typed(App):
    def compose(self):
        yield TextArea()

    def on_mount(self):
        type_text("\\0" + "a" * 510 + "\\N{SLIGHTLY SMILING FACE}b")

    def on_text_area_changed(self, event):
        if event.text_area.text.endswith("b"):
            signal.raise_signal(signal.SIGBREAK)  # as Ctrl+Break does

    async def save(self):
        Path(sys.argv[1]).write_text(self.query_one(TextArea).text, encoding="utf-8")

async def main():
    app = Typed()
    guard_terminal(app, app.save)
    await app.run_async()
    sys.exit(app.return_code)

asyncio.run(main())
"""


@pytest.mark.windows
def test_a_read_may_cut_a_character_shift_alone_types_nothing_and_ctrl_break_saves(tmp_path):
    assert run_in_console(PROGRAM, tmp_path / "typed") == 128 + signal.SIGBREAK
    assert (tmp_path / "typed").read_text(encoding="utf-8") == "a" * 510 + "🙂b"


REDIRECTED = """
import subprocess, sys
from pathlib import Path
argv = [sys.executable, "-m", "lmchat"]
done = subprocess.run(argv, stdin=open("CONIN$"), stdout=subprocess.PIPE, stderr=open("CONOUT$", "w"))
Path(sys.argv[1]).write_bytes(done.stdout)
sys.exit(done.returncode)
"""


@pytest.mark.windows
def test_the_screen_is_not_drawn_into_a_file(tmp_path):
    assert run_in_console(REDIRECTED, tmp_path / "printed") == 2
    assert (tmp_path / "printed").read_bytes() == b""


def run_in_console(program, path):
    argv = [sys.executable, "-c", program, str(path)]
    environ = os.environ | clean_environment(path.parent)
    flags = subprocess.CREATE_NO_WINDOW
    return subprocess.run(  # noqa: S603 - our own words
        argv, creationflags=flags, env=environ, timeout=50, check=False
    ).returncode
