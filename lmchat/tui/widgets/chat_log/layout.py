"""Lay a block out as lines of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.segment import Segment
from rich.style import Style

from lmchat.safe_text import safe_text
from lmchat.tui.widgets.chat_log.blocks import Block, Kind
from lmchat.tui.widgets.chat_log.code import code_lines
from lmchat.tui.widgets.chat_log.inline import BREAK, inline_spans
from lmchat.tui.widgets.chat_log.line import Line, Span
from lmchat.tui.widgets.chat_log.page import Page, safe_span, width_of
from lmchat.tui.widgets.chat_log.syntax import References, Token, closing, parse_blocks
from lmchat.tui.widgets.chat_log.table import Cell, column_widths, table_lines

_NULL = Style.null()
_HEAD_LINES = 2
_THOUGHT_INDENT = "  "
Prefix = Sequence[Span]


class Layout:
    """Turns blocks into lines of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._frames: dict[tuple[str, int], tuple[list[int], list[str]]] = {}
        self._references: References = {}

    def lines(self, block: Block, references: References) -> list[Line]:
        """Return the lines of one block; half a definition in it must not stay, so `references` is copied."""
        if block.make is not None:
            return block.make(self.page)
        prefix: Prefix = [(_THOUGHT_INDENT, _NULL)] if block.is_thought else ()
        if block.kind is Kind.PLAIN:
            return list(self._plain(block.source))
        if block.kind is Kind.FENCE:
            return list(
                code_lines(
                    self.page, block.source, block.info, first=prefix, rest=prefix, is_first=block.is_first
                )
            )
        self._references = dict(references)
        base = self.page.styles["muted"] if block.is_thought else _NULL
        if block.kind is Kind.TABLE:
            return list(self._rows(block, prefix))
        tokens = parse_blocks(block.source, self._references)
        lines = list(self._walk(tokens, prefix, prefix, base, block.ordinal))
        if block.has_cursor and lines:
            self._put_cursor(lines[-1])
        return lines

    def _put_cursor(self, line: Line) -> None:
        """Put a cursor behind the last word, where there is room for it."""
        padding = line.segments[-1]
        is_free = padding.text.isspace() and padding.style == self.page.styles["base"]
        if line.text and is_free and not line.is_row:
            line.segments[-1:] = [
                Segment(" ", self.page.style("base", "cursor")),
                Segment(padding.text[1:], padding.style),
            ]

    def _plain(self, text: str) -> Iterator[Line]:
        for line in safe_text(text).expandtabs(4).split("\n"):
            yield from self.page.wrap([(line, _NULL)])

    def _walk(
        self, tokens: list[Token], first: Prefix, rest: Prefix, base: Style, ordinal: int | None = None
    ) -> Iterator[Line]:
        """Yield the lines of tokens that stand one below the other."""
        position = 0
        above: Token | None = None
        while position < len(tokens):
            token, end = tokens[position], closing(tokens, position)
            if above and not _is_attached(above, token):
                yield self.page.line([], prefix=rest)
            yield from self._block(token, tokens[position + 1 : end], (first, rest), base, ordinal)
            first, position, above = rest, end + 1, token

    def _block(
        self,
        token: Token,
        inner: list[Token],
        prefixes: tuple[Prefix, Prefix],
        base: Style,
        ordinal: int | None,
    ) -> Iterator[Line]:
        """Return the lines of one token and what is in it."""
        first, rest = prefixes
        match token.type:
            case "paragraph_open" | "heading_open":
                style = base + self._heading(token)
                return self._inline(inner[0], first, rest, style)
            case "fence" | "code_block":
                code = token.content.rstrip("\n")
                return code_lines(self.page, code, token.info, first=first, rest=rest)
            case "blockquote_open":
                mark = (self.page.signs.column + " ", self.page.styles["faint"])
                style = base + self.page.styles["quote"]
                return self._walk(inner, [*first, mark], [*rest, mark], style)
            case "bullet_list_open" | "ordered_list_open":
                return self._list(token, inner, prefixes, base, ordinal)
            case "table_open":
                return self._table(inner, rest)
            case _:
                return self._raw(token, first, rest)

    def _heading(self, token: Token) -> Style:
        if token.type != "heading_open":
            return _NULL
        return self.page.styles[token.tag if token.tag in ("h1", "h2") else "h3"]

    def _raw(self, token: Token, first: Prefix, rest: Prefix) -> Iterator[Line]:
        """Yield rules, and what is shown as it stands: HTML, and whatever else has text."""
        if token.type == "hr":
            rule = self.page.signs.rule * (self.page.text_width - width_of(rest))
            yield self.page.line([(rule, self.page.styles["faint"])], prefix=first)
            return
        for text in token.content.rstrip("\n").split("\n"):
            spans = [(safe_span(text), self.page.styles["muted"])]
            yield from self.page.wrap(spans, first=first, rest=rest)
            first = rest

    def _list(
        self,
        token: Token,
        inner: list[Token],
        prefixes: tuple[Prefix, Prefix],
        base: Style,
        ordinal: int | None,
    ) -> Iterator[Line]:
        first, rest = prefixes
        number = int(token.attrs.get("start", 1)) if ordinal is None else ordinal
        position = 0
        while position < len(inner):
            end = closing(inner, position)
            mark = f"{number}. " if token.type == "ordered_list_open" else self.page.signs.fresh + " "
            before = [*first, (mark, self.page.styles["muted"])]
            after = [*rest, (" " * len(mark), _NULL)]
            item = inner[position + 1 : end]
            if item:
                yield from self._walk(item, before, after, base)
            else:
                yield self.page.line([], prefix=before)
            first, position, number = rest, end + 1, number + 1

    def _inline(self, token: Token, first: Prefix, rest: Prefix, style: Style) -> Iterator[Line]:
        """Yield the lines of a paragraph; a hard break ends a line."""
        spans: list[Span] = []
        for text, span_style in self._spans(token, style):
            if text == BREAK:
                yield from self.page.wrap(spans, first=first, rest=rest)
                first, spans = rest, []
            else:
                spans.append((text, span_style))
        yield from self.page.wrap(spans, first=first, rest=rest)

    def _spans(self, token: Token, style: Style) -> Iterator[Span]:
        return inline_spans(self.page, token.content, self._references, style)

    def _cells(self, tokens: list[Token]) -> tuple[list[list[Cell]], list[str]]:
        """Return the cells of a table by rows, and how its columns are aligned."""
        rows: list[list[Cell]] = []
        aligns: list[str] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "th_open":
                aligns.append("right" if "right" in str(token.attrs.get("style", "")) else "left")
            elif token.type == "inline":
                style = self.page.style("strong", "muted") if len(rows) == 1 else _NULL
                rows[-1].append(
                    [(" " if text == BREAK else text, look) for text, look in self._spans(token, style)]
                )
        return rows, aligns

    def _table(self, tokens: list[Token], rest: Prefix) -> Iterator[Line]:
        rows, aligns = self._cells(tokens)
        widths = column_widths(rows, self.page.text_width - width_of(rest))
        for lines in table_lines(self.page, rows, aligns, widths, prefix=rest):
            yield from lines

    def _rows(self, block: Block, prefix: Prefix) -> Iterator[Line]:
        """Yield the lines of rows that continue a table; its first rows decide about the widths."""
        room = self.page.text_width - width_of(prefix)
        head = "\n".join(block.info.split("\n", _HEAD_LINES)[:_HEAD_LINES]) + "\n"
        key = (block.info, room)
        if key not in self._frames:
            rows, aligns = self._cells(parse_blocks(block.info, self._references))
            self._frames[key] = column_widths(rows, room), aligns
        widths, aligns = self._frames[key]
        rows, _ = self._cells(parse_blocks(head + block.source, self._references))
        for lines in list(table_lines(self.page, rows, aligns, widths, prefix=prefix))[1:]:
            yield from lines


def _is_attached(above: Token, token: Token) -> bool:
    """Whether a list follows its paragraph without a blank row."""
    if not token.type.endswith("_list_open"):
        return False
    ends_there = above.map is not None and token.map is not None and above.map[1] == token.map[0]
    return bool(token.level) or (above.type == "paragraph_open" and ends_there)
