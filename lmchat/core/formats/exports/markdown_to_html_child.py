"""Child process that turns Markdown into HTML: some texts would keep the parser busy for hours.

`html_by_message` (`html.py`) starts it, and ends it if a text takes too long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from lmchat.base.markdown.extensions import add_rules_for_words
from lmchat.base.processes.frames import answer_parent


def main() -> None:
    answer_parent(_answer)


def markdown_html(text: str) -> str:
    """Return Markdown as HTML; HTML in it is escaped, so it is safe. May take very long."""
    # When the page is opened, a picture would be fetched from any address that a model wrote.
    markdown = MarkdownIt("commonmark", {"html": False}).disable("image")
    markdown.enable(["table", "strikethrough"])
    add_rules_for_words(markdown)
    markdown.add_render_rule("sources", _source_lines)
    markdown.add_render_rule("math_block", _source_lines)
    markdown.add_render_rule("math_inline", _source)
    markdown.add_render_rule("definition", lambda *_: "")
    return str(markdown.render(text))


def _source(_: RendererHTML, tokens: Sequence[Token], index: int, *__: object) -> str:
    """Return a token as it is written, such as a formula."""
    return escape(tokens[index].content)


def _source_lines(_: RendererHTML, tokens: Sequence[Token], index: int, *__: object) -> str:
    """Return a block as it is written: a formula, or definitions of links with numbers."""
    return f"<p>{'<br />'.join(map(escape, tokens[index].content.splitlines()))}</p>\n"


def _answer(text: bytes, send: Callable[[bytes], None]) -> None:
    send(markdown_html(text.decode()).encode())
