"""What of a long message is not yet cut into blocks: rows of the log's own stand in its place."""

from __future__ import annotations

from functools import partial

from rich.style import Style

from lmchat.tui.widgets.chat_log.blocks import Block, Kind
from lmchat.tui.widgets.chat_log.layout.page import Page
from lmchat.tui.widgets.chat_log.line import Line

AT_ONCE_CHARS = 30_000
"""A message that is no longer is cut into blocks at once: 5 ms for prose, 70 for lists in lists."""
FIRST_CHARS = 4_000
"""So much of a longer one is read at once: more than a screen."""
TOLD_EVERY = 12
"""Rows between the words, so that some are on each screen."""
MOST_ROWS = 50_000
"""A text of nothing but line ends is estimated no higher."""


class Rest(Block):
    """Stands for text that is not yet read, as high as that is likely to be."""

    chars: int = 0
    """Characters of it."""
    line_ends: int = 0
    """Line ends in it."""

    def estimate(self, width: int) -> int:
        """Return its height."""
        return _rows(self.line_ends, self.chars, width)

    def stand_for(self, text: str, at: int, size: int) -> None:
        """Stand for a text from a place on, of a part that has so many characters."""
        self.forget()
        self.chars, self.line_ends = len(text) - at, text.count("\n", at)
        fraction = max(size - self.chars, 0) / max(size, 1)
        self.make = partial(_lines, self.line_ends, self.chars, int(100 * fraction))


def _rows(line_ends: int, chars: int, width: int) -> int:
    return min(max(line_ends + chars // width, 1), MOST_ROWS)


def rest() -> Rest:
    """Return rows that stand for nothing yet."""
    return Rest(Kind.MADE)


def _lines(line_ends: int, chars: int, percent: int, page: Page) -> list[Line]:
    """Return blank rows; the last, and each so many above it, tells how far it is."""
    signs = page.signs
    words = f"{signs.cut} reading a long message {signs.dot} {percent} %"
    told, blank = page.row([[(words, page.styles["muted"])]]), page.row([[("", Style.null())]])
    count = _rows(line_ends, chars, page.text_width)
    above, rest_of = divmod(count, TOLD_EVERY)
    return (
        [blank] * max(rest_of - 1, 0) + [told] * (rest_of > 0) + ([blank] * (TOLD_EVERY - 1) + [told]) * above
    )
