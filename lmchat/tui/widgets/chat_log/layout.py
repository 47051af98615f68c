"""Lay a block out as lines of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.style import Style

from lmchat.safe_text import safe_text
from lmchat.tui.widgets.chat_log.blocks import Block, Kind
from lmchat.tui.widgets.chat_log.code import code_lines
from lmchat.tui.widgets.chat_log.line import Line, Span
from lmchat.tui.widgets.chat_log.page import Page, safe_span, width_of
from lmchat.tui.widgets.chat_log.syntax import References, Token, closing, parse_blocks, parse_inline
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
        return list(self._walk(tokens, prefix, prefix, base, block.ordinal))

    def _plain(self, text: str) -> Iterator[Line]:
        for line in safe_text(text).expandtabs(4).split("\n"):
            yield from self.page.wrap([(line, _NULL)])

    def _walk(
        self, tokens: list[Token], first: Prefix, rest: Prefix, base: Style, ordinal: int | None = None
    ) -> Iterator[Line]:
        """Yield the lines of tokens that stand one below the other."""
        position, above = 0, None
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
        first, rest = prefixes
        match token.type:
            case "heading_open":
                style = self.page.styles[token.tag if token.tag in ("h1", "h2") else "h3"]
                yield from self._inline(inner[0], first, rest, base + style)
            case "paragraph_open":
                yield from self._inline(inner[0], first, rest, base)
            case "fence" | "code_block":
                yield from code_lines(
                    self.page, token.content.rstrip("\n"), token.info, first=first, rest=rest
                )
            case "hr":
                width = self.page.text_width - width_of(rest)
                yield self.page.line(
                    [(self.page.signs.rule * width, self.page.styles["faint"])], prefix=first
                )
            case "html_block":
                for text in token.content.rstrip("\n").split("\n"):
                    yield from self.page.wrap(
                        [(safe_span(text), self.page.styles["muted"])], first=first, rest=rest
                    )
                    first = rest
            case "blockquote_open":
                mark = (self.page.signs.edge + " ", self.page.styles["faint"])
                yield from self._walk(inner, [*first, mark], [*rest, mark], base + self.page.styles["quote"])
            case "bullet_list_open" | "ordered_list_open":
                yield from self._list(token, inner, prefixes, base, ordinal)
            case "table_open":
                yield from self._table(inner, first, rest)

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
            mark = f"{number}. " if token.type == "ordered_list_open" else self.page.signs.bullet + " "
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
            if text == "\n":
                yield from self.page.wrap(spans, first=first, rest=rest)
                first, spans = rest, []
            else:
                spans.append((text, span_style))
        yield from self.page.wrap(spans, first=first, rest=rest)

    def _spans(self, token: Token, style: Style) -> Iterator[Span]:
        """Yield the pieces of a paragraph; `\\n` stands for a hard break."""
        stack = [style]
        styles = self.page.styles
        for child in parse_inline(token.content, self._references):
            if child.nesting == 1:
                link = Style(meta={"link": str(child.attrs["href"])}) if "href" in child.attrs else _NULL
                stack.append(stack[-1] + styles.get(child.type.removesuffix("_open"), _NULL) + link)
            elif child.nesting == -1:
                stack.pop()
            elif child.type == "code_inline":
                yield safe_span(child.content), stack[-1] + styles["code"]
            elif child.type == "softbreak":
                yield " ", stack[-1]
            elif child.type == "hardbreak":
                yield "\n", stack[-1]
            elif child.type == "image":
                link = Style(meta={"link": str(child.attrs.get("src", ""))})
                yield safe_span(child.content or "image"), stack[-1] + styles["link"] + link
            elif child.type == "html_inline":
                yield safe_span(child.content), stack[-1] + styles["muted"]
            else:
                yield safe_span(child.content), stack[-1]

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
                    [(" " if text == "\n" else text, look) for text, look in self._spans(token, style)]
                )
        return rows, aligns

    def _table(self, tokens: list[Token], first: Prefix, rest: Prefix) -> Iterator[Line]:
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
    return bool(token.level) or (
        above.type == "paragraph_open" and bool(above.map and token.map) and above.map[1] == token.map[0]
    )
