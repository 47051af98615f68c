"""Words and their styles inside a block."""

from __future__ import annotations

import re
from functools import lru_cache

from rich.style import Style

from lmchat.tui.widgets.chat_log.blocks import Span
from lmchat.tui.widgets.chat_log.layout.page import Page, safe_span
from lmchat.tui.widgets.chat_log.markdown.addresses import can_be_opened, is_told_by, rest_of_address
from lmchat.tui.widgets.chat_log.markdown.syntax import References, Token, parse_inline

BREAK = "\n"
"""Stands for the end of a line among the pieces of a paragraph."""
_NULL = Style.null()
_STYLES = {"html_inline": "muted", "math_inline": "builtin"}
_MARKS = frozenset("\n!$&*<[\\]_`~")
"""Without one of these, and an address, a text is just text: most cells and items need no parser."""
_SCHEME = r"(?i)(?<![a-z0-9.+-])https?://"
_LINE_BREAK = r"(?i)<br\s*/?>$"
_MOST_SHOWN = 200
"""Characters of an address that are shown behind words which do not tell where they lead."""


def inline_spans(page: Page, text: str, references: References, style: Style) -> list[Span]:
    """Return the pieces of a paragraph; its text is made harmless here."""
    if _MARKS.isdisjoint(text) and "://" not in text:
        return [(safe_span(text), style)] if text else []
    return _Writer(page, style).write(parse_inline(text, references))


def addressed(text: str, style: Style) -> list[Span]:
    """Return text with the addresses in it as links."""
    spans: list[Span] = []
    end = 0
    for found in re.finditer(_SCHEME, text):
        rest = rest_of_address(text[found.end() :]) if found.start() >= end else ""
        if rest:
            address = found[0] + rest
            spans += [(text[end : found.start()], style), (address, style + Style(meta={"link": address}))]
            end = found.end() + len(rest)
    return [*spans, (text[end:], style)]


class _Writer:
    """Turns tokens into spans."""

    def __init__(self, page: Page, style: Style) -> None:
        self.page = page
        self.spans: list[Span] = []
        self._stack = [style]
        self._target = ""
        self._begin = 0

    def write(self, tokens: list[Token]) -> list[Span]:
        """Return the spans of tokens."""
        for token in tokens:
            if token.nesting == 1:
                self._open(token)
            elif token.nesting == -1:
                self._close(token)
            elif token.type in ("softbreak", "hardbreak") or _is_line_break(token):
                self.spans.append((BREAK, _NULL))
            elif token.type == "image":
                self._image(token)
            elif token.type == "code_inline":
                self._code(token.content)
            else:
                self._put(token.content, self._stack[-1] + self._style(_STYLES.get(token.type, "")))
        return self.spans

    def _style(self, name: str) -> Style:
        return self.page.styles.get(name, _NULL)

    def _put(self, text: str, style: Style) -> None:
        """Add text; what has several lines, as mathematics may, is several pieces."""
        if "\n" not in text:
            if text:
                self.spans.append((safe_span(text), style))
            return
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
        self._stack.append(self._stack[-1] + style)

    def _close(self, token: Token) -> None:
        if token.type == "link_close" and self._target:
            words = "".join(text for text, _ in self.spans[self._begin :]).strip()
            if not words:
                self._put(self._target, self._stack[-1])
            elif not is_told_by(self._target, words):
                self._put(f" ({self._shortened(self._target)})", self._stack[-2] + self._behind(self._target))
        if token.type == "link_close":
            self._target = ""
        self._stack.pop()

    def _code(self, text: str) -> None:
        """Add code; where no tint tells it from other words, its marks stay."""
        if self.page.has_tints:
            self._put(text, self._stack[-1] + self._style("code"))
            return
        mark = ("`", self._stack[-1] + self._style("muted"))
        self.spans.append(mark)
        self._put(text, self._stack[-1] + self._style("code"))
        self.spans.append(mark)

    def _image(self, token: Token) -> None:
        """Add what stands for a picture: its words, as a link, or else where it is."""
        source = str(token.attrs.get("src", ""))
        target = self._target or source
        look = self._stack[-1] + self._link(target)
        self._put("image: ", self._stack[-1] + self._style("muted"))
        self._put(token.content or self._shortened(source) or "without a name", look)
        if token.content and source and not can_be_opened(source):
            self._put(f" ({self._shortened(source)})", self._stack[-1] + self._style("muted"))

    def _link(self, target: str) -> Style:
        """Return the look of a link that can be opened, and where it leads; of another none.

        It is no link to the terminal (OSC 8): that would open it without asking.
        """
        return self._style("link") + _leading_to(target) if can_be_opened(target) else _NULL

    def _behind(self, target: str) -> Style:
        return self._style("muted") + (_leading_to(target) if can_be_opened(target) else _NULL)

    def _shortened(self, target: str) -> str:
        return target if len(target) <= _MOST_SHOWN else target[:_MOST_SHOWN] + self.page.signs.cut


@lru_cache(maxsize=256)
def _leading_to(target: str) -> Style:
    """Return a style that only carries where a link leads."""
    return Style(meta={"link": target})


def _is_line_break(token: Token) -> bool:
    return token.type == "html_inline" and re.match(_LINE_BREAK, token.content) is not None
