"""Lay a block out as lines of a page.

A prefix is the marks of the quotes and items around a block: one for its first line, another for
the following ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from rich.segment import Segment
from rich.style import Style

from lmchat.app.markdown_lines.block import HEAD_LINES, Block, Kind, Line, Span
from lmchat.app.markdown_lines.code import code_lines
from lmchat.app.markdown_lines.math import unicode_formula
from lmchat.app.markdown_lines.open_marks import completed, without_marks_alone
from lmchat.app.markdown_lines.page import MIN_WIDTH, Page
from lmchat.app.markdown_lines.tables import (
    Cell,
    Columns,
    Prefix,
    Prefixes,
    fit_columns,
    split_lines,
    table_lines,
)
from lmchat.app.markdown_lines.wrap import BREAK, harmless, text_of, width_of
from lmchat.base.markdown.commonmark import (
    ABOVE_LISTS,
    ADDRESS_SIGNS,
    References,
    Token,
    blocks_of,
    image_words,
    last_block_type,
    parse_blocks,
    parse_inline,
    span,
)
from lmchat.base.markdown.fences import indent_of
from lmchat.base.markdown.links import can_be_opened, is_honest_link
from lmchat.base.safe_text import controls_on_one_line
from lmchat.base.units import SIGNS

_NULL = Style.null()
_STYLES = {"html_inline": "muted"}  # by the type of a token
# without these and an address, a text needs no parser, as most cells and items
_SIGNS = frozenset("\n!$&*<[\\]_`~")
_ADDRESS = r"(?i)(\bhttps?://[^\s<>\"]*[\w/])"  # without the stops behind it
_LINE_BREAK = r"(?i)<br\s*/?>$"
_TASK = r"\[([ xX])\](?:[ \t]+|$)"  # the box of a task; 1 is its mark
# the first line of a quote that is an alert; 1 is its kind
_ALERT = r"(?i)\[!(note|tip|important|warning|caution)\][ \t]*(?:\n|$)"
_ALERT_STYLES = {
    "note": "builtin",
    "tip": "string",
    "important": "mark",
    "warning": "warning",
    "caution": "error",
}
_MOST_SHOWN = 200  # characters of an address beside words that name another
_INDENT = "  "
_LEAST_ROOM = MIN_WIDTH + 3  # cells for text beside marks of quotes and lists
# their last line may hold marks without an end; in others, such as code, marks are text
_MARKUP_BLOCKS = ("paragraph_open", "heading_open", "table_open", "list_item_open", "hr")


class _Writer:
    def __init__(self, page: Page, style: Style) -> None:
        self.page = page
        self.spans: list[Span] = []
        self._stack = [style]  # that of the block, then those of the open tokens
        self._target = ""  # of the open link
        self._link_start = 0  # index of its first span

    def write(self, tokens: list[Token]) -> list[Span]:
        for token in tokens:
            if token.nesting == 1:
                self._open(token)
            elif token.nesting == -1:
                self._close(token)
            elif token.type in ("softbreak", "hardbreak") or (
                token.type == "html_inline" and re.match(_LINE_BREAK, token.content)
            ):
                self.spans.append((BREAK, _NULL))
            elif token.type == "text" and self.spans and self.spans[-1][0] == BREAK:
                self._add(token.content.lstrip(" \t"), self._style(""))  # behind `<br>`
            elif token.type == "image":
                self._add_image(token)
            elif token.type == "code_inline":
                is_marked = not (self.page.has_tints or self.page.has_colours)
                mark = "`" if is_marked else ""
                self._add(mark, self._style("muted"))
                self._add(token.content, self._style("code"))
                self._add(mark, self._style("muted"))
            elif token.type == "math_inline":
                self._add(_shown_formula(self.page, token.content), self._style("builtin"))
            else:
                self._add(token.content, self._style(_STYLES.get(token.type, "")))
        return self.spans

    def _style(self, name: str) -> Style:
        return self._stack[-1] + self.page.styles.get(name, _NULL)

    def _add(self, text: str, style: Style) -> None:
        for number, line in enumerate(text.split("\n")):
            if number:
                self.spans.append((BREAK, _NULL))
            if line:
                self.spans.append((controls_on_one_line(line), style))

    def _open(self, token: Token) -> None:
        if token.type == "link_open":
            self._target = str(token.attrs.get("href", ""))
            self._link_start = len(self.spans)
            style = self._link_style(self._target)
        else:  # `em_open` has the style `em`
            style = self._style(token.type.removesuffix("_open"))
        self._stack.append(style)

    def _close(self, token: Token) -> None:
        """Show the address of a link whose words hide where it leads, or which has none."""
        style = self._stack.pop()
        if token.type == "link_close" and self._target:
            text = text_of(self.spans[self._link_start :]).strip()
            if not text:
                self._add(self._target, style)
            elif token.info != "auto" and not self._shows_address(self._target, text):
                look = self._style("muted") + _link_meta(self._target)
                self._add(f" ({self._shortened(self._target)})", look)
            self._target = ""

    def _shows_address(self, target: str, text: str) -> bool:
        """Whether words need no address: a printed one cannot be looked up by its link."""
        is_address = target in (text, f"mailto:{text}")
        return is_address or (not self.page.is_scrollback and is_honest_link(target, text))

    def _add_image(self, token: Token) -> None:
        """Link to the image, or to where the link around it leads."""
        source = str(token.attrs.get("src", ""))
        self._add("image: ", self._style("muted"))
        words = image_words(token)
        shown = words or self._shortened(source) or "unnamed"
        self._add(shown, self._link_style(self._target or source))
        if words and source and (self.page.is_scrollback or not can_be_opened(source)):
            self._add(f" ({self._shortened(source)})", self._style("muted"))

    def _link_style(self, target: str) -> Style:
        """Make a link that cannot be opened look like the text around it."""
        return self._style("link" if can_be_opened(target) else "") + _link_meta(target)

    def _shortened(self, target: str) -> str:
        if len(target) <= _MOST_SHOWN:
            return target
        return target[:_MOST_SHOWN] + SIGNS.cut


def _shown_formula(page: Page, source: str) -> str:
    if page.is_ascii:
        return source
    return unicode_formula(source) or source


@lru_cache(maxsize=256)
def _link_meta(target: str) -> Style:
    """Return a style without a look, in which a click finds the address.

    The terminal gets no link of its own (OSC 8), which it would open without asking.
    """
    return Style(meta={"link": target}) if can_be_opened(target) else _NULL


class Layout:
    """Turns blocks into lines of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        # By head and first rows, and by room in cells: later blocks of a table have the same
        # columns.
        self._columns_of_table: dict[tuple[str, int], Columns] = {}
        # of the block that is laid out:
        self._references: References = {}
        self._closed_source = ""  # without blank lines above; empty while it still grows
        self._source: list[str] = []  # its lines, with the marks that it lacked
        # of the first item, if the next list is a piece of one
        self._next_number: int | None = None

    def lay_out(self, block: Block, references: References) -> list[Line]:
        """`references` are the link definitions of its text."""
        self.page.colours.block = block
        if block.make is not None:  # of the kind `CUSTOM` or `GAP`
            return block.make(self.page)
        prefix: Prefix = [(_INDENT, _NULL)] if block.is_thought else ()
        if block.kind is Kind.PLAIN:
            rows = harmless(block.source).split("\n")
            return [line for row in rows for line in self.page.wrap([(row, _NULL)])]
        if block.kind is Kind.FENCE:
            prefixes = (prefix, prefix)
            code = code_lines(
                self.page,
                block.source,
                block.info,
                prefixes,
                is_first=block.is_first,
                is_end=block.is_end,
            )
            return list(code)
        # a copy: a half-written definition must not reach other blocks
        self._references = dict(references)
        if block.kind is Kind.MORE_ROWS:  # the rows before these are Markdown like any other
            return list(self._continued_rows(block, prefix))
        return self._markdown_lines(block, prefix)

    def _markdown_lines(self, block: Block, prefix: Prefix) -> list[Line]:
        """Parse a block that still grows as if its marks were complete; add the cursor."""
        text = block.source
        tokens = parse_blocks(text, self._references)
        if block.has_cursor:
            # the missing marks depend on the last block, so the text is parsed twice
            kind = last_block_type(tokens)
            if kind in _MARKUP_BLOCKS:
                text = completed(text)
            elif kind == "fence":
                text = without_marks_alone(text)
            if text != block.source:
                tokens = parse_blocks(text, self._references)
        self._source = text.split("\n")
        self._closed_source = "" if block.has_cursor else text.lstrip("\n")
        self._next_number = block.number
        style = self.page.muted if block.is_thought else _NULL
        shown = [token for token in tokens if token.type != "definition"]
        lines = list(self._level_lines(shown, (prefix, prefix), style))
        text_lines = [line for line in lines[-2:] if not line.is_end]
        if text_lines and block.has_cursor:
            self._put_cursor(text_lines[-1])
        return lines

    def _put_cursor(self, line: Line) -> None:
        """Paint no cursor without room, or on a tint, as that of code."""
        padding = line.segments[-1]
        is_free = padding.text.isspace() and padding.style == self.page.styles["base"]
        if line.text and is_free:
            line.segments[-1] = Segment(" ", self.page.style("base", "cursor"))
            line.segments.append(Segment(padding.text[1:], padding.style))

    def _level_lines(self, tokens: list[Token], prefixes: Prefixes, style: Style) -> Iterator[Line]:
        """`tokens` have all that is nested in the level."""
        prefix, next_prefix = prefixes
        above = ""  # type of the block above
        last: Line | None = None
        for token, inner in blocks_of(tokens):
            # a list directly below a paragraph or a list belongs to it
            is_attached = above in ABOVE_LISTS and token.type.endswith("_list_open")
            has_gap = above and (not is_attached or self._is_below_blank(token))
            if has_gap and not (last and last.is_end):
                yield self.page.line([], prefix=next_prefix)
            for line in self._block_lines(token, inner, (prefix, next_prefix), style):
                yield line
                last = line
            prefix = next_prefix
            above = token.type

    def _is_below_blank(self, token: Token) -> bool:
        """Whether there is a blank line above in the source: it is shown, too."""
        line = span(token)[0] - 1
        # in a quote, it has the marks of the quote
        return 0 <= line < len(self._source) and not self._source[line].strip("> \t")

    def _block_lines(
        self, token: Token, inner: list[Token], prefixes: Prefixes, style: Style
    ) -> Iterator[Line]:
        """Types without a form, such as HTML, are shown as source."""
        match token.type:
            case "paragraph_open":
                return self._text_lines(inner[0], prefixes, style)
            case "heading_open":  # h3 to h6 look the same
                heading = token.tag if token.tag in ("h1", "h2") else "h3"
                lines = self._text_lines(inner[0], prefixes, style + self.page.styles[heading])
                is_title = heading == "h1" and not prefixes[1]
                return chain(lines, self._rule_below()) if is_title else lines
            case "fence" | "code_block":
                code = token.content.removesuffix("\n")
                is_end = self._has_ended(token)
                return code_lines(self.page, code, token.info, prefixes, is_end=is_end)
            case "blockquote_open":
                mark = (SIGNS.column + " ", self.page.styles["mark"])
                nested = self._nested_prefixes(prefixes, mark, mark)
                return self._quote_lines(inner, nested, style + self.page.styles["quote"])
            case "bullet_list_open" | "ordered_list_open":
                return self._list_lines(token, inner, prefixes, style)
            case "table_open":
                return self._table_lines(inner, prefixes)
            case "hr":
                rule = SIGNS.rule * (self.page.text_width - width_of(prefixes[1]))
                line = self.page.line([(rule, self.page.styles["faint"])], prefix=prefixes[0])
                return iter([line])
            case _:
                return self._source_lines(token, prefixes)

    def _rule_below(self) -> Iterator[Line]:
        """Draw a rule in place of the blank row, which the plain chat keeps."""
        if not self.page.is_scrollback:
            rule = (SIGNS.rule * self.page.text_width, self.page.styles["faint"])
            line = self.page.line([rule])
            line.is_end = True
            yield line

    def _has_ended(self, code: Token) -> bool:
        """Whether no text that follows can be a part of this code."""
        if self._closed_source or code.map is None:
            return True
        start, end = code.map
        if any(line.strip("> \t") for line in self._source[end:]):
            return True
        marks = self._source[end - 1].strip("> \t")
        is_closing = len(marks) >= len(code.markup) and not marks.strip(code.markup)
        return bool(code.markup) and end - 1 > start and is_closing

    def _inner_lines(self, inner: list[Token], prefixes: Prefixes, style: Style) -> Iterator[Line]:
        if inner:
            yield from self._level_lines(inner, prefixes, style)
        else:
            yield self.page.line([], prefix=prefixes[0])

    def _quote_lines(self, inner: list[Token], prefixes: Prefixes, style: Style) -> Iterator[Line]:
        """Show the mark of an alert, such as `[!NOTE]`, as a word in the colour of its kind."""
        alert = None
        if inner and inner[0].type == "paragraph_open":
            alert = re.match(_ALERT, inner[1].content)
        if alert is not None:
            kind = alert[1].lower()
            look = self.page.style("strong", _ALERT_STYLES[kind])
            yield from self.page.wrap([(kind.capitalize(), look)], prefix=prefixes[0])
            inner[1].content = inner[1].content[alert.end() :]
            inner = inner if inner[1].content else inner[3:]  # without an empty paragraph
            prefixes = prefixes[1], prefixes[1]
        if inner or alert is None:
            yield from self._inner_lines(inner, prefixes, style)

    def _nested_prefixes(self, prefixes: Prefixes, mark: Span, next_mark: Span) -> Prefixes:
        """Add `mark` for the first line, `next_mark` for the others.

        With too little room for text, return only the marks: lines start at the left edge again.
        """
        prefix, next_prefix = prefixes
        # both prefixes are equally wide, and so are the marks
        if width_of([*next_prefix, mark]) > self.page.text_width - _LEAST_ROOM:
            return [mark], [next_mark]
        return [*prefix, mark], [*next_prefix, next_mark]

    def _source_lines(self, token: Token, prefixes: Prefixes) -> Iterator[Line]:
        """Indent a formula, and write it on one line if that says the same."""
        style = self.page.muted
        shown = token.content.removesuffix("\n")
        if token.type == "math_block":
            style = self.page.styles["builtin"]
            shown = _shown_formula(self.page, shown)
            prefixes = self._nested_prefixes(prefixes, (_INDENT, _NULL), (_INDENT, _NULL))
        prefix, next_prefix = prefixes
        for text in shown.split("\n"):
            # words and addresses in turn
            parts = re.split(_ADDRESS, controls_on_one_line(text))
            spans = [(part, style + _link_meta(part)) for part in parts if part]
            yield from self.page.wrap(spans, prefix=prefix, next_prefix=next_prefix)
            prefix = next_prefix

    def _list_lines(
        self, token: Token, inner: list[Token], prefixes: Prefixes, style: Style
    ) -> Iterator[Line]:
        prefix, next_prefix = prefixes
        # only the first list in a block may continue another block
        number = int(token.attrs.get("start", 1))
        if self._next_number is not None:
            number = self._next_number
            self._next_number = None
        last: Line | None = None
        for index, (item, item_tokens) in enumerate(blocks_of(inner)):
            if index and self._is_below_blank(item) and not (last and last.is_end):
                yield self.page.line([], prefix=next_prefix)
            indent = ""
            if item.map and not token.level:
                # The parser takes `- a` and ` - b` for items of one list, but models mean the
                # second as nested. Within another block, the blanks belong to that.
                indent = " " * indent_of(self._source[item.map[0]])
            task = ""
            if item_tokens and item_tokens[0].type == "paragraph_open":
                text = item_tokens[1].content
                box = re.match(_TASK, text)
                if box is not None:
                    task = f"[{box[1].lower()}] "
                    item_tokens[1].content = text[box.end() :]
            if token.type == "ordered_list_open":
                mark = f"{indent}{number + index}{token.markup} {task}"
            else:
                mark = indent + (task or f"{SIGNS.fresh} ")
            nested = self._nested_prefixes(
                (prefix, next_prefix), (mark, self.page.styles["mark"]), (" " * len(mark), _NULL)
            )
            for line in self._inner_lines(item_tokens, nested, style):
                yield line
                last = line
            prefix = next_prefix

    def _text_lines(self, token: Token, prefixes: Prefixes, style: Style) -> Iterator[Line]:
        prefix, next_prefix = prefixes
        for spans in split_lines(self._spans(token, style)):
            yield from self.page.wrap(spans, prefix=prefix, next_prefix=next_prefix)
            prefix = next_prefix

    def _spans(self, token: Token, style: Style) -> list[Span]:
        text = token.content
        # nothing to find for the parser
        if _SIGNS.isdisjoint(text) and not any(sign in text for sign in ADDRESS_SIGNS):
            return [(controls_on_one_line(text), style)] if text else []
        return _Writer(self.page, style).write(parse_inline(text, self._references))

    def _cells(self, tokens: list[Token]) -> tuple[list[list[Cell]], list[str]]:
        """Return rows of cells, and the `Columns.aligns`."""
        rows: list[list[Cell]] = []
        aligns: list[str] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "th_open":
                aligns.append(str(token.attrs.get("style", "")).removeprefix("text-align:"))
            elif token.type == "inline":
                is_head = len(rows) == 1
                style = self.page.style("strong", "muted") if is_head else _NULL
                rows[-1].append(self._spans(token, style))
        return rows, aligns

    def _table_lines(self, tokens: list[Token], prefixes: Prefixes) -> Iterator[Line]:
        rows, aligns = self._cells(tokens)
        room = self.page.text_width - width_of(prefixes[1])
        columns = fit_columns(rows, aligns, room)
        if self._closed_source:  # rows may follow in another block
            self._columns_of_table[self._closed_source, room] = columns
        return table_lines(self.page, rows, columns, prefixes)

    def _continued_rows(self, block: Block, prefix: Prefix) -> Iterator[Line]:
        """Lay out rows in the columns of the first rows of their table, the source `block.info`.

        Each row behind the first ones is a block, so that it is closed while the table still grows.
        """
        room = self.page.text_width - width_of(prefix)
        key = (block.info, room)
        if key not in self._columns_of_table:
            cells, aligns = self._cells(parse_blocks(block.info, self._references))
            self._columns_of_table[key] = fit_columns(cells, aligns, room)
        source = block.source
        if block.has_cursor:
            source = completed(source, is_continued=True)
        # the parser takes rows for a table only below a head
        head = block.info.split("\n", HEAD_LINES)[:HEAD_LINES]
        text = "\n".join([*head, source])
        rows, _ = self._cells(parse_blocks(text, self._references))
        columns = self._columns_of_table[key]
        return table_lines(self.page, rows, columns, (prefix, prefix), is_continued=True)
