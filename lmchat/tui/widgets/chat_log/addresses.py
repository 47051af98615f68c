"""Where a link leads: what may be opened, and whether its words say so."""

from __future__ import annotations

import re
from functools import lru_cache

OPENABLE = ("http://", "https://")
"""What is opened, after asking; all else is only shown."""
_HOST_LIKE = r"(?:[\w-]+\.)+[^\W\d_]{2,}|\d{1,3}(?:\.\d{1,3}){3}"
_MAIL = "mailto:"


@lru_cache(maxsize=256)
def can_be_opened(address: str) -> bool:
    """Whether an address is one of a page on the web."""
    return address.lower().startswith(OPENABLE) and bool(host_of(address))


def host_of(address: str) -> str:
    """Return the host that an address names, without a user's name and port; empty where it names none."""
    from urllib.parse import urlsplit

    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


@lru_cache(maxsize=256)
def is_told_by(address: str, words: str) -> bool:
    """Whether a reader of the words knows where the link leads, or is at least not misled.

    Words that look like an address must name the host that the link leads to.
    """
    if words in (address, address.removeprefix(_MAIL)):
        return True
    if not can_be_opened(address):
        return False
    host = host_of(address)
    if "://" in words:
        return host_of(words) == host
    return all(_names(found[0].lower(), host) for found in re.finditer(_HOST_LIKE, words))


def _names(found: str, host: str) -> bool:
    return host in (found, f"www.{found}") or found == f"www.{host}"


def page_host(address: str) -> str:
    """Return the host of a page as the network knows it: letters that look like others do not hide in it."""
    host = host_of(address)
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host
