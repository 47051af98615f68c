"""Cut a growing Markdown text into blocks that never change again and a short open tail."""

from __future__ import annotations

import re
from itertools import pairwise

from msgspec import Struct, field

from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, SEGMENT_LINES, Block, Kind, paragraph_pieces
from lmchat.tui.widgets.chat_log.syntax import References, Token, parse_blocks

TABLE_ROWS = 24
"""Rows that decide about the widths of a table; those that follow are cut off one by one."""
_HEAD_LINES = 2
_FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})(.*)$")
_LIST = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)", re.MULTILINE)


class MarkdownTail(Struct):
    """Feed text, read `closed` (only ever grows) and `open` (replaced with each feed)."""

    closed: list[Block] = field(default_factory=list)
    """Finished, in order."""
    open: list[Block] = field(default_factory=list)
    """What may still change."""
    references: References = field(default_factory=dict)
    """Link reference definitions so far; the text inside blocks needs them all."""
    _tail: str = ""
    _held: str = ""
    _fence: re.Match[str] | None = None
    _code: list[str] = field(default_factory=list)
    _is_first: bool = True
    _is_after_paragraph: bool = False
    _ordinal: int | None = None
    _frame: str = ""

    def feed(self, text: str, *, is_final: bool = False) -> None:
        """Append text; afterwards `closed` and `open` cover all of it."""
        text = self._normal(text, is_final=is_final)
        self._tail += text
        if is_final and self._tail:
            self._tail = self._tail.removesuffix("\n") + "\n"
        if "\n" in text or is_final:
            while self._close_fence_lines() if self._fence else self._close_blocks():
                pass
        if len(self._tail) > PIECE_CHARS and not self._fence:
            self._close_half_line()
        self.open = self._open_blocks()
        if is_final:
            self.closed += self.open
            self.open, self._tail, self._fence, self._code = [], "", None, []

    def _normal(self, text: str, *, is_final: bool) -> str:
        """Return text with one kind of line end: the parser also takes a lone CR for one."""
        text = (self._held + text).replace("\r\n", "\n")
        self._held = ""
        if text.endswith("\r") and not is_final:
            text, self._held = text[:-1], "\r"
        return text.replace("\r", "\u240d").replace("\0", "\u2400")

    def _close_blocks(self) -> bool:
        """Close all blocks but the last, which more lines may still change; look only at complete lines."""
        lines = [line + "\n" for line in self._tail.split("\n")[:-1]]
        head = _HEAD_LINES if self._frame else 0
        tokens = parse_blocks(self._head() + "".join(lines), self.references)
        top = [token for token in tokens if token.level == 0 and token.map]
        done = 0
        for token in top:
            if self._close_giant(token, lines, done, head):
                return True
            if token is top[-1]:
                done = self._close_part(token, tokens, lines, (done, head))
            else:
                self._close(self._cuts(token, tokens, done, head), lines, token, head)
                done = _span(token)[1] - head
                self._frame, self._ordinal, self._is_first = "", None, True
                self._is_after_paragraph = token.type == "paragraph_open"
        self._tail = self._tail[sum(map(len, lines[:done])) :]
        return self._fence is not None

    def _head(self) -> str:
        return "".join(line + "\n" for line in self._frame.split("\n", _HEAD_LINES)[:_HEAD_LINES] if line)

    def _close_giant(self, token: Token, lines: list[str], done: int, head: int) -> bool:
        """Close the first pieces of a giant paragraph; what follows is parsed anew."""
        if token.type != "paragraph_open":
            return False
        *pieces, rest = paragraph_pieces("".join(lines[done : _span(token)[1] - head]))
        if not pieces:
            return False
        self._put_pieces(pieces)
        after = sum(map(len, lines[: _span(token)[1] - head]))
        self._tail = rest + self._tail[after:]
        return True

    def _close_half_line(self) -> None:
        """Close the first pieces of a giant paragraph whose last line is not complete."""
        *pieces, rest = paragraph_pieces(self._tail)
        if not pieces or self._frame:
            return
        top = [token for token in parse_blocks(self._tail, {}) if token.level == 0 and token.map]
        if len(top) == 1 and top[0].type == "paragraph_open":
            self._put_pieces(pieces)
            self._tail = rest

    def _put_pieces(self, pieces: list[str]) -> None:
        for piece in pieces:
            self.closed.append(Block(Kind.MARKDOWN, piece, is_first=self._is_first))
            self._is_first = False

    def _close_part(self, token: Token, tokens: list[Token], lines: list[str], place: tuple[int, int]) -> int:
        """Close what is certain of the last block: all items or rows but one, or the opening of a fence."""
        done, head = place
        start = _span(token)[0] - head
        if token.type == "fence":
            if "|" in lines[start] and start == len(lines) - 1:
                return done  # with a line of dashes below it, it would be the head of a table
            self._fence = _FENCE.match(lines[start].rstrip("\n"))
            return start + 1 if self._fence else done
        cuts = self._cuts(token, tokens, done, head)[:-1]
        if len(cuts) < 2:  # noqa: PLR2004 - a piece has two ends
            return done
        self._close(cuts, lines, token, head)
        if token.type == "table_open":
            self._frame = self._frame or _frame(lines, start)
        elif token.type == "ordered_list_open":
            self._ordinal = self._number(token) + len(cuts) - 1
        self._is_first = False
        return cuts[-1]

    def _number(self, token: Token) -> int:
        return int(token.attrs.get("start", 1)) if self._ordinal is None else self._ordinal

    def _cuts(self, token: Token, tokens: list[Token], done: int, head: int) -> list[int]:
        """Return the lines at which a top-level block may be cut, from `done` to its end."""
        start, end = _span(token)
        inside: list[int] = []
        if token.type.endswith("_list_open"):
            inside = [
                _span(item)[0]
                for item in tokens
                if item.type == "list_item_open" and item.level == 1 and start < _span(item)[0] < end
            ]
        elif token.type == "table_open":
            inside = list(range(head or start + _HEAD_LINES + TABLE_ROWS, end))
        return [done, *(line - head for line in inside if line - head > done), end - head]

    def _close(self, cuts: list[int], lines: list[str], token: Token, head: int) -> None:
        start = _span(token)[0] - head
        if token.type == "fence":
            opening = _FENCE.match(lines[start].rstrip("\n"))
            self._close_code(lines[start + 1 : cuts[-1] - 1], opening)
            return
        is_table = token.type == "table_open"
        frame = self._frame or (_frame(lines, start) if is_table else "")
        number = self._number(token) if token.type == "ordered_list_open" else None
        for index, (first, last) in enumerate(pairwise(cuts)):
            is_row = is_table and bool(self._frame or index)
            source = "".join(lines[first:last])
            self.closed.append(
                Block(
                    Kind.TABLE if is_row else Kind.MARKDOWN,
                    source,
                    frame if is_row else "",
                    self._is_first and not index,
                    not index and self._attaches(source),
                    None if number is None else number + index,
                )
            )

    def _attaches(self, source: str) -> bool:
        """Whether a block is a list directly below a paragraph."""
        return self._is_after_paragraph and _LIST.match(source) is not None

    def _close_code(self, code: list[str], opening: re.Match[str] | None) -> None:
        code = [_dedent(line, opening) for line in code]
        info = opening[3].strip() if opening else ""
        for start in range(0, max(len(code), 1), SEGMENT_LINES):
            part = "".join(code[start : start + SEGMENT_LINES]).removesuffix("\n")
            self.closed.append(Block(Kind.FENCE, part, info, is_first=not start))

    def _close_fence_lines(self) -> bool:
        """Close the finished pieces of an open fence; return whether it ended."""
        if self._fence is None:
            return False
        mark = self._fence[2]
        closing = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
        *lines, self._tail = self._tail.split("\n")
        for index, line in enumerate(lines):
            if closing.match(line):
                self._put_code(is_last=True)
                self._tail = "\n".join([*lines[index + 1 :], self._tail])
                self._fence, self._is_first, self._is_after_paragraph = None, True, False
                return True
            self._code.append(_dedent(line, self._fence))
            if len(self._code) >= SEGMENT_LINES:
                self._put_code()
        return False

    def _put_code(self, *, is_last: bool = False) -> None:
        if self._fence and (self._code or (is_last and self._is_first)):
            self.closed.append(
                Block(Kind.FENCE, "\n".join(self._code), self._fence[3].strip(), self._is_first)
            )
            self._code, self._is_first = [], False

    def _open_blocks(self) -> list[Block]:
        if self._fence:
            is_ending = not self._tail.strip(" ").strip(self._fence[2][0])  # perhaps the end of the fence
            code = [*self._code] if is_ending else [*self._code, _dedent(self._tail, self._fence)]
            is_shown = bool(code) or self._is_first
            info = self._fence[3].strip()
            return [Block(Kind.FENCE, "\n".join(code), info, self._is_first)] if is_shown else []
        if not self._tail.strip(" \t\n"):
            return []
        if self._frame:
            return [Block(Kind.TABLE, self._tail, self._frame, self._is_first)]
        attaches = self._attaches(self._tail)
        return [Block(Kind.MARKDOWN, self._tail, "", self._is_first, attaches, self._ordinal)]


def _span(token: Token) -> tuple[int, int]:
    """Return the lines of a token that has them."""
    start, end = token.map or (0, 0)
    return start, end


def _frame(lines: list[str], start: int) -> str:
    """Return head and first rows of a table: those that decide about its widths."""
    return "".join(lines[start : start + _HEAD_LINES + TABLE_ROWS])


def _dedent(line: str, opening: re.Match[str] | None) -> str:
    """Take away as many blanks as stand before the opening of the fence."""
    depth = len(opening[1]) if opening else 0
    while depth and line.startswith(" "):
        line, depth = line[1:], depth - 1
    return line
