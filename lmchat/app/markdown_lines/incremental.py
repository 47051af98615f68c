"""Cut a growing Markdown text into closed blocks, which never change again, and an open tail.

The complete lines of the tail are parsed, and all blocks but the last are closed. Of a long list,
quote, table or fence at the end, the pieces that cannot change are closed. The parser takes rows
for a table only below a head: while a table continues, the tail starts with a copy of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from msgspec import Struct, field

from lmchat.app.markdown_lines.block import (
    CODE_LINES,
    HEAD_LINES,
    PIECE_CHARS,
    TABLE_ROWS,
    Block,
    Kind,
    cut_position,
)
from lmchat.base.markdown.commonmark import (
    ABOVE_LISTS,
    References,
    Token,
    parse_blocks,
    span,
)
from lmchat.base.markdown.fences import Fence, indent_of, opening_fence
from lmchat.base.safe_text import safe_text, with_line_feeds

_MOST_CHARS = 20_000  # of an item or HTML in one piece; the rest is parsed on its own
_UNDIVIDED = ("bullet_list_open", "ordered_list_open", "html_block", "code_block")
_END_WITH_THEIR_LINE = ("heading_open", "hr")
# as soon as text follows a blank line
_END_AT_BLANK_LINE = ("paragraph_open", "heading_open", "hr", "table_open", "blockquote_open")
# controls that the parser would take for line ends, or strip
_CONTROLS = "[\0\x0b\x0c\x1c-\x1f\x85\u2028\u2029]"
# three or more of its marks are a rule instead
_LIST = r"(?m) {0,3}(?!([-*])(?:[ \t]*\1){2,}[ \t]*$)(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)"


class OpenFence(Struct):
    """Fence at the outermost level; its finished pieces are added to `closed`."""

    opening: Fence
    closed: list[Block]
    start: int  # of the next piece in the text
    end: int  # of its lines
    is_first: bool = True  # `Block.is_first` of the next piece
    _depth: int = 0  # see `Fence.depth_behind`
    _is_in_line: bool = False  # the next text continues a line that was cut
    _lines: list[str] = field(default_factory=list)  # of the next piece, complete

    def feed(self, lines: list[str]) -> tuple[int, bool]:
        """Return how many lines were taken, and whether the fence ended."""
        for number, line in enumerate(lines):
            if not self._is_in_line:
                self._depth = self.opening.depth_behind(line, self._depth)
            if self._depth < 0:
                self.end += len(line) + 1
                self.finish()
                return number + 1, True
            self.feed_line(line)
        return len(lines), False

    def feed_line(self, line: str, *, is_complete: bool = True) -> None:
        """Show a line that is longer than a piece as several."""
        code = self._dedented(line)  # before it is cut: only its own first blanks are an indent
        self._is_in_line = not is_complete
        self.end += len(line) - len(code)
        for start in range(0, max(len(code), 1), PIECE_CHARS):  # once for an empty line, too
            self._close_if_long()
            piece = code[start : start + PIECE_CHARS]
            self._lines.append(piece)
            self.end += len(piece)
        self.end += is_complete  # its line end

    def finish(self) -> None:
        """An empty fence has one empty piece."""
        self._close(is_end=True)

    def open_blocks(self, last_line: str) -> list[Block]:
        """Return the piece that may still change, without a line that may end the fence."""
        has_only_marks = not last_line.strip(" ").strip(self.opening.marks[0])
        may_end = has_only_marks and not self._is_in_line
        if not may_end:
            self._close_if_long()
        lines = self._lines if may_end else [*self._lines, self._dedented(last_line)]
        return [self._block(lines, self.end + len(last_line))]

    def _close_if_long(self) -> None:
        """Wait for more code before closing: the last piece has the end of the code."""
        if len(self._lines) >= CODE_LINES or sum(map(len, self._lines)) >= PIECE_CHARS:
            self._close()

    def _close(self, *, is_end: bool = False) -> None:
        self.closed.append(self._block(self._lines, self.end, is_end=is_end))
        self._lines = []
        self.is_first = False
        self.start = self.end

    def _block(self, lines: list[str], end: int, *, is_end: bool = False) -> Block:
        return Block(
            Kind.FENCE,
            "\n".join(lines),
            info=self.opening.info,
            is_first=self.is_first,
            is_end=is_end,
            start=self.start,
            end=end,
        )

    def _dedented(self, line: str) -> str:
        """Drop the blanks that the opening of the fence also has."""
        if self._is_in_line:  # the rest of a line: its first blanks are no indent
            return line
        return line[min(len(self.opening.indent), indent_of(line)) :]


class IncrementalMarkdown(Struct):
    """Parser of a growing text: feed text, read `closed`, which only grows, and `open`.

    The tail is parsed again when a line of it is complete. An open fence takes each complete line
    out of it.
    """

    closed: list[Block] = field(default_factory=list)
    open: list[Block] = field(default_factory=list)  # may still change
    references: References = field(default_factory=dict)
    # Blocks are closed before more text comes, and open code has only complete lines: there is no
    # cursor behind them.
    is_printed: bool = False
    start: int = 0  # of the next block; until a fence ends, where it started
    _tail: str = ""  # `_head`, and behind it the text that is not closed
    _held_cr: str = ""  # a CR at the end, which may belong to a CRLF
    # Characters of the tail without its head. Beyond it, `_cut_long_tail` cuts or raises it, to
    # `_MOST_CHARS` at most.
    _tail_limit: int = PIECE_CHARS
    _fence: OpenFence | None = None
    _type_above: str = ""  # of the block above, if no blank line is between
    # what the next block continues; `_start_new_block` resets it
    _head: str = ""  # of a table that continues, with its line of dashes
    _table_start: str = ""  # head and first rows of this table: they decide the widths of columns
    _number: int | None = None  # of the first item of a list that continues
    _has_blank_row: bool = True  # above the next block

    def feed(self, text: str, *, is_final: bool = False) -> None:
        """Append text; afterwards `closed` and `open` cover all of it.

        `is_final` closes all blocks. The cuts must not depend on how the text was split when it
        arrived: the tail takes it in parts, each up to the length at which `_cut_long_tail` is
        called.
        """
        text = self._normalized(text, is_final=is_final)
        ending = text or self._tail  # without new text, the tail has its end
        if is_final and ending and not ending.endswith("\n"):
            text += "\n"  # so the last line is complete, too

        while text:
            # one more than fits, for `_cut_long_tail`
            size = max(self._room_left + 1, 1)
            piece = text[:size]
            text = text[size:]
            # text behind a blank line ends most blocks above it, even before its line is complete
            is_after_blank = self._tail.endswith("\n\n") and not piece.isspace()
            self._tail += piece
            if "\n" in piece or is_after_blank:
                self._close_complete_lines()
            if self._room_left < 0:
                self._cut_long_tail()

        if is_final and self._fence is not None:
            self._fence.finish()
            self._fence = None
        if self._fence is not None:
            self.open = self._fence.open_blocks("" if self.is_printed else self._tail)
        else:
            source = self._tail[len(self._head) :]
            self.open = [self._next_block(source)] if source.strip(" \t\n") else []
        if is_final:
            self.closed += self.open
            self.open = []
            self._tail = ""

    def open_code(self, language: str) -> None:
        """Show all text that follows as code: the arguments of a tool call, which have no fence.

        Its marks are NULs: no line ends it, as `_normalized` replaces each NUL.
        """
        opening = Fence("", "\0", language)
        self._fence = OpenFence(opening, self.closed, self.start, self.start, is_first=False)

    def _normalized(self, text: str, *, is_final: bool) -> str:
        """A CR at the end is held back: the LF of a CRLF may follow."""
        text = self._held_cr + text
        self._held_cr = ""
        if text.endswith("\r") and not is_final:
            text = text[:-1]
            self._held_cr = "\r"
        return re.sub(_CONTROLS, lambda control: safe_text(control[0]), with_line_feeds(text))

    @property
    def _room_left(self) -> int:
        """Negative if the tail is too long already."""
        return self._tail_limit + len(self._head) - len(self._tail)

    def _close_complete_lines(self) -> None:
        if self._fence is not None:
            *lines, last_line = self._tail.split("\n")
            taken, has_ended = self._fence.feed(lines)
            self._tail = "\n".join([*lines[taken:], last_line])
            if has_ended:
                self.start = self._fence.end
                self._fence = None
        if self._fence is None:
            self._close_ended_blocks()

    def _close_ended_blocks(self) -> None:
        """Close the blocks of the tail that end in its complete lines, and drop them from it.

        All but the last block have ended. Of the last one, the pieces that cannot change are
        closed; an open fence becomes `_fence`.
        """
        *complete, last_line = self._tail.split("\n")
        lines = [line + "\n" for line in complete]
        line_above = "".join(lines[-1:])
        tokens = parse_blocks("".join(lines), self.references)
        head_lines = HEAD_LINES if self._table_start else 0  # lines of `_head`, which are closed
        closed_lines = head_lines
        # first token of each outermost block, but for that head
        top = [token for token in tokens if not token.level and span(token)[1] > head_lines]
        for token in top:
            start, end = span(token)
            opening = opening_fence(lines[start]) if token.type == "fence" else None
            if opening is None:  # only the last one may still grow
                has_ended = token is not top[-1] or self._has_ended(
                    token.type, line_above, last_line
                )
                closed_lines = self._close_pieces(
                    token, tokens, lines, closed_lines, has_ended=has_ended
                )
            else:  # it closes its pieces
                code_start = self.start + sum(map(len, lines[closed_lines : start + 1]))
                fence = OpenFence(opening, self.closed, self.start, code_start)
                without_line_ends = [line[:-1] for line in lines[start + 1 : end]]
                _, has_ended = fence.feed(without_line_ends)
                self.start = fence.end
                self._start_new_block()
                self._type_above = ""  # no list is attached to a fence
                closed_lines = end
                if not has_ended:
                    self._fence = fence
                    break
        if closed_lines > head_lines:
            self._drop_start(sum(map(len, lines[:closed_lines])))
        elif not "".join(lines).strip():
            # blank lines alone must not fill the tail; the last one becomes source of what follows
            self._drop_blanks(sum(map(len, lines[:-1])))

    def _has_ended(self, last_type: str, line_above: str, last_line: str) -> bool:
        """Whether the last block of the complete lines cannot grow with the next one."""
        if self.is_printed and last_type in _END_WITH_THEIR_LINE:
            return True
        if not line_above.isspace():
            return False
        if last_type.endswith("_list_open"):  # a letter starts no item, and continues none
            return last_line[:1].isalpha()
        return last_type in _END_AT_BLANK_LINE and (self.is_printed or bool(last_line.strip()))

    def _close_pieces(
        self,
        token: Token,
        tokens: list[Token],
        lines: list[str],
        closed_lines: int,
        *,
        has_ended: bool,
    ) -> int:
        """Close the block that starts with `token`, or those of its pieces that cannot change.

        Pieces are items of a list or rows of a table; all but the last are closed, or all if the
        block has ended. The first piece of a table has `TABLE_ROWS` rows, which decide the widths
        of the columns. `tokens` are those of the complete lines, of which `closed_lines` are
        closed. Return how many are closed now.
        """
        start, end = span(token)
        later_starts: Iterable[int] = ()  # first lines of the pieces behind the first one
        if token.type.endswith("_list_open"):
            # all at the outermost level; `cuts` takes only those of this list
            items = (item for item in tokens if item.type == "list_item_open" and item.level == 1)
            later_starts = (span(item)[0] for item in items)
        elif token.type == "table_open":
            rows_start = start if self._table_start else start + HEAD_LINES + TABLE_ROWS
            later_starts = range(rows_start, end)
        # lines behind the last cut may still change
        first_unclosed = max(start, closed_lines)
        cuts = [closed_lines, *(line for line in later_starts if first_unclosed < line < end)]
        if has_ended:
            cuts.append(end)
        # further pieces of the list count on from it
        if token.type == "ordered_list_open" and self._number is None:
            self._number = int(token.attrs.get("start", 1))

        for piece_start, piece_end in pairwise(cuts):
            source = "".join(lines[piece_start:piece_end])
            if token.type != "definition":  # not shown, and there may be thousands
                self.closed.append(self._next_block(source))
            self.start += len(source)
            if self._number is not None:
                self._number += 1
            if token.type == "table_open" and not self._table_start:  # its first piece
                self._head = "".join(lines[start : start + HEAD_LINES])
                self._table_start = "".join(lines[start : start + HEAD_LINES + TABLE_ROWS])
            # A blank line between pieces becomes a blank row. Without a type above, nothing else
            # decides about that row.
            self._has_blank_row = _is_blank(lines[piece_end - 1])
            self._type_above = ""
        if has_ended:
            self._start_new_block()
            self._type_above = "" if _is_blank(lines[end - 1]) else token.type
        return cuts[-1]

    def _next_block(self, source: str) -> Block:
        """Make a block that follows the closed ones or continues the last one."""
        kind = Kind.MORE_ROWS if self._table_start else Kind.MARKDOWN
        is_attached = self._type_above in ABOVE_LISTS and re.match(_LIST, source) is not None
        return Block(
            kind,
            source,
            info=self._table_start,
            is_first=self._has_blank_row,
            is_attached=is_attached,
            number=self._number,
            start=self.start,
            end=self.start + len(source),
        )

    def _drop_start(self, chars: int) -> None:
        self._tail = self._head + self._tail[chars:]
        self._tail_limit = PIECE_CHARS

    def _drop_blanks(self, chars: int) -> None:
        self.start += chars
        self._drop_start(chars)

    def _start_new_block(self) -> None:
        self._table_start = ""
        self._head = ""
        self._number = None
        self._has_blank_row = True

    def _cut_long_tail(self) -> None:
        """Close the beginning of a tail that is longer than `_tail_limit`, or raise the limit.

        The whole tail is parsed for each new line, which must not take longer and longer. Quotes,
        tables, sources, lists, HTML and indented code are cut behind their last whole line. What
        follows is a block of its own, without a blank row above it; behind rows of a table, it is a
        row of it.
        """
        if self._fence is not None:
            self._fence.feed_line(self._tail[:PIECE_CHARS], is_complete=False)
            self._drop_start(PIECE_CHARS)
            return
        if not self._tail.strip(" \t\n"):  # blanks alone are not shown
            self._drop_blanks(PIECE_CHARS)
            return
        # not `self.references`: a definition in the tail may be half written
        top = [token for token in parse_blocks(self._tail, {}) if token.level == 0 and token.map]
        last = top[-1].type
        is_undivided = last in _UNDIVIDED
        if is_undivided and self._tail_limit < _MOST_CHARS:
            self._tail_limit = _MOST_CHARS
            return
        body_start = offset = len(self._head)
        head = self._head
        above = ""  # blank lines above a table's head
        if last == "table_open" and not head:
            lines = self._tail.splitlines(keepends=True)
            start, _ = span(top[-1])
            above = "".join(lines[:start])
            head = "".join(lines[start : start + HEAD_LINES])
            offset = len(above + head)
            if len(self._tail) <= PIECE_CHARS + offset:  # the same room as behind any other head
                self._tail_limit = PIECE_CHARS + offset
                return
        # behind the last complete line; 0: there is none
        has_lines = is_undivided or head or last in ("blockquote_open", "sources")
        line_end = self._tail.rfind("\n", offset) + 1 if has_lines else 0
        position = line_end or offset + cut_position(self._tail[offset:])
        self.closed.append(self._next_block(self._tail[body_start:position]))
        self.start += position - body_start
        # in the middle of the text: no blank row, not attached as a list
        table_start = self._table_start or (self._tail[len(above) : position] if head else "")
        self._start_new_block()
        self._head = head
        self._table_start = table_start
        self._has_blank_row = False
        self._type_above = ""
        self._drop_start(position)


def _is_blank(line: str) -> bool:
    """Whether a line is blank, or has only the marks of quotes."""
    return not line.strip("> \t\n")
