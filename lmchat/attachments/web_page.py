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
