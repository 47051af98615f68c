"""Puts text on the clipboard by the first way that works here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from lmchat.errors import FileRefused
from lmchat.files import find_program
from lmchat.terminal import processes
from lmchat.terminal.clipboard_ways import (
    TMUX,
    TMUX_ALONE,
    TMUX_FEATURES,
    TOOLS,
    Copied,
    Tool,
    WayChecked,
    environ_now,
    is_over_ssh,
)
from lmchat.terminal.osc_52 import OSC_52_LIMIT, doubt_of_terminal, encoded, fault_of_terminal, osc_52
from lmchat.text import safe_pieces

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
