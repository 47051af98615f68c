"""Clipboard access by the first way that works.

The ways are, in this order: the tools in `TOOLS` (programs of the desktop), tmux, the control
sequence OSC 52, which asks the terminal, and a file.
"""

from __future__ import annotations

import asyncio
import os
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.errors import FileRefused
from lmchat.files import find_program, image_type, write_atomically
from lmchat.machine.process import run_tool
from lmchat.text import safe_text

OSC_52_LIMIT = 74_994
"""Longest base64 text of terminals (hterm in https://chromium.googlesource.com/apps/libapps)."""
_MOST_BYTES = 100_000_000  # of a text or an image, which is scaled before it is attached
# An image as osascript prints it: `«data PNGf`, its bytes in hexadecimal (the group), then `»`.
_HEX_OF_OSASCRIPT = re.compile(rb"\s*\xc2\xabdata PNGf((?:[0-9A-F]{2})+)\xc2\xbb")
_TIMEOUT_S = 2.0  # for one tool: some wait forever for a closed display
_SCREEN_CHUNK = 512  # characters of one sequence: GNU screen passes on at most 768 bytes at once
_SSH = "SSH_CONNECTION"  # the only variable of ssh that tmux keeps up to date
_OVER_SSH = (_SSH, "SSH_TTY", "SSH_CLIENT")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_TERMS_WITHOUT_CLIPBOARD = ("", "dumb", "linux")  # values of $TERM


class ClipboardTool(Struct, frozen=True, kw_only=True):
    """Program that sets the clipboard from its stdin."""

    name: str
    copy_command: tuple[str, ...]
    paste_command: tuple[str, ...] = ()  # empty: it cannot read the clipboard
    types_command: tuple[str, ...] = ()  # lists the media types of the content
    image_command: tuple[str, ...] = ()  # prints an image as PNG; fails if the content is another
    needed_variable: str = ""  # environment variable without which it does not work
    encoding: str = "utf-8"


_XCLIP = ("xclip", "-selection", "clipboard")
TOOLS = (
    ClipboardTool(
        name="wl-copy",
        # Without a type, wl-copy guesses one. Text that begins like a script would get a type that
        # no program pastes.
        copy_command=("wl-copy", "--type", "text/plain"),
        paste_command=("wl-paste", "--no-newline"),
        types_command=("wl-paste", "--list-types"),
        image_command=("wl-paste", "--type", "image/png"),
        needed_variable="WAYLAND_DISPLAY",
    ),
    ClipboardTool(
        name="xclip",
        copy_command=_XCLIP,
        paste_command=(*_XCLIP, "-o"),
        types_command=(*_XCLIP, "-o", "-t", "TARGETS"),
        image_command=(*_XCLIP, "-o", "-t", "image/png"),
        needed_variable="DISPLAY",
    ),
    ClipboardTool(
        name="xsel",
        copy_command=("xsel", "--clipboard", "--input"),
        paste_command=("xsel", "--clipboard", "--output"),
        needed_variable="DISPLAY",
    ),
    ClipboardTool(
        name="pbcopy",
        copy_command=("pbcopy",),
        paste_command=("pbpaste",),
        image_command=("osascript", "-e", "get the clipboard as «class PNGf»"),
    ),
    ClipboardTool(name="clip.exe", copy_command=("clip.exe",), encoding="utf-16"),
)
TMUX = ClipboardTool(
    name="tmux",
    copy_command=("tmux", "load-buffer", "-w", "-"),
    paste_command=("tmux", "show-buffer"),
    needed_variable="TMUX",
)
"""With `-w` (tmux 3.2), tmux also sets the clipboard of the terminal around it."""
# For a text that is too long for the terminal around tmux: only the buffer of tmux gets it.
_TMUX_ALONE = ("tmux", "load-buffer", "-")
TMUX_FEATURES = ("tmux", "display-message", "-p", "#{client_termfeatures}")
"""Command for the features of the terminal around tmux.

If `clipboard` is among them, tmux passes a copied text on to that terminal.
"""


class Copied(Struct, frozen=True):
    """Result of a copy."""

    way: str  # `wl-copy`, …, `tmux`, `OSC 52` or `file`
    words: str  # for a notification, which promises no more than is known


class WayChecked(Struct, frozen=True, kw_only=True):
    """A way to the clipboard and whether it works, for the doctor."""

    way: str  # as in `Copied`
    works: bool | None  # None: unknown, because it was not tried or does not report success
    reason: str  # in words that begin small and have no full stop
    is_there: bool = True  # False: it is not installed or cannot be used here, so it does not work


class Clipboard:
    """Clipboard of this terminal, which may be reached in several ways."""

    def __init__(
        self, *, environ: Mapping[str, str], write: Callable[[str], bool], file: Path | None
    ) -> None:
        """Try nothing yet.

        `write` sends a control sequence to the terminal, and returns False if there is no terminal.
        `file` is written where no other way works; None in a temporary chat.
        """
        self.environ = environ
        self.file = file
        self.timeout_s = _TIMEOUT_S
        self._environ_at_start = environ
        self._write = write

    async def copy(self, text: str) -> Copied:
        """Copy a text by the first way that works, and return which one that was.

        OSC 52 counts as working if there is a terminal that may know it and the text is not too
        long for it. Raises `FileRefused` if not even the file can be written.
        """
        safe = safe_text(text)
        await self.update_environment()
        for tool in (*TOOLS, TMUX):
            if self.check_tool(tool).is_there and await self.copy_with(tool, safe):
                words = f"Copied ({tool.name})"
                if tool is TMUX:
                    words = await self._words_for_tmux(safe)
                return Copied(tool.name, words)

        has_osc_52 = self.environ.get("TERM", "") not in _TERMS_WITHOUT_CLIPBOARD
        if has_osc_52 and _is_too_long(safe):
            return await self._save(safe, "Too long for the terminal's clipboard")
        if has_osc_52:
            encoded = b64encode(safe.encode(errors="replace")).decode()
            is_sent = self._write(osc_52(encoded, self.environ))
            if is_sent:
                words = "Sent to the terminal's clipboard (OSC 52); it does not report success"
                return Copied("OSC 52", words)
        return await self._save(safe, "No clipboard is available")

    async def _save(self, text: str, reason: str) -> Copied:
        """Write a text to the file instead of the clipboard.

        `reason` says why it is not in the clipboard. Raises `FileRefused` in a temporary chat,
        which has no file, or if the file cannot be written.
        """
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

    async def copy_with(self, tool: ClipboardTool, text: str) -> bool:
        """Set the clipboard with a tool; return whether that succeeded within `timeout_s`.

        A text that is too long for the terminal around tmux only goes into the buffer of tmux.
        """
        argv = tool.copy_command
        if tool is TMUX and _is_too_long(text):
            argv = _TMUX_ALONE
        data = text.encode(tool.encoding, errors="replace")
        output = await run_tool(
            argv, environ=self.environ, timeout_s=self.timeout_s, data=data, has_output=False
        )
        return output is not None

    async def output_of(self, argv: tuple[str, ...]) -> str | None:
        """Run a program and return its output; None if it fails or takes too long.

        Raises `FileRefused` for `_MOST_BYTES` or more.
        """
        data = await self._bytes_of(argv)
        return None if data is None else data.decode(errors="replace")

    async def _bytes_of(self, argv: tuple[str, ...]) -> bytes | None:
        """Return the output of a program as bytes, with None and errors as `output_of`."""
        data = await run_tool(
            argv, environ=self.environ, timeout_s=self.timeout_s, most_bytes=_MOST_BYTES
        )
        if data is not None and len(data) >= _MOST_BYTES:
            message = f"The clipboard holds more than {_MOST_BYTES // 1_000_000} MB."
            raise FileRefused(message, hint="Copy less, or attach a file.")
        return data

    async def paste_image(self) -> bytes:
        """Return the image in the clipboard, from the first tool that has one; else empty bytes.

        Raises `FileRefused` if it is too large.
        """
        await self.update_environment()
        for tool in TOOLS:
            if not tool.image_command or not self.check_tool(tool).is_there:
                continue
            data = await self._bytes_of(tool.image_command)
            if data is not None and (hexadecimal := _HEX_OF_OSASCRIPT.match(data)):
                data = bytes.fromhex(hexadecimal[1].decode())
            if data and image_type(data):  # a tool may print another content than was asked for
                return data
        return b""

    async def paste(self) -> str:
        """Return the text of the clipboard from the first tool that can read it.

        Raises `FileRefused` if no tool can.
        """
        await self.update_environment()
        for tool in (*TOOLS, TMUX):
            if not tool.paste_command or not self.check_tool(tool).is_there:
                continue
            text = await self.output_of(tool.paste_command)
            if text is not None:
                return text
        raise FileRefused(
            "The clipboard is empty, or no tool here can read it.",
            hint="Copy a text first; `lmchat doctor clipboard` shows what each way needs.",
        )

    async def update_environment(self) -> None:
        """Set `environ` to the environment at lmchat's start, updated in tmux.

        In tmux, lmchat may have been started from another terminal or another machine than the one
        that shows it now. tmux knows the variables of that terminal: those of ssh replace the ones
        at the start, and those of the display are added if they were not set then.
        """
        environ = dict(self._environ_at_start)
        self.environ = environ  # used by `output_of` below, and changed after it
        if not environ.get(TMUX.needed_variable):
            return
        output = await self.output_of(("tmux", "show-environment")) or ""
        lines = output.splitlines()  # `NAME=value`, or `-NAME` for a variable that is not set
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        for name in _DISPLAYS:
            if variables.get(name):
                environ.setdefault(name, variables[name])

        if f"-{_SSH}" in lines:  # shown on this machine now
            for name in _OVER_SSH:
                environ.pop(name, None)
        if _SSH in variables:  # shown over ssh now
            environ[_SSH] = variables[_SSH]

    def ways(self) -> list[WayChecked]:
        """Return the ways in the order in which `copy` tries them, without trying them."""
        tools = [self.check_tool(tool) for tool in (*TOOLS, TMUX)]
        return [*tools, self.check_osc_52(), self.check_file()]

    def check_tool(self, tool: ClipboardTool) -> WayChecked:
        """Return whether a tool can be used here, as far as that shows without running it.

        It cannot over ssh (except tmux), without its variable, or if it is not installed.
        """
        reason = ""
        if tool is not TMUX and is_over_ssh(self.environ):
            reason = "skipped over ssh"  # it would set the clipboard of the wrong machine
        elif tool.needed_variable and not self.environ.get(tool.needed_variable):
            reason = f"${tool.needed_variable} is not set"
        elif not find_program(tool.copy_command[0], self.environ.get("PATH", os.defpath)):
            reason = "not installed"
        if reason:
            return WayChecked(way=tool.name, works=False, reason=reason, is_there=False)
        return WayChecked(way=tool.name, works=None, reason="installed, not tested")

    def check_osc_52(self) -> WayChecked:
        """Return whether OSC 52 works, which is False or unknown.

        It is not tried, as that would overwrite the clipboard.
        """
        term = self.environ.get("TERM", "")
        if term in _TERMS_WITHOUT_CLIPBOARD:
            reason = "this terminal has no clipboard"
            return WayChecked(way="OSC 52", works=False, reason=reason, is_there=False)
        reason = "no terminal reports success; it is tried last"
        is_multiplexer_here = self.environ.get("TMUX") or self.environ.get("STY")
        # ssh passes $TERM on, so it may name a tmux on the machine of the ssh client
        if not is_multiplexer_here and term.startswith(("tmux", "screen")):
            reason = "tmux drops it; to allow it: tmux set-option -s set-clipboard on"
        return WayChecked(way="OSC 52", works=None, reason=reason)

    def check_file(self) -> WayChecked:
        """Return whether there is a file for texts that cannot be copied, without writing to it."""
        if self.file is None:
            reason = "not in a temporary chat"
            return WayChecked(way="file", works=False, reason=reason, is_there=False)
        return WayChecked(way="file", works=None, reason=f"if nothing else works: {self.file}")

    async def _words_for_tmux(self, text: str) -> str:
        """Return the notification for a text that was copied with tmux.

        It depends on whether tmux has passed the text on to the terminal around it.
        """
        features = await self.output_of(TMUX_FEATURES) or ""
        if "clipboard" in features and not _is_too_long(text):
            return "Copied (tmux, passed on to its terminal)"
        return "Copied inside tmux: paste with prefix ]"


def is_over_ssh(environ: Mapping[str, str]) -> bool:
    """Return whether lmchat runs over ssh, so that the terminal belongs to another machine."""
    return any(environ.get(name) for name in _OVER_SSH)


def osc_52(encoded: str, environ: Mapping[str, str]) -> str:
    """Return the sequence that sets a terminal's clipboard, in the form for a multiplexer.

    `encoded` is the text in base64. GNU screen passes on short sequences only, so it gets chunks.
    tmux before 3.2 obeys the plain sequence only if configured, but passes on a wrapped one, so
    tmux gets both. Over ssh, only $TERM shows a multiplexer: `screen.*` is GNU screen;
    `screen-256color` may be GNU screen or tmux, so the chunks and the plain sequence are returned.
    """
    plain = f"\x1b]52;c;{encoded}\x07"
    starts = range(0, max(len(encoded), 1), _SCREEN_CHUNK)  # an empty text is one empty chunk
    chunks = [encoded[start : start + _SCREEN_CHUNK] for start in starts]
    # each chunk between `ESC P` and `ESC \`, which screen removes
    for_screen = "\x1bP\x1b]52;c;" + "\x1b\\\x1bP".join(chunks) + "\x07\x1b\\"
    term = environ.get("TERM", "")
    if environ.get("TMUX") and not environ.get("STY"):
        wrapped_for_tmux = f"\x1bPtmux;\x1b{plain}\x1b\\"  # within it, tmux wants ESC twice
        return plain + wrapped_for_tmux
    if environ.get("STY") or term.startswith("screen."):
        return for_screen
    if term.startswith("screen"):
        # the plain one last: tmux takes the first of the chunks for the whole text
        return for_screen + plain
    return plain


def _is_too_long(text: str) -> bool:
    """Return whether a text has more than `OSC_52_LIMIT` characters in base64.

    Base64 has 4 characters for 3 bytes, also if fewer bytes are left at the end.
    """
    size_bytes = len(text.encode(errors="replace"))
    encoded_chars = (size_bytes + 2) // 3 * 4
    return encoded_chars > OSC_52_LIMIT
