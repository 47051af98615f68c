"""Links and half-written text: where addresses end and lead, and what a last line lacks."""

from __future__ import annotations

import re
import unicodedata

from lmchat.tui.widgets.chat_log.blocks import MOST_COLUMNS

OPENABLE = ("http://", "https://")
"""Schemes of addresses that are opened, after a question; others are only shown."""
_HOST_LIKE = r"(?:[\w-]+\.)+[^\W\d_]{2,}|\d{1,3}(?:\.\d{1,3}){3}"
_MOST_ENDS = 200  # runs of brackets and stops that are taken from the end of an address
_MOST_WORDS = 300  # characters; looking for hosts in longer words takes too long
_MAIL = "mailto:"
_REST = '[^\\s<>"`\\\\^{}|\u00ab\u00bb\u2018-\u201f\u3000-\u303f\uff00-\uff20\uff3b-\uff40\uff5b-\uff65\ufffd]+'
_ENDS = ".,;:!?*_~'"
_PAIRS = {")": "(", "]": "["}


def rest_of_address(text: str) -> str:
    """Return the address behind `://`, without stops, marks and unpaired brackets at its end."""
    found = re.match(_REST, text)
    rest = found[0] if found else ""
    for _ in range(_MOST_ENDS):
        rest = rest.rstrip(_ENDS)
        last = rest[-1:]
        lonely = rest.count(last) - rest.count(_PAIRS.get(last, last))
        if not last or lonely <= 0:
            break
        at_end = len(rest) - len(rest.rstrip(last))
        rest = rest[: -min(lonely, at_end)]
    return rest if rest[:1].isalnum() or rest.startswith("[") else ""


def can_be_opened(address: str) -> bool:
    """Whether an address is one of a page on the web."""
    return address.lower().startswith(OPENABLE) and bool(host_of(address))


def host_of(address: str) -> str:
    """Return the host that an address names; empty where it names none."""
    from urllib.parse import urlsplit

    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_told_by(address: str, words: str) -> bool:
    """Whether words do not mislead: those like an address must name the host of the link."""
    if words in (address, address.removeprefix(_MAIL)):
        return True
    if not can_be_opened(address) or len(words) > _MOST_WORDS:
        return False
    host = host_of(address)
    plain = unicodedata.normalize("NFKC", words).replace("\u3002", ".")  # as a browser reads it
    words = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    if "://" in words:
        return host_of(words) == host
    named = {found[0].lower().removeprefix("www.") for found in re.finditer(_HOST_LIKE, words)}
    return named <= {host.removeprefix("www.")}


def page_host(address: str) -> str:
    """Return the host of a page in the letters of the network (IDNA)."""
    host = host_of(address)
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


BRACKETS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}  # start and end of mathematics
_MOST_CHARS = 2_000
_DOLLARS = re.compile(r"\$(?![\s$])[^$`\n]{1,300}(?<![\s\\])\$(?![A-Za-z0-9_])")


def end_of_math(source: str, start: int, stop: int | None = None) -> int:
    """Return the place behind mathematics that begin at another, before `stop`; 0 where none do."""
    end = BRACKETS.get(source[start : start + 2])
    if end is not None:
        most = min(start + _MOST_CHARS, len(source) if stop is None else stop)
        place = source.find(end, start + 3, most)
        is_link = end == "\\]" and source.startswith("(", place + 2)
        return 0 if place < 0 or is_link else place + 2
    is_apart = not (start and source[start - 1].isalnum())
    found = _DOLLARS.match(source, start) if is_apart else None
    return found.end() if found and "](" not in found[0] else 0


_ONLY_MARKS = r" {0,3}(?![-*+] )(?:[-=_*]+[-=_* ]*|[`~]{1,2}|#{1,6} *|\+ *)$"
"""A line that may become a rule, a heading, an item, a fence: it is shown once that is known."""
_BEGIN = r"(?:[ \t>]|[-+*][ \t]|\d{1,9}[.)][ \t])*(?:\[[ xX]\][ \t])?(?:#{1,6} )?"
_HALF_LINK = r"!?\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\](\(.*)$"
_HALF_TARGET = (
    r"\([ \t]*(?:<[^<>]*>?|(?!<)(?:[^\s()]|\([^\s()]*(?:\)|$))*)"
    r"(?:[ \t]+(?:\"[^\"]{0,300}\"?|'[^']{0,300}'?|\([^()]{0,300}\)?)?[ \t]*)?$"
)
"""An address that has no end yet, and its title: of other words in brackets none is hidden."""
_DASHES = r"[|:\- \t]*$"
_END_OF_CODE = r"[ >]*(?:`+|~+)$"
_SIGN = r"\\.|https?://\S+|`+|\*+|_+|~+|!?\[|\$\$?"
_HALF_ESCAPE = r"(?<!\\)((?:\\\\)*)\\$"
"""A backslash at the end: it would be taken for one before the marks that are added."""
_PUNCTUATION = r"([!-/:-@\[-`{-~])"
_FAR = 300  # marks that have not ended after this many characters are shown as source


def as_it_will_look(source: str, *, is_table: bool = False) -> str:
    """Return the text of an open block, or with `is_table` of more rows of one, with what its end lacks."""
    before, end, last = source.rpartition("\n")
    if re.match(_ONLY_MARKS, last):
        return before
    if is_table or _is_row(last) or (not last and _is_row(before.rpartition("\n")[2])):
        return before + end + _row(before, last, is_inner=is_table)
    start = re.match(_BEGIN, last)
    size = start.end() if start else 0
    return before + end + last[:size] + _line(last[size:])


def without_end_of_code(source: str) -> str:
    """Return the text of open code without what may become the end of its fence."""
    before, _, last = source.rpartition("\n")
    return before if re.match(_END_OF_CODE, last) else source


def _is_row(line: str) -> bool:
    return line.lstrip(" ").startswith("|")


def _row(before: str, last: str, *, is_inner: bool) -> str:
    first, _, above = before.rpartition("\n")
    if max(last.count("|"), above.count("|")) > MOST_COLUMNS:
        return last
    is_head = not (is_inner or _is_row(above))
    if not (is_inner or is_head or _is_row(first.rpartition("\n")[2])):
        return _dashes(above, _cells(last), len(_cells(above))) if re.match(_DASHES, last) else last
    cells_before, bar, cell = last.rpartition("|")
    last = cells_before + bar + _line(cell)
    if not is_head:
        return last
    cells = _cells(last)
    return f"{last.rstrip(' |')}|\n{_dashes(last, cells, len(cells))}" if any(cells) else ""


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _dashes(head: str, given: list[str], count: int) -> str:
    marks = [mark if "-" in mark else "---" for mark in [*given, *["---"] * count][:count]]
    return " " * (len(head) - len(head.lstrip(" "))) + "|" + "|".join(marks) + "|"


def _line(text: str) -> str:
    """Return a line in which code, links and emphasis that have begun also end."""
    opened: list[tuple[str, int]] = []
    place = 0
    text = re.sub(_HALF_ESCAPE, r"\1", text)
    while sign := re.search(_SIGN, text[place:]):
        start, mark = place + sign.start(), sign[0]
        place += sign.end()
        if mark[0] == "`":
            end = re.search(rf"(?<!`){mark}(?!`)", text[place:])
            if end is None and len(text) - start <= _FAR:
                code = text[place:].rstrip("`")
                text = text[:start] + (mark + code + mark if code.strip() else "")
            if end is None:
                break
            place += end.end()
        elif mark[0] == "$" or mark in BRACKETS:
            text, place = _with_math(text, start, mark)
        elif mark[-1] == "[" and (words := _half_link(text[start:])) is not None:
            text = text[:start] + words  # it becomes a link when its address is whole
            break
        elif mark[0] in "*_~" and not _is_noted(opened, text, start, mark) and place == len(text):
            text = text[:start]  # half a mark, or one whose words are to come
    for mark, start in reversed(opened):
        if len(text) - start <= _FAR and text[start + len(mark) :].strip():
            text = text.rstrip() + mark
    return text


def _half_link(text: str) -> str | None:
    """Return the words of a half-written link; None where it is likely none."""
    link = re.match(_HALF_LINK, text)
    return link[1] if link and re.match(_HALF_TARGET, link[2]) else None


def _with_math(text: str, start: int, mark: str) -> tuple[str, int]:
    """Return text in which open mathematics keep their icons, and where to go on.

    A lone `$` may be one of money: then only its backslashes are kept, and marks are marks.
    """
    end = end_of_math(text, start)
    rest = text[start:]
    if end or len(rest) > _FAR:
        return text, end or start + len(mark)
    if mark != "$":
        return text[:start] + re.sub(_PUNCTUATION, r"\\\1", rest), len(text) + len(rest)
    if not text[start - 1 : start].isalnum() and "$" not in rest[1:]:
        text = text[:start] + re.sub(r"\\" + _PUNCTUATION, r"\\\\\\\1", rest)
    return text, start + 1


def _is_noted(opened: list[tuple[str, int]], text: str, start: int, mark: str) -> bool:
    """Note emphasis that begins and forget what ends; return False for other marks."""
    before, after = text[start - 1 : start], text[start + len(mark) : start + len(mark) + 1]
    if before.strip() and mark in [one for one, _ in opened]:
        while opened.pop()[0] != mark:
            pass
        return True
    is_inner = before.isalnum() and (mark[0] == "_" or after.isalnum())
    if not after.strip() or is_inner or mark == "~":
        return False
    opened.append((mark, start))
    return True
