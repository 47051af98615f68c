"""Words and their styles inside a block."""

from __future__ import annotations

from collections.abc import Iterator

from rich.style import Style

from lmchat.tui.widgets.chat_log.line import Span
from lmchat.tui.widgets.chat_log.page import Page, safe_span
from lmchat.tui.widgets.chat_log.syntax import References, Token, parse_inline

BREAK = "\n"
"""Stands for a hard break among the pieces of a paragraph."""
_NULL = Style.null()
_STYLES = {"code_inline": "code", "html_inline": "muted", "image": "link"}
_FIXED = {"softbreak": " ", "hardbreak": BREAK}


def inline_spans(page: Page, text: str, references: References, style: Style) -> Iterator[Span]:
    """Yield the pieces of a paragraph; its text is made harmless here."""
    stack = [style]
    for token in parse_inline(text, references):
        if token.nesting == 1:
            name = token.type.removesuffix("_open")
            stack.append(stack[-1] + page.styles.get(name, _NULL) + _target(token, "href"))
        elif token.nesting == -1:
            stack.pop()
        elif token.type in _FIXED:
            yield _FIXED[token.type], stack[-1]
        else:
            look = stack[-1] + page.styles.get(_STYLES.get(token.type, ""), _NULL) + _target(token, "src")
            yield safe_span(token.content or ("image" if token.type == "image" else "")), look


def _target(token: Token, attribute: str) -> Style:
    """Return a style that only carries where a link leads."""
    target = token.attrs.get(attribute)
    return Style(meta={"link": str(target)}) if target else _NULL
