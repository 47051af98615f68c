"""Clipboard of the desktop, used through the first of its programs that works."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping

from msgspec import Struct

from lmchat.base.errors import FileRefused
from lmchat.base.files.images import image_format
from lmchat.base.processes.child import run_program
from lmchat.base.processes.environment import find_program, is_over_ssh
from lmchat.base.safe_text import safe_line, without_controls

# an image, as osascript prints it
_HEX_OF_OSASCRIPT = re.compile(rb"\s*\xc2\xabdata PNGf((?:[0-9A-F]{2})+)\xc2\xbb")
_FILE_LISTS = ("x-special/gnome-copied-files", "text/uri-list")
_TEXTS = {"text/plain;charset=utf-8", "text/plain", "UTF8_STRING", "STRING", "TEXT"}
_MOST_TYPES_CHARS = 80
_TIMEOUT_S = 2.0  # for one tool: some wait forever for a closed display


class ClipboardTool(Struct, frozen=True, kw_only=True):
    """Program that sets the clipboard from its stdin, and may read it."""

    name: str
    copy_command: tuple[str, ...]
    paste_command: tuple[str, ...] = ()  # empty: it cannot read the clipboard
    types_command: tuple[str, ...] = ()  # prints the types on offer
    typed_command: tuple[str, ...] = ()  # before the type to read
    image_command: tuple[str, ...] = ()  # without types; fails if there is no image
    encoding: str = "utf-8"


_PASTE_OF_POWERSHELL = "[Console]::OutputEncoding = [Text.Encoding]::UTF8; Get-Clipboard -Raw"
_XCLIP = ("xclip", "-selection", "clipboard")
TOOLS = (
    # before xclip and xsel, which would start XQuartz on a Mac
    ClipboardTool(
        name="pbcopy",
        copy_command=("pbcopy",),
        paste_command=("pbpaste",),
        image_command=("osascript", "-e", "get the clipboard as «class PNGf»"),
    ),
    ClipboardTool(
        name="wl-copy",
        # wl-copy would guess a type, for text like a script one that no program pastes
        copy_command=("wl-copy", "--type", "text/plain"),
        paste_command=("wl-paste", "--no-newline"),
        types_command=("wl-paste", "--list-types"),
        typed_command=("wl-paste", "--no-newline", "--type"),
    ),
    ClipboardTool(
        name="xclip",
        copy_command=_XCLIP,
        paste_command=(*_XCLIP, "-o"),
        types_command=(*_XCLIP, "-o", "-t", "TARGETS"),
        typed_command=(*_XCLIP, "-o", "-t"),
    ),
    ClipboardTool(
        name="xsel",
        copy_command=("xsel", "--clipboard", "--input"),
        paste_command=("xsel", "--clipboard", "--output"),
    ),
    ClipboardTool(
        name="clip.exe",
        copy_command=("clip.exe",),
        paste_command=("powershell.exe", "-NoProfile", "-Command", _PASTE_OF_POWERSHELL),
        encoding="utf-16",
    ),
)


_TMUX = ClipboardTool(name="tmux", copy_command=("tmux", "load-buffer", "-w", "-"))  # from 3.2 on
_SCREEN_CHARS = 76  # of a sequence that screen passes on


def copyable(text: str) -> str:
    """Remove controls, and blank lines at the end: at a line end, a shell runs what is pasted."""
    text = without_controls(text)
    ended = text.rstrip()
    return ended if "\n" in text[len(ended) :] else text


def terminal_copy(text: str, environ: Mapping[str, str]) -> str:
    """Return OSC 52; screen would drop it, but passes short pieces on to its terminal."""
    data = b64encode(copyable(text).encode(errors="replace")).decode()
    sequence = f"\x1b]52;c;{data}\a"
    if "STY" not in environ:
        return sequence
    starts = range(0, len(sequence), _SCREEN_CHARS)
    return "".join(f"\x1bP{sequence[at : at + _SCREEN_CHARS]}\x1b\\" for at in starts)


class Clipboard:
    """Clipboard of the desktop; that of the terminal needs no programs (`terminal_copy`)."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.timeout_s = _TIMEOUT_S  # for each run of a program
        # pbcopy takes the bytes for text in the charset of the locale
        self._environ = {**environ, "LC_ALL": "en_US.UTF-8"}

    async def copy(self, text: str) -> str:
        """Return the name of the first tool that can, or ""."""
        copied = copyable(text)
        for tool in self._usable_tools():
            output = await run_program(
                tool.copy_command,
                environ=self._environ,
                timeout_s=self.timeout_s,
                data=copied.encode(tool.encoding, errors="replace"),
                has_output=False,  # some stay in the background with their output open
            )
            if output is not None:
                return tool.name
        return ""

    async def paste_image(self) -> bytes:
        """Return the first of a known format. A large image is a `FileRefused`."""
        for tool in self._usable_tools():
            images = [one for one in await self._types(tool) if one.startswith("image/")]
            for command in [(*tool.typed_command, one) for one in images] or [tool.image_command]:
                data = await self._output_of(command) or b""
                hexadecimal = _HEX_OF_OSASCRIPT.match(data)
                if hexadecimal:
                    data = bytes.fromhex(hexadecimal[1].decode())
                if image_format(data):  # a tool may print another content than was asked for
                    return data
        return b""

    async def paste_files(self) -> str:
        """Return the addresses of copied files, as a file manager offers them, one a line."""
        for tool in self._usable_tools():
            types = await self._types(tool)
            for name in filter(types.__contains__, _FILE_LISTS):
                data = await self._output_of((*tool.typed_command, name)) or b""
                lines = data.decode(errors="replace").splitlines()
                if addresses := [line for line in lines if line.startswith("file:")]:
                    return "\n".join(addresses)
        return ""

    async def paste(self) -> str:
        """Raises `FileRefused`."""
        others: list[str] = []
        for tool in self._usable_tools():
            types = await self._types(tool)
            if types and _TEXTS.isdisjoint(types):  # a tool would print one of the others
                others += [one for one in types if "/" in one]
                continue
            data = await self._output_of(tool.paste_command)
            if data is not None:
                return data.decode(errors="replace")
        if others:
            raise FileRefused(
                f"The clipboard has {safe_line(', '.join(others), limit=_MOST_TYPES_CHARS)}.",
                next_step="Attach it as a file instead.",
            )
        raise FileRefused(
            "The clipboard is empty, or no tool here can read it.",
            next_step="Copy a text first; reading needs wl-paste, xclip, xsel or pbpaste, and no "
            "ssh.",
        )

    def _usable_tools(self) -> list[ClipboardTool]:
        """Return installed tools; those for another kind of desktop fail when they are run.

        Over ssh, they would use the wrong machine; but tmux has its terminal copy.
        """
        tools = () if is_over_ssh(self._environ) else TOOLS
        if self._environ.get("TMUX"):
            tools = (*tools, _TMUX)
        path = self._environ.get("PATH", os.defpath)
        return [tool for tool in tools if find_program(tool.copy_command[0], path)]

    async def _types(self, tool: ClipboardTool) -> list[str]:
        """Return the types on offer, none where the tool does not tell them."""
        return (await self._output_of(tool.types_command) or b"").decode(errors="replace").split()

    async def _output_of(self, argv: tuple[str, ...]) -> bytes | None:
        """None if `argv` is empty, or it fails or hangs."""
        if not argv:
            return None
        return await run_program(argv, environ=self._environ, timeout_s=self.timeout_s)
