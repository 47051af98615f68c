"""Cut a growing Markdown text into blocks that never change again and a short open tail."""

from __future__ import annotations

import re
from itertools import islice, pairwise

from msgspec import Struct, field

from lmchat.text import Fence, fence_of, safe_text
from lmchat.tui.widgets.chat_log.blocks import (
    GLUE,
    HEAD_LINES,
    MOST_CLUSTER,
    PIECE_CHARS,
    PIECE_LINES,
    TABLE_ROWS,
    Block,
    Code,
    Kind,
    is_inner,
)
from lmchat.tui.widgets.chat_log.markdown.parser import (
    ABOVE_LISTS,
    References,
    Token,
    parse_blocks,
    span,
)

_BREAKS = (
    re.compile(r"\n[ \t>]*(?=[^\W\d_])"),  # between lines, which stay lines on the page
    re.compile(r"[ \t](?=[^\W\d_])"),  # between words: what follows is a paragraph again
    re.compile(r"(?<=\w)(?=[^\W\d_])"),  # within a word, as in languages that know no blanks
)
_CONTROLS = re.compile("[\0\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
"""Controls that the parser would take for line ends, or strip, although they are to be seen."""
_MOST_PLACES = 200
_LIST = re.compile(
    r" {0,3}(?!([-*])(?:[ \t]*\1){2,}[ \t]*$)(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)", re.MULTILINE
)
"""Start of a list; three of its marks would be a rule."""
_DEFINITION = re.compile(r" {0,3}\[[^\]]*\]:")
_WHOLE = ("blockquote_open", "bullet_list_open", "ordered_list_open")
"""Blocks that are not cut within a line: an item or a quote is laid out in one piece."""
_MOST_CHARS = 20_000
"""Length of an item, a quote or HTML after which the rest is read as if it began there: its cost must end."""
_OVER_AT_BLANK = ("paragraph_open", "heading_open", "hr", "table_open", "blockquote_open")
"""Blocks that end at a blank line; they are closed as soon as text follows."""


def cut_place(text: str) -> tuple[int, bool]:
    """Return where to cut a long paragraph, and whether the rest begins with a letter.

    A place outside of emphasis, code and links is better than a later one.
    """
    window = text[: PIECE_CHARS + 1]
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(window, PIECE_CHARS // 2)]
        fit = (
            place
            for place in reversed(ends)
            if place <= PIECE_CHARS and not is_inner(window, place)
        )
        if places := list(islice(fit, _MOST_PLACES)):
            return next((place for place in places if _is_outside(window[:place])), places[0]), True
    place = PIECE_CHARS
    while place > PIECE_CHARS - MOST_CLUSTER and is_inner(window, place):
        place -= 1
    return place, False


def _is_outside(text: str) -> bool:
    is_closed = not (text.count("*") % 2 or text.count("**") % 2 or text.count("`") % 2)
    return is_closed and text.count("[") == text.count("]")


class OpenFence(Struct):
    """A fence at the top level of a text; its finished pieces are added to `closed`."""

    opening: Fence
    closed: list[Block]
    code: Code = field(default_factory=Code)
    is_first: bool = True
    is_inner: bool = False
    _lines: list[str] = field(default_factory=list)

    def feed(self, lines: list[str]) -> tuple[int, bool]:
        """Feed complete lines; return how many were taken, and whether the fence ended."""
        for number, line in enumerate(lines):
            if not self._is_in_line and self.opening.is_closed_by(line):
                self.end()
                return number + 1, True
            self._feed_line(line)
        return len(lines), False

    def end(self) -> None:
        if self._lines or self.is_first:
            self._close()
        self.code.is_whole = True

    def cut(self, start: str) -> None:
        """Take the beginning of a line that is too long to wait for its end."""
        self._lines.append(self._dedented(start))
        self._close(continues_line=True)

    def open(self, tail: str) -> list[Block]:
        """Return what may still change, given the line that is not complete."""
        is_ending = not self._is_in_line and not tail.strip(" ").strip(self.opening.marks[0])
        lines = self._lines if is_ending else [*self._lines, self._dedented(tail)]
        return [self._block(lines)] if lines or self.is_first else []

    @property
    def _is_in_line(self) -> bool:
        return self.is_inner and not self._lines

    def _feed_line(self, line: str) -> None:
        while len(line) > PIECE_CHARS:
            self.cut(line[:PIECE_CHARS])
            line = line[PIECE_CHARS:]
        self._lines.append(self._dedented(line))
        if len(self._lines) >= PIECE_LINES or sum(map(len, self._lines)) > PIECE_CHARS:
            self._close()

    def _close(self, *, continues_line: bool = False) -> None:
        block = self._block(self._lines)
        block.continues_line = continues_line
        self.code.add(block)
        self.closed.append(block)
        self._lines, self.is_first, self.is_inner = [], False, continues_line

    def _block(self, lines: list[str]) -> Block:
        head = GLUE if self.is_inner else ""
        return Block(Kind.FENCE, "\n".join(lines), self.opening.info, self.is_first, head=head)

    def _dedented(self, line: str) -> str:
        """Take as many blanks from the start of a line as the opening of the fence has."""
        depth = 0 if self._is_in_line else len(self.opening.indent)
        if "\t" in line[:depth]:
            line = line[:depth].expandtabs(4) + line[depth:]
        return line[min(depth, len(line) - len(line.lstrip(" "))) :]


class MarkdownTail(Struct):
    """Parser of a growing text: feed text, read `closed`, which only grows, and `open`."""

    closed: list[Block] = field(default_factory=list)
    open: list[Block] = field(default_factory=list)  # blocks that may still change
    references: References = field(default_factory=dict)
    """Link reference definitions so far; the text inside blocks needs them all."""
    _tail: str = ""
    _head: str = ""
    """Head of a table, or start of a line, that began in closed blocks; it is parsed and not shown."""
    _number: int | None = None  # number of the first item of a list that goes on
    _held: str = ""
    _looked_at: int = 0
    _fence: OpenFence | None = None
    _is_first: bool = True
    _above: str = ""
    _frame: str = ""  # head and first rows of a table that goes on

    def feed(self, text: str, *, is_final: bool = False) -> None:
        """Append text; afterwards `closed` and `open` cover all of it.

        The cuts may not depend on how a text was split: a tail is looked at when it has a certain length,
        even if more came at once.
        """
        text = self._normal(text, is_final=is_final)
        if is_final and not (text or self._tail or "\n").endswith("\n"):
            text += "\n"
        while text:
            room = max(self._room, 1)
            part, text = text[:room], text[room:]
            is_behind_blank = self._tail.endswith("\n\n") and not part.isspace()
            self._tail += part
            if "\n" in part or is_behind_blank:
                while self._close_fence_lines(self._fence) if self._fence else self._close_blocks():
                    pass
            if self._room <= 0:
                self._cut_giant()
        if is_final and self._fence:
            self._fence.end()
            self._fence = None
        self.open = self._open_blocks()
        if is_final:
            self.closed += self.open
            self.open, self._tail = [], ""

    def open_code(self, language: str) -> None:
        """Take all that comes for code, which nothing ends but the end."""
        self._fence = OpenFence(Fence("", GLUE, language), self.closed, is_first=False)

    def _normal(self, text: str, *, is_final: bool) -> str:
        """Return text with one kind of line end: the parser also takes a lone CR for one."""
        text = (self._held + text).replace("\r\n", "\n")
        self._held = ""
        if text.endswith("\r") and not is_final:
            text, self._held = text[:-1], "\r"
        return _CONTROLS.sub(lambda found: safe_text(found[0]), text)

    @property
    def _room(self) -> int:
        """Characters after which the tail is looked at."""
        return PIECE_CHARS + 1 + max(self._looked_at, len(self._head)) - len(self._tail)

    def _close_blocks(self) -> bool:
        """Close all blocks but the last, which more lines may still change."""
        *complete, begun = self._tail.split("\n")
        lines = [line + "\n" for line in complete]
        is_over = bool(begun.strip() and lines) and lines[-1].isspace()
        hidden = HEAD_LINES if self._frame else 0
        tokens = parse_blocks("".join(lines), self.references)
        top = [
            token for token in tokens if token.level == 0 and token.map and token.map[1] > hidden
        ]
        done = hidden
        for token in top:
            start = span(token)[0]
            if start and self._head and not self._frame:
                self._leave()  # the line that was cut ends before it
            opening = fence_of(lines[start]) if token.type == "fence" and start >= hidden else None
            if opening:
                if "|" in lines[start] and start == len(lines) - 1:
                    break  # with a line of dashes below it, it would be the head of a table
                if token is not top[-1] and self._close_fence(
                    opening, lines[start + 1 : span(token)[1]]
                ):
                    done = span(token)[1]
                    continue
                self._fence, done = OpenFence(opening, self.closed), start + 1
                break
            if token is top[-1] and not (is_over and token.type in _OVER_AT_BLANK):
                done = self._close_part(token, tokens, lines, done)
            else:
                self._close(self._cuts(token, tokens, lines, done), lines, token)
                done = span(token)[1]
                self._leave()
                self._above = "" if _is_blank(lines[done - 1]) else token.type
        if done == hidden:
            if not (self._head or "".join(lines).strip()):  # of blank lines only one is kept
                self._restart(sum(map(len, lines[:-1])), "")
            return False
        self._restart(sum(map(len, lines[:done])), self._head)
        return self._fence is not None or (bool(self._frame) and is_over)

    def _close_fence(self, opening: Fence, lines: list[str]) -> bool:
        """Close a fence, given its lines and the line that ends it; return whether they end it."""
        closed: list[Block] = []
        _, has_ended = OpenFence(opening, closed).feed([line.removesuffix("\n") for line in lines])
        if has_ended:
            self.closed += closed
            self._above = ""
            self._leave()
        return has_ended

    def _close_part(self, token: Token, tokens: list[Token], lines: list[str], done: int) -> int:
        """Close what is certain of the last block: all items or rows but one."""
        start = span(token)[0]
        cuts = self._cuts(token, tokens, lines, done)[:-1]
        if len(cuts) < 2:  # noqa: PLR2004 - a piece has two ends
            return done
        self._number = self._close(cuts, lines, token)
        if token.type == "table_open":
            self._frame = self._frame or "".join(_framed(lines[start:]))
            self._head = "".join(lines[start : start + HEAD_LINES])
        else:
            self._head = ""
        self._is_first, self._above = _is_blank(lines[cuts[-1] - 1]), ""
        return cuts[-1]

    def _cuts(self, token: Token, tokens: list[Token], lines: list[str], done: int) -> list[int]:
        start, end = span(token)
        inside: list[int] = []
        if token.type.endswith("_list_open"):
            items = (item for item in tokens if item.type == "list_item_open" and item.level == 1)
            inside = [span(item)[0] for item in items if start < span(item)[0] < end]
        elif token.type == "blockquote_open":
            for inner in tokens:
                if (
                    inner.type == "paragraph_open"
                    and inner.level == 1
                    and start <= span(inner)[0] < end
                ):
                    inside += range(span(inner)[0] + PIECE_LINES, span(inner)[1], PIECE_LINES)
            inside = [line for line in inside if lines[line].startswith(">")]
        elif token.type == "table_open":
            inside = list(
                range(done + 1 if self._frame else start + len(_framed(lines[start:end])), end)
            )
        return [done, *(line for line in inside if line > done), end]

    def _close(self, cuts: list[int], lines: list[str], token: Token) -> int | None:
        """Close the pieces between some lines; return the number of the item behind them."""
        is_list = token.type.endswith("_list_open") or token.type == "definition"
        frame = "".join(_framed(lines[span(token)[0] :])) if token.type == "table_open" else ""
        frame = self._frame or frame
        number = self._number
        if token.type == "ordered_list_open" and number is None:
            number = int(token.attrs.get("start", 1))
        glue = 0 if self._frame else len(self._head)
        for index, (begin, end) in enumerate(pairwise(cuts)):
            source = "".join(lines[begin:end])[0 if index else glue :]
            block = Block(Kind.MARKDOWN, source, number=None if number is None else number + index)
            if frame and (self._frame or index):
                block.kind, block.info = Kind.TABLE, frame
            if index:
                block.is_first = _is_blank(lines[begin - 1])
                self.closed.append(block)
            else:
                self._put(block)
                block.is_attached = block.is_attached and (is_list or bool(block.head))
        return None if number is None else number + len(cuts) - 1

    def _close_fence_lines(self, fence: OpenFence) -> bool:
        *lines, rest = self._tail.split("\n")
        count, has_ended = fence.feed(lines)
        self._tail = "\n".join([*lines[count:], rest])
        self._looked_at = 0
        if has_ended:
            self._fence, self._above = None, ""
            self._leave()
        return has_ended

    def _open_blocks(self) -> list[Block]:
        if self._fence:
            return self._fence.open(self._tail)
        source = self._tail[len(self._head) :]
        if not source.strip(" \t\n"):
            return []
        kind = Kind.TABLE if self._frame else Kind.MARKDOWN
        return [self._begin(Block(kind, source, self._frame, number=self._number))]

    def _restart(self, chars: int, head: str) -> None:
        """Take some characters from the beginning of the tail; `head` opens the rest again."""
        self._tail, self._head, self._looked_at = head + self._tail[chars:], head, 0

    def _leave(self) -> None:
        self._frame, self._number, self._is_first, self._head = "", None, True, ""

    def _put(self, block: Block) -> None:
        self._begin(block)
        if block.source.strip("\n") or not block.head:
            self.closed.append(block)

    def _begin(self, block: Block) -> Block:
        block.is_first = self._is_first
        if self._frame or not self._head:
            pattern = _DEFINITION if self._above == "definition" else None
            pattern = _LIST if self._above in ABOVE_LISTS else pattern
            block.is_attached = pattern is not None and pattern.match(block.source) is not None
        if not self._frame:
            block.head = self._head
        return block

    def _cut_giant(self) -> None:
        """Close the beginning of a giant paragraph, or of a line that does not end."""
        if self._fence or not self._tail.strip(" \t"):
            if self._fence:
                self._fence.cut(self._tail[:PIECE_CHARS])
            self._restart(PIECE_CHARS, "")
            return
        tokens = parse_blocks(self._tail, {})
        last = next((token for token in reversed(tokens) if token.level == 0 and token.map), None)
        kind, first = (last.type, span(last)[0]) if last else ("", 0)
        lines = self._tail.split("\n")
        count = first if kind == "paragraph_open" else len(lines) - 1
        begin = max(sum(len(line) + 1 for line in lines[:count]), len(self._head))
        is_whole = kind in _WHOLE and len(self._tail) <= _MOST_CHARS
        if is_whole or len(self._tail) - begin <= PIECE_CHARS:
            self._looked_at = len(self._tail) if is_whole else begin
            if not self._frame and begin - len(self._head) > _MOST_CHARS:
                self._put(
                    Block(Kind.MARKDOWN, self._tail[len(self._head) : begin], number=self._number)
                )
                self._restart(begin, "")
                self._number, self._is_first, self._above = None, False, ""
            return
        if self._frame:
            rows = self._tail[len(self._head) : begin]
            if rows:
                self._put(Block(Kind.TABLE, rows, self._frame))
                self._is_first = False
            self._restart(begin, "")
            self._frame, begin = "", 0
        place, is_word = cut_place(self._tail[begin:])
        head = "" if is_word else GLUE
        if last and kind == "heading_open" and last.markup.startswith("#"):
            head = f"{last.markup} {GLUE}"
        source = self._tail[len(self._head) : begin + place]
        continues_line = not source.rstrip(" \t>").endswith("\n")
        self._put(Block(Kind.MARKDOWN, source, number=self._number, continues_line=continues_line))
        self._restart(begin + place, head)
        self._number, self._is_first, self._above = None, False, ""


def _is_blank(line: str) -> bool:
    return not line.strip("> \t\n")


def _framed(lines: list[str]) -> list[str]:
    """Return head and first rows of a table: those that decide about its widths."""
    return lines[: HEAD_LINES + TABLE_ROWS]
