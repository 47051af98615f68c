"""Child process that turns Markdown into HTML: some texts would keep the parser busy for hours.

`MarkdownConverter` (`html.py`) starts it, and ends it if a text takes too long.
"""

from __future__ import annotations

from collections.abc import Callable

from markdown_it import MarkdownIt

from lmchat.markdown.extensions import table_rule
from lmchat.processes.child import answer_parent


def main() -> None:
    """Answer each text of the parent with its HTML."""
    answer_parent(_answer)


def markdown_html(text: str) -> str:
    """Return Markdown as HTML; HTML in it is escaped, so it is safe. May take very long."""
    # As soon as the page is opened, a picture would be fetched from any address that a model wrote.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    markdown.block.ruler.at("table", table_rule, {"alt": ["paragraph", "reference"]})
    return str(markdown.render(text))


def _answer(text: bytes, send: Callable[[bytes], None]) -> None:
    send(markdown_html(text.decode()).encode())
