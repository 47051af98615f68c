"""Child process that turns HTML into text: pages are untrusted, and some take very long."""

from __future__ import annotations

from collections.abc import Callable

from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.html_engine import Inscriptis
from inscriptis.html_properties import Display, WhiteSpace
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_element import HtmlElement
from lxml.etree import LxmlError, strip_elements
from lxml.html import HtmlElement as PageElement
from lxml.html import HTMLParser, document_fromstring

from lmchat.base.processes.frames import answer_parent, limit_memory

MAX_TEXT_CHARS = 1_000_001  # one more than is allowed: a cut text is refused
_MAX_MEMORY_BYTES = 1_000_000_000  # an article of 10 MB takes 400 MB, a hostile table far more
_UNSEEN = ("script", "style", "template", "iframe", "object", "svg", "canvas")
_CODE_STYLE = HtmlElement(
    display=Display.block, whitespace=WhiteSpace.pre, margin_before=1, margin_after=1
)


def main() -> None:
    limit_memory(_MAX_MEMORY_BYTES)
    answer_parent(_answer)


def _answer(page: bytes, send: Callable[[bytes], None]) -> None:
    """Send text in UTF-8; `page` is in UTF-8 too, whatever charset it names."""
    try:
        tree = document_fromstring(page, parser=HTMLParser(encoding="utf-8"))
    except LxmlError:  # nothing in it is text
        send(b"")
        return
    strip_elements(tree, *_UNSEEN, with_tail=False)
    _flatten_code(tree)
    config = ParserConfig(css={**CSS_PROFILES["strict"], "pre": _CODE_STYLE})
    text = Inscriptis(tree, config).get_text()[:MAX_TEXT_CHARS]
    lines = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    send(lines.encode("utf-8", "replace"))


def _flatten_code(tree: PageElement) -> None:
    """Keep the lines of a `<pre>`: within `<code>` or another element, inscriptis joins them."""
    for code in list(tree.iter("pre")):
        for line_break in code.iter("br"):  # `text_content` leaves it out
            line_break.tail = "\n" + (line_break.tail or "")
        text = code.text_content()
        code.clear(keep_tail=True)
        code.text = text
