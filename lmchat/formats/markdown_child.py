"""Child process that turns Markdown into HTML: some texts would keep the parser busy for hours."""

from __future__ import annotations

from collections.abc import Callable

from lmchat.formats.html_page import markdown_html
from lmchat.machine.process import serve


def main() -> None:
    """Answer each text of the parent with its HTML."""
    serve(_answer)


def _answer(text: bytes, send: Callable[[bytes], None]) -> None:
    send(markdown_html(text.decode()).encode())
