"""Icons on the screen, in Unicode and in ASCII (`ui.ascii`)."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict
from textual.widget import Widget

ASCII_CLASS = "-ascii"  # class of the app where only ASCII may be drawn


class Icons(Struct, frozen=True, kw_only=True):
    """Set of signs. A state is never shown by its sign alone: a word follows."""

    ready: str = "●"
    degraded: str = "◆"
    down: str = "×"
    off: str = "·"
    asleep: str = "○"
    dot: str = "·"  # between two figures of a line
    fresh: str = "•"  # new text; also a bullet
    folded: str = "+"
    unfolded: str = "-"
    warning: str = "!"
    bar: str = "▌"  # left edge
    used: str = "━"  # used part of a meter
    rule: str = "─"  # free part of a meter
    column: str = "│"
    levels: str = "▁▂▃▄▅▆▇█"  # of a sparkline, lowest first
    down_arrow: str = "↓"
    up_arrow: str = "↑"
    fork: str = "└"
    cut: str = "…"  # in place of text that has no room
    before_version: str = "‹"
    after_version: str = "›"


# Sign by sign: "●" becomes "*", "◆" becomes "~", …
_IN_ASCII = str.maketrans("●◆×·○•↑↓←→–…‹›\u00a0━─│▌└▁▂▃▄▅▆▇█", "*~x.zo^v<>-.<> #-||`.:-=+*#@")


def in_ascii(text: str) -> str:
    """Return a text with one ASCII character for each sign of `Icons`; the width stays.

    Other characters are not changed: this is for lmchat's own words.
    """
    return text.translate(_IN_ASCII)


UNICODE = Icons()
# `cut` has three dots: one dot, as `in_ascii` writes it, would look like the end of a sentence
ASCII = Icons(**{name: in_ascii(sign) for name, sign in asdict(UNICODE).items()} | {"cut": "..."})


def icons_for(widget: Widget) -> Icons:
    """Return the signs for a widget: in ASCII where its app may draw nothing else."""
    return ASCII if widget.app.has_class(ASCII_CLASS) else UNICODE
