"""Runs any program on a real pseudo-terminal and shows what a person would see.

    with PtyProgram([sys.executable, "-m", "lmchat"], home=tmp_path, size=(80, 24)) as program:
        program.wait_for("Plan for the garden")
        program.type("and in full shade?\r")
        program.kill(signal.SIGTERM)
        assert program.wait_exit() == 143

Every wait is for a condition. It blocks, so tests that use it are plain functions. What to type is
given as text or bytes, as a terminal sends it.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unicodedata
from codecs import getincrementaldecoder
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil
import pyte.screens
from pyte.screens import wcwidth

from tests.support.programs import ROOT, clean_environment

ALTERNATE_SCREEN = 1049
_STRING = r"[PX^_](?:[^\x1b]|\x1b\x1b)*"  # of an image, or passed on by tmux
_UNKNOWN_TO_PYTE = re.compile(
    rf"\x1b\[[<=>][0-9;]*[@-~]|\x1b\[\?[0-9;]*[sru]|\x1b\](?![012];)[^\x07\x1b]*(?:\x07|\x1b\\)|\x1b{_STRING}\x1b\\"
)
_UNFINISHED = re.compile(rf"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|{_STRING}\x1b?)?\Z")
_FRAME_START = "\x1b[?2026h"
_FRAME_END = "\x1b[?2026l"
_ASKED_KIND = b"\x1b[c"  # the last question of a program that leaves
_ANSWERS = {b"\x1b[?2026$p": b"\x1b[?2026;2$y", _ASKED_KIND: b"\x1b[?62;22c"}
_KITTY_PUSH = re.compile(r"\x1b\[>[0-9;]*u")
_KITTY_POP = re.compile(r"\x1b\[<[0-9;]*u")


def joined_cells(char: str) -> int:
    """Return the cells of a character; as in tmux and the C library, a letter of a flag has one."""
    return 1 if "\U0001f1e6" <= char <= "\U0001f1ff" else wcwidth(char)


def own_cells(char: str) -> int:
    """Return the cells of a character where each has its own, as in tmux 3.3a and Alacritty.

    There, vowel signs beside a letter and skin tones have cells, and a joiner joins nothing.
    """
    return 1 if unicodedata.category(char) == "Mc" else joined_cells(char)


def count_cells(count: Callable[[str], int]) -> None:
    """Let all terminals count so; pyte asks a function of its module."""
    pyte.screens.wcwidth = count


count_cells(joined_cells)


class MemoryScreen(pyte.Screen):
    """A screen that keeps what stood there before the alternate screen, and knows its private
    modes.

    pyte drops vowel signs, joiners and selectors, and with them the rest of the text; it also
    stacks saved cursors. As in tmux and xterm, a character without a cell joins the cell before it
    here, and one saved cursor is kept until the next one is saved.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.private_modes: set[int] = {7, 25}
        self.is_left_blank = True  # the alternate screen
        self._main: list[str] = []
        super().__init__(columns, lines)

    def set_mode(self, *modes: int, **kwargs: object) -> None:
        if kwargs.get("private"):
            if ALTERNATE_SCREEN in modes and ALTERNATE_SCREEN not in self.private_modes:
                self._main = [line.rstrip() for line in self.display]
                self.erase_in_display(2)
            self.private_modes.update(modes)
        super().set_mode(*modes, **kwargs)

    def reset_mode(self, *modes: int, **kwargs: object) -> None:
        if kwargs.get("private"):
            if ALTERNATE_SCREEN in modes and ALTERNATE_SCREEN in self.private_modes:
                self.is_left_blank = not "".join(self.display).strip()
                self._bring_back_main()
            self.private_modes.difference_update(modes)
        super().reset_mode(*modes, **kwargs)

    def draw(self, data: str) -> None:
        start = 0
        for end, char in enumerate(data):
            if not char.isascii() and pyte.screens.wcwidth(char) == 0:
                super().draw(data[start:end])
                self._join(char)
                start = end + 1
        super().draw(data[start:])

    def save_cursor(self) -> None:
        self.savepoints.clear()
        super().save_cursor()

    def restore_cursor(self) -> None:
        super().restore_cursor()
        super().save_cursor()

    def _join(self, char: str) -> None:
        row = self.buffer[self.cursor.y]
        for x in range(self.cursor.x - 1, -1, -1):
            if row[x].data:  # the second cell of a wide character holds nothing
                row[x] = row[x]._replace(data=row[x].data + char)
                self.dirty.add(self.cursor.y)
                return

    def _bring_back_main(self) -> None:
        self.erase_in_display(2)
        self.cursor_position(1, 1)
        for line in "\n".join(self._main).rstrip().split("\n"):
            self.draw(line)
            self.linefeed()
            self.carriage_return()


class Terminal:
    """Takes the bytes of a program and tells what a person would see.

    A frame that the program marks (mode 2026, synchronized output) is seen when it is whole.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = MemoryScreen(columns, lines)
        self.kitty_depth = 0
        self._rows: dict[int, str] = {}
        """What was last read: tests look at the screen again and again, and only some of it changes."""
        self._stream = pyte.Stream(self.screen)
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def feed(self, data: bytes) -> None:
        text = self._held + self._decode(data)
        end = self._whole_until(text)
        self._held = text[end:]
        text = text[:end]
        self.kitty_depth += len(_KITTY_PUSH.findall(text)) - len(_KITTY_POP.findall(text))
        self._stream.feed(_UNKNOWN_TO_PYTE.sub("", text))

    def _whole_until(self, text: str) -> int:
        """Where the first frame or control sequence starts whose end has not come yet."""
        frame = text.rfind(_FRAME_START)
        if frame > text.rfind(_FRAME_END):
            return frame
        unfinished = _UNFINISHED.search(text)
        return unfinished.start() if unfinished else len(text)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines=lines, columns=columns)

    @property
    def cells(self) -> list[list[str]]:
        rows = (self.screen.buffer[y] for y in range(self.screen.lines))
        return [[row[x].data for x in range(self.screen.columns)] for row in rows]

    @property
    def lines(self) -> list[str]:
        dirty = self.screen.dirty  # an accent may change the end of the row before
        for y in {*dirty, *(y - 1 for y in dirty if y)}:
            row = self.screen.buffer[y]
            # the second cell of a wide sign holds nothing: in the middle of a frame it may stand
            # alone
            self._rows[y] = "".join(row[x].data for x in range(self.screen.columns)).rstrip()
        dirty.clear()
        return [self._rows.get(y, "") for y in range(self.screen.lines)]


WAIT_S = 20.0
# The program must be the leader of its session, or the kernel sends it neither SIGWINCH nor SIGHUP.
_LAUNCHER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvpe(sys.argv[1], sys.argv[1:], os.environ)
"""
_MODES_TO_GIVE_BACK = frozenset(
    {1000, 1002, 1003, 1004, 1006, 1015, 1016, ALTERNATE_SCREEN, 2004, 2026, 2031, 2048}
)


class PtyProgram:
    """One program on a pty of its own, with a clean environment."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        home: Path | None = None,
        size: tuple[int, int] = (80, 24),
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self._master, self._slave = os.openpty()
        self._set_size(*size)
        self._attributes = termios.tcgetattr(self._slave)
        self._terminal = Terminal(*size)
        self._raw = bytearray()
        self.is_slow = False  # whether a test answers the last question itself
        self._changed = threading.Condition()
        self._wake_read, self._wake_write = os.pipe()
        self.process = subprocess.Popen(  # noqa: S603 - the tests say what runs
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, *argv],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=clean_environment(home) | dict(env or {}),
            cwd=cwd,
            start_new_session=True,
        )
        self.read_again()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What the program shows

    @property
    def raw(self) -> bytes:
        with self._changed:
            return bytes(self._raw)

    def screen(self) -> list[str]:
        with self._changed:
            return self._terminal.lines

    @property
    def text(self) -> str:
        return "\n".join(self.screen())

    def cells(self) -> list[list[str]]:
        """What stands in each cell of each row; the second cell of a wide character holds nothing."""
        with self._changed:
            return self._terminal.cells

    @property
    def title(self) -> str:
        with self._changed:
            return self._terminal.screen.title

    @property
    def private_modes(self) -> set[int]:
        """The modes (`\\x1b[?Nh`) that are on now; at first 7 (wrap) and 25 (cursor)."""
        with self._changed:
            return set(self._terminal.screen.private_modes)

    def left_behind(self) -> list[str]:
        """What is not as it was before the program started; empty is right."""
        with self._changed:
            modes = set(self._terminal.screen.private_modes)
            kitty = self._terminal.kitty_depth
        found = [f"mode {mode} is on" for mode in sorted(modes & _MODES_TO_GIVE_BACK)]
        found += [f"mode {mode} is off" for mode in (7, 25) if mode not in modes]
        found += [f"keyboard protocol pushed {kitty} times more than popped"] if kitty else []
        found += [] if self._terminal.screen.is_left_blank else ["rows on the alternate screen"]
        if self.raw.rfind(b"\x1b[>4;2m") > self.raw.rfind(b"\x1b[>4m"):
            found.append("modified keys are sent as xterm does")
        if termios.tcgetattr(self._slave) != self._attributes:
            found.append("termios attributes differ")
        return found

    # Waiting

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S
    ) -> None:
        """Wait until a condition on the screen holds; it is asked again after every output."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            with self._changed:
                self._changed.wait(0.05)  # it may also be about a file: ask at least so often
            if time.monotonic() > deadline and not condition():
                raise AssertionError(f"not within {timeout_s} s: {what}\n{self._report()}")

    def wait_for(self, wanted: str | re.Pattern[str], timeout_s: float = WAIT_S) -> None:
        if isinstance(wanted, str):
            self.wait_until(lambda: wanted in self.text, repr(wanted), timeout_s)
        else:
            self.wait_until(lambda: bool(wanted.search(self.text)), wanted.pattern, timeout_s)

    def wait_asked_last(self) -> None:
        """Wait for the last question of a program that leaves; `is_slow` must be set before."""
        self.wait_until(lambda: _ASKED_KIND in self.raw, "the last question")

    def unread(self) -> int:
        """Return the bytes that the next program would get as if they were typed."""
        attributes = termios.tcgetattr(self._slave)
        attributes[3] &= ~termios.ICANON  # else only whole lines count
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)
        size = self._queued()
        termios.tcsetattr(self._slave, termios.TCSANOW, self._attributes)
        return size

    def wait_taken(self) -> None:
        """Wait until a program that reads keys has read what was typed; Ctrl+C would drop the rest."""

        def is_taken() -> bool:
            is_by_line = termios.tcgetattr(self._slave)[3] & termios.ICANON
            return not is_by_line and not self._queued()

        self.wait_until(is_taken, "the keys are taken")

    def _queued(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, bytes(4)))[0])

    def wait_gone(self, text: str) -> None:
        self.wait_until(lambda: text not in self.text, f"{text!r} gone")

    def wait_quiet(self, quiet_s: float = 1.0) -> None:
        """Wait until the program has drawn nothing and slept for a while.

        On a busy machine, one that has something to draw waits for the processor; then it does not
        sleep.
        """
        drawn = -1
        since_s = 0.0

        def is_quiet() -> bool:
            nonlocal drawn, since_s
            if len(self.raw) != drawn or self.state() != "sleeping":
                drawn = len(self.raw)
                since_s = time.monotonic()
            return time.monotonic() - since_s >= quiet_s

        self.wait_until(is_quiet, "the program is quiet")

    def wait_exit(self, timeout_s: float = WAIT_S) -> int:
        """Wait for the end, read the rest of the output; return the status as a shell does (128 + signal)."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s\n{self._report()}") from None
        self.stop_reading()
        return status if status >= 0 else 128 - status

    # Acting

    def type(self, keys: str | bytes, *, sees: str | re.Pattern[str] = "", hides: str = "") -> None:
        """Send keys in one write, as a terminal would: `\\r` is Enter, `\\x1b` Esc; wait for what they do."""
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            data = data[os.write(self._master, data) :]
        if sees:
            self.wait_for(sees)
        if hides:
            self.wait_gone(hides)

    def paste(self, text: str) -> None:
        self.type(f"\x1b[200~{text}\x1b[201~")

    def wipe(self) -> None:
        """Forget what the program has drawn, so that only what it draws from now on is seen."""
        with self._changed:
            self._terminal.screen.erase_in_display(2)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the terminal; the kernel tells the program."""
        with self._changed:
            self._terminal.resize(columns, lines)
        self._set_size(columns, lines)

    def kill(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def hang_up(self) -> None:
        """Close the terminal, as a window does when it is closed."""
        self.stop_reading()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def is_full(self) -> bool:
        """Whether the kernel's buffer is full: whoever writes now has to wait."""
        return not select.select([], [self._slave], [], 0)[1]

    def read_again(self) -> None:
        self._reader = threading.Thread(target=self._read, name="pty-reader")
        self._reader.start()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.stop_reading()
        for number in (self._master, self._slave, self._wake_read, self._wake_write):
            if number >= 0:
                os.close(number)
        self._master = self._slave = self._wake_read = self._wake_write = -1

    def cpu_s(self) -> float:
        """Processor time that the program has used so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def state(self) -> str:
        """Return the state of the program: `running`, `sleeping` or `stopped`."""
        return psutil.Process(self.process.pid).status()

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._master not in ready:
                return
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: nobody has the other side open any more
                return
            for question, answer in _ANSWERS.items():
                if question in data and not (self.is_slow and question == _ASKED_KIND):
                    os.write(self._master, answer)
            with self._changed:
                self._raw += data
                self._terminal.feed(data)
                self._changed.notify_all()

    def stop_reading(self) -> None:
        """Take no more bytes, as a stalled line does: writes block when the kernel's buffer is full."""
        if self._reader.is_alive():
            os.write(self._wake_write, b"x")
            self._reader.join()
            if select.select([self._wake_read], [], [], 0)[0]:
                os.read(self._wake_read, 1)

    def _report(self) -> str:
        status = self.process.poll()
        state = "running" if status is None else f"ended with {status}"
        return f"--- {state}; the screen:\n{self.text}\n--- the last bytes:\n{self.raw[-600:]!r}"
