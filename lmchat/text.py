"""Text functions: control character filter, folding, fuzzy matching, graphemes and code fences.

Every outside string is filtered before the screen, a title, the clipboard, an export or a log.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, NewType

GAP = "\u00a0"  # gap between a figure and its unit
NO_HEADER_VALUE = "has control characters or letters beyond ASCII"
_SHORTEST_SECRET = 3  # cutting shorter ones out of a text would leave nothing of it
_SUBSTITUTE = "\ufffd"
_JOINERS = "\u200c\u200d"
_KEYCAPS = "0123456789#*"
_SHAPING = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
del _PICTURES[ord("\t")], _PICTURES[ord("\n")]
_NO_CHARACTERS = [chr(end) for end in range(0xFFFE, 0x110000, 0x10000)]  # U+FFFE of each plane
_NO_CHARACTERS += [chr(end) for end in range(0xFFFF, 0x110000, 0x10000)]
# code points that must not reach a terminal; a table would take 0.5 MB and five times as long
_HOSTILE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f"
    "\x80-\x9f"  # C1: one byte can be a whole control sequence
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u3164\ufeff\uffa0"
    "\u180b-\u180f\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # bidi and invisible
    "\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    f"\ufdd0-\ufdef{''.join(_NO_CHARACTERS)}"  # YAML refuses a file that holds one of them
    "\ud800-\udfff"  # lone surrogates cannot be written at all
    "]"
)

_FENCE = re.compile(r"(?P<indent> {0,3})(?P<marks>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)$")
_CODE_INDENT = 4  # blanks from which on a line is code, not the end of a fence
_SPACING = "\u0e33\u0eb3"  # letters by category that are drawn as marks on the previous letter
_HIDING = ("\u200d", "\ufe0f")
_FLAG_LETTERS = ("\U0001f1e6", "\U0001f1ff")  # the first and the last

# combining marks of alphabets; in other scripts they distinguish letters
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_MARK_LETTERS = "\uff9e\uff9f"  # become marks by normalization
# possible runs of marks: Python sorts them in quadratic time
_MOST_MARKS = 64
_MARK_RUN = re.compile(rf"[\W{_MARK_LETTERS}]{{{_MOST_MARKS + 1},}}")
# longer than the number of any character; Python refuses to read one of thousands of digits
_LONG_REFERENCE = re.compile("&(?=#(?:[0-9]{8}|[xX][0-9a-fA-F]{7}))")
_SIMILARITY = 0.65  # of a word that is offered for a misspelt one

SafeText = NewType("SafeText", str)  # text that has passed the filter of `safe_text`


def safe_text(text: str) -> SafeText:
    """Return text without terminal commands: controls become visible, CRLF becomes LF.

    Newline and tab stay. A joiner (ZWJ, ZWNJ) stays between two visible characters, where it
    shapes a grapheme. Elsewhere it is replaced, and so is a useless variation selector: a row of
    them can hide any message.
    """
    if text.isascii() and text.isprintable():
        return SafeText(text)
    text = text.replace("\r\n", "\n")
    if text.isascii():
        return SafeText(text.translate(_PICTURES))
    visible = _HOSTILE.sub(lambda found: _PICTURES.get(ord(found[0]), _SUBSTITUTE), text)
    return SafeText(_SHAPING.sub(_shaped, visible))


def on_one_line(text: str) -> SafeText:
    """Return safe text with blanks for line breaks and tabs; blanks around it stay."""
    return SafeText(safe_text(text).replace("\n", " ").replace("\t", " "))


def safe_line(text: str, *, limit: int | None = None) -> SafeText:
    """Return safe text on one line, for titles, names and errors; cut to `limit` with `…`."""
    line = on_one_line(text).strip()
    if limit is not None and len(line) > limit:
        line = line[: max(limit - 1, 0)].rstrip() + "…"
    return SafeText(line)


def shell_word(name: str) -> str:
    """Return a name from outside as one word of a command that a person may paste into a shell."""
    import shlex  # noqa: PLC0415 - few messages hold a command

    return shlex.quote(safe_line(name))


def header_value(text: str) -> str:
    """Return text as the value of an HTTP header, without blanks and line ends around it.

    Raises `ValueError` for control characters and letters beyond ASCII, without quoting the text.
    """
    value = text.strip()
    if not (value.isascii() and (value.isprintable() or not value)):
        raise ValueError(NO_HEADER_VALUE)
    return value


def without_secret(words: str, secret: str) -> str:
    """Cut a key or header value out of a text, plain or as an address writes it."""
    from urllib.parse import quote  # noqa: PLC0415 - a start without an error does not need it

    secret = secret.strip()
    if len(secret) < _SHORTEST_SECRET:
        return words
    return words.replace(secret, "…").replace(quote(secret, safe=""), "…")


def _shaped(found: re.Match[str]) -> str:
    """Return a shaping character where it shapes something, else the substitute."""
    char = found[0]
    start, end = found.span()
    before = found.string[max(start - 1, 0) : start]
    after = found.string[end : end + 1]
    is_useful = _joins(before, after) if char in _JOINERS else _takes_variant(before)
    return char if is_useful else _SUBSTITUTE


def _joins(before: str, after: str) -> bool:
    """Return whether a joiner has an effect, as between the parts of an emoji."""
    return _is_joinable(before) and _is_joinable(after)


def _takes_variant(before: str) -> bool:
    """Return whether a variation selector has an effect, as behind `1` (a keycap) or ❤."""
    if before == "":
        return False
    if before.isascii():
        return before in _KEYCAPS
    return _is_joinable(before) and not _SHAPING.match(before)


def _is_joinable(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char)[0] in "LMS"


def decoded_text(data: bytes) -> str:
    """Decode UTF-8, or Windows-1252 if only ASCII is UTF-8; stray bytes become U+FFFD."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        is_western = text.replace(_SUBSTITUTE, "").isascii()
        return data.decode("cp1252", "replace") if is_western else text


def plural(count: int, unit: str) -> str:
    """Return a number with its unit: `2 chats`."""
    return f"{count} {unit}{'' if count == 1 else 's'}"


def size_text(value_bytes: int | None, *, is_exact: bool = False) -> str:
    """Return `4.7 GB`, in powers of 1000; blank where unknown. With `is_exact`, also `2.1 kB`."""
    if value_bytes is None:
        return ""
    value = float(value_bytes)
    units = ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:  # noqa: PLR2004 - rounds to 1000
        value /= 1000
        del units[0]
    unit = units[0]
    has_decimal = is_exact and value < 9.95  # noqa: PLR2004 - rounds to 10.0
    is_whole = unit == "B" or (unit in ("kB", "MB") and not has_decimal)
    return f"{value:.0f}{GAP}{unit}" if is_whole else f"{value:.1f}{GAP}{unit}"


class Fence(NamedTuple):
    """Opening line of a fenced code block (CommonMark 4.5)."""

    indent: str  # up to three blanks
    marks: str  # three or more backticks or tildes
    info: str  # its first word is usually the language

    def is_closed_by(self, line: str) -> bool:
        marks = line.rstrip(" \t").lstrip(" ")
        depth = len(line) - len(line.lstrip(" "))
        if depth >= _CODE_INDENT:
            return False
        return len(marks) >= len(self.marks) and not marks.strip(self.marks[0])


def opening_fence(line: str) -> Fence | None:
    """Return the code fence that a line opens, if any."""
    match = _FENCE.match(line.rstrip("\n"))
    if match is None:
        return None
    return Fence(match["indent"], match["marks"], match["info"].strip())


def unclosed_fence(text: str) -> Fence | None:
    """Return the code fence that a text does not close."""
    fence: Fence | None = None
    for line in text.split("\n"):
        if fence is None:
            fence = opening_fence(line)
        elif fence.is_closed_by(line):
            fence = None
    return fence


def graphemes(text: str) -> Iterator[tuple[int, int]]:
    """Yield the first character and the cells of each grapheme; flags and marks stay together."""
    from rich.cells import split_graphemes  # noqa: PLC0415 - commands start without rich

    spans, _ = split_graphemes(text)
    begin = 0
    cells = 0
    is_half_flag = False
    for start, _end, size in spans:
        is_flag = _FLAG_LETTERS[0] <= text[start] <= _FLAG_LETTERS[1]
        is_mark = text[start] in _SPACING or unicodedata.category(text[start])[0] == "M"
        continues_flag = is_flag and is_half_flag
        if start and not is_mark and not continues_flag:
            yield begin, cells
            begin = start
            cells = 0
        cells += size
        is_half_flag = is_flag and not is_half_flag
    if text:
        yield begin, cells


def fold(text: str) -> str:
    """Return text without accents and capitals, for comparing."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", normalized("NFKD", text)).lower()


def normalized(form: Literal["NFC", "NFKD"], text: str) -> str:
    """Return a normal form of text, in linear time: too many marks are sorted a few at a time."""
    if not any(
        map(_is_mark, text[::_MOST_MARKS])
    ):  # each run that is too long holds one of these places
        return unicodedata.normalize(form, text)
    cuts = [0]
    for run in _MARK_RUN.finditer(text):
        cuts += range(run.start() + _MOST_MARKS, run.end(), _MOST_MARKS)
    cuts.append(len(text))
    return "".join(unicodedata.normalize(form, text[start:end]) for start, end in pairwise(cuts))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M") or char in _MARK_LETTERS


def unescaped(text: str) -> str:
    """Return text with the characters that HTML references name; those that name none stay."""
    from html import unescape  # noqa: PLC0415 - not before the first paint

    return unescape(_LONG_REFERENCE.sub("&amp;", text))


class FuzzyMatch(NamedTuple):
    """Score of a fuzzy match."""

    score: float
    offsets: tuple[int, ...]  # positions of the typed characters in the name


def fuzzy_match(typed: str, name: str) -> FuzzyMatch | None:
    """Find the typed letters in order; adjacent letters and starts of words score best."""
    query = _lower(typed)
    text = _lower(name)
    whole = text.find(query)
    is_whole = whole >= 0
    offsets = tuple(range(whole, whole + len(query))) if is_whole else _letters(query, text)
    if len(offsets) < len(query):
        return None
    together = sum(after == before + 1 for before, after in pairwise(offsets))
    starts = sum(at == 0 or not text[at - 1].isalnum() for at in offsets)
    place = offsets[0] / (len(text) + 1) if offsets else 0
    score = len(offsets) + together + starts - place
    if is_whole:
        score += 2 * len(query)
    return FuzzyMatch(score=score, offsets=offsets)


def _lower(text: str) -> str:
    """Return lower case of the same length, so that offsets stay valid."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text


def _letters(query: str, text: str) -> tuple[int, ...]:
    """Return where letters are found in their order, up to the first that is not."""
    offsets: list[int] = []
    start = 0
    for letter in query:
        at = text.find(letter, start)
        if at < 0:
            break
        offsets.append(at)
        start = at + 1
    return tuple(offsets)


def split_at_cell(text: str, cell: int) -> tuple[str, str]:
    """Split text at a cell; a character across the cut becomes blanks."""
    lead = _hidden(text)
    begins = [(lead + begin, size) for begin, size in graphemes(text[lead:])]
    used = 0
    for number, (begin, size) in enumerate(begins, 1):
        if used + size > cell:
            if used == cell:
                return text[:begin], text[begin:]
            end = begins[number][0] if number < len(begins) else len(text)
            return text[:begin] + " " * (cell - used), " " * (used + size - cell) + text[end:]
        used += size
    return text, ""


def _hidden(text: str) -> int:
    """Count leading characters that rich gives no cells: it hides what a joiner joins."""
    size = 0
    while text[size : size + 1] in _HIDING:
        size += 2 if text[size] == "\u200d" else 1
    return min(size, len(text))


def closest_word(word: str, words: tuple[str, ...]) -> str:
    """Return the most similar word, or ""."""
    import difflib  # noqa: PLC0415 - needed for a misspelt word only

    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=_SIMILARITY)), "")
