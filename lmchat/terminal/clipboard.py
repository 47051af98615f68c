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
from lmchat.terminal.programs import run
from lmchat.text import safe_text

OSC_52_LIMIT = 74_994
"""Longest base64 text that terminals take (https://chromium.googlesource.com/apps/libapps, hterm)."""
_TIMEOUT_S = 2.0  # for one tool: some wait forever for a closed display
_SCREEN_CHUNK = 512  # GNU screen passes on at most 768 bytes at once
_OVER_SSH = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_NO_CLIPBOARD = ("", "dumb", "linux")


class Tool(Struct, frozen=True, kw_only=True):
    """Program that sets the clipboard from its stdin."""

    name: str
    copy: tuple[str, ...]
    needs: str = ""  # required environment variable
    encoding: str = "utf-8"


_TMUX = Tool(name="tmux", copy=("tmux", "load-buffer", "-w", "-"), needs="TMUX")
"""With `-w` (tmux 3.2) also the clipboard of the terminal around it."""
_TMUX_ALONE = ("tmux", "load-buffer", "-")  # for a text too long for the terminal around it
_TMUX_FEATURES = ("tmux", "display-message", "-p", "#{client_termfeatures}")
"""Features of the terminal around tmux; with `clipboard` among them, tmux hands a text on."""
_TOOLS = (
    Tool(
        name="wl-copy",
        # without a type it guesses one, and text that begins like a program is pasted nowhere
        copy=("wl-copy", "--type", "text/plain"),
        needs="WAYLAND_DISPLAY",
    ),
    Tool(name="xclip", copy=("xclip", "-selection", "clipboard"), needs="DISPLAY"),
    Tool(name="xsel", copy=("xsel", "--clipboard", "--input"), needs="DISPLAY"),
    Tool(name="pbcopy", copy=("pbcopy",)),
    Tool(name="clip.exe", copy=("clip.exe",), encoding="utf-16"),
    _TMUX,
)
FILE = "file"


class CopyWay(Struct, frozen=True):
    """Way to the clipboard, for the doctor."""

    name: str  # `wl-copy`, …, `tmux`, `OSC 52` or `FILE`
    obstacle: str  # why it cannot be used; empty if it can
    remark: str  # about a way that can be used


class Clipboard:
    """Clipboard of this terminal.

    `write` sends a control sequence and returns False without a terminal. `file` is the last resort.
    """

    def __init__(self, *, environ: Mapping[str, str], write: Callable[[str], bool], file: Path) -> None:
        self.timeout_s = _TIMEOUT_S
        self._environ = self._environ_at_start = environ
        self._file = file
        self._write = write

    async def copy(self, text: str) -> str:
        """Copy a text by the first way that works; raises `FileRefused` if none does.

        Returns words for a toast, which promise no more than is known.
        """
        safe = safe_text(text)
        is_long = _is_too_long(safe)
        await self._follow_tmux_client()
        for tool in _TOOLS:
            if not self._obstacle(tool) and await self._set(tool, safe):
                return f"Copied ({await self._how_far(safe) if tool is _TMUX else tool.name})"
        has_osc_52 = self._environ.get("TERM", "") not in _NO_CLIPBOARD
        if has_osc_52 and not is_long:
            encoded = b64encode(safe.encode(errors="replace")).decode()
            if self._write(osc_52(encoded, self._environ)):
                return "Sent to the terminal's clipboard (OSC 52); it does not tell whether it took it"
        try:
            await asyncio.to_thread(write_atomically, self._file, safe, follows_link=False)
        except OSError as error:
            raise FileRefused(
                "Nothing can be copied: no clipboard can be reached, and no file can be written.",
                hint="/doctor tells what each way needs.",
                details=f"{self._file}: {error.strerror}",
            ) from error
        is_cut = has_osc_52 and is_long
        why = "Too long for the terminal's clipboard" if is_cut else "No clipboard can be reached"
        return f"{why}; saved as {self._file}"

    async def ways(self) -> list[CopyWay]:
        """Return the ways in the order of `copy`, without trying them."""
        await self._follow_tmux_client()
        found = [CopyWay(tool.name, self._obstacle(tool), "there, and not tried") for tool in _TOOLS]
        term = self._environ.get("TERM", "")
        obstacle = "this terminal has no clipboard" if term in _NO_CLIPBOARD else ""
        remark = "no terminal answers to it; it is tried last"
        is_near = self._environ.get("TMUX") or self._environ.get("STY")
        if not is_near and term.startswith(("tmux", "screen")):
            remark = "a tmux in between drops it until it is told: tmux set-option -s set-clipboard on"
        found.append(CopyWay("OSC 52", obstacle, remark))
        return [*found, CopyWay(FILE, "", f"when nothing else works: {self._file}")]

    async def _set(self, tool: Tool, text: str) -> bool:
        """Return whether the tool took the text in time."""
        argv = _TMUX_ALONE if tool is _TMUX and _is_too_long(text) else tool.copy
        data = text.encode(tool.encoding, errors="replace")
        done = await run(argv, environ=self._environ, timeout_s=self.timeout_s, data=data, has_output=False)
        return done is not None

    async def _read(self, argv: tuple[str, ...]) -> str:
        """Return a program's output; empty if it fails or takes too long."""
        data = await run(argv, environ=self._environ, timeout_s=self.timeout_s)
        return (data or b"").decode(errors="replace")

    async def _follow_tmux_client(self) -> None:
        """Update the environment to the attached tmux client, which may have changed."""
        self._environ = environ = dict(self._environ_at_start)
        if not environ.get(_TMUX.needs):
            return
        lines = (await self._read(("tmux", "show-environment"))).splitlines()
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        for name in _DISPLAYS:
            if variables.get(name):
                environ.setdefault(name, variables[name])
        for name in _OVER_SSH:
            if f"-{_OVER_SSH[0]}" in lines:
                environ.pop(name, None)
        if _OVER_SSH[0] in variables:
            environ[_OVER_SSH[0]] = variables[_OVER_SSH[0]]

    def _obstacle(self, tool: Tool) -> str:
        """Return why a tool cannot be used; empty if it can."""
        if tool is not _TMUX and is_over_ssh(self._environ):
            return "skipped over ssh"  # it would set the clipboard of the wrong machine
        if tool.needs and not self._environ.get(tool.needs):
            return f"${tool.needs} is not set"
        is_installed = find_program(tool.copy[0], self._environ.get("PATH", os.defpath))
        return "" if is_installed else "not installed"

    async def _how_far(self, text: str) -> str:
        if not _is_too_long(text) and "clipboard" in await self._read(_TMUX_FEATURES):
            return "tmux, and handed to its terminal"
        return "tmux alone: prefix ] pastes it; its terminal did not get it"


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    """Return whether the screen belongs to another machine."""
    return any(environ.get(name) for name in _OVER_SSH)


def osc_52(data: str, environ: Mapping[str, str]) -> str:
    """Return the sequence that sets a terminal's clipboard, in the form that multiplexers let through.

    GNU screen needs pieces. tmux before 3.2 takes the sequence only if configured, and passes on a wrapped
    one. Over ssh only $TERM shows them: `screen.*` is GNU screen; `screen-256color` may be either, so each
    form is sent.
    """
    plain = f"\x1b]52;c;{data}\x07"
    pieces = [data[start : start + _SCREEN_CHUNK] for start in range(0, len(data), _SCREEN_CHUNK)] or [""]
    in_pieces = "\x1bP\x1b]52;c;" + "\x1b\\\x1bP".join(pieces) + "\x07\x1b\\"
    term = environ.get("TERM", "")
    if environ.get("TMUX") and not environ.get("STY"):
        return f"{plain}\x1bPtmux;\x1b{plain}\x1b\\"
    if environ.get("STY") or term.startswith("screen."):
        return in_pieces
    # the whole comes last: tmux takes the first of the pieces for a text of its own
    return in_pieces + plain if term.startswith("screen") else plain


def _is_too_long(text: str) -> bool:
    return (len(text.encode(errors="replace")) + 2) // 3 * 4 > OSC_52_LIMIT
