"""Links and half-written text: where addresses end and lead, and what a last line lacks."""

from __future__ import annotations

import re
import unicodedata

from msgspec import Struct

from lmchat.tui.widgets.chat_log.blocks import MOST_COLUMNS

OPENABLE = ("http://", "https://")  # schemes that are opened, after a question
_MAIL = "mailto:"
_HOST_LIKE = r"(?:[\w-]+\.)+[^\W\d_]{2,}|\d{1,3}(?:\.\d{1,3}){3}"
_MOST_WORDS = 300  # characters of the words of a link; searching longer ones for hosts is slow
_MOST_ENDS = 200  # runs of brackets and stops that are taken from the end of an address
_REST = (
    '[^\\s<>"`\\\\^{}|\u00ab\u00bb\u2018-\u201f\u3000-\u303f'
    "\uff00-\uff20\uff3b-\uff40\uff5b-\uff65\ufffd]+"
)
_ENDS = ".,;:!?*_~'"
_PAIRS = {")": "(", "]": "["}


def rest_of_address(text: str) -> str:
    """Return the address behind `://`, without stops, marks and unpaired brackets at its end."""
    found = re.match(_REST, text)
    rest = found[0] if found else ""
    for _ in range(_MOST_ENDS):
        rest = rest.rstrip(_ENDS)
        last = rest[-1:]
        unpaired = rest.count(last) - rest.count(_PAIRS.get(last, last))
        if not last or unpaired <= 0:
            break
        at_end = len(rest) - len(rest.rstrip(last))
        rest = rest[: -min(unpaired, at_end)]
    begins_well = rest[:1].isalnum() or rest.startswith("[")
    return rest if begins_well else ""


def can_be_opened(address: str) -> bool:
    """Whether an address is that of a page on the web."""
    return address.lower().startswith(OPENABLE) and bool(host_of(address))


def host_of(address: str) -> str:
    """Return the host that an address names, or an empty text."""
    from urllib.parse import urlsplit

    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:  # as `http://[`
        return ""


def names_target(address: str, words: str) -> bool:
    """Whether the words of a link do not mislead: hosts in them must be that of its address."""
    if words in (address, address.removeprefix(_MAIL)):
        return True
    if not can_be_opened(address) or len(words) > _MOST_WORDS:
        return False
    host = host_of(address)
    plain = unicodedata.normalize("NFKC", words).replace("\u3002", ".")  # as a browser reads it
    visible = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    if "://" in visible:
        return host_of(visible) == host
    named = {found[0].lower().removeprefix("www.") for found in re.finditer(_HOST_LIKE, visible)}
    return named <= {host.removeprefix("www.")}


def page_host(address: str) -> str:
    """Return the host of a page in the letters of the network (IDNA)."""
    host = host_of(address)
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:  # a label that is too long, or has characters that no host may have
        return host


BRACKETS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}  # start and end of mathematics
_MOST_CHARS = 2_000  # of mathematics
_DOLLARS = r"\$(?![\s$])[^$`\n]{1,300}(?<![\s\\])\$(?![A-Za-z0-9_])"


def end_of_math(source: str, start: int, stop: int | None = None) -> int:
    """Return the end of the mathematics that begin at a place, up to `stop`; 0 for other text."""
    end = BRACKETS.get(source[start : start + 2])
    if end is not None:
        most = min(start + _MOST_CHARS, len(source) if stop is None else stop)
        place = source.find(end, start + 3, most)
        is_link = end == "\\]" and source.startswith("(", place + 2)
        return 0 if place < 0 or is_link else place + 2
    if start and source[start - 1].isalnum():
        return 0
    found = re.compile(_DOLLARS).match(source, start)
    return found.end() if found and "](" not in found[0] else 0


# a line that may become a rule, a heading, an item, a fence: it is shown once that is known
_ONLY_MARKS = r" {0,3}(?![-*+] )(?:[-=_*]+[-=_* ]*|[`~]{1,2}|#{1,6} *|\+ *)$"
_BEGIN = r"(?:[ \t>]|[-+*][ \t]|\d{1,9}[.)][ \t])*(?:\[[ xX]\][ \t])?(?:#{1,6} )?"
_HALF_LINK = r"!?\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\](\(.*)$"
# an address without an end, and its title: other words in brackets are not hidden
_HALF_TARGET = (
    r"\([ \t]*(?:<[^<>]*>?|(?!<)(?:[^\s()]|\([^\s()]*(?:\)|$))*)"
    r"(?:[ \t]+(?:\"[^\"]{0,300}\"?|'[^']{0,300}'?|\([^()]{0,300}\)?)?[ \t]*)?$"
)
_DASHES = r"[|:\- \t]*$"
_END_OF_CODE = r"[ >]*(?:`+|~+)$"
_SIGN = r"\\.|https?://\S+|`+|\*+|_+|~+|!?\[|\$\$?"
# a backslash at the end: it would be taken for one before the marks that are added
_HALF_ESCAPE = r"(?<!\\)((?:\\\\)*)\\$"
_PUNCTUATION = r"([!-/:-@\[-`{-~])"
_FAR = 300  # marks that have not ended after this many characters are shown as source


def completed(source: str, *, is_table: bool = False) -> str:
    """Return the source of an open block with the marks that its end lacks.

    With `is_table`, it is that of more rows of a table.
    """
    before, end, last = source.rpartition("\n")
    if re.match(_ONLY_MARKS, last):
        return before
    is_row = _is_row(last) or (not last and _is_row(before.rpartition("\n")[2]))
    if is_table or is_row:
        return before + end + _row(before, last, is_inner=is_table)
    start = re.match(_BEGIN, last)
    size = start.end() if start else 0
    return before + end + last[:size] + _line(last[size:])


def without_end_of_code(source: str) -> str:
    """Return the source of open code without what may become the end of its fence."""
    before, _, last = source.rpartition("\n")
    return before if re.match(_END_OF_CODE, last) else source


def _is_row(line: str) -> bool:
    return line.lstrip(" ").startswith("|")


def _row(before: str, last: str, *, is_inner: bool) -> str:
    """Return the last line of a table as a whole row, or as the line of dashes below its head."""
    first, _, above = before.rpartition("\n")
    if max(last.count("|"), above.count("|")) > MOST_COLUMNS:
        return last
    is_head = not is_inner and not _is_row(above)
    is_below_head = not is_inner and not is_head and not _is_row(first.rpartition("\n")[2])
    if is_below_head:
        if not re.match(_DASHES, last):
            return last
        return _dashes(above, _cells(last), len(_cells(above)))

    cells_before, bar, cell = last.rpartition("|")
    row = cells_before + bar + _line(cell)
    if not is_head:
        return row
    cells = _cells(row)
    return f"{row.rstrip(' |')}|\n{_dashes(row, cells, len(cells))}" if any(cells) else ""


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _dashes(head: str, given: list[str], count: int) -> str:
    """Return the line of dashes below a head, with the alignments that were given so far."""
    marks = [*given, *["---"] * count][:count]
    indent = " " * (len(head) - len(head.lstrip(" ")))
    return indent + "|" + "|".join(mark if "-" in mark else "---" for mark in marks) + "|"


class OpenMark(Struct, frozen=True):
    """A mark of emphasis that has begun."""

    mark: str
    start: int


def _line(text: str) -> str:
    """Return a line in which code, links and emphasis that have begun also end."""
    opened: list[OpenMark] = []
    place = 0
    text = re.sub(_HALF_ESCAPE, r"\1", text)
    while sign := re.search(_SIGN, text[place:]):
        mark = sign[0]
        start = place + sign.start()
        place += sign.end()
        if mark[0] == "`":
            end = re.search(rf"(?<!`){mark}(?!`)", text[place:])
            if end is None:
                text = _with_code(text, start, mark)
                break
            place += end.end()
        elif mark[0] == "$" or mark in BRACKETS:
            text, place = _with_math(text, start, mark)
        elif mark[-1] == "[":
            words = _half_link(text[start:])
            if words is not None:
                text = text[:start] + words  # it becomes a link when its address is whole
                break
        elif mark[0] in "*_~":
            is_noted = _is_noted(opened, text, start, mark)
            if not is_noted and place == len(text):
                text = text[:start]  # half a mark, or one whose words are to come
    for begun in reversed(opened):
        content_start = begun.start + len(begun.mark)
        if len(text) - begun.start <= _FAR and text[content_start:].strip():
            text = text.rstrip() + begun.mark
    return text


def _with_code(text: str, start: int, mark: str) -> str:
    """Return text in which the code that begins at a place also ends."""
    if len(text) - start > _FAR:
        return text
    code = text[start + len(mark) :].rstrip("`")
    return text[:start] + (mark + code + mark if code.strip() else "")


def _half_link(text: str) -> str | None:
    """Return the words of a half-written link; None for other text."""
    link = re.match(_HALF_LINK, text)
    return link[1] if link and re.match(_HALF_TARGET, link[2]) else None


def _with_math(text: str, start: int, mark: str) -> tuple[str, int]:
    """Return text in which open mathematics keep their signs, and where to continue.

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


def _is_noted(opened: list[OpenMark], text: str, start: int, mark: str) -> bool:
    """Note emphasis that begins and forget what ends; return False for other marks."""
    before = text[start - 1 : start]
    after = text[start + len(mark) : start + len(mark) + 1]
    if before.strip() and any(begun.mark == mark for begun in opened):
        while opened.pop().mark != mark:
            pass
        return True
    is_inner = before.isalnum() and (mark[0] == "_" or after.isalnum())
    if not after.strip() or is_inner or mark == "~":
        return False
    opened.append(OpenMark(mark, start))
    return True
