"""Blocks: the paragraphs, lists, fences and rows of a message, each laid out separately.

A long block is cut into several blocks, its pieces. `Line` is one row of a block on the screen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style

PIECE_LINES = 32  # of plain text in one block: about 1 ms to lay out
CODE_LINES = 64  # in one block, highlighted without the code around it
PIECE_CHARS = 4_000  # of a paragraph or a line; the rest is a new block
HEAD_LINES = 2  # of a table
TABLE_ROWS = 24  # that determine the widths of a table; later rows are blocks of their own
# Where a long text is cut, the best place first; before a letter, so that a paragraph follows.
_BREAKS = (r"\n(?=[^\W\d_])", r"[ \t](?=[^\W\d_])")

Span = tuple[str, Style]  # a piece of text in one style


class Line(Struct):
    """One row of a page, without the cell of the bar, which the painter adds.

    The segments are one empty cell, the prefix, the text, the padding, and what is at the right
    edge. A blank line may have none.
    """

    segments: list[Segment]
    text: str = ""  # what a selection copies: without prefix and padding
    start: int = 0  # characters of the segments before the text
    is_wrapped: bool = False  # the next line continues this one
    left_tint: str = "base"  # of the bar, the empty cell and the prefix
    bar: str = ""  # its style, or ""
    is_end: bool = False  # takes the place of the blank row below it: a rule, a half row
    hint: list[Segment] | None = None  # `segments` while the message has the focus
    painted: Any = None  # a `Strip` of the painter: the row at full width, without marks
    painted_look: object = None  # the `Look` of `painted`


class Kind(StrEnum):
    """Way in which a block is laid out."""

    MARKDOWN = "markdown"
    FENCE = "fence"
    MORE_ROWS = "more rows"  # continue the table of an earlier block
    PLAIN = "plain"
    GAP = "gap"  # a row of the log in place of its source, which is too long to be shown
    CUSTOM = "made"  # prompts, or rows of the log, such as stats


AS_WRITTEN = (Kind.FENCE, Kind.PLAIN, Kind.CUSTOM)  # show their source without markup


class Block(Struct, gc=False):
    """A piece of a message that is laid out on its own; it has no reference cycles (`gc=False`)."""

    kind: Kind
    source: str = ""  # Markdown, bare code, or plain text; "" for rows of the log itself
    info: str = ""  # language of a fence; for `MORE_ROWS`, the table's head and first rows
    is_first: bool = True  # False for a later piece, if no blank row is above it
    is_end: bool = False  # its code has ended: no piece follows
    is_attached: bool = False  # no blank row divides it from the block above
    number: int | None = None  # of its first item, if it is a piece of a list
    # What it shows of the parsed text, in characters with LF at line ends, fence and blank lines
    # above it included. Both are 0 for blocks of other texts.
    start: int = 0
    end: int = 0
    is_thought: bool = False  # a part of the reasoning
    has_cursor: bool = False  # more text may arrive; it shows a cursor
    make: Callable[[Any], list[Line]] | None = None  # lines of a `CUSTOM` or `GAP` block on a page
    lines: list[Line] | None = None  # None until it is laid out

    @property
    def gap(self) -> int:
        return int(self.is_first and not self.is_attached)


def custom_block(make: Callable[[Any], list[Line]], *, is_attached: bool = False) -> Block:
    return Block(Kind.CUSTOM, is_attached=is_attached, make=make)


def plain_blocks(text: str) -> Iterator[Block]:
    """An empty text is one empty block."""
    lines: list[str] = []
    size = 0
    is_first = True
    for line in text.split("\n"):
        is_full = len(lines) >= PIECE_LINES or size + len(line) > PIECE_CHARS
        if lines and is_full:
            yield Block(Kind.PLAIN, "\n".join(lines), is_first=is_first)
            lines = []
            size = 0
            is_first = False

        rest = line
        while len(rest) > PIECE_CHARS:  # it was full above, so `lines` is empty here
            position = cut_position(rest)
            yield Block(Kind.PLAIN, rest[:position], is_first=is_first)
            rest = rest[position:]
            is_first = False
        lines.append(rest)
        size += len(rest)
    yield Block(Kind.PLAIN, "\n".join(lines), is_first=is_first)


def cut_position(text: str) -> int:
    """Return the last good place in the second half of a piece."""
    for pattern in _BREAKS:
        ends = list(re.compile(pattern).finditer(text, PIECE_CHARS // 2, PIECE_CHARS))
        if ends:
            return ends[-1].end()
    return PIECE_CHARS
