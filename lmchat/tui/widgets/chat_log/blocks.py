"""The pieces that a message is laid out in, each on its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct

from lmchat.tui.widgets.chat_log.line import Line

SEGMENT_LINES = 32
"""Code and plain text are laid out in pieces of so many lines: a line costs the same at any length."""
PIECE_CHARS = 4_000
"""A paragraph or a line of plain text that is longer goes on as another piece."""
_CUT = re.compile(r"[ \t](?=[^\W\d_])")
"""Where a paragraph may be cut: what follows begins with a letter, so it is a paragraph again."""


class Kind(StrEnum):
    """How a block is laid out."""

    MARKDOWN = "markdown"
    FENCE = "fence"
    TABLE = "table"
    """Rows that continue a table."""
    PLAIN = "plain"
    """Text as it is."""
    MADE = "made"
    """Lines that the log itself makes: receipts, rules, cards."""


class Block(Struct):
    """A piece of a message that is laid out on its own."""

    kind: Kind
    """How."""
    source: str = ""
    """Markdown, bare code, or plain text."""
    info: str = ""
    """The language of a fence; head and first rows of a table that goes on."""
    is_first: bool = True
    """False where it continues its predecessor without a blank row."""
    is_attached: bool = False
    """Whether it follows its predecessor without a blank row for another reason."""
    ordinal: int | None = None
    """Number of its first item where it continues an ordered list."""
    is_thought: bool = False
    """Whether it is a part of the reasoning."""
    has_cursor: bool = False
    """Whether text goes on arriving behind its last word."""
    make: Callable[[Any], list[Line]] | None = None
    """Makes the lines of a block that is `MADE`, given a `Page`."""
    lines: list[Line] | None = None
    """What it looks like; None where that is not known now."""
    height: int | None = None
    """Number of lines at this width; None where it was never laid out."""

    @property
    def gap(self) -> int:
        """Blank rows before it, unless it begins a message."""
        return int(self.is_first and not self.is_attached)

    def estimate(self, width: int) -> int:
        """Return its height: exact where it is known."""
        if self.height is not None:
            return self.height
        return 1 + self.source.strip("\n").count("\n") + len(self.source) // width

    def forget(self) -> None:
        """Drop the lines and the height, as for another width."""
        self.lines = self.height = None


def made(make: Callable[[Any], list[Line]], *, is_attached: bool = False) -> Block:
    """Return a block whose lines are made by the log itself."""
    return Block(Kind.MADE, is_attached=is_attached, make=make)


def paragraph_pieces(source: str) -> list[str]:
    """Cut a giant paragraph, each time at the last good place of the first 4 kB."""
    pieces = []
    while len(source) > PIECE_CHARS:
        places = [match.end() for match in _CUT.finditer(source, 0, PIECE_CHARS + 1)]
        if not places or places[-1] < PIECE_CHARS // 2:
            break
        pieces.append(source[: places[-1]])
        source = source[places[-1] :]
    return [*pieces, source]


def plain_blocks(text: str, *, info: str = "") -> Iterator[Block]:
    """Cut plain text into blocks of so many lines and no more than so many characters."""
    lines = text.split("\n")
    start, size = 0, 0
    is_first = True
    for index, line in enumerate(lines):
        size += len(line)
        if index - start >= SEGMENT_LINES or (size > PIECE_CHARS and index > start):
            yield Block(Kind.PLAIN, "\n".join(lines[start:index]), info, is_first)
            start, size, is_first = index, len(line), False
    yield Block(Kind.PLAIN, "\n".join(lines[start:]), info, is_first)
