"""The desktop around the terminal: web pages in the user's browser, and notifications."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import PurePath

from lmchat.files import environment_for_others, is_runnable
from lmchat.text import safe_line

BELL = "\x07"
_OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_TIME_TO_FAIL_S = 2.0
"""A browser that has not failed by then may run on."""
_IN_THE_TERMINAL = ("lynx", "w3m", "links", "links2", "elinks", "www-browser", "browsh", "carbonyl")
_TITLE = "lmchat"
_LONGEST = 120
_ONLY_OSC_9 = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")
_ONLY_OSC_777 = ("rxvt", "foot")


async def open_page(address: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Show a page of the web; False if there is no browser that does without this terminal."""
    if not address.lower().startswith(("http://", "https://")):
        return False
    return await asyncio.to_thread(_open, address, _browser_environment(environ))


def notification(how: str, words: str, environ: Mapping[str, str]) -> str:
    """Return the bytes of a notification: `bell`, `desktop` (OSC 9 or 777) or `none`.

    A terminal that knows both sequences would notify twice, so known ones get one of them; others get both
    and skip what they do not know. Inside tmux the sequences need its passthrough, which is off by default:
    the bell is sent along.
    """
    if how != "desktop":
        return "" if how == "none" else BELL
    words = safe_line(words, limit=_LONGEST).replace(";", ",")
    osc_9, osc_777 = f"\x1b]9;{words}\x07", f"\x1b]777;notify;{_TITLE};{words}\x07"
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
    """Return an environment in which the standard library finds no browser that needs the terminal."""
    kept = environment_for_others(environ)
    kept.pop("TERM", None)
    kept["PATH"] = os.pathsep.join(filter(is_runnable, kept.get("PATH", os.defpath).split(os.pathsep)))
    wished = kept.pop("BROWSER", "wslview" if "WSL_DISTRO_NAME" in kept else "").split(os.pathsep)
    names = {one: PurePath((one.split() or [""])[0]).name for one in wished}
    if browsers := [one for one in wished if names[one] and names[one] not in _IN_THE_TERMINAL]:
        kept["BROWSER"] = os.pathsep.join(browsers)
    return kept


def _open(address: str, environ: Mapping[str, str]) -> bool:
    """Run the standard library's search for a browser in a process that writes nothing to the terminal."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _OPEN, address],
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        env=environ,
        start_new_session=True,
    )
    try:
        return process.wait(_TIME_TO_FAIL_S) == 0
    except subprocess.TimeoutExpired:
        process.returncode = 0  # the browser runs in it; nobody has to wait for that
        return True
