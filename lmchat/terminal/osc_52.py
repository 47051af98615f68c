"""The control sequence with which a program asks its terminal to set the clipboard."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

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
