"""Browser and viewer of the desktop, and notifications."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath

from lmchat.errors import FileRefused
from lmchat.files import environment_for_others, is_absolute_path
from lmchat.machine.process import start_in_background
from lmchat.machine.scratch import ScratchFolders
from lmchat.text import safe_line

BELL = "\x07"
_OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_TIME_TO_FAIL_S = 2.0  # a browser that has not failed by then has started
_IN_THE_TERMINAL = ["lynx", "w3m", "links", "links2", "elinks", "www-browser", "browsh", "carbonyl"]
_TITLE = "lmchat"
_LONGEST = 120
_ONLY_OSC_9 = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")
_ONLY_OSC_777 = ("rxvt", "foot")


async def open_page(address: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Open a web page; False without a browser outside this terminal."""
    if not address.lower().startswith(("http://", "https://")):
        return False
    return await asyncio.to_thread(_open, address, _browser_environment(environ))


async def open_file(
    name: str,
    data: bytes,
    *,
    scratch: ScratchFolders,
    environ: Mapping[str, str] = os.environ,
) -> bool:
    """Open a copy of a file in the system's viewer; False without one. The copy is in `scratch`."""

    def write() -> Path:
        copy = scratch.make() / PurePath(name).name
        copy.write_bytes(data)
        return copy

    try:
        copy = await asyncio.to_thread(write)
    except OSError as error:
        words = "The viewer's copy cannot be written."
        hint = "Check the folder for temporary files."
        raise FileRefused(words, hint=hint, details=str(error)) from error
    return await asyncio.to_thread(_open, copy.as_uri(), _browser_environment(environ))


def notification(kind: str, words: str, environ: Mapping[str, str]) -> str:
    """Return the bytes of a notification: `bell`, `desktop` (OSC 9 or 777) or `none`.

    Unknown terminals get both sequences and skip one; known ones would notify twice. tmux passes
    them on only if configured, so the bell is added.
    """
    if kind == "none":
        return ""
    if kind != "desktop":
        return BELL

    words = safe_line(words, limit=_LONGEST).replace(";", ",")
    osc_9 = f"\x1b]9;{words}\x07"
    osc_777 = f"\x1b]777;notify;{_TITLE};{words}\x07"
    if environ.get("TERM_PROGRAM") in _ONLY_OSC_9 or "KITTY_WINDOW_ID" in environ:
        text = osc_9
    elif environ.get("TERM", "").startswith(_ONLY_OSC_777):
        text = osc_777
    else:
        text = osc_9 + osc_777

    if "TMUX" not in environ:
        return text
    doubled = text.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\{BELL}"


def _browser_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without browsers that need the terminal."""
    kept = environment_for_others(environ)
    kept.pop("TERM", None)
    folders = kept.get("PATH", os.defpath).split(os.pathsep)
    kept["PATH"] = os.pathsep.join(filter(is_absolute_path, folders))
    default = "wslview" if "WSL_DISTRO_NAME" in kept else ""
    browsers: list[str] = []
    for command in kept.pop("BROWSER", default).split(os.pathsep):
        words = command.split()
        if words and PurePath(words[0]).name not in _IN_THE_TERMINAL:
            browsers.append(command)
    if browsers:
        kept["BROWSER"] = os.pathsep.join(browsers)
    return kept


def _open(address: str, environment: Mapping[str, str]) -> bool:
    """Run the standard library's browser search without output to the terminal."""
    command = [sys.executable, "-I", "-c", _OPEN, address]
    process = start_in_background(command, environment=environment)
    try:
        return process.wait(_TIME_TO_FAIL_S) == 0
    except subprocess.TimeoutExpired:  # it has not failed by now
        process.returncode = 0  # the browser runs in it, and is not waited for
        return True
