"""The one filter for every string from outside, before screen, title, clipboard, export or log."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SUBSTITUTE = "\ufffd"
_JOINERS = "\u200c\u200d"
_KEYCAPS = "0123456789#*"
_SHAPING = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def _table() -> dict[int, str]:
    """Map every code point that must not reach a terminal to what is shown in its place."""
    pictures = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)}
    pictures[0x7F] = "\u2421"
    codes: list[int] = [*range(0x80, 0xA0)]  # C1: one byte can be a whole control sequence
    codes += [0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0]
    codes += [*range(0x180B, 0x1810), *range(0x13430, 0x13440), *range(0x1BCA0, 0x1BCA4)]
    codes += [0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x2070)]  # bidi and invisible
    codes += [
        *range(0xFFF0, 0xFFFC),
        *range(0xFDD0, 0xFDF0),  # no characters; YAML refuses a file that holds one of the next
        *(plane | last for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)),
        *range(0x1D173, 0x1D17B),
        *range(0xE0000, 0xE0100),
        *range(0xE01F0, 0xE1000),
    ]
    codes += [*range(0xD800, 0xE000)]  # lone surrogates cannot be written at all
    return pictures | dict.fromkeys(codes, _SUBSTITUTE)


_TABLE = _table()


def safe_text(text: str) -> str:
    """Return text that no terminal takes for a command: controls become visible, CRLF becomes LF.

    Newline and tab stay. A joiner (ZWJ, ZWNJ) stays between two visible characters, where it shapes a
    grapheme cluster, and becomes a substitute elsewhere; so does a variation selector that selects nothing,
    since a row of them can hide any message.
    """
    if text.isascii() and text.isprintable():
        return text
    return _SHAPING.sub(_shaped, text.replace("\r\n", "\n").translate(_TABLE))


def safe_line(text: str, *, limit: int | None = None) -> str:
    """Return safe text on one line, for titles, names and errors; longer than `limit`, it ends in `…`."""
    line = " ".join(safe_text(text).replace("\t", " ").split("\n")).strip()
    if limit is not None and len(line) > limit:
        return line[: max(limit - 1, 0)].rstrip() + "…"
    return line


def safe_pieces(text: str, *, size: int = 65_536) -> Iterator[str]:
    """Yield the safe text in pieces, for a text so long that filtering it at once would hold up all else."""
    begin = 0
    while begin < len(text):
        end = begin + size
        while end < len(text) and not _is_apart(text[end - 1], text[end]):
            end += 1
        yield safe_text(text[begin:end])
        begin = end


def _is_apart(before: str, after: str) -> bool:
    """Whether what becomes of a character does not depend on its neighbour."""
    return before != "\r" and not _SHAPING.match(before) and not _SHAPING.match(after)


def _shaped(found: re.Match[str]) -> str:
    text, (start, end) = found.string, found.span()
    char, before, after = found[0], text[max(start - 1, 0) : start], text[end : end + 1]
    if char in _JOINERS:
        return char if _is_joinable(before) and _is_joinable(after) else _SUBSTITUTE
    is_base = before in _KEYCAPS if before.isascii() else _is_joinable(before) and not _SHAPING.match(before)
    return char if before and is_base else _SUBSTITUTE


def _is_joinable(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char)[0] in "LMS"
