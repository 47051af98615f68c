"""Addresses: where they end in a text, their host, and whether they may be opened."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

OPENABLE = ("http://", "https://")  # after a question
_MAIL = "mailto:"
# a name with dots that ends with letters, or four numbers
_HOST_LIKE = r"(?:[\w-]+\.)+[^\W\d_]{2,}|\d{1,3}(?:\.\d{1,3}){3}"
_MOST_WORDS = 300  # of the words of a link; searching longer ones for hosts is slow
_MOST_BRACKETS = 20  # that are removed from the end of an address
# no blanks, quotes, or signs of East Asian sentences
_ADDRESS_CHARS = (
    '[^\\s<>"`\\\\^{}|\u00ab\u00bb\u2018-\u201f\u3000-\u303f'
    "\uff00-\uff20\uff3b-\uff40\uff5b-\uff65\ufffd]+"
)
_SENTENCE_SIGNS = ".,;:!?*_~'\u2026"
_REFERENCE_END = r"&[A-Za-z0-9]+;$"  # such as `&copy;`, a sign behind an address
_WWW_HOST = r"www\.([\w-]+(?:\.[\w-]+)+)"
_OPENING = {")": "(", "]": "["}  # by the closing one


def rest_of_address(text: str) -> str:
    """Return what follows `://` in an address; "" if it does not start as a host does.

    Stops, quotes and unpaired brackets at its end belong to the sentence around it.
    """
    match = re.match(_ADDRESS_CHARS, text)
    address = re.sub(_REFERENCE_END, "", match[0]) if match else ""
    for _ in range(_MOST_BRACKETS):  # each time, all brackets of the address are counted
        address = address.rstrip(_SENTENCE_SIGNS)
        last = address[-1:]
        if last not in _OPENING or address.count(last) <= address.count(_OPENING[last]):
            break
        address = address[:-1]
    starts_with_host = address[:1].isalnum() or address.startswith("[")  # `[` of IPv6
    return address if starts_with_host else ""


def rest_of_www(text: str) -> str:
    """Return the address at the beginning of a text that starts with `www.`, or "".

    A host has a dot behind `www.`, and no underscore in its last two parts (GFM 6.9).
    """
    host = re.match(_WWW_HOST, text)
    if host is None or any("_" in part for part in host[1].rsplit(".", 2)[-2:]):
        return ""
    rest = rest_of_address(text.removeprefix("www."))
    return f"www.{rest}" if rest else ""


def can_be_opened(address: str) -> bool:
    return address.lower().startswith(OPENABLE) and bool(host_of(address))


def host_of(address: str) -> str:
    try:
        # `example.com.` is the full form of a name
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:  # as `http://[`
        return ""


def is_honest_link(address: str, text: str) -> bool:
    """Whether the words do not mislead about where the link leads.

    Each host that they name must be that of the address; `click here` names none.
    """
    if text in (address, address.removeprefix(_MAIL)):
        return True
    if not can_be_opened(address) or len(text) > _MOST_WORDS:
        return False
    host = host_of(address)
    # characters of the category Cf are invisible, as U+200B
    plain = unicodedata.normalize("NFKC", text).replace("\u3002", ".")  # as a browser reads it
    visible = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    if "://" in visible:  # the words are another address
        return host_of(visible) == host
    named_hosts = [match[0].lower() for match in re.finditer(_HOST_LIKE, visible)]
    target_host = host.removeprefix("www.")
    return all(named_host.removeprefix("www.") == target_host for named_host in named_hosts)


def ascii_host(address: str) -> str:
    """Return the host in ASCII, as browsers look it up (UTS 46), or as it is if none accepts it.

    The user sees it before opening the page: a letter of another alphabet may look like a Latin
    one.
    """
    host = host_of(address)
    if host.isascii():
        return host

    import idna

    try:
        # looser than `idna.encode`, as browsers are: signs such as “☃” may be in a host
        labels = idna.uts46_remap(host, std3_rules=False).split(".")
    except idna.IDNAError:
        return host
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels
    )
