"""Cut a growing Markdown text into blocks that never change again and a short open tail.

The complete lines of the tail are parsed, and all blocks but the last are closed. Of a long list,
quote, table or fence at the end, the pieces that cannot change are closed. A piece continues the
one before it: `_head` is what must be put before its text for the parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from msgspec import Struct, field

from lmchat.markdown.block import (
    CODE_LINES,
    HEAD_LINES,
    PIECE_CHARS,
    TABLE_ROWS,
    Block,
    Kind,
    safe_cut,
)
from lmchat.markdown.commonmark import (
    ABOVE_LISTS,
    Fence,
    References,
    Token,
    opening_fence,
    parse_blocks,
    span,
)
from lmchat.safe_text import safe_text

_MOST_CHARS = 20_000  # of an item or HTML in one piece; what follows is parsed alone
_KEPT_WHOLE = ("bullet_list_open", "ordered_list_open", "html_block", "code_block")
# blocks that end at a blank line; they are closed as soon as text follows
_END_AT_BLANK_LINE = ("paragraph_open", "heading_open", "hr", "table_open", "blockquote_open")
# where a long paragraph is cut, the best first: before a letter no other kind of block begins
_BREAKS = (r"\n(?=[^\W\d_])", r"[ \t](?=[^\W\d_])")
# controls that the parser would take for line ends, or strip, although they are shown
_CONTROLS = "[\0\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]"
# start of a list; three of its marks would be a rule
_LIST = r"(?m) {0,3}(?!([-*])(?:[ \t]*\1){2,}[ \t]*$)(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)"


def _cut_place(text: str) -> int:
    """Return where to cut a paragraph that is longer than a piece.

    That is behind the last line end or blank before a letter in the second half of the piece, or
    else at its end, where no drawn character is split.
    """
    for pattern in _BREAKS:
        ends = [
            end.end() for end in re.compile(pattern).finditer(text, PIECE_CHARS // 2, PIECE_CHARS)
        ]
        if ends:
            return ends[-1]
    return safe_cut(text, PIECE_CHARS)


class OpenFence(Struct):
    """A fence at the top level of a text; its finished pieces are added to `closed`."""

    opening: Fence
    closed: list[Block]
    is_first: bool = True  # whether the next piece is the first one
    _lines: list[str] = field(default_factory=list)  # complete lines of the next piece

    def feed(self, lines: list[str]) -> tuple[int, bool]:
        """Take complete lines up to the end of the fence.

        Return how many were taken, and whether the fence ended.
        """
        for number, line in enumerate(lines):
            if self.opening.is_closed_by(line):
                self.end()
                return number + 1, True
            self.feed_line(line)
        return len(lines), False

    def feed_line(self, line: str) -> None:
        """Add a line, and close the piece if it is long enough; a longer line is cut."""
        for start in range(0, max(len(line), 1), PIECE_CHARS):
            self._lines.append(self._dedented(line[start : start + PIECE_CHARS]))
            if len(self._lines) >= CODE_LINES or sum(map(len, self._lines)) >= PIECE_CHARS:
                self._close()

    def end(self) -> None:
        """Close the last piece; the fence is complete. An empty fence has one empty piece."""
        if self._lines or self.is_first:
            self._close()

    def open_blocks(self, last_line: str) -> list[Block]:
        """Return the piece that may still change, with the line that is not complete.

        That line is hidden as long as it may become the end of the fence. Return no block if
        there is nothing to show below the pieces that are closed.
        """
        may_end = not last_line.strip(" ").strip(self.opening.marks[0])
        lines = self._lines if may_end else [*self._lines, self._dedented(last_line)]
        return [self._block(lines)] if lines or self.is_first else []

    def _close(self) -> None:
        self.closed.append(self._block(self._lines))
        self._lines = []
        self.is_first = False

    def _block(self, lines: list[str]) -> Block:
        return Block(Kind.FENCE, "\n".join(lines), self.opening.info, self.is_first)

    def _dedented(self, line: str) -> str:
        """Return a line without the blanks that the opening of the fence also has."""
        depth = len(self.opening.indent)
        if "\t" in line[:depth]:  # a tab may be indent and code at once
            line = line[:depth].expandtabs(4) + line[depth:]
        blanks = len(line) - len(line.lstrip(" "))
        return line[min(depth, blanks) :]


class CompleteLines(Struct):
    """The complete lines of a tail, which end with a line end, and their block structure."""

    lines: list[str]  # with their line ends
    tokens: list[Token]
    has_text_after_blank: bool  # whether text follows them, and their last line is blank

    def may_be_head(self, line: int) -> bool:
        """Return whether a line may be the head of a table, if a line of dashes follows it.

        Only the last complete line may: the line after it has not come yet.
        """
        return "|" in self.lines[line] and line == len(self.lines) - 1

    def is_over(self, token: Token) -> bool:
        """Return whether the last block, which begins with a token, has ended.

        A blank line and text follow it, and it is of a kind that a blank line ends.
        """
        return self.has_text_after_blank and token.type in _END_AT_BLANK_LINE


class IncrementalMarkdown(Struct):
    """Parser of a growing text: feed text, read `closed`, which only grows, and `open`.

    The text that is not closed, its tail, is parsed again when a line of it is complete. A tail
    that is longer than a piece is cut, or kept whole for now, by `_cut_giant`.
    """

    closed: list[Block] = field(default_factory=list)
    open: list[Block] = field(default_factory=list)  # blocks that may still change
    references: References = field(default_factory=dict)  # link reference definitions so far
    _tail: str = ""  # `_head`, and behind it the text that is not closed
    _held_cr: str = ""  # a CR at the end, which may belong to a CRLF
    _uncut_chars: int = 0  # characters of the tail that were found not to need a cut
    _fence: OpenFence | None = None
    _type_above: str = ""  # type of the block above the next one, if no blank line is between them
    # The following say what the next block continues. `_begin_new_block` resets them all.
    # The head of the table that continues: the parser must see it above the tail.
    _head: str = ""
    _table_start: str = ""  # head and first rows of a table that continues; empty outside of one
    _number: int | None = None  # number of the first item of a list that continues
    _is_first: bool = True  # whether the next block has a blank row above it

    def feed(self, text: str, *, is_final: bool = False) -> None:
        """Append text; afterwards `closed` and `open` cover all of it.

        With `is_final`, no more text follows, and all blocks are closed. The cuts must not depend
        on how a text was split when it arrived: however much came at once, the tail grows only up
        to the next length at which `_cut_giant` is called.
        """
        text = self._take_normal(text, is_final=is_final)
        last_text = text or self._tail
        if is_final and last_text and not last_text.endswith("\n"):
            text += "\n"  # so that the last line is complete, too
        while text:
            size = max(self._chars_to_cut, 1)  # at least one, or the loop would not end
            self._add_to_tail(text[:size])
            text = text[size:]
        if is_final and self._fence is not None:
            self._fence.end()
            self._fence = None
        self.open = self._open_blocks()
        if is_final:
            self.closed += self.open
            self.open = []
            self._tail = ""

    def open_code(self, language: str) -> None:
        """Show all text that follows as code, as the arguments of a call, which have no fence.

        It is treated as the text behind a fence of NULs. No line of the text ends this fence, as
        controls are made visible. No row with the language is above it (`is_first`).
        """
        self._fence = OpenFence(Fence("", "\0", language), self.closed, is_first=False)

    def _add_to_tail(self, piece: str) -> None:
        """Append text to the tail; close the blocks that it completes, and cut the tail if due."""
        # text behind a blank line ends most blocks above it, even before its line is complete
        is_after_blank = self._tail.endswith("\n\n") and not piece.isspace()
        self._tail += piece
        if "\n" in piece or is_after_blank:
            self._close_complete_lines()
        if self._chars_to_cut <= 0:
            self._cut_giant()

    def _take_normal(self, text: str, *, is_final: bool) -> str:
        """Return new text with LF at line ends and controls made visible.

        A CR at its end is held back until the next text tells whether it belongs to a CRLF.
        """
        text = (self._held_cr + text).replace("\r\n", "\n")
        self._held_cr = ""
        if text.endswith("\r") and not is_final:
            text = text[:-1]
            self._held_cr = "\r"
        return re.sub(_CONTROLS, lambda control: safe_text(control[0]), text)

    @property
    def _chars_to_cut(self) -> int:
        """Number of characters that the tail may grow by until `_cut_giant` is due.

        That is when it has more than a piece behind its head, or behind the `_uncut_chars`.
        """
        return PIECE_CHARS + 1 + max(self._uncut_chars, len(self._head)) - len(self._tail)

    def _close_complete_lines(self) -> None:
        """Close the blocks and pieces of code that end in the complete lines.

        Lines of a fence and other lines are read in different ways, by turns: each of the two calls
        returns whether lines are left for the other one.
        """
        may_close_more = True
        while may_close_more:
            if self._fence is not None:
                may_close_more = self._close_fence_lines(self._fence)
            else:
                may_close_more = self._close_blocks()

    def _close_blocks(self) -> bool:
        """Close all blocks that end in the complete lines, and what is certain of the last one.

        What is closed is dropped from the tail; its last line, which is not complete, stays. Return
        whether a fence has begun: the complete lines that are left then belong to it.
        """
        *complete, last_line = self._tail.split("\n")
        lines = [line + "\n" for line in complete]
        has_text_after_blank = bool(last_line.strip() and lines) and lines[-1].isspace()
        text = "".join(lines)
        tokens = parse_blocks(text, self.references)
        # within a table, the tail begins with the table's head, which is closed already
        head_lines = HEAD_LINES if self._table_start else 0
        complete_lines = CompleteLines(lines, tokens, has_text_after_blank)
        closed_lines = self._close_top_blocks(complete_lines, head_lines)
        if closed_lines > head_lines:
            closed_chars = sum(map(len, lines[:closed_lines]))
            self._drop_start(closed_chars, self._head)  # the head that closing has just set
        elif not self._head and not text.strip():  # of several blank lines only one is kept
            self._drop_start(sum(map(len, lines[:-1])), "")
        return self._fence is not None

    def _close_top_blocks(self, complete: CompleteLines, head_lines: int) -> int:
        """Close the blocks of the top level that have ended; return how many lines are closed.

        The first `head_lines` are those of the head of a table, which are closed already. Of the
        last block, if it has not ended, only what cannot change is closed. A fence that has not
        ended becomes `_fence`: its first line counts as closed.
        """
        lines = complete.lines
        closed_lines = head_lines
        top = [
            token for token in complete.tokens if not token.level and span(token)[1] > head_lines
        ]
        for token in top:
            start, end = span(token)
            is_last = token is top[-1]
            is_fence = token.type == "fence" and start >= head_lines
            opening = opening_fence(lines[start]) if is_fence else None
            if opening is not None:
                if complete.may_be_head(start):
                    return closed_lines  # the next line decides whether it is a fence or a table
                if is_last or not self._close_fence(opening, lines[start + 1 : end]):
                    # `_close_fence_lines` then reads the lines behind its first one
                    self._fence = OpenFence(opening, self.closed)
                    return start + 1
            elif is_last and not complete.is_over(token):
                return self._close_certain_part(token, complete, closed_lines)
            else:
                self._close_whole(token, complete, closed_lines)
            closed_lines = end
        return closed_lines

    def _close_whole(self, token: Token, complete: CompleteLines, closed_lines: int) -> None:
        """Close a block, which begins with a token, from line `closed_lines` to its end.

        Of a link definition no block is made: it is not shown, and there may be thousands.
        """
        lines = complete.lines
        if token.type != "definition":
            self._close(self._cut_lines(token, complete, closed_lines), lines, token)
        self._begin_new_block()
        last_line = lines[span(token)[1] - 1]
        self._type_above = "" if _is_blank(last_line) else token.type

    def _close_fence(self, opening: Fence, lines: list[str]) -> bool:
        """Close a fence that ends in these lines, which follow its first one.

        Return False if none of them ends it: then nothing is closed.
        """
        closed: list[Block] = []
        _, has_ended = OpenFence(opening, closed).feed([line.removesuffix("\n") for line in lines])
        if has_ended:
            self.closed += closed
            self._type_above = ""
            self._begin_new_block()
        return has_ended

    def _close_certain_part(self, token: Token, complete: CompleteLines, closed_lines: int) -> int:
        """Close what cannot change of the last block: all pieces of it but the last one.

        The pieces are those between its `_cut_lines`: items of a list, or rows of a table; what
        follows continues it. `closed_lines` is how many lines are closed already. Return how many
        are closed now.
        """
        lines = complete.lines
        start = span(token)[0]
        cuts = self._cut_lines(token, complete, closed_lines)[:-1]
        if len(cuts) < 2:  # noqa: PLR2004 - a piece has two ends
            return closed_lines
        self._number = self._close(cuts, lines, token)
        self._head = ""
        if token.type == "table_open":
            self._table_start = self._table_start or _start_of_table(lines[start:])
            self._head = "".join(lines[start : start + HEAD_LINES])
        self._is_first = _is_blank(lines[cuts[-1] - 1])
        self._type_above = ""
        return cuts[-1]

    def _cut_lines(self, token: Token, complete: CompleteLines, closed_lines: int) -> list[int]:
        """Return the indexes of the lines at which a block may be cut.

        The first one is `closed_lines`, how many lines are closed already; the last one is the end
        of the block. Between them are the first lines of the items of a list, or rows of a table.
        Other blocks are not cut.

        The first piece of a table has its head and the first `TABLE_ROWS` rows, so that they decide
        the widths of the columns. Below it, each row can be a piece.
        """
        start, end = span(token)
        cut_candidates: Iterable[int] = ()
        if token.type.endswith("_list_open"):
            cut_candidates = _items_within(complete.tokens, start, end)
        elif token.type == "table_open":
            is_first_piece_closed = bool(self._table_start)
            end_of_first_piece = start + HEAD_LINES + TABLE_ROWS
            cut_candidates = range(start if is_first_piece_closed else end_of_first_piece, end)
        return [closed_lines, *(line for line in cut_candidates if line > closed_lines), end]

    def _close(self, cuts: list[int], lines: list[str], token: Token) -> int | None:
        """Close the pieces of a block, which begins with a token, between the lines `cuts`.

        Return the number of the item that follows if the block is an ordered list, else None. Rows
        below the first ones of a table become blocks of the kind `TABLE`.
        """
        table_start = self._table_start
        if token.type == "table_open" and not table_start:
            table_start = _start_of_table(lines[span(token)[0] :])
        number = self._number
        if token.type == "ordered_list_open" and number is None:
            number = int(token.attrs.get("start", 1))

        for index, (begin, end) in enumerate(pairwise(cuts)):
            block = Block(Kind.MARKDOWN, "".join(lines[begin:end]), number=number)
            continues_table = bool(self._table_start or index)
            if table_start and continues_table:
                block.kind = Kind.TABLE
                block.info = table_start
            if index:
                block.is_first = _is_blank(lines[begin - 1])
                self.closed.append(block)
            else:
                self._close_first(block, token)
            if number is not None:
                number += 1
        return number

    def _close_first(self, block: Block, token: Token) -> None:
        """Close the first piece of a block, which may continue a list or table."""
        self.closed.append(self._join_to_block_above(block))
        # that was guessed by the source; the token tells what the block really is
        if not token.type.endswith("_list_open"):
            block.is_attached = False

    def _close_fence_lines(self, fence: OpenFence) -> bool:
        """Feed the complete lines of the tail to the open fence; return whether it has ended.

        Only the text that the fence did not take stays in the tail.
        """
        *lines, last_line = self._tail.split("\n")
        taken, has_ended = fence.feed(lines)
        self._tail = "\n".join([*lines[taken:], last_line])
        self._uncut_chars = 0
        if has_ended:
            self._fence = None
            self._type_above = ""
            self._begin_new_block()
        return has_ended

    def _open_blocks(self) -> list[Block]:
        """Return the tail as a block, or the open piece of a fence; nothing for blanks."""
        if self._fence:
            return self._fence.open_blocks(self._tail)
        source = self._tail[len(self._head) :]
        if not source.strip(" \t\n"):
            return []
        kind = Kind.TABLE if self._table_start else Kind.MARKDOWN
        return [
            self._join_to_block_above(Block(kind, source, self._table_start, number=self._number))
        ]

    def _drop_start(self, chars: int, head: str) -> None:
        """Drop the first `chars` characters of the tail, and put `head` before what remains."""
        self._tail = head + self._tail[chars:]
        self._head = head
        self._uncut_chars = 0

    def _begin_new_block(self) -> None:
        """Expect a block that continues nothing."""
        self._table_start = ""
        self._head = ""
        self._number = None
        self._is_first = True

    def _join_to_block_above(self, block: Block) -> Block:
        """Set whether a block begins below a blank row; return the block."""
        block.is_first = self._is_first
        block.is_attached = self._is_attached(block.source)
        return block

    def _is_attached(self, source: str) -> bool:
        """Return whether a block has no blank row above it, although it continues nothing.

        This is so for a list directly below a paragraph or a list.
        """
        return self._type_above in ABOVE_LISTS and re.match(_LIST, source) is not None

    def _cut_giant(self) -> None:
        """Close the beginning of a tail that is too long, or note that it need not be cut yet.

        A fence and blanks without text are cut anywhere. A list or HTML stays whole up to
        `_MOST_CHARS`, and is then cut at its last line end, as a quote is at once; anything else
        is cut as a paragraph. What follows is a block of its own, without a blank row above it.
        """
        if self._fence is not None:
            self._fence.feed_line(self._tail[:PIECE_CHARS])
            self._drop_start(PIECE_CHARS, "")
            return
        if not self._tail.strip(" \t"):
            self._drop_start(PIECE_CHARS, "")
            return
        top = [token for token in parse_blocks(self._tail, {}) if token.level == 0 and token.map]
        last = top[-1].type if top else ""
        is_kept_whole = last in _KEPT_WHOLE
        if is_kept_whole and len(self._tail) <= _MOST_CHARS:
            self._uncut_chars = len(self._tail)
            return
        begin = len(self._head)
        place = 0
        if is_kept_whole or self._table_start or last == "blockquote_open":
            place = self._tail.rfind("\n", begin) + 1
        if not place:
            place = begin + _cut_place(self._tail[begin:])
        kind = Kind.TABLE if self._table_start else Kind.MARKDOWN
        source = self._tail[begin:place]
        block = Block(kind, source, self._table_start, number=self._number)
        self.closed.append(self._join_to_block_above(block))
        self._drop_start(place, "")
        self._begin_new_block()
        self._is_first = False
        self._type_above = ""


def _items_within(tokens: list[Token], start: int, end: int) -> list[int]:
    """Return the first lines of the items of an outermost list, without that of its first item.

    The list goes from line `start`, where its first item begins, up to line `end`.
    """
    items = [
        span(token)[0] for token in tokens if token.type == "list_item_open" and token.level == 1
    ]
    return [line for line in items if start < line < end]


def _is_blank(line: str) -> bool:
    return not line.strip("> \t\n")


def _start_of_table(lines: list[str]) -> str:
    """Return the head and the first rows of a table; they determine the widths of all its rows."""
    return "".join(lines[: HEAD_LINES + TABLE_ROWS])
