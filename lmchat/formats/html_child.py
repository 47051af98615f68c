"""Child process that turns HTML into text: pages are untrusted, and some take very long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.html_engine import Inscriptis
from inscriptis.html_properties import Display
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_element import HtmlElement
from lxml.etree import LxmlError
from lxml.html import HTMLParser, document_fromstring

from lmchat.machine.process import serve

MAX_TEXT_CHARS = 1_000_001  # one more than an attached text may have, so that it is refused
_MAX_MEMORY_BYTES = 1_000_000_000  # an article of 10 MB takes 400 MB, a hostile table far more
_UNSEEN = ("template", "iframe", "object", "svg", "canvas")  # beside head, script and style


def main() -> None:
    """Answer each page of the parent with its text; a page begins with a line for its charset.

    A page that needs more memory than `_MAX_MEMORY_BYTES` ends this process (not on Windows).
    """
    with suppress(ImportError):
        import resource  # noqa: PLC0415 - Windows has none

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    serve(_answer)


def html_text(data: bytes, charset: str) -> str:
    """Return the text of a page as a browser without scripts shows it; may take very long.

    `charset` is that of the server. If it is unknown or wrong, UTF-8 counts; if the page is not
    UTF-8, what the page itself says. The text is cut at `MAX_TEXT_CHARS`.
    """
    data = _as_utf_8(data, charset)
    encoding = "utf-8" if _is_utf_8(data) else None
    try:
        tree = document_fromstring(data, parser=HTMLParser(encoding=encoding))
    except LxmlError:  # nothing in it is text
        return ""
    unseen = {name: HtmlElement(display=Display.none) for name in _UNSEEN}
    config = ParserConfig(css={**CSS_PROFILES["strict"], **unseen})
    text = Inscriptis(tree, config).get_text()[:MAX_TEXT_CHARS]
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _as_utf_8(data: bytes, charset: str) -> bytes:
    """Return data of a charset as UTF-8; unchanged if it is unknown, or not that of the data."""
    try:
        return data.decode(charset).encode()
    except (LookupError, UnicodeError):
        return data


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _answer(page: bytes, send: Callable[[bytes], None]) -> None:
    charset, _, data = page.partition(b"\n")
    send(html_text(data, charset.decode()).encode("utf-8", "replace"))
