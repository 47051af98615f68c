"""Puts text on the clipboard by the first way that works here."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from msgspec import Struct

from lmchat.errors import FileRefused
from lmchat.files import find_program
from lmchat.terminal import processes
from lmchat.text import safe_pieces

_OVER_SSH = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_PLAIN_TEXT = "text/plain"


class Tool(Struct, frozen=True, kw_only=True):
    """A program that sets the clipboard from its stdin."""

    name: str
    """Its name."""
    copy: tuple[str, ...]
    """Command line to set."""
    paste: tuple[str, ...]
    """Command line to read back; empty where there is none."""
    needs: str = ""
    """Environment variable without which it cannot work."""
    types: tuple[str, ...] = ()
    """Command line that lists what kinds of content there are; empty where there is none."""
    encoding: str = "utf-8"
    """What it reads."""


TOOLS = (
    Tool(
        name="wl-copy",
        # without a type it guesses one, and what begins like a program is pasted nowhere
        copy=("wl-copy", "--type", _PLAIN_TEXT),
        paste=("wl-paste", "--no-newline"),
        types=("wl-paste", "--list-types"),
        needs="WAYLAND_DISPLAY",
    ),
    Tool(
        name="xclip",
        copy=("xclip", "-selection", "clipboard"),
        paste=("xclip", "-selection", "clipboard", "-o"),
        types=("xclip", "-selection", "clipboard", "-o", "-t", "TARGETS"),
        needs="DISPLAY",
    ),
    Tool(
        name="xsel",
        copy=("xsel", "--clipboard", "--input"),
        paste=("xsel", "--clipboard", "--output"),
        needs="DISPLAY",
    ),
    Tool(name="pbcopy", copy=("pbcopy",), paste=("pbpaste",)),
    Tool(name="clip.exe", copy=("clip.exe",), paste=(), encoding="utf-16"),
)
"""Native tools, in the order in which they are tried."""
TMUX = Tool(name="tmux", copy=("tmux", "load-buffer", "-w", "-"), paste=("tmux", "show-buffer"), needs="TMUX")
"""Its own buffer, and with `-w` (tmux 3.2) the clipboard of the terminal around it."""
TMUX_ALONE = ("tmux", "load-buffer", "-")
"""For a text so long that the terminal around it would not take it, and might not bear it."""
TMUX_FEATURES = ("tmux", "display-message", "-p", "#{client_termfeatures}")
"""What tmux knows of the terminal around it; `clipboard` among it lets a text out."""


class Copied(Struct, frozen=True, kw_only=True):
    """What became of a text."""

    way: str
    """`wl-copy`, …, `tmux`, `OSC 52` or `file`."""
    detail: str = ""
    """The path where it is a file."""
    is_whole_way: bool = True
    """False where it came only half the way: tmux has it and hands it to no terminal, or a file has it only
    because it is too long for the terminal."""

    @property
    def words(self) -> str:
        """One sentence for a toast, that promises no more than is known."""
        match self.way:
            case "file" if not self.is_whole_way:
                return f"Too long for the terminal's clipboard; saved as {self.detail}"
            case "file":
                return f"No clipboard can be reached; saved as {self.detail}"
            case "OSC 52":
                return "Sent to the terminal's clipboard (OSC 52); it does not tell whether it took it"
            case "tmux" if self.is_whole_way:
                return "Copied (tmux, and handed to its terminal)"
            case "tmux":
                return "Copied (tmux alone: prefix ] pastes it; its terminal did not get it)"
            case _:
                return f"Copied ({self.way})"


class WayChecked(Struct, frozen=True, kw_only=True):
    """One way, as the doctor tells it."""

    way: str
    """Its name."""
    works: bool | None
    """None where it cannot be told."""
    reason: str
    """Why, in few words."""
    is_there: bool = True
    """Whether it could be tried at all."""


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    """Whether the screen stands elsewhere."""
    return any(environ.get(name) for name in _OVER_SSH)


async def environ_now(environ: Mapping[str, str], *, timeout_s: float) -> Mapping[str, str]:
    """Return the environment as of who looks on now.

    A session of tmux outlives the window, or the connection over ssh, that it was begun in; tmux notes what
    each who attaches to it brings along.
    """
    if not environ.get(TMUX.needs):
        return environ
    data = await processes.read(("tmux", "show-environment"), environ=environ, timeout_s=timeout_s)
    lines = (data or b"").decode(errors="replace").splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    now = {name: told[name] for name in _DISPLAYS if told.get(name)} | dict(environ)
    if f"-{_OVER_SSH[0]}" in lines:
        return {name: value for name, value in now.items() if name not in _OVER_SSH}
    return now | {name: told[name] for name in _OVER_SSH[:1] if name in told}


OSC_52_LIMIT = 74_994
"""Longest base64 text that terminals take (https://chromium.googlesource.com/apps/libapps, hterm); none says
that it took less."""
_SCREEN_CHUNK = 512
"""GNU screen passes on at most 768 bytes at once."""
_WITHOUT = ("", "dumb", "linux")


def encoded(text: str) -> str:
    """Return a text as such a sequence carries it."""
    return b64encode(text.encode(errors="replace")).decode()


def fault_of_terminal(environ: Mapping[str, str]) -> str:
    """Return why this terminal cannot be asked; empty where it may."""
    return "this terminal has no clipboard" if environ.get("TERM", "") in _WITHOUT else ""


def doubt_of_terminal(environ: Mapping[str, str]) -> str:
    """Return what is known to swallow what is sent; empty where nothing is."""
    if _is_far_multiplexer(environ):
        return "a tmux in between drops it, unless it is told there: tmux set-option -s set-clipboard on"
    return ""


def osc_52(data: str, environ: Mapping[str, str]) -> str:
    """Return the sequence that sets a terminal's clipboard, as what is in between lets it through.

    GNU screen passes on pieces. A tmux before 3.2, whose `load-buffer` hands nothing on, takes it by itself
    only if told to, and passes on what is wrapped; a later one, which wants to be told for that, knows `-w`.
    At the other end of ssh the name of the terminal alone tells of them: `screen.` with a name behind is GNU
    screen, and `screen-256color` may be either, so each gets its own.
    """
    plain = f"\x1b]52;c;{data}\x07"
    if environ.get("STY"):
        return _for_screen(data)
    if environ.get("TMUX"):
        return f"{plain}\x1bPtmux;\x1b{plain}\x1b\\"
    term = environ.get("TERM", "")
    if term.startswith("screen."):
        return _for_screen(data)
    # the whole comes last: tmux takes the first of the pieces for a text of its own
    return _for_screen(data) + plain if term.startswith("screen") else plain


def _for_screen(data: str) -> str:
    pieces = [data[start : start + _SCREEN_CHUNK] for start in range(0, len(data), _SCREEN_CHUNK)] or [""]
    return "\x1bP\x1b]52;c;" + "\x1b\\\x1bP".join(pieces) + "\x07\x1b\\"


def _is_far_multiplexer(environ: Mapping[str, str]) -> bool:
    is_near = environ.get("TMUX") or environ.get("STY")
    return not is_near and environ.get("TERM", "").startswith(("tmux", "screen"))


TOOL_TIMEOUT_S = 2.0
"""How long one tool may take: a display that is gone lets some of them wait for ever."""
_LONG_S = 1.0
"""How much longer for each `_LONG` bytes."""
_LONG = 10_000_000


class Clipboard:
    """The ways of this terminal.

    Args:
        environ: The environment of the process.
        write: Sends a control sequence to the terminal; False where there is none.
        file: Where a text goes that no other way takes.
    """

    def __init__(self, *, environ: Mapping[str, str], write: Callable[[str], bool], file: Path) -> None:
        self.environ = environ
        self.file = file
        self._environ_at_start = environ
        self._write = write
        self.timeout_s = TOOL_TIMEOUT_S

    async def copy(self, text: str) -> Copied:
        """Copy a text by the first way that works; the loop goes on meanwhile, however long the text is.

        Raises:
            FileRefused: Not even a file could be written.
        """
        safe = await _safe(text)
        await self.look_around()
        for tool in self._tools():
            if await self.set(tool, safe):
                return Copied(way=tool.name, is_whole_way=tool is not TMUX or await self._is_handed_on(safe))
        if not (fault := fault_of_terminal(self.environ)) and self._send_osc_52(safe):
            return Copied(way="OSC 52")
        await self._save(safe)
        return Copied(way="file", detail=str(self.file), is_whole_way=bool(fault) or not _is_too_long(safe))

    async def set(self, tool: Tool, text: str) -> bool:
        """Let a tool set the clipboard."""
        argv = TMUX_ALONE if tool is TMUX and _is_too_long(text) else tool.copy
        return await self.feed(argv, text.encode(tool.encoding, errors="replace"))

    async def feed(self, argv: tuple[str, ...], data: bytes) -> bool:
        """Run a program with data on its stdin; False where it fails or takes too long."""
        timeout_s = self.timeout_s + _LONG_S * (len(data) // _LONG)
        return await processes.feed(argv, data, environ=self.environ, timeout_s=timeout_s) == 0

    async def read(self, argv: tuple[str, ...]) -> bytes | None:
        """Return what a program prints; None where it fails or takes too long."""
        return await processes.read(argv, environ=self.environ, timeout_s=self.timeout_s)

    async def look_around(self) -> None:
        """Take the environment as of who looks on now."""
        self.environ = await environ_now(self._environ_at_start, timeout_s=self.timeout_s)

    def ways(self) -> list[WayChecked]:
        """Return which ways there are, in the order in which they are tried; nothing is tried."""
        tools = [self.untried(tool) for tool in (*TOOLS, TMUX)]
        return [*tools, self.untried_osc_52(), self.untried_file()]

    def untried(self, tool: Tool) -> WayChecked:
        """Say whether a tool could be tried."""
        is_elsewhere = tool is not TMUX and is_over_ssh(self.environ)
        if reason := "skipped over ssh" if is_elsewhere else self._missing(tool):
            return WayChecked(way=tool.name, works=False, reason=reason, is_there=False)
        return WayChecked(way=tool.name, works=None, reason="there, and not tried")

    def untried_osc_52(self) -> WayChecked:
        """Say what is known of the terminal: trying it would overwrite what its clipboard holds."""
        if fault := fault_of_terminal(self.environ):
            return WayChecked(way="OSC 52", works=False, reason=fault, is_there=False)
        reason = doubt_of_terminal(self.environ) or "no terminal answers to it; it is tried last"
        return WayChecked(way="OSC 52", works=None, reason=reason)

    def untried_file(self) -> WayChecked:
        """Name the file."""
        return WayChecked(way="file", works=None, reason=f"when nothing else works: {self.file}")

    def _tools(self) -> list[Tool]:
        # where the screen stands elsewhere, a tool here would set the clipboard of the wrong machine
        natives = () if is_over_ssh(self.environ) else TOOLS
        return [tool for tool in (*natives, TMUX) if not self._missing(tool)]

    def _missing(self, tool: Tool) -> str:
        """Return why a tool cannot work; empty where it may."""
        if tool.needs and not self.environ.get(tool.needs):
            return f"${tool.needs} is not set"
        if not find_program(tool.copy[0], self.environ.get("PATH", os.defpath)):
            return "not installed"
        return ""

    async def _is_handed_on(self, text: str) -> bool:
        return not _is_too_long(text) and b"clipboard" in (await self.read(TMUX_FEATURES) or b"")

    def _send_osc_52(self, text: str) -> bool:
        return not _is_too_long(text) and self._write(osc_52(encoded(text), self.environ))

    async def _save(self, text: str) -> None:
        try:
            await asyncio.to_thread(write_privately, self.file, text)
        except OSError as error:
            raise FileRefused(
                "Nothing can be copied: no clipboard can be reached, and no file can be written.",
                hint="/doctor tells what each way needs.",
                details=f"{self.file}: {error.strerror}",
            ) from error


def write_privately(file: Path, text: str) -> None:
    """Write a file that only the user can read, whole or not at all, whatever has its name now.

    Raises:
        OSError: It cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, name = mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with open(number, "w", encoding="utf-8", errors="replace") as opened:  # noqa: PTH123 - of a descriptor
            opened.write(text)
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


async def _safe(text: str) -> str:
    pieces = []
    for piece in safe_pieces(text):
        pieces.append(piece)
        await asyncio.sleep(0)  # filtering does not let another thread on either
    return "".join(pieces)


def _is_too_long(text: str) -> bool:
    return (len(text.encode(errors="replace")) + 2) // 3 * 4 > OSC_52_LIMIT
