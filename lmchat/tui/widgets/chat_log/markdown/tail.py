"""Cut a growing Markdown text into blocks that never change again and a short open tail."""

from __future__ import annotations

from itertools import pairwise

from lmchat.tui.widgets.chat_log.blocks import GLUE, HEAD_LINES, TABLE_ROWS, Block, Kind
from lmchat.tui.widgets.chat_log.markdown.fences import OpenFence, opening_of
from lmchat.tui.widgets.chat_log.markdown.nesting import Nest, span
from lmchat.tui.widgets.chat_log.markdown.open_tail import OPEN_CHARS, OpenTail, fitting
from lmchat.tui.widgets.chat_log.markdown.syntax import Token, is_row, parse_blocks

_OVER_AT_BLANK = ("paragraph_open", "heading_open", "hr", "table_open", "blockquote_open")
"""What nothing can change below a blank line; while it waited, it was laid out again with what came below."""


class MarkdownTail(OpenTail):
    """Feed text, read `closed` (only ever grows) and `open` (replaced with each feed)."""

    def feed(self, text: str, *, is_final: bool = False) -> None:
        """Append text; afterwards `closed` and `open` cover all of it.

        What is cut may not depend on how a text was split: a tail is looked at where it has a certain
        length or weight, even if more came at once.
        """
        text = self._normal(text, is_final=is_final)
        if is_final and not (text or self._tail or "\n").endswith("\n"):
            text += "\n"
        while text:
            room = max(self._room(text), 1)
            part, text = text[:room], text[room:]
            is_behind_blank = self._tail.endswith("\n\n") and not part.isspace()
            self._tail += part
            if "\n" in part or is_behind_blank:
                while self._close_fence_lines() if self._fence else self._close_blocks():
                    pass
            if (len(part) == room or "\n" in part) and self._room() <= 0:
                self._cut_giant()
        if is_final and self._fence:
            self._fence.end()
            self.closed += self._fence.done()
            self._fence = None
        self.open = self._open_blocks()
        if is_final:
            self.closed += self.open
            self.open = []
            self._drop(len(self._tail))

    def open_code(self, language: str) -> None:
        """Take all that comes for code, which nothing ends but the end."""
        self._fence = OpenFence("", GLUE, language, is_first=False)

    def _normal(self, text: str, *, is_final: bool) -> str:
        """Return text with one kind of line end: the parser also takes a lone CR for one."""
        text = (self._held + text).replace("\r\n", "\n")
        self._held = ""
        if text.endswith("\r") and not is_final:
            text, self._held = text[:-1], "\r"
        return text.replace("\r", "\u240d").replace("\0", "\u2400")

    def _close_blocks(self) -> bool:
        """Close all blocks but the last, which more lines may still change; look only at complete lines."""
        *complete, begun = self._tail.split("\n")
        lines = [line + "\n" for line in complete]
        is_over = bool(begun.strip() and lines) and lines[-1].isspace()
        if self._frame and all(map(is_row, lines)):
            return self._close_rows(lines[:-1])
        head = self._head
        first = head.count("\n")
        is_glued = not head.endswith("\n") and bool(head)
        tokens = parse_blocks(head + "".join(lines), self.references, shows_definitions=True)
        top = [token for token in tokens if token.level == 0 and token.map and token.map[1] > first]
        done = 0
        for token in top:
            if head and not self._frame and span(token)[0] >= first + is_glued:
                self._leave()  # what the tail stood in ends before it
            if token is top[-1] and not (is_over and token.type in _OVER_AT_BLANK):
                done = self._close_part(token, tokens, lines, (done, first))
            else:
                self._close(self._cuts((token, tokens), lines, done, first), lines, (token, tokens), first)
                done = span(token)[1] - first
                self._leave()
                self._above = "" if _is_blank(lines[done - 1]) else token.type
        if not done:
            return self._cut_lines(tokens, lines, first)
        self._drop(sum(map(len, lines[:done])))
        is_table_over = bool(self._frame) and is_over
        return self._fence is not None or is_table_over or len(self._tail) > OPEN_CHARS

    def _close_rows(self, rows: list[str]) -> bool:
        """Close rows of a table that need no parser; what is below the last one may still end it."""
        for row in rows:
            self._put(Block(Kind.TABLE, row, self._frame))
            self._is_first = False
        self._drop(sum(map(len, rows)))
        return False

    def _close_part(self, token: Token, tokens: list[Token], lines: list[str], place: tuple[int, int]) -> int:
        """Close what is certain of the last block: all items or rows but one, or the opening of a fence."""
        done, first = place
        start = span(token)[0] - first
        if token.type == "fence" and start >= 0:
            if "|" in lines[start] and start == len(lines) - 1:
                return done  # with a line of dashes below it, it would be the head of a table
            self._fence = opening_of(lines[start])
            return start + 1 if self._fence else done
        cuts = self._cuts((token, tokens), lines, done, first)[:-1]
        if len(cuts) < 2:  # noqa: PLR2004 - a piece has two ends
            return done
        ordinals = self._ordinals(token, tokens, cuts, first)
        self._close(cuts, lines, (token, tokens), first)
        if token.type == "table_open":
            self._frame = self._frame or "".join(_framed(lines[start:]))
        self._ordinal, self._nest = ordinals[-1], Nest()
        self._is_first, self._above = _is_blank(lines[cuts[-1] - 1]), ""
        return cuts[-1]

    def _cuts(self, found: tuple[Token, list[Token]], lines: list[str], done: int, first: int) -> list[int]:
        """Return the lines at which a top-level block may be cut, from `done` to its end."""
        token, tokens = found
        start, end = span(token)
        inside: list[int] = []
        if token.type.endswith("_list_open"):
            inside = _items(token, tokens)[1:]
        elif token.type == "table_open" and (self._frame or start >= first):
            begin = start - first
            inside = list(range(first if self._frame else start + len(_framed(lines[begin:])), end))
        return [done, *(line - first for line in inside if line - first > done), end - first]

    def _ordinals(self, token: Token, tokens: list[Token], cuts: list[int], first: int) -> list[int | None]:
        """Return the numbers of the first items of the pieces of a list; None where it has no numbers."""
        if token.type != "ordered_list_open":
            return [None] * len(cuts)
        number = self._ordinal
        if number is None:
            number = int(token.attrs.get("start", 1))
        lines = _items(token, tokens)
        return [number, *(number + sum(line < cut + first for line in lines) for cut in cuts[1:])]

    def _close(self, cuts: list[int], lines: list[str], found: tuple[Token, list[Token]], first: int) -> None:
        """Close the pieces of a top-level block."""
        token, tokens = found
        start = span(token)[0] - first
        fence = opening_of(lines[start]) if token.type == "fence" and start >= 0 else None
        if fence is not None:
            fence.take([line[:-1] for line in lines[start + 1 : cuts[-1]]])
            self.closed += fence.done()
            return
        is_table = bool(self._frame) or (token.type == "table_open" and start >= 0)
        frame = self._frame or ("".join(_framed(lines[start:])) if is_table else "")
        ordinals = self._ordinals(token, tokens, cuts, first)
        for index, (begin, end) in enumerate(pairwise(cuts)):
            block = Block(Kind.MARKDOWN, "".join(lines[begin:end]), ordinal=ordinals[index])
            if is_table and (self._frame or index):
                block.kind, block.info = Kind.TABLE, frame
            self._put(block, is_next=bool(index))
            if index:
                block.is_first = _is_blank(lines[begin - 1])
            is_list = token.type.endswith("_list_open") or token.type == "definition"
            block.is_attached = block.is_attached and (is_list or bool(block.head))

    def _close_fence_lines(self) -> bool:
        """Close the finished pieces of an open fence; return whether it ended."""
        fence = self._fence
        if fence is None:
            return False
        *lines, rest = self._tail.split("\n")
        count, has_ended = fence.take(lines)
        self.closed += fence.done()
        self._tail = "\n".join([*lines[count:], rest])
        self._drop(0)
        if has_ended:
            self._fence, self._above = None, ""
            self._leave()
        return has_ended

    def _open_blocks(self) -> list[Block]:
        if self._fence:
            return self._fence.open(self._tail)
        if not self._tail.strip(" \t\n"):
            return []
        if self._frame:
            return [self._begin(Block(Kind.TABLE, self._tail, self._frame))]
        return [self._begin(Block(Kind.MARKDOWN, self._tail, ordinal=self._ordinal))]


def _is_blank(line: str) -> bool:
    return not line.strip("> \t\n")


def _items(token: Token, tokens: list[Token]) -> list[int]:
    """Return the lines on which the items of a top-level list begin."""
    start, end = span(token)
    return [
        span(item)[0]
        for item in tokens
        if item.type == "list_item_open" and item.level == 1 and start <= span(item)[0] < end
    ]


def _framed(lines: list[str]) -> list[str]:
    """Return head and first rows of a table: those that decide about its widths."""
    columns = max(line.count("|") for line in lines[:HEAD_LINES])
    return lines[: fitting(lines, columns) or HEAD_LINES + TABLE_ROWS][: HEAD_LINES + TABLE_ROWS]
