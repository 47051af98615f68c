"""Lay a block out as lines of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style

from lmchat.tui.widgets.chat_log.blocks import GLUE, HEAD_LINES, Block, Kind, Line, Span
from lmchat.tui.widgets.chat_log.layout.code import code_lines, piece_lines
from lmchat.tui.widgets.chat_log.layout.page import (
    BREAK,
    MIN_WIDTH,
    Page,
    harmless,
    safe_span,
    width_of,
)
from lmchat.tui.widgets.chat_log.layout.table import (
    Cell,
    Columns,
    Prefix,
    Prefixes,
    continued_lines,
    measured,
    split_lines,
    table_lines,
)
from lmchat.tui.widgets.chat_log.markdown.inline import (
    as_it_will_look,
    can_be_opened,
    is_told_by,
    without_end_of_code,
)
from lmchat.tui.widgets.chat_log.markdown.parser import (
    ABOVE_LISTS,
    References,
    Token,
    closing,
    last_leaf,
    parse_blocks,
    parse_inline,
)

_NULL = Style.null()
_STYLES = {"html_inline": "muted", "math_inline": "builtin"}
_MARKS = frozenset("\n!$&*<[\\]_`~")
"""Without one of these, and an address, a text is just text: most cells and items need no parser."""
_MARK = re.compile(r"[!$&*<\[\\\]_`~]")
_MOST_MARKS = (
    4_000  # in a text that is parsed: each costs up to 12 µs, and keys wait until it is done
)
_ADDRESS = r"(?i)(\bhttps?://[^\s<>\"]*[\w/])"
_LINE_BREAK = r"(?i)<br\s*/?>$"
_MOST_SHOWN = (
    200  # characters of an address that are shown behind words which do not tell where they lead
)


def inline_spans(page: Page, text: str, references: References, style: Style) -> list[Span]:
    """Return the pieces of a paragraph; its text is made harmless here."""
    if _MARKS.isdisjoint(text) and "://" not in text:
        return [(safe_span(text), style)] if text else []
    if len(_MARK.findall(text)) > _MOST_MARKS:
        return _plain_spans(text, style)
    return _Writer(page, style).write(parse_inline(text, references))


def _plain_spans(text: str, style: Style) -> list[Span]:
    """Return the lines of a text, each as it is."""
    spans: list[Span] = []
    for line in text.split("\n"):
        spans += [(safe_span(line), style), (BREAK, _NULL)]
    return spans[:-1]


def addressed(text: str, style: Style) -> list[Span]:
    """Return text with the addresses in it as links."""
    parts = re.split(_ADDRESS, text)
    return [(part, style + _leading_to(part)) for part in parts if part]


class _Writer:
    """Turns tokens into spans."""

    def __init__(self, page: Page, style: Style) -> None:
        self.page = page
        self.spans: list[Span] = []
        self._stack = [style]
        self._target = ""
        self._begin = 0

    def write(self, tokens: list[Token]) -> list[Span]:
        for token in tokens:
            is_break = token.type == "html_inline" and re.match(_LINE_BREAK, token.content)
            if token.nesting == 1:
                self._open(token)
            elif token.nesting == -1:
                self._close(token)
            elif token.type in ("softbreak", "hardbreak") or is_break:
                self.spans.append((BREAK, _NULL))
            elif token.type == "image":
                self._image(token)
            elif (
                token.type == "code_inline"
            ):  # where no tint tells it from other words, its marks stay
                mark = "" if self.page.has_tints else "`"
                for text, name in ((mark, "muted"), (token.content, "code"), (mark, "muted")):
                    self._put(text, self._style(name))
            else:
                self._put(token.content, self._style(_STYLES.get(token.type, "")))
        return self.spans

    def _style(self, name: str) -> Style:
        return self._stack[-1] + self.page.styles.get(name, _NULL)

    def _put(self, text: str, style: Style) -> None:
        for number, line in enumerate(text.split("\n")):
            if number:
                self.spans.append((BREAK, _NULL))
            if line:
                self.spans.append((safe_span(line), style))

    def _open(self, token: Token) -> None:
        style = self._style(token.type.removesuffix("_open"))
        if token.type == "link_open":
            self._target, self._begin = str(token.attrs.get("href", "")), len(self.spans)
            style = self._link(self._target)
        self._stack.append(style)

    def _close(self, token: Token) -> None:
        style = self._stack.pop()
        if token.type == "link_close" and self._target:
            words = "".join(text for text, _ in self.spans[self._begin :]).strip()
            if not words:
                self._put(self._target, style)
            elif not is_told_by(self._target, words):
                look = self._style("muted") + _leading_to(self._target)
                self._put(f" ({self._shortened(self._target)})", look)
            self._target = ""

    def _image(self, token: Token) -> None:
        source = str(token.attrs.get("src", ""))
        self._put("image: ", self._style("muted"))
        words = token.content or self._shortened(source) or "unnamed"
        self._put(words, self._link(self._target or source))
        if token.content and source and not can_be_opened(source):
            self._put(f" ({self._shortened(source)})", self._style("muted"))

    def _link(self, target: str) -> Style:
        return self._style("link" if can_be_opened(target) else "") + _leading_to(target)

    def _shortened(self, target: str) -> str:
        return target if len(target) <= _MOST_SHOWN else target[:_MOST_SHOWN] + self.page.icons.cut


@lru_cache(maxsize=256)
def _leading_to(target: str) -> Style:
    """Return a style that only carries where a link leads, if it can be opened.

    It is no link to the terminal (OSC 8): that would open it without asking.
    """
    return Style(meta={"link": target}) if can_be_opened(target) else _NULL


_INDENT = "  "
_LEAST_ROOM = MIN_WIDTH + 3
_OF_WORDS = ("paragraph_open", "heading_open", "table_open", "list_item_open", "hr")
"""Blocks whose last line may hold marks that have no end yet; in code and the like they are letters."""
_TASK = r"\[([ xX])\](?:[ \t]+|$)"


class Layout:
    """Turns blocks into lines of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._frames: dict[tuple[str, int], Columns] = {}
        self._references: References = {}
        self._source: list[str] = []
        self._number: int | None = None

    def lines(self, block: Block, references: References) -> list[Line]:
        """Return the lines of one block."""
        self.page.colours.block = block
        if block.make is not None:
            return block.make(self.page)
        prefix: Prefix = [(_INDENT, _NULL)] if block.is_thought else ()
        if block.kind is Kind.PLAIN:
            rows = harmless(block.source).split("\n")
            lines = [line for row in rows for line in self.page.wrap([(row, _NULL)])]
            lines[-1].is_wrapped = lines[-1].is_wrapped or block.continues_line
            return lines
        if block.kind is Kind.FENCE:
            return piece_lines(self.page, block, prefix)
        self._references = dict(references)  # half a definition in the block must not stay
        base = self.page.styles["muted"] if block.is_thought else _NULL
        if block.kind is Kind.TABLE:
            return list(self._rows(block, prefix))
        self._number = block.number
        lines = list(self._walk(self._tokens(block), (prefix, prefix), base))
        if block.continues_line and lines:
            lines[-1].is_wrapped = True
            lines[-1].text += " " if block.source[-1:].isspace() else ""
        if block.has_cursor and lines:
            self._put_cursor(lines[-1])
        return lines

    def _tokens(self, block: Block) -> list[Token]:
        """Return the structure of a block; an open one is read as it will look."""
        text = block.head + block.source
        tokens = parse_blocks(text, self._references)
        if block.has_cursor:
            kind, source = last_leaf(tokens), block.source
            if kind in _OF_WORDS:
                source = as_it_will_look(source)
            elif kind == "fence":
                source = without_end_of_code(source)
            if source != block.source:
                text = block.head + source
                tokens = parse_blocks(text, self._references)
        self._source = text.split("\n")
        return tokens

    def _put_cursor(self, line: Line) -> None:
        padding = line.segments[-1]
        is_free = padding.text.isspace() and padding.style == self.page.styles["base"]
        if line.text and is_free and not line.cells:
            line.segments[-1:] = [
                Segment(" ", self.page.style("base", "cursor")),
                Segment(padding.text[1:], padding.style),
            ]

    def _walk(self, tokens: list[Token], prefixes: Prefixes, base: Style) -> Iterator[Line]:
        position = 0
        first, rest = prefixes
        above: Token | None = None
        while position < len(tokens):
            token, end = tokens[position], closing(tokens, position)
            if above and not self._is_joined(above, token):
                yield self.page.line([], prefix=rest)
            yield from self._block(token, tokens[position + 1 : end], (first, rest), base)
            first, position, above = rest, end + 1, token

    def _is_joined(self, above: Token, token: Token) -> bool:
        is_list = above.type in ABOVE_LISTS and token.type.endswith("_list_open")
        can_join = is_list or above.type == token.type == "definition"
        return can_join and not self._is_behind_blank(token)

    def _is_behind_blank(self, token: Token) -> bool:
        """Whether there is a blank line above a token in the source."""
        line = token.map[0] - 1 if token.map else -1
        return 0 <= line < len(self._source) and not self._source[line].strip("> \t")

    def _block(
        self, token: Token, inner: list[Token], prefixes: Prefixes, base: Style
    ) -> Iterator[Line]:
        match token.type:
            case "paragraph_open" | "heading_open":
                heading = token.tag if token.tag in ("h1", "h2") else "h3"
                style = self.page.styles[heading] if token.type == "heading_open" else _NULL
                return self._inline(inner[0], prefixes, base + style)
            case "fence" | "code_block":
                code = token.content
                code = code.removesuffix("\n") if token.type == "fence" else code.rstrip("\n")
                return code_lines(self.page, code, token.info, prefixes)
            case "blockquote_open":
                mark = (self.page.icons.column + " ", self.page.styles["faint"])
                deeper = self._deeper(prefixes, mark, mark)
                empty = iter((self.page.line([], prefix=deeper[0]),))
                return (
                    self._walk(inner, deeper, base + self.page.styles["quote"]) if inner else empty
                )
            case "bullet_list_open" | "ordered_list_open":
                return self._list(token, inner, prefixes, base)
            case "table_open":
                return self._table(inner, prefixes)
            case _:
                return self._raw(token, prefixes)

    def _deeper(self, prefixes: Prefixes, mark: Span, below: Span) -> Prefixes:
        """Return prefixes with one more mark; where no room is left for text, restart at the edge."""
        if width_of([*prefixes[1], mark]) > self.page.text_width - _LEAST_ROOM:
            return [mark], [below]
        return [*prefixes[0], mark], [*prefixes[1], below]

    def _raw(self, token: Token, prefixes: Prefixes) -> Iterator[Line]:
        first, rest = prefixes
        if token.type == "hr":
            rule = self.page.icons.rule * (self.page.text_width - width_of(rest))
            yield self.page.line([(rule, self.page.styles["faint"])], prefix=first)
            return
        is_math = token.type == "math_block"
        style = self.page.styles["builtin" if is_math else "muted"]
        if is_math:
            first, rest = self._deeper(prefixes, (_INDENT, _NULL), (_INDENT, _NULL))
        for text in token.content.removesuffix("\n").split("\n"):
            yield from self.page.wrap(addressed(safe_span(text), style), first=first, rest=rest)
            first = rest

    def _list(
        self, token: Token, inner: list[Token], prefixes: Prefixes, base: Style
    ) -> Iterator[Line]:
        first, rest = prefixes
        number = int(token.attrs.get("start", 1)) if self._number is None else self._number
        self._number = None
        position = 0
        while position < len(inner):
            end = closing(inner, position)
            if position and self._is_behind_blank(inner[position]):
                yield self.page.line([], prefix=rest)
            item = inner[position + 1 : end]
            mark = " " * self._indent(token, inner[position])
            is_ordered = token.type == "ordered_list_open"
            mark += f"{number}{token.markup} " if is_ordered else ""
            mark += self._task(item) or ("" if is_ordered else self.page.icons.fresh + " ")
            deeper = self._deeper(
                (first, rest), (mark, self.page.styles["muted"]), (" " * len(mark), _NULL)
            )
            yield from (
                self._walk(item, deeper, base) if item else (self.page.line([], prefix=deeper[0]),)
            )
            first, position, number = rest, end + 1, number + 1

    def _indent(self, token: Token, item: Token) -> int:
        """Return the blanks before an item of an outermost list: too few to nest it, but meant so by many."""
        line = self._source[item.map[0]] if item.map and not token.level else ""
        return len(line) - len(line.lstrip(" "))

    def _task(self, item: list[Token]) -> str:
        is_text = len(item) > 1 and item[0].type == "paragraph_open"
        found = re.match(_TASK, item[1].content) if is_text else None
        if found is None:
            return ""
        item[1].content = item[1].content[found.end() :]
        return f"[{found[1].lower()}] "

    def _inline(self, token: Token, prefixes: Prefixes, style: Style) -> Iterator[Line]:
        first, rest = prefixes
        for spans in split_lines(self._spans(token, style)):
            yield from self.page.wrap(spans, first=first, rest=rest)
            first = rest

    def _spans(self, token: Token, style: Style) -> list[Span]:
        return inline_spans(self.page, token.content.removeprefix(GLUE), self._references, style)

    def _cells(self, tokens: list[Token]) -> tuple[list[list[Cell]], list[str]]:
        rows: list[list[Cell]] = []
        aligns: list[str] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "th_open":
                aligns.append(str(token.attrs.get("style", "")).removeprefix("text-align:"))
            elif token.type == "inline":
                style = self.page.style("strong", "muted") if len(rows) == 1 else _NULL
                rows[-1].append(self._spans(token, style))
        return rows, aligns

    def _table(self, tokens: list[Token], prefixes: Prefixes) -> Iterator[Line]:
        rows, aligns = self._cells(tokens)
        columns = measured(rows, aligns, self.page.text_width - width_of(prefixes[1]))
        return table_lines(self.page, rows, columns, prefixes)

    def _rows(self, block: Block, prefix: Prefix) -> Iterator[Line]:
        room = self.page.text_width - width_of(prefix)
        head = "\n".join(block.info.split("\n", HEAD_LINES)[:HEAD_LINES]) + "\n"
        key = (block.info, room)
        if key not in self._frames:
            self._frames[key] = measured(
                *self._cells(parse_blocks(block.info, self._references)), room
            )
        columns = self._frames[key]
        source = block.source
        if block.has_cursor:
            source = as_it_will_look(source, is_table=True)
        rows, _ = self._cells(parse_blocks(head + source, self._references))
        return continued_lines(self.page, rows, columns, prefix)
