"""Cut a growing Markdown text into blocks that never change again and a short open tail."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from itertools import islice, pairwise

from msgspec import Struct, field

from lmchat.text import Fence, fence_of
from lmchat.tui.widgets.chat_log.blocks import (
    GLUE,
    HEAD_LINES,
    PIECE_CHARS,
    SEGMENT_LINES,
    TABLE_ROWS,
    Block,
    Code,
    Kind,
)
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
from lmchat.tui.widgets.chat_log.markdown.parser import References, Token, is_row, parse_blocks

_LINE = re.compile(r"\n[ \t>]*(?=[^\W\d_])")
"""Between lines, which stay lines on the page."""
_WORD = re.compile(r"[ \t](?=[^\W\d_])")
"""Between words; what follows begins with a letter, so it is a paragraph again."""
_LETTER = re.compile(r"(?<=\w)(?=[^\W\d_])")
"""Within a word, as in languages that know no blanks."""
_MOST_PLACES = 200
_MAX_CLUSTER = 64
_JOINER = "\u200d"
MOST_WEIGHT = 600
"""Marks and lines after which a paragraph is cut even before `PIECE_CHARS`."""
_SIGNS = "*_`~[]<<&\\$!:|"
"""Characters that may begin markup; `<` may begin a link, too, and counts twice."""
_LEVELS_A_LINE = 3
"""A line in as many quotes weighs as much as another line more: the parser goes over it once for each."""


def weight_of(text: str, levels: int = 0) -> int:
    """Return the cost of parsing a paragraph beside its characters; it grows with each character.

    `levels` are those of the quotes and lists that it is known to stand in.
    """
    lines = text.count("\n")
    quotes = max(line.count(">") for line in text.split("\n")) if lines and ">" in text else 0
    return sum(map(text.count, _SIGNS)) + lines * (1 + (levels + quotes) // _LEVELS_A_LINE)


def reach(text: str, levels: int = 0) -> int:
    """Return after how many characters a paragraph that goes on is cut: fewer than usual if it is heavy."""
    is_light = 2 * len(text) < MOST_WEIGHT and not levels and ">" not in text  # none counts more than twice
    window = text[:PIECE_CHARS]
    if is_light or weight_of(window, levels) < MOST_WEIGHT:
        return PIECE_CHARS
    return bisect_left(range(len(window)), MOST_WEIGHT, key=lambda end: weight_of(window[:end], levels))


def cut_place(text: str, levels: int = 0) -> tuple[int, bool]:
    """Return the end of the first piece of a long paragraph, and whether the rest begins with a letter.

    Only the characters up to its `reach` decide, however long the text is. A place outside of emphasis, code
    and links is better than a later one.
    """
    most = reach(text, levels)
    window = text[: most + 1]
    for pattern in (_LINE, _WORD, _LETTER):
        ends = [match.end() for match in pattern.finditer(window, most // 2)]
        fit = (place for place in reversed(ends) if place <= most and not _is_inner(window, place))
        if places := list(islice(fit, _MOST_PLACES)):
            return next((place for place in places if _is_outside(window[:place])), places[0]), True
    place = most
    while place > max(most - _MAX_CLUSTER, 1) and _is_inner(window, place):
        place -= 1
    return place, False


def _is_inner(text: str, place: int) -> bool:
    """Whether a place is within what is one character for a reader, or behind a backslash."""
    if text[place - 1] in (_JOINER, "\\"):
        return True
    char = text[place]
    return char == _JOINER or unicodedata.category(char)[0] == "M" or "\U0001f3fb" <= char <= "\U0001f3ff"


def _is_outside(text: str) -> bool:
    """Whether the end of a text is likely not in emphasis, code or a link."""
    is_closed = not (text.count("*") % 2 or text.count("**") % 2 or text.count("`") % 2)
    return is_closed and text.count("[") == text.count("]")


class OpenFence(Struct):
    """A fence at the top level of a text; lines are fed, blocks are taken out."""

    opening: Fence
    """The line that opened it."""
    code: Code = field(default_factory=Code)
    """Data that its blocks share."""
    is_first: bool = True
    """Whether nothing of it is closed yet."""
    is_inner: bool = False
    """Whether the next piece begins in the middle of a line."""
    _lines: list[str] = field(default_factory=list)
    _done: list[Block] = field(default_factory=list)

    def take(self, lines: list[str]) -> tuple[int, bool]:
        """Take complete lines; return how many were taken, and whether the fence ended with the last."""
        for number, line in enumerate(lines):
            if not self._is_in_line and self.opening.is_closed_by(line):
                self.end()
                return number + 1, True
            self._take_line(line)
        return len(lines), False

    def end(self) -> None:
        """Nothing more comes."""
        if self._lines or self.is_first:
            self._close()
        self.code.is_whole = True

    def cut(self, start: str) -> None:
        """Take the beginning of a line that is too long to wait for its end."""
        self._lines.append(start if self._is_in_line else self._dedented(start))
        self._close(goes_on=True)

    def done(self) -> list[Block]:
        """Return the blocks that were closed since this was asked last."""
        done, self._done = self._done, []
        return done

    def open(self, tail: str) -> list[Block]:
        """Return what may still change, given the line that is not complete."""
        is_ending = not self._is_in_line and not tail.strip(" ").strip(self.opening.marks[0])
        shown = tail if self._is_in_line else self._dedented(tail)
        lines = self._lines if is_ending else [*self._lines, shown]
        return [self._block(lines)] if lines or self.is_first else []

    @property
    def _is_in_line(self) -> bool:
        """Whether the next text is in the middle of a line."""
        return self.is_inner and not self._lines

    def _take_line(self, line: str) -> None:
        while len(line) > PIECE_CHARS:
            self.cut(line[:PIECE_CHARS])
            line = line[PIECE_CHARS:]
        self._lines.append(line if self._is_in_line else self._dedented(line))
        if len(self._lines) >= SEGMENT_LINES or sum(map(len, self._lines)) > PIECE_CHARS:
            self._close()

    def _close(self, *, goes_on: bool = False) -> None:
        block = self._block(self._lines)
        block.goes_on = goes_on
        self.code.add(block)
        self._done.append(block)
        self._lines, self.is_first, self.is_inner = [], False, goes_on

    def _block(self, lines: list[str]) -> Block:
        head = GLUE if self.is_inner else ""
        return Block(Kind.FENCE, "\n".join(lines), self.opening.info, self.is_first, head=head)

    def _dedented(self, line: str) -> str:
        """Take away as many blanks as stand before the opening of the fence."""
        depth = len(self.opening.indent)
        if depth and "\t" in line[:depth]:
            line = line[:depth].expandtabs(4) + line[depth:]
        while depth and line.startswith(" "):
            line, depth = line[1:], depth - 1
        return line


OPEN_CHARS = 600
"""In a longer open tail, the blocks of a quote or list item are closed one by one."""
_CELL_CHARS = 10
"""Cost of a cell in characters of prose, even if it is empty."""
_LIST = re.compile(r" {0,3}(?!([-*])(?:[ \t]*\1){2,}[ \t]*$)(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)", re.MULTILINE)
"""Start of a list; three of its marks would be a rule."""
_DEFINITION = re.compile(r" {0,3}\[[^\]]*\]:")
_BY_LINES = ("fence", "code_block", "html_block", "math_block")


_OVER_AT_BLANK = ("paragraph_open", "heading_open", "hr", "table_open", "blockquote_open")
"""Blocks that end at a blank line; they are closed as soon as text follows."""


class MarkdownTail(Struct):
    """Parser of a growing text: feed text, read `closed`, which only grows, and `open`."""

    closed: list[Block] = field(default_factory=list)
    """Finished, in order."""
    open: list[Block] = field(default_factory=list)
    """Blocks that may still change."""
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
        self._fence = OpenFence(Fence("", GLUE, language), is_first=False)

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
            opening = fence_of(lines[start])
            self._fence = OpenFence(opening) if opening else None
            return start + 1 if opening else done
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
        opening = fence_of(lines[start]) if token.type == "fence" and start >= 0 else None
        if opening is not None:
            fence = OpenFence(opening)
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

    @property
    def _head(self) -> str:
        """Lines that are parsed before the tail and are in closed blocks already."""
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
        """Close the beginning of the tail; the rest is in `nest` or continues the same line."""
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
