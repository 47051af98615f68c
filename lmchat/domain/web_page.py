"""Pages of the web that a user attaches to a prompt: addresses, and replies of their hosts."""

from __future__ import annotations

import re

from msgspec import Struct

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = {
    "text/plain": "",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "application/json": "json",
}
"""Types of pages that are attached as they are, each with the language of its code fence."""
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\S)@(https?://\S*[^\s.,;:!?'\"])", re.IGNORECASE)
"""An address after `@`; the signs that end a sentence are no part of it."""


class PageAddress(Struct, frozen=True, kw_only=True):
    """An address without user name, password and fragment, as it is requested."""

    url: str  # ASCII: other letters are escaped
    scheme: str  # `http` or `https`
    host: str  # ASCII, in lower case, without brackets around IPv6 addresses
    port: int
    origin: str  # address without a path, as a question names it


class PageReply(Struct, frozen=True, kw_only=True):
    """What a host sent for an address: a page, or another address."""

    location: str = ""  # the address to which it redirects; empty for a page
    media_type: str = ""  # one of `HTML_TYPES` and `TEXT_TYPES`
    charset: str = ""  # as the host names it; empty if that is unknown
    data: bytes = b""


def is_page_address(text: str) -> bool:
    """Return whether a text is one http or https address; it may still be a wrong one."""
    return _ADDRESS.fullmatch(text.strip()) is not None


def mentioned_pages(text: str) -> list[str]:
    """Return the addresses in a text that follow an `@` at the start of a word, each once."""
    return list(dict.fromkeys(_MENTION.findall(text)))


def mention_span(text: str, address: str) -> tuple[int, int]:
    """Return the start and the end of the last mention of an address in a text, with its `@`.

    `text` is that of the prompt as it is shown, in which a file or a long paste is one line: its
    name or its first words, in brackets. Such a line may mention the address, too; it is usually
    above the typed mention.

    Raises `ValueError` if `mentioned_pages` does not return this address for the text.
    """
    for mention in reversed(list(_MENTION.finditer(text))):
        if mention[1] == address:
            return mention.span()
    raise ValueError("the text does not name this address")
