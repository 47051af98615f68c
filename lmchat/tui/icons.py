"""The signs on the screen, in Unicode and in ASCII (`ui.ascii`); none of them is a guess at the font."""

from __future__ import annotations

from msgspec import Struct
from textual.widget import Widget

ASCII_CLASS = "-ascii"
"""Class of the app where only ASCII may be drawn; styles and `signs_for` go by it."""


class Signs(Struct, frozen=True, kw_only=True):
    """One set; state is always told by a sign and a word."""

    ready: str = "●"
    """Ready, loaded."""
    degraded: str = "◆"
    """Degraded, loading."""
    down: str = "×"
    """Down, failed."""
    off: str = "·"
    """Not loaded, off."""
    dot: str = "·"
    """Between two figures of a line."""
    fresh: str = "•"
    """New text in a session; also the bullet of a list."""
    folded: str = "+"
    """More is hidden here."""
    unfolded: str = "-"
    """All is shown."""
    warning: str = "!"
    """Before words that warn."""
    bar: str = "▌"
    """At the left of a block: your words, the queue, what has the focus."""
    used: str = "━"
    """Used part of a meter."""
    rule: str = "─"
    """Free part of a meter; rule under a table's head."""
    column: str = "│"
    """Rule between columns, where there are no tints."""
    levels: str = "▁▂▃▄▅▆▇█"
    """Spark, from least to most."""
    down_arrow: str = "↓"
    """New lines below; text that arrives in a session."""
    up_arrow: str = "↑"
    """The key."""
    fork: str = "└"
    """A session forked from the one above."""
    cut: str = "…"
    """Something was left out."""
    before_version: str = "‹"
    """Before the number of a version."""
    after_version: str = "›"
    """After it."""


UNICODE = Signs()
"""The usual set."""
ASCII = Signs(
    ready="*",
    degraded="~",
    down="x",
    off=".",
    dot=".",
    fresh="o",
    bar="|",
    used="#",
    rule="-",
    column="|",
    levels=".:-=+*#@",
    down_arrow="v",
    up_arrow="^",
    fork="`",
    cut="...",
    before_version="<",
    after_version=">",
)
"""The set for terminals and fonts that lack the others."""


_IN_ASCII = str.maketrans("●◆×·•↑↓←→–…‹›\u00a0", "*~x.o^v<>-.<> ")


def in_ascii(text: str) -> str:
    """Return our own words, which may hold one of our signs, in ASCII and of the same width."""
    return text.translate(_IN_ASCII)


def signs(*, is_ascii: bool) -> Signs:
    """Return the set to draw with."""
    return ASCII if is_ascii else UNICODE


def signs_for(widget: Widget) -> Signs:
    """Return the set that the app of a widget draws with."""
    return signs(is_ascii=widget.app.has_class(ASCII_CLASS))
