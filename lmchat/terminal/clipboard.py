"""Puts text on the clipboard by the first way that works here."""

from __future__ import annotations

import asyncio
import os
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.errors import FileRefused
from lmchat.other_programs import find_program
from lmchat.safe_text import safe_text
from lmchat.terminal import processes

TOOL_TIMEOUT_S = 2.0
"""How long one tool may take: a display that is gone lets some of them wait for ever."""
OSC_52_LIMIT = 74_994
"""Longest base64 text that terminals take (https://chromium.googlesource.com/apps/libapps, hterm); none says
that it took less."""
_SCREEN_CHUNK = 512
"""GNU screen passes on at most 768 bytes at once."""
_OVER_SSH = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")
_WITHOUT_OSC_52 = ("", "dumb", "linux")


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
        copy=("wl-copy",),
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


class Copied(Struct, frozen=True, kw_only=True):
    """What became of a text."""

    way: str
    """`wl-copy`, …, `tmux`, `OSC 52` or `file`."""
    detail: str = ""
    """The path where it is a file."""

    @property
    def words(self) -> str:
        """One sentence for a toast."""
        match self.way:
            case "file":
                return f"No clipboard can be reached; saved as {self.detail}"
            case "OSC 52":
                return "Sent to the terminal's clipboard (OSC 52)"
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


class Clipboard:
    """The ways of this terminal.

    Args:
        environ: The environment of the process.
        write: Sends a control sequence to the terminal; False where there is none.
        file: Where a text goes that no other way takes.
    """

    def __init__(self, *, environ: Mapping[str, str], write: Callable[[str], bool], file: Path) -> None:
        self._environ = environ
        self._write = write
        self._file = file
        self.timeout_s = TOOL_TIMEOUT_S

    async def copy(self, text: str) -> Copied:
        """Copy a text by the first way that works.

        Raises:
            FileRefused: Not even a file could be written.
        """
        safe = safe_text(text)
        for tool in self._tools():
            if await self._set(tool, safe):
                return Copied(way=tool.name)
        if self._send_osc_52(safe):
            return Copied(way="OSC 52")
        try:
            await asyncio.to_thread(_write_privately, self._file, safe)
        except OSError as error:
            raise FileRefused(
                "Nothing can be copied: no clipboard can be reached, and no file can be written.",
                hint="/doctor tells what each way needs.",
                details=f"{self._file}: {error.strerror}",
            ) from error
        return Copied(way="file", detail=str(self._file))

    def ways(self) -> list[WayChecked]:
        """Return which ways there are, in the order in which they are tried; nothing is tried."""
        tools = [self._untried(tool) for tool in (*TOOLS, TMUX)]
        return [*tools, self._check_osc_52(), self._check_file()]

    async def check(self) -> AsyncIterator[WayChecked]:
        """Try every way with a word of its own, and put back what was there."""
        for tool in TOOLS:
            yield await self._check(tool)
        yield await self._check_tmux()
        yield self._check_osc_52()
        yield self._check_file()

    def _tools(self) -> list[Tool]:
        # where the screen stands elsewhere, a tool here would set the clipboard of the wrong machine
        natives = () if is_over_ssh(self._environ) else TOOLS
        return [tool for tool in (*natives, TMUX) if not self._missing(tool)]

    def _missing(self, tool: Tool) -> str:
        """Return why a tool cannot work; empty where it may."""
        if tool.needs and not self._environ.get(tool.needs):
            return f"${tool.needs} is not set"
        if not find_program(tool.copy[0], self._environ.get("PATH", os.defpath)):
            return "not installed"
        return ""

    async def _set(self, tool: Tool, text: str) -> bool:
        data = text.encode(tool.encoding, errors="replace")
        return await self._feed(tool.copy, data)

    async def _feed(self, argv: tuple[str, ...], data: bytes) -> bool:
        status = await processes.feed(argv, data, environ=self._environ, timeout_s=self.timeout_s)
        return status == 0

    async def _read(self, argv: tuple[str, ...]) -> bytes | None:
        return await processes.read(argv, environ=self._environ, timeout_s=self.timeout_s)

    def _send_osc_52(self, text: str) -> bool:
        data = b64encode(text.encode(errors="replace")).decode()
        return not self._osc_52_fault(len(data)) and self._write(
            osc_52(data, has_screen="STY" in self._environ)
        )

    def _osc_52_fault(self, length: int) -> str:
        if self._environ.get("TERM", "") in _WITHOUT_OSC_52:
            return "this terminal has no clipboard"
        return f"longer than {OSC_52_LIMIT} bytes" if length > OSC_52_LIMIT else ""

    def _untried(self, tool: Tool) -> WayChecked:
        reason = (
            "skipped over ssh" if tool is not TMUX and is_over_ssh(self._environ) else self._missing(tool)
        )
        if reason:
            return WayChecked(way=tool.name, works=False, reason=reason, is_there=False)
        return WayChecked(way=tool.name, works=None, reason="there, and not tried")

    async def _check(self, tool: Tool) -> WayChecked:
        untried = self._untried(tool)
        if not untried.is_there:
            return untried
        before = await self._get(tool)
        if await self._holds_other_things(tool, before):
            reason = "not tried: the clipboard holds something that could not be put back"
            return WayChecked(way=tool.name, works=None, reason=reason)
        return await self._tried(tool, before)

    async def _tried(self, tool: Tool, before: str | None) -> WayChecked:
        word = f"lmchat {secrets.token_hex(4)}"
        try:
            if not await self._set(tool, word):
                return WayChecked(way=tool.name, works=False, reason="failed, or took too long")
            after = await self._get(tool)
        finally:
            if before is not None:
                await self._set(tool, before)
        if after is None:
            return WayChecked(way=tool.name, works=None, reason="took the text; it cannot be read back")
        return WayChecked(
            way=tool.name,
            works=after.strip() == word,
            reason="read back" if after.strip() == word else "lost",
        )

    async def _check_tmux(self) -> WayChecked:
        """Try a buffer of our own: what the terminal around holds could not be put back."""
        untried = self._untried(TMUX)
        if not untried.is_there:
            return untried
        word = f"lmchat {secrets.token_hex(4)}"
        name, own = TMUX.copy[0], ("-b", "lmchat-doctor")
        is_set = await self._feed((name, "load-buffer", *own, "-"), word.encode())
        after = await self._read((name, "show-buffer", *own))
        await self._read((name, "delete-buffer", *own))
        if not is_set or (after or b"").decode(errors="replace").strip() != word:
            return WayChecked(way=name, works=False, reason="failed, or took too long")
        told = await self._read((name, "show-options", "-sv", "set-clipboard"))
        if (told or b"").strip() == b"off":
            reason = "its own buffer only: tmux set-option -s set-clipboard external lets it out"
            return WayChecked(way=name, works=False, reason=reason)
        return WayChecked(
            way=name, works=True, reason="its buffer was read back; it hands it to the terminal"
        )

    async def _get(self, tool: Tool) -> str | None:
        if not tool.paste:
            return None
        data = await self._read(tool.paste)
        return None if data is None else data.decode(errors="replace")

    async def _holds_other_things(self, tool: Tool, before: str | None) -> bool:
        """Whether there is something that could not be put back, as a picture, or what nobody can read."""
        if before is not None:
            return "\ufffd" in before
        if not tool.types:
            return not tool.paste
        listed = await self._read(tool.types) or b""
        kinds = [line for line in listed.decode(errors="replace").splitlines() if "/" in line]
        return bool(kinds) and not any(kind.startswith("text/") for kind in kinds)

    def _check_file(self) -> WayChecked:
        return WayChecked(way="file", works=None, reason=f"when nothing else works: {self._file}")

    def _check_osc_52(self) -> WayChecked:
        if fault := self._osc_52_fault(0):
            return WayChecked(way="OSC 52", works=False, reason=fault, is_there=False)
        return WayChecked(way="OSC 52", works=None, reason="no terminal answers to it; it is tried last")


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    """Whether the screen stands elsewhere."""
    return any(environ.get(name) for name in _OVER_SSH)


def osc_52(data: str, *, has_screen: bool) -> str:
    """Return the sequence that sets a terminal's clipboard; GNU screen lets it through in pieces."""
    if not has_screen:
        return f"\x1b]52;c;{data}\x07"
    pieces = [data[start : start + _SCREEN_CHUNK] for start in range(0, len(data), _SCREEN_CHUNK)] or [""]
    return "\x1bP\x1b]52;c;" + "\x1b\\\x1bP".join(pieces) + "\x07\x1b\\"


def _write_privately(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.unlink(missing_ok=True)
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(number, "w", encoding="utf-8", errors="replace") as opened:  # noqa: PTH123 - of a descriptor
        opened.write(text)
