"""How a terminal is told that something has happened that nobody looked at."""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.text import safe_line

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
