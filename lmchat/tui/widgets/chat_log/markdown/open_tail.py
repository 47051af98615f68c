"""The open end of a Markdown text: what is in it is closed piece by piece, however deep it stands."""

from __future__ import annotations

import re

from msgspec import Struct, field

from lmchat.tui.widgets.chat_log.blocks import HEAD_LINES, PIECE_CHARS, SEGMENT_LINES, Block, Kind
from lmchat.tui.widgets.chat_log.markdown.cutting import cut_place, reach
from lmchat.tui.widgets.chat_log.markdown.fences import OpenFence
from lmchat.tui.widgets.chat_log.markdown.nesting import (
    ABOVE_LISTS,
    Nest,
    before,
    depths,
    is_joined,
    nest_of,
    path,
    reopened,
    span,
    without_blanks,
)
from lmchat.tui.widgets.chat_log.markdown.syntax import References, Token, parse_blocks

OPEN_CHARS = 600
"""What is in a quote or an item of a list is closed one by one when the open tail is longer."""
_CELL_CHARS = 10
"""A cell costs as much as so many characters of prose, also where it is empty."""
_LIST = re.compile(r" {0,3}(?!([-*])(?:[ \t]*\1){2,}[ \t]*$)(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)", re.MULTILINE)
"""What begins a list; three of its marks would be a rule."""
_DEFINITION = re.compile(r" {0,3}\[[^\]]*\]:")
_BY_LINES = ("fence", "code_block", "html_block", "math_block")


class OpenTail(Struct):
    """What `MarkdownTail` knows of its text, and how it closes parts of an open block."""

    closed: list[Block] = field(default_factory=list)
    """Finished, in order."""
    open: list[Block] = field(default_factory=list)
    """What may still change."""
    references: References = field(default_factory=dict)
    """Link reference definitions so far; the text inside blocks needs them all."""
    _tail: str = ""
    _held: str = ""
    _looked_at: int = 0
    _fence: OpenFence | None = None
    _is_first: bool = True
    _above: str = ""
    _is_joined: bool = False
    _ordinal: int | None = None
    _frame: str = ""
    _nest: Nest = Nest()

    @property
    def _head(self) -> str:
        """What is parsed before the tail, and stands in closed blocks already."""
        frame = self._frame.split("\n", HEAD_LINES)[:HEAD_LINES]
        return "".join(line + "\n" for line in frame if line) or self._nest.head

    def _drop(self, chars: int) -> None:
        """Take so much from the beginning of the tail."""
        self._tail = self._tail[chars:]
        self._looked_at = 0

    def _room(self, text: str = "") -> int:
        """Return after how many characters of a text the tail is looked at whether it can be cut.

        What is in no long paragraph was looked at before, and is not looked at again.
        """
        begun = self._tail[self._looked_at :]
        if self._fence:
            return PIECE_CHARS + 1 - len(begun)
        return reach(begun + text[: PIECE_CHARS + 1], len(self._nest.levels)) + 1 - len(begun)

    def _leave(self) -> None:
        """Begin another block, within nothing."""
        self._frame, self._ordinal, self._is_first, self._nest = "", None, True, Nest()

    def _put(self, block: Block, *, is_next: bool = False) -> None:
        """Close a block; one that is the next of others does not go on with what was closed before."""
        if not is_next:
            self._begin(block)
        else:
            block.is_first = False
        if block.source.strip("\n") or not block.head:
            self.closed.append(block)

    def _begin(self, block: Block) -> Block:
        """Let a block stand where the tail begins."""
        block.is_first = self._is_first
        block.is_attached = self._is_joined
        if not self._nest.head:
            pattern = _DEFINITION if self._above == "definition" else None
            pattern = _LIST if self._above in ABOVE_LISTS else pattern
            block.is_attached = pattern is not None and pattern.match(block.source) is not None
        if not self._frame:
            block.head, block.numbers = self._nest.head, self._nest.numbers
        return block

    def _cut(self, chars: int, nest: Nest, *, is_joined: bool = False) -> bool:
        """Close the beginning of the tail; the rest stands in a nest, or goes on with the same line."""
        source = self._tail[:chars]
        goes_on = not source.rstrip(" \t>").endswith("\n")
        self._put(Block(Kind.MARKDOWN, source, ordinal=self._ordinal, goes_on=goes_on))
        self._drop(chars)
        self._nest, self._is_first, self._is_joined, self._above = nest, False, is_joined, ""
        is_list = bool(nest.levels) and nest.levels[0].number is not None
        self._ordinal = nest.numbers[0] if is_list else None
        return True

    def _cut_lines(self, tokens: list[Token], lines: list[str], first: int) -> bool:
        """Close a part of the last block, where others stand in it or it is long; return whether one was.

        `lines` are the complete ones of the tail, `first` is the number of the first of them.
        """
        places = path(tokens)
        if not places or self._frame:
            self._let_go(lines)
            return False
        if sum(map(len, lines)) > OPEN_CHARS and self._cut_before_last(tokens, places, lines, first):
            return True
        return self._cut_leaf(tokens, places, lines, first)

    def _cut_before_last(self, tokens: list[Token], places: list[int], lines: list[str], first: int) -> bool:
        """Close all that stands before the last block of some container, the innermost that has such."""
        for depth in range(len(places) - 1, 0, -1):
            other = before(tokens, places, depth)
            if other is None or span(tokens[other])[1] <= first:
                continue
            outer = depths(self._nest, tokens, places[:depth], lines, self._ordinal)
            end = without_blanks(outer, lines, span(tokens[other])[1] - first)
            if end:
                token = tokens[places[depth]]
                goes_on = first + end == span(token)[0] and is_joined(tokens[other], token)
                inner = [*places[:depth], *([other] if tokens[other].type == "list_item_open" else [])]
                nest = nest_of(depths(self._nest, tokens, inner, lines, self._ordinal))
                return self._cut(sum(map(len, lines[:end])), nest, is_joined=goes_on)
        return False

    def _cut_leaf(self, tokens: list[Token], places: list[int], lines: list[str], first: int) -> bool:
        """Close the first lines of a block that has no others in it."""
        leaf = tokens[places[-1]]
        start, end = span(leaf)
        begin = max(start - first, 0)
        if leaf.type in _BY_LINES:
            begin += start >= first and leaf.type == "fence"
            count = SEGMENT_LINES if end - first - begin > SEGMENT_LINES else 0
            while count and leaf.type == "code_block" and not lines[begin + count - 1].strip(" >\t\n"):
                count -= 1  # blank lines at the end of code are none of it
        elif leaf.type == "table_open" and len(places) > 1:
            count = fitting(lines[begin:])
        else:
            return False
        if not count or begin + count >= len(lines):
            return False
        nest = self._nest_within(tokens, places, lines, first)
        return self._cut(sum(map(len, lines[: begin + count])), nest)

    def _nest_within(self, tokens: list[Token], places: list[int], lines: list[str], first: int) -> Nest:
        """Return what stands around the next line of a block of lines."""
        leaf = tokens[places[-1]]
        start = span(leaf)[0] - first
        if start < 0:
            return self._nest
        found = depths(self._nest, tokens, places, lines, self._ordinal)
        return reopened(found, leaf, lines[start:])

    def _let_go(self, lines: list[str]) -> None:
        """Drop all blank lines but one where nothing else is."""
        if not (self._nest.head or self._frame or "".join(lines).strip()):
            self._drop(sum(map(len, lines[:-1])))

    def _cut_giant(self) -> None:
        """Close the beginning of a giant paragraph, or of a line that does not end."""
        if self._fence:
            self._fence.cut(self._tail[:PIECE_CHARS])
            self.closed += self._fence.done()
            self._drop(PIECE_CHARS)
        elif not self._tail.strip(" \t"):
            self._drop(PIECE_CHARS)
        else:
            self._cut_long()

    def _cut_long(self) -> None:
        head = self._head
        tokens = parse_blocks(head + self._tail, {}, shows_definitions=True)
        places = path(tokens)
        leaf = tokens[places[-1]] if places else None
        lines = self._tail.split("\n")
        count = len(lines) - 1
        if leaf is not None and leaf.type == "paragraph_open":
            count = max(span(leaf)[0] - head.count("\n"), 0)
        begin = sum(len(line) + 1 for line in lines[:count])
        if leaf is not None and leaf.type == "table_open" and len(places) > 1 and not self._frame:
            first = head.count("\n")
            if count > max(span(leaf)[0] - first, 0) + HEAD_LINES:
                self._cut(begin, self._nest_within(tokens, places, lines, first))
                return
        levels = len(self._nest.levels)
        if len(self._tail) - begin <= reach(self._tail[begin:], levels):
            self._looked_at = begin
            return
        nest = nest_of(depths(self._nest, tokens, places, lines, self._ordinal))
        if self._frame:
            if begin:
                self._put(Block(Kind.TABLE, self._tail[:begin], self._frame))
                self._drop(begin)
                self._is_first, begin = False, 0
            self._frame = ""
        place, is_word = cut_place(self._tail[begin:], levels)
        self._cut(begin + place, _glued(nest, leaf, is_word=is_word))


def _glued(nest: Nest, leaf: Token | None, *, is_word: bool) -> Nest:
    """Return the nest for the rest of a line of a block."""
    if leaf is not None and leaf.type == "heading_open" and leaf.markup.startswith("#"):
        return nest.glued(leaf.markup + " ", is_word=False)
    return nest.glued(is_word=is_word)


def fitting(lines: list[str], columns: int = 0) -> int:
    """Return how many lines of a table are as long as a piece; 0 where all are shorter."""
    size = 0
    for number, line in enumerate(lines):
        size += max(len(line), columns * _CELL_CHARS)
        if size > PIECE_CHARS:
            return max(number, HEAD_LINES + 1)
    return 0
