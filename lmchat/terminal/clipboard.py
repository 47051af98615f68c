"""Clipboard access by the first way that works."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.errors import FileRefused
from lmchat.files import find_program, write_atomically
from lmchat.machine.process import run_tool
from lmchat.text import safe_text

OSC_52_LIMIT = 74_994
"""Longest base64 text of terminals (hterm in https://chromium.googlesource.com/apps/libapps)."""
_TIMEOUT_S = 2.0  # for one tool: some wait forever for a closed display
_SCREEN_CHUNK = 512  # GNU screen passes on at most 768 bytes at once
_SSH = "SSH_CONNECTION"  # the variable that tmux keeps up to date
_OVER_SSH = (_SSH, "SSH_TTY", "SSH_CLIENT")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_NO_CLIPBOARD = ("", "dumb", "linux")


class ClipboardTool(Struct, frozen=True, kw_only=True):
    """Program that sets the clipboard from its stdin."""

    name: str
    copy: tuple[str, ...]
    paste: tuple[str, ...] = ()
    needs: str = ""  # required environment variable
    types: tuple[str, ...] = ()  # lists the kinds of content
    encoding: str = "utf-8"


_XCLIP = ("xclip", "-selection", "clipboard")
TOOLS = (
    ClipboardTool(
        name="wl-copy",
        # without a type it guesses one, and text that begins like a program is pasted nowhere
        copy=("wl-copy", "--type", "text/plain"),
        paste=("wl-paste", "--no-newline"),
        types=("wl-paste", "--list-types"),
        needs="WAYLAND_DISPLAY",
    ),
    ClipboardTool(
        name="xclip",
        copy=_XCLIP,
        paste=(*_XCLIP, "-o"),
        types=(*_XCLIP, "-o", "-t", "TARGETS"),
        needs="DISPLAY",
    ),
    ClipboardTool(
        name="xsel",
        copy=("xsel", "--clipboard", "--input"),
        paste=("xsel", "--clipboard", "--output"),
        needs="DISPLAY",
    ),
    ClipboardTool(name="pbcopy", copy=("pbcopy",), paste=("pbpaste",)),
    ClipboardTool(name="clip.exe", copy=("clip.exe",), encoding="utf-16"),
)
TMUX = ClipboardTool(
    name="tmux",
    copy=("tmux", "load-buffer", "-w", "-"),
    paste=("tmux", "show-buffer"),
    needs="TMUX",
)
"""With `-w` (tmux 3.2) also the clipboard of the terminal around it."""
_TMUX_ALONE = ("tmux", "load-buffer", "-")  # for a text too long for the terminal around it
TMUX_FEATURES = ("tmux", "display-message", "-p", "#{client_termfeatures}")
"""Features of the terminal around tmux; with `clipboard` among them, tmux hands a text on."""


class Copied(Struct, frozen=True):
    """Result of a copy."""

    way: str  # `wl-copy`, …, `tmux`, `OSC 52` or `file`
    words: str  # for a toast, which promises no more than is known


class WayChecked(Struct, frozen=True, kw_only=True):
    """Way to the clipboard, for the doctor."""

    way: str
    works: bool | None  # None: unknown
    reason: str
    is_there: bool = True


class Clipboard:
    """Clipboard of this terminal.

    `write` sends a control sequence and returns False without a terminal. `file` is the last
    resort; a temporary chat has none.
    """

    def __init__(
        self, *, environ: Mapping[str, str], write: Callable[[str], bool], file: Path | None
    ) -> None:
        self.environ = environ
        self.file = file
        self.timeout_s = _TIMEOUT_S
        self._environ_at_start = environ
        self._write = write

    async def copy(self, text: str) -> Copied:
        """Copy a text by the first way that works; raises `FileRefused` if none does."""
        safe = safe_text(text)
        await self.update_environment()
        for tool in (*TOOLS, TMUX):
            if self.untried(tool).works is None and await self.set(tool, safe):
                words = f"Copied ({tool.name})"
                if tool is TMUX:
                    words = await self._words_for_tmux(safe)
                return Copied(tool.name, words)

        has_osc_52 = self.environ.get("TERM", "") not in _NO_CLIPBOARD
        if has_osc_52 and _is_too_long(safe):
            return await self._save(safe, "Too long for the terminal's clipboard")
        if has_osc_52:
            encoded = b64encode(safe.encode(errors="replace")).decode()
            if self._write(osc_52(encoded, self.environ)):
                words = "Sent to the terminal's clipboard (OSC 52); it does not report success"
                return Copied("OSC 52", words)
        return await self._save(safe, "No clipboard is available")

    async def _save(self, text: str, reason: str) -> Copied:
        """Write a text to the file; raises `FileRefused`."""
        if self.file is None:
            words = f"{reason}, and a temporary chat is not written to a file."
            raise FileRefused(words, hint="/export FILE writes it to a file that you name.")
        try:
            await asyncio.to_thread(write_atomically, self.file, text, follows_link=False)
        except OSError as error:
            raise FileRefused(
                "Nothing can be copied: no clipboard is available, and no file can be written.",
                hint="/doctor shows what each way needs.",
                details=f"{self.file}: {error.strerror}",
            ) from error
        return Copied("file", f"{reason}; saved as {self.file}")

    async def set(self, tool: ClipboardTool, text: str) -> bool:
        """Return whether the tool took the text in time."""
        argv = _TMUX_ALONE if tool is TMUX and _is_too_long(text) else tool.copy
        data = text.encode(tool.encoding, errors="replace")
        done = await run_tool(
            argv, environ=self.environ, timeout_s=self.timeout_s, data=data, has_output=False
        )
        return done is not None

    async def read(self, argv: tuple[str, ...]) -> str | None:
        """Return a program's output; None if it fails or takes too long."""
        data = await run_tool(argv, environ=self.environ, timeout_s=self.timeout_s)
        return None if data is None else data.decode(errors="replace")

    async def paste(self) -> str:
        """Return the text of the clipboard; raises `FileRefused` where no tool can read it."""
        await self.update_environment()
        for tool in (*TOOLS, TMUX):
            if not tool.paste or not self.untried(tool).is_there:
                continue
            text = await self.read(tool.paste)
            if text is not None:
                return text
        raise FileRefused(
            "The clipboard is empty, or no tool here can read it.",
            hint="Copy a text first; `lmchat doctor clipboard` shows what each way needs.",
        )

    async def update_environment(self) -> None:
        """Update the environment to the attached tmux client, which may have changed."""
        environ = dict(self._environ_at_start)
        self.environ = environ
        if not environ.get(TMUX.needs):
            return
        lines = (await self.read(("tmux", "show-environment")) or "").splitlines()
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        for name in _DISPLAYS:
            if variables.get(name):
                environ.setdefault(name, variables[name])
        if f"-{_SSH}" in lines:
            for name in _OVER_SSH:
                environ.pop(name, None)
        if _SSH in variables:
            environ[_SSH] = variables[_SSH]

    def ways(self) -> list[WayChecked]:
        """Return the ways in order, without trying them."""
        tools = [self.untried(tool) for tool in (*TOOLS, TMUX)]
        return [*tools, self.untried_osc_52(), self.untried_file()]

    def untried(self, tool: ClipboardTool) -> WayChecked:
        reason = ""
        if tool is not TMUX and is_over_ssh(self.environ):
            reason = "skipped over ssh"  # it would set the clipboard of the wrong machine
        elif tool.needs and not self.environ.get(tool.needs):
            reason = f"${tool.needs} is not set"
        elif not find_program(tool.copy[0], self.environ.get("PATH", os.defpath)):
            reason = "not installed"
        if reason:
            return WayChecked(way=tool.name, works=False, reason=reason, is_there=False)
        return WayChecked(way=tool.name, works=None, reason="installed, not tested")

    def untried_osc_52(self) -> WayChecked:
        """Describe OSC 52 without a trial, which would overwrite the clipboard."""
        term = self.environ.get("TERM", "")
        if term in _NO_CLIPBOARD:
            reason = "this terminal has no clipboard"
            return WayChecked(way="OSC 52", works=False, reason=reason, is_there=False)
        is_local = self.environ.get("TMUX") or self.environ.get("STY")
        reason = "no terminal reports success; it is tried last"
        if not is_local and term.startswith(("tmux", "screen")):
            reason = "tmux drops it; to allow it: tmux set-option -s set-clipboard on"
        return WayChecked(way="OSC 52", works=None, reason=reason)

    def untried_file(self) -> WayChecked:
        if self.file is None:
            reason = "not in a temporary chat"
            return WayChecked(way="file", works=False, reason=reason, is_there=False)
        return WayChecked(way="file", works=None, reason=f"if nothing else works: {self.file}")

    async def _words_for_tmux(self, text: str) -> str:
        features = await self.read(TMUX_FEATURES) or ""
        if "clipboard" in features and not _is_too_long(text):
            return "Copied (tmux, passed on to its terminal)"
        return "Copied inside tmux: paste with prefix ]"


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    """Return whether the screen belongs to another machine."""
    return any(environ.get(name) for name in _OVER_SSH)


def osc_52(data: str, environ: Mapping[str, str]) -> str:
    """Return the sequence that sets a terminal's clipboard, as multiplexers let it through.

    GNU screen needs pieces. tmux before 3.2 takes the sequence only if configured, and passes on a
    wrapped one. Over ssh only $TERM shows them: `screen.*` is GNU screen; `screen-256color` may be
    either, so each form is sent.
    """
    plain = f"\x1b]52;c;{data}\x07"
    starts = range(0, max(len(data), 1), _SCREEN_CHUNK)
    pieces = [data[start : start + _SCREEN_CHUNK] for start in starts]
    in_pieces = "\x1bP\x1b]52;c;" + "\x1b\\\x1bP".join(pieces) + "\x07\x1b\\"
    term = environ.get("TERM", "")
    if environ.get("TMUX") and not environ.get("STY"):
        return f"{plain}\x1bPtmux;\x1b{plain}\x1b\\"
    if environ.get("STY") or term.startswith("screen."):
        return in_pieces
    if term.startswith("screen"):
        # the whole comes last: tmux takes the first of the pieces for a text of its own
        return in_pieces + plain
    return plain


def _is_too_long(text: str) -> bool:
    return (len(text.encode(errors="replace")) + 2) // 3 * 4 > OSC_52_LIMIT
