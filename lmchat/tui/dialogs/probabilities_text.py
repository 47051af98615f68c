"""Text of an answer in which one word after the other can be chosen; paints only lines in view.

A word is a token of the model. A word of which the model was unsure is marked.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lmchat.cells import split_at_cell
from lmchat.safe_text import safe_text
from lmchat.tui.icons import fit_scrollbar, icons_for
from lmchat.tui.widgets.line import content, styled
from lmchat.units import GAP

_CURSOR = "bold reverse $primary"
_TAB = " " * 4
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""Signs that change the emoji before them."""
_INVISIBLE = ("\ufe0e", "\ufe0f", "\u200d")
"""Variation selectors and the joiner, which are often tokens of their own."""


class ShownWord(Struct, frozen=True):
    """A word of the text, or a part of one that goes over several lines."""

    text: str
    style: str = ""
    index: int | None = None  # among the words that can be chosen; None if this one cannot


WordLine = list[ShownWord]


class ChoicesText(ScrollView):
    """Words in lines, one of them under the cursor; a bar marks its line."""

    DEFAULT_CLASSES: ClassVar[str] = "gap"

    def __init__(self) -> None:
        super().__init__()
        self.can_focus = False
        self.cursor = 0  # index of the word under the cursor
        self._words: Sequence[ShownWord] = ()
        self._lines: list[WordLine] = []
        self._first_lines: dict[int, int] = {}  # the line where a word begins, by its index

    @property
    def line_count(self) -> int:
        return len(self._lines)

    def show(self, words: Sequence[ShownWord]) -> None:
        """Show other words; the cursor keeps its index."""
        self._words = words
        self._lay_out()

    def move_to(self, index: int) -> None:
        """Move the cursor to a word, and scroll to it."""
        self.cursor = index
        self.refresh()
        self._scroll_to_cursor()

    def on_mount(self) -> None:
        fit_scrollbar(self)

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        """Put the words into lines of the present width: a bar, the text, the scrollbar."""
        width = self.outer_size.width - 2
        if width <= 0:
            return
        self._lines = lines_of(self._words, width)
        self._first_lines = {}
        for number, line in enumerate(self._lines):
            for word in line:
                if word.index is not None:
                    self._first_lines.setdefault(word.index, number)
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()
        self._scroll_to_cursor()

    def _scroll_to_cursor(self) -> None:
        line = self._first_lines.get(self.cursor, 0)
        self.scroll_to_region(Region(0, line, 1, 1), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """Return the line `y` of the widget as a strip; blank below the last line of the text."""
        width = self.outer_size.width
        base = self.visual_style
        number = y + self.scroll_offset.y
        line = self._lines[number] if number < len(self._lines) else []
        has_cursor = any(word.index == self.cursor for word in line)
        bar = styled(icons_for(self).bar, "$primary") if has_cursor else Content(" ")
        words = content([(word.text, self._style_of(word)) for word in line])
        strip = Strip((bar + words).render_segments(base))
        return strip.adjust_cell_length(width, base.rich_style)

    def _style_of(self, word: ShownWord) -> str:
        return _CURSOR if word.index == self.cursor else word.style


def shown_text(text: str) -> str:
    """Return the text of a token as it is shown beside others.

    Control characters become visible, tabs become blanks. A character that would be drawn over the
    one before it gets a blank before it; an invisible one is shown as a blank.
    """
    if text in _INVISIBLE:
        return GAP
    shown = safe_text(text).replace("\t", _TAB)
    if shown.isascii():
        return shown
    first = shown[0]
    is_drawn_over = unicodedata.category(first)[0] == "M" or first in _SKIN_TONES
    return GAP + shown if is_drawn_over or not cell_len(first) else shown


def lines_of(words: Iterable[ShownWord], width: int) -> list[WordLine]:
    """Return words in lines of at most `width` cells.

    Words that follow each other without a blank stay on one line, if it has room for them. The
    blank before a word at the beginning of a line is left out.
    """
    lines: list[WordLine] = [[]]
    used = 0  # cells of the last line
    for word in words:
        *closed, rest = word.text.split("\n")
        for part in closed:
            # a blank for the line break, so that the cursor can be seen on it
            used = _add(lines, replace(word, text=f"{part} "), used, width)
            lines.append([])
            used = 0
        if rest:
            used = _add(lines, replace(word, text=rest) if closed else word, used, width)
    return lines


def _add(lines: list[WordLine], word: ShownWord, used: int, width: int) -> int:
    """Add a word without a line break to the last of some lines, or to new ones.

    One that begins without a blank continues the words before it, as tokens are often parts of
    words: if it has no room, the words that it continues move to the new line with it. `used` is
    the number of cells in the last line; return that of the line that is the last one now.
    """
    cells = cell_len(word.text)
    if used + cells > width and used:
        has_blank = word.text[:1] == " "
        lines.append([] if has_blank else _take_last_words(lines[-1]))
        used = sum(cell_len(moved.text) for moved in lines[-1])
        if not used and word.text.strip(" "):
            word = replace(word, text=word.text.removeprefix(" "))
        cells = cell_len(word.text)
    while used + cells > width:  # wider than a line: it is cut where each line ends
        room = max(width - used, 1)
        head, tail = split_at_cell(word.text, room)
        is_through_character = head + tail != word.text
        if is_through_character and (used or room > 1):  # a wide one, which fits into the next line
            head, tail = split_at_cell(word.text, room - 1)
        if head:
            lines[-1].append(replace(word, text=head))
        lines.append([])
        used = 0
        word = replace(word, text=tail)
        cells = cell_len(tail)
    lines[-1].append(word)
    return used + cells


def _take_last_words(line: WordLine) -> WordLine:
    """Take the words behind the last blank out of a line and return them, without that blank.

    If the line has no blank, it stays, and nothing is returned.
    """
    for start in range(len(line) - 1, 0, -1):
        if line[start].text.startswith(" "):
            taken = line[start:]
            del line[start:]
            taken[0] = replace(taken[0], text=taken[0].text.removeprefix(" "))
            return taken
    return []
