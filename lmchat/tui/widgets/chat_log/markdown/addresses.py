"""Addresses: where one ends in a text, what may be opened, and whether words say where a link leads."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

OPENABLE = ("http://", "https://")
"""What is opened, after asking; all else is only shown."""
_HOST_LIKE = r"(?:[\w-]+\.)+[^\W\d_]{2,}|\d{1,3}(?:\.\d{1,3}){3}"
_MAIL = "mailto:"
_REST = (
    '[^\\s<>"`\\\\^{}|\u00ab\u00bb\u2018-\u201f\u3000-\u303f\uff00-\uff20\uff3b-\uff40\uff5b-\uff65\ufffd]+'
)
_ENDS = ".,;:!?*_~'"
_PAIRS = {")": "(", "]": "["}


def rest_of_address(text: str) -> str:
    """Return what of a text that follows `://` belongs to the address; empty where there is none."""
    found = re.match(_REST, text)
    rest = _trimmed(found[0]) if found else ""
    return rest if rest[:1].isalnum() or rest.startswith("[") else ""


def _trimmed(text: str) -> str:
    """Return an address without stops, marks and unpaired brackets at its end."""
    end = len(text)
    excess = {closing: text.count(closing) - text.count(opening) for closing, opening in _PAIRS.items()}
    while end and (text[end - 1] in _ENDS or excess.get(text[end - 1], 0) > 0):
        end -= 1
        if text[end] in excess:
            excess[text[end]] -= 1
    return text[:end]


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
    words = _as_a_browser_reads(words)
    if "://" in words:
        return host_of(words) == host
    return all(_names(found[0].lower(), host) for found in re.finditer(_HOST_LIKE, words))


def _as_a_browser_reads(words: str) -> str:
    """Return words with the letters and dots that a browser takes for plain ones, without unseen ones."""
    if words.isascii():
        return words
    plain = unicodedata.normalize("NFKC", words).replace("\u3002", ".")
    return "".join(char for char in plain if unicodedata.category(char) != "Cf")


def _names(found: str, host: str) -> bool:
    return host in (found, f"www.{found}") or found == f"www.{host}"


def page_host(address: str) -> str:
    """Return the host of a page as the network knows it: letters that look like others do not hide in it."""
    host = host_of(address)
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host
