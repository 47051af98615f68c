"""The ways to a clipboard, with fake tools on PATH."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest

from lmchat.errors import FileRefused
from lmchat.terminal.clipboard import OSC_52_LIMIT, Clipboard, osc_52
from tests.support.pty_program import PtyProgram


class Place:
    """A machine with a few fake tools."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for name in (
            "cat",
            "rm",
            "sleep",
        ):  # all that the fakes call: a real clipboard of this machine stays out
            tool = shutil.which(name)
            assert tool, name
            (self.bin / name).symlink_to(tool)
        self.environ = {"PATH": str(self.bin), "TERM": "xterm-256color"}
        self.written: list[str] = []
        self.has_terminal = True

    def add(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!/bin/sh\ncd {self.folder}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def write(self, data: str) -> bool:
        self.written.append(data)
        return self.has_terminal

    def clipboard(self, timeout_s: float = 5) -> Clipboard:
        clipboard = Clipboard(
            environ=self.environ, write=self.write, file=self.folder / "state" / "copied.txt"
        )
        clipboard.timeout_s = timeout_s
        return clipboard

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.folder / name).stat().st_mode)

    def clip(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_the_native_tool_comes_first(place: Place) -> None:
    place.add("wl-copy", "cat > wl")
    place.add("xclip", "cat > x")
    place.environ |= {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}
    copied = await place.clipboard().copy("garden 漢字\n")
    assert copied.way == "wl-copy"
    assert copied.words == "Copied (wl-copy)"
    assert place.clip("wl").decode() == "garden 漢字\n"
    assert place.written == []


async def test_a_tool_without_its_display_is_not_asked(place: Place) -> None:
    place.add("wl-copy", "cat > wl")
    place.add("xclip", "echo $@ > args; cat > x")
    place.environ["DISPLAY"] = ":0"
    assert (await place.clipboard().copy("a")).way == "xclip"
    assert place.clip("args") == b"-selection clipboard\n"


async def test_a_tool_that_fails_gives_way_to_the_next(place: Place) -> None:
    place.add("xclip", "cat > /dev/null; exit 1")
    place.add("xsel", "cat > x")
    place.environ["DISPLAY"] = ":0"
    assert (await place.clipboard().copy("a")).way == "xsel"


async def test_a_tool_that_hangs_is_given_up(place: Place) -> None:
    place.add("xclip", "exec sleep 60")
    place.environ["DISPLAY"] = ":0"
    begun = time.monotonic()
    assert (await place.clipboard(timeout_s=0.3).copy("a" * 200_000)).way == "file"
    assert time.monotonic() - begun < 3


async def test_a_tool_that_stays_in_the_background_is_not_waited_for(place: Place) -> None:
    place.add("xclip", "cat > x; (sleep 5) & exit 0")
    place.environ["DISPLAY"] = ":0"
    begun = time.monotonic()
    assert (await place.clipboard().copy("a")).way == "xclip"
    assert time.monotonic() - begun < 3


async def test_a_tool_that_reads_nothing_and_succeeds_breaks_nothing(place: Place) -> None:
    place.add("xclip", "exit 0")
    place.environ["DISPLAY"] = ":0"
    assert (await place.clipboard().copy("a" * 1_000_000)).way == "xclip"


async def test_windows_gets_what_it_reads(place: Place) -> None:
    place.add("clip.exe", "cat > win")
    assert (await place.clipboard().copy("漢")).way == "clip.exe"
    assert place.clip("win").decode("utf-16") == "漢"


@pytest.mark.parametrize("name", ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"])
async def test_over_ssh_the_native_tool_is_skipped(place: Place, name: str) -> None:
    place.add("pbcopy", "cat > mac")
    place.environ[name] = "x"
    assert (await place.clipboard().copy("a")).way == "OSC 52"
    assert not (place.folder / "mac").exists()


async def test_tmux_takes_it_before_the_terminal_does(place: Place) -> None:
    place.add("tmux", 'echo "$@" > args; cat > buffer')
    place.environ |= {"TMUX": "socket,1,0", "SSH_TTY": "x"}
    assert (await place.clipboard().copy("words")).way == "tmux"
    assert place.clip("args") == b"load-buffer -w -\n"
    assert place.clip("buffer") == b"words"
    assert place.written == []


async def test_an_old_tmux_without_the_switch_gives_way_to_osc_52(place: Place) -> None:
    place.environ["TMUX"] = "socket,1,0"
    assert (await place.clipboard().copy("words")).way == "OSC 52"


async def test_osc_52_carries_the_text(place: Place) -> None:
    copied = await place.clipboard().copy("garden 漢字")
    assert copied.way == "OSC 52"
    data = base64.b64encode("garden 漢字".encode()).decode()
    assert place.written == [f"\x1b]52;c;{data}\x07"]


async def test_gnu_screen_gets_it_in_pieces_that_it_lets_through(place: Place) -> None:
    place.environ |= {"STY": "1.pts", "TERM": "screen-256color"}
    await place.clipboard().copy("x" * 3000)
    pieces = place.written[0].split("\x1b\\")
    assert all(len(piece) <= 768 for piece in pieces)
    assert all(piece.startswith("\x1bP") for piece in pieces[:-1])
    inner = "".join(piece.removeprefix("\x1bP") for piece in pieces)
    assert base64.b64decode(inner.removeprefix("\x1b]52;c;").removesuffix("\x07")) == b"x" * 3000


@pytest.mark.parametrize(("size", "way"), [(OSC_52_LIMIT // 4 * 3, "OSC 52"), (OSC_52_LIMIT, "file")])
async def test_what_is_too_long_for_a_terminal_goes_into_a_file(place: Place, size: int, way: str) -> None:
    assert (await place.clipboard().copy("x" * size)).way == way


@pytest.mark.parametrize("term", ["linux", "dumb", ""])
async def test_a_terminal_without_clipboard_gets_a_private_file(place: Place, term: str) -> None:
    place.environ["TERM"] = term
    copied = await place.clipboard().copy("first")
    copied = await place.clipboard().copy("second")
    assert copied.way == "file"
    assert copied.words == f"No clipboard can be reached; saved as {copied.detail}"
    assert (place.clip("state/copied.txt"), place.mode("state/copied.txt")) == (b"second", 0o600)


async def test_without_a_terminal_it_is_a_file(place: Place) -> None:
    place.has_terminal = False
    assert (await place.clipboard().copy("a")).way == "file"


async def test_a_link_in_the_place_of_the_file_is_not_followed(place: Place) -> None:
    place.environ["TERM"] = "dumb"
    other = place.folder / "other"
    other.write_text("untouched")
    (place.folder / "state").mkdir()
    (place.folder / "state" / "copied.txt").symlink_to(other)
    await place.clipboard().copy("a")
    assert other.read_text() == "untouched"


async def test_when_nothing_works_it_says_so(place: Place) -> None:
    place.environ["TERM"] = "dumb"
    (place.folder / "state").write_text("in the way")
    with pytest.raises(FileRefused, match="Nothing can be copied") as caught:
        await place.clipboard().copy("a")
    assert "/doctor" in caught.value.hint


async def test_what_is_copied_is_safe(place: Place) -> None:
    place.add("pbcopy", "cat > mac")
    await place.clipboard().copy("a\x1b[31m\r\nb\u202e\udc80")
    assert place.clip("mac").decode() == "a\u241b[31m\nb\ufffd\ufffd"


async def test_the_doctor_says_which_way_works_and_puts_back_what_was_there(place: Place) -> None:
    place.add("xclip", 'case "$*" in *-o) cat x;; *) cat > x;; esac')
    place.add("pbcopy", "cat > /dev/null")
    place.add("pbpaste", "echo something else")
    place.add("clip.exe", "cat > windows")
    (place.folder / "x").write_text("mine")
    place.environ["DISPLAY"] = ":0"
    found = {way.way: (way.works, way.reason) async for way in place.clipboard().check()}
    assert found == {
        "wl-copy": (False, "$WAYLAND_DISPLAY is not set"),
        "xclip": (True, "read back"),
        "xsel": (False, "not installed"),
        "pbcopy": (False, "lost"),
        "clip.exe": (None, "not tried: the clipboard holds something that could not be put back"),
        "tmux": (False, "$TMUX is not set"),
        "OSC 52": (None, "no terminal answers to it; it is tried last"),
        "file": (None, f"when nothing else works: {place.folder}/state/copied.txt"),
    }
    assert place.clip("x") == b"mine"
    assert not (place.folder / "windows").exists()


async def test_the_doctor_tries_tmux_in_a_buffer_of_its_own(place: Place) -> None:
    script = (
        'case "$*" in *load-buffer*) echo "$*" >> calls; cat > own;; *show-buffer*) cat own;; '
        "*delete-buffer*) rm own;; *) cat clip-option;; esac"
    )
    place.add("tmux", script)
    place.environ["TMUX"] = "/tmp/socket,1,0"  # noqa: S108 - a name
    for option, works in (("external", True), ("on", True), ("off", False)):
        (place.folder / "clip-option").write_text(option)
        found = {way.way: way.works async for way in place.clipboard().check()}
        assert found["tmux"] is works
        assert not (place.folder / "own").exists()
    assert "-w" not in (place.folder / "calls").read_text().split()


async def test_what_was_there_is_put_back_when_the_check_is_cut_short(place: Place) -> None:
    place.add("xclip", 'case "$*" in *-o) cat x; [ "$(cat x)" = mine ] || exec sleep 60;; *) cat > x;; esac')
    (place.folder / "x").write_text("mine")
    place.environ["DISPLAY"] = ":0"

    async def check() -> None:
        async for _ in place.clipboard().check():
            pass

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):  # less than the tool is given, which hangs after it was set
            await check()
    assert place.clip("x") == b"mine"


def test_an_empty_text_is_a_whole_sequence_too() -> None:
    assert osc_52("", has_screen=True) == "\x1bP\x1b]52;c;\x07\x1b\\"


@pytest.mark.slow
def test_a_real_tmux_hands_it_to_the_terminal_around_it(tmp_path: Path) -> None:
    tmux = shutil.which("tmux")
    assert tmux, "this test needs tmux 3.2 or later: install it, or leave out the slow tests"
    code = (
        "import asyncio, os, pathlib\n"
        "from lmchat.terminal.clipboard import Clipboard\n"
        "file = pathlib.Path('unused')\n"
        "clipboard = Clipboard(environ=os.environ, write=lambda data: False, file=file)\n"
        "print(asyncio.run(clipboard.copy('words for the clipboard')).words, flush=True)\n"
        "input()\n"
    )
    script = tmp_path / "show.py"
    script.write_text(code)

    argv = [
        tmux,
        "-S",
        str(tmp_path / "socket"),
        "-f",
        os.devnull,
        "new-session",
        f"{sys.executable} {script}",
    ]
    environ = {"PYTHONPATH": os.getcwd()}  # noqa: PTH109 - text for the environment
    with PtyProgram(argv, home=tmp_path, env=environ) as program:
        program.wait_for("Copied (tmux)")
        data = base64.b64encode(b"words for the clipboard")
        program.wait_for_raw(b"\x1b]52;")
        program.wait_for_raw(data)
        program.type("\r")
        assert program.wait_exit() == 0
