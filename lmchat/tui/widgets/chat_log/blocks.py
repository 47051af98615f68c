"""Blocks: the pieces that a message is laid out in."""

from __future__ import annotations

import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import accumulate, islice
from typing import Any

from msgspec import Struct, field
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Span = tuple[str, Style]  # a piece of text in one style


class Line(Struct):
    """One row, from the cell after the bar to the right edge, and its text."""

    segments: list[Segment]  # segments of the row, as wide as the page without the bar
    text: str = ""  # text that a selection copies: without prefix and padding
    start: int = 0  # characters before the text
    is_wrapped: bool = False  # whether the next line continues this one
    # of a row of a table: where in the text each cell begins and ends
    cells: tuple[tuple[int, int], ...] = ()
    # text between each cell and its rest on the next row; empty where the row of a table ends
    tails: tuple[str, ...] = ()
    tint: str = "base"  # style of the ground at its left edge
    bar: str = ""  # style of the bar at the left; empty where there is none
    action: str = ""  # name of the message command that a click runs
    hint: list[Segment] | None = None  # segments shown instead while the message has the focus
    painted: Strip | None = None  # the row at full width, as long as nothing is marked in it
    # the look that it was painted with: another width or other colours make another object
    look: object = None


# code and plain text are laid out in pieces of so many lines: a line costs the same at any length
SEGMENT_LINES = 32
PIECE_CHARS = 4_000  # a paragraph or a line of plain text that is longer goes on as another piece
MOST_CLUSTER = 64  # characters that are drawn as one
_JOINER = "\u200d"
HEAD_LINES = 2  # lines of the head of a table
TABLE_ROWS = (
    24  # rows that decide about the widths of a table; those that follow are cut off one by one
)
# a table with more is shown as plain text: short rows of it would be thousands of empty cells
MOST_COLUMNS = 32
# before the rest of a cut line, so that it is not read as the beginning of one; never shown
GLUE = "\ufdd0"


class Kind(StrEnum):
    """Way in which a block is laid out."""

    MARKDOWN = "markdown"
    FENCE = "fence"
    TABLE = "table"  # rows that continue a table
    PLAIN = "plain"  # text as it is
    MADE = "made"  # rows of the log itself: receipts, rules, cards


class Code(Struct):
    """State that the pieces of one fence share."""

    pieces: list[str] = field(default_factory=list)  # their texts
    inner: tuple[int, ...] = ()  # those that begin in the middle of a line
    is_whole: bool = False  # whether the fence has ended
    is_read: bool = False  # whether highlighting it as a whole was requested
    # colours of each piece, once the fence was highlighted as a whole
    colours: list[bytes] = field(default_factory=list)

    def add(self, block: Block) -> None:
        block.code, block.piece = self, len(self.pieces)
        if block.head:
            self.inner += (block.piece,)
        self.pieces.append(block.source)


class Block(Struct, gc=False):
    """A piece of a message that is laid out on its own. No references lead back to it: `gc=False`."""

    kind: Kind  # how
    source: str = ""  # markdown, bare code, or plain text
    info: str = ""  # the language of a fence; head and first rows of a table that goes on
    is_first: bool = True  # false where it continues its predecessor without a blank row
    is_attached: bool = (
        False  # whether it follows its predecessor without a blank row for another reason
    )
    head: str = ""  # start of a line that went before; it is parsed and not shown
    number: int | None = None  # of the first item where it continues a list
    code: Code | None = None  # the fence that it is a piece of
    piece: int = 0  # which one
    continues_line: bool = False  # whether its last line goes on in the block that follows
    is_thought: bool = False  # whether it is a part of the reasoning
    has_cursor: bool = False  # whether text goes on arriving behind its last word
    # makes the lines of a block that is `MADE`, given a `Page`
    make: Callable[[Any], list[Line]] | None = None
    lines: list[Line] | None = None  # its rows; None where it is not laid out
    height: int | None = None  # number of lines at this width; None where it was never laid out

    @property
    def gap(self) -> int:
        return int(self.is_first and not self.is_attached)

    def estimate(self, width: int) -> int:
        """Return the height; exact once it was laid out."""
        if self.height is not None:
            return self.height
        return 1 + self.source.strip("\n").count("\n") + len(self.source) // width

    def forget(self) -> None:
        self.lines = self.height = None


def made(make: Callable[[Any], list[Line]], *, is_attached: bool = False) -> Block:
    """Return a block whose lines are made by the log itself."""
    return Block(Kind.MADE, is_attached=is_attached, make=make)


def plain_blocks(text: str) -> Iterator[Block]:
    """Cut plain text into blocks of limited lines and characters."""
    lines: list[str] = []
    size, is_first = 0, True
    for line in text.split("\n"):
        if lines and (len(lines) >= SEGMENT_LINES or size + len(line) > PIECE_CHARS):
            yield Block(Kind.PLAIN, "\n".join(lines), is_first=is_first)
            lines, size, is_first = [], 0, False
        start = 0
        while len(line) - start > PIECE_CHARS:
            end = _end_of_piece(line, start)
            yield Block(Kind.PLAIN, line[start:end], is_first=is_first, continues_line=True)
            start, is_first = end, False
        lines.append(line[start:])
        size += len(line) - start
    yield Block(Kind.PLAIN, "\n".join(lines), is_first=is_first)


def _end_of_piece(line: str, start: int) -> int:
    """Return where to cut a long line: behind a blank, or between two characters."""
    end = start + PIECE_CHARS
    blank = line.rfind(" ", end - PIECE_CHARS // 2, end)
    if blank >= 0:
        return blank + 1
    while end > start + PIECE_CHARS - MOST_CLUSTER and is_inner(line, end):
        end -= 1
    return end


def is_inner(text: str, place: int) -> bool:
    """Whether a place is within what is drawn as one character, or behind a backslash."""
    if text[place - 1] in (_JOINER, "\\"):
        return True
    char = text[place]
    return (
        char == _JOINER
        or unicodedata.category(char)[0] == "M"
        or "\U0001f3fb" <= char <= "\U0001f3ff"
    )


class Heights:
    """List of heights with prefix sums; a change costs what comes after it."""

    __slots__ = ("_tops", "_values")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._values = list(values)
        self._tops = array("q", (0,))

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> int:
        return self._values[index]

    def __setitem__(self, index: int, height: int) -> None:
        if self._values[index] != height:
            self._values[index] = height
            del self._tops[index + 1 :]

    def append(self, height: int) -> None:
        self._values.append(height)

    def truncate(self, count: int) -> None:
        del self._values[count:], self._tops[count + 1 :]

    def top(self, index: int) -> int:
        """Return the sum of the heights before one."""
        known = len(self._tops) - 1
        if index > known:
            rest = accumulate(islice(self._values, known, index), initial=self._tops[-1])
            self._tops.extend(islice(rest, 1, None))
        return self._tops[index]

    @property
    def total(self) -> int:
        return self.top(len(self._values))

    def find(self, y: int) -> tuple[int, int]:
        """Return the element at a position, and how far into it; after the end, the last one."""
        total = self.total
        index = len(self._values) - 1 if y >= total else bisect_right(self._tops, max(y, 0)) - 1
        return index, y - self._tops[index]
