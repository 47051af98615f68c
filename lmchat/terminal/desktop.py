"""Shows a page of the web in the browser of the user, where there is one that does not need this terminal."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePath

from lmchat.files import command_for, environment_for_others
from lmchat.text import safe_line

_TIME_TO_FAIL_S = 2.0
"""A program that has not failed by then has found the browser, or is it."""
_IN_THE_TERMINAL = ("lynx", "w3m", "links", "links2", "elinks", "www-browser", "browsh", "carbonyl")


async def open_page(
    address: str, *, environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> bool:
    """Show a page; False where no browser can be told to."""
    if not address.lower().startswith(("http://", "https://")):
        return False
    if platform == "win32":
        return await asyncio.to_thread(_start_file, address)
    for argv in browser_commands(environ, platform):
        if await asyncio.to_thread(_runs, [*argv, address], environ):
            return True
    return False


def browser_commands(environ: Mapping[str, str], platform: str) -> Iterator[list[str]]:
    """Yield what may open an address that is put behind it, the best first."""
    for value in environ.get("BROWSER", "").split(os.pathsep):
        with suppress(ValueError):
            words = [word for word in shlex.split(value) if word != "%s"]
            if words and PurePath(words[0]).name not in _IN_THE_TERMINAL and "%s" not in "".join(words):
                yield words
    if platform == "darwin":
        yield ["open"]
        return
    if environ.get("WSL_DISTRO_NAME"):
        yield ["wslview"]
    if environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        yield ["xdg-open"]
        yield ["gio", "open"]
    if environ.get("TERMUX_VERSION"):
        yield ["termux-open-url"]


def _runs(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Start a program that outlives us and says nothing on the terminal; tell whether it did not fail."""
    try:
        process = subprocess.Popen(
            command_for(argv, environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment_for_others(environ),
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return process.wait(_TIME_TO_FAIL_S) == 0
    except subprocess.TimeoutExpired:
        process.returncode = 0  # it is the browser's own from now on: nobody waits for it
        return True


def _start_file(address: str) -> bool:
    start = getattr(os, "startfile", None)
    if start is None:
        return False
    try:
        start(address)
    except OSError:
        return False
    return True


BELL = "\x07"
_TITLE = "lmchat"
_LENGTH = 120
_ONLY_OSC_9 = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")
_ONLY_OSC_777 = ("rxvt", "foot")


def notification(how: str, words: str, environ: Mapping[str, str]) -> str:
    """Return the bytes for `bell`, `desktop` (OSC 9 or 777) or `none`.

    A terminal that knows both would tell it twice, so it gets one where it is known which; others get both
    and skip what they do not know. Inside tmux they need its passthrough, which is off unless the user turned
    it on: the bell comes along.
    """
    match how:
        case "none":
            return ""
        case "desktop":
            return _desktop(safe_line(words, limit=_LENGTH).replace(";", ","), environ)
        case _:
            return BELL


def _desktop(words: str, environ: Mapping[str, str]) -> str:
    osc_9, osc_777 = f"\x1b]9;{words}\x07", f"\x1b]777;notify;{_TITLE};{words}\x07"
    if environ.get("TERM_PROGRAM") in _ONLY_OSC_9 or "KITTY_WINDOW_ID" in environ:
        text = osc_9
    elif environ.get("TERM", "").startswith(_ONLY_OSC_777):
        text = osc_777
    else:
        text = osc_9 + osc_777
    return _through_tmux(text) + BELL if "TMUX" in environ else text


def _through_tmux(text: str) -> str:
    doubled = text.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\"
