"""Text functions: control character filter, folding, fuzzy matching, graphemes and code fences.

Every outside string is filtered before the screen, a title, the clipboard, an export or a log.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NewType

from msgspec import Struct

GAP = "\u00a0"  # gap between a figure and its unit
NO_HEADER_VALUE = "has control characters or letters beyond ASCII"
_SHORTEST_SECRET = 3  # cutting shorter ones out of a text would leave nothing of it
_SUBSTITUTE = "\ufffd"  # shown in place of a character that is not safe
_JOINERS = "\u200c\u200d"  # ZWNJ and ZWJ
_KEYCAPS = "0123456789#*"  # with a variation selector and U+20E3 they are drawn as keys
# joiners and variation selectors: they change how the characters beside them are drawn
_SHAPING = "[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]"
# visible symbols of control characters: ␛ for Escape; newline and tab have none here
_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
del _CONTROL_PICTURES[ord("\t")], _CONTROL_PICTURES[ord("\n")]
# the last two code points of each plane: U+FFFE and U+FFFF, U+1FFFE and U+1FFFF, …
_NONCHARACTERS = [chr(end) for end in range(0xFFFE, 0x110000, 0x10000)]
_NONCHARACTERS += [chr(end) for end in range(0xFFFF, 0x110000, 0x10000)]
# code points that must not reach a terminal; a table would take 0.5 MB and five times as long
_HOSTILE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f"
    "\x80-\x9f"  # C1: one byte can be a whole control sequence
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u3164\ufeff\uffa0"
    "\u180b-\u180f\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # bidi and invisible
    "\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    f"\ufdd0-\ufdef{''.join(_NONCHARACTERS)}"  # YAML refuses a file that holds one of them
    "\ud800-\udfff"  # lone surrogates cannot be written at all
    "]"
)
_NOT_PRINTABLE_ASCII = r"[^\n\t -~]"

# pattern of the opening line of a code block: "```python" or "~~~"; "``` a `b`" is inline code
_FENCE = r"(?P<indent> {0,3})(?P<marks>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)$"
_CODE_INDENT = 4  # blanks from which on a line is code, not the end of a fence
# Thai and Lao vowels: letters by their category, but drawn as marks on the previous letter
_DRAWN_AS_MARKS = "\u0e33\u0eb3"
_ZWJ = "\u200d"
_EMOJI_VARIANT = "\ufe0f"
_FIRST_FLAG_LETTER = "\U0001f1e6"  # two flag letters in a row are drawn as one flag
_LAST_FLAG_LETTER = "\U0001f1ff"

# combining marks of alphabets; in other scripts they distinguish letters
_ACCENTS = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
_MARK_LETTERS = "\uff9e\uff9f"  # become marks by normalization
_MOST_MARKS = 64  # in a row; Python sorts the marks of a run in quadratic time
# a run that may hold more marks than that: no mark is a word character of `re`
_MARK_RUN = rf"[\W{_MARK_LETTERS}]{{{_MOST_MARKS + 1},}}"
# the "&" of "&#123456789" or "&#x1234567", which are longer than the number of any character;
# Python refuses to read a number of thousands of digits
_LONG_REFERENCE = "&(?=#(?:[0-9]{8}|[xX][0-9a-fA-F]{7}))"
_SIMILARITY = 0.65  # of a word that is offered for a misspelt one

SafeText = NewType("SafeText", str)  # text that has passed the filter of `safe_text`


def safe_text(text: str) -> SafeText:
    """Return text that sends no commands to a terminal and hides nothing.

    CRLF becomes LF; newline and tab stay. Other ASCII control characters become their visible
    symbols, and other code points of `_HOSTILE` become U+FFFD. So does a joiner (ZWJ, ZWNJ) or
    variation selector without an effect on the characters beside it: a row of them can hide any
    message.
    """
    if text.isascii() and text.isprintable():  # most text, which is returned without a search
        return SafeText(text)
    text = text.replace("\r\n", "\n")
    if text.isascii():
        return SafeText(text.translate(_CONTROL_PICTURES))
    visible = _HOSTILE.sub(_picture_of, text)
    return SafeText(re.sub(_SHAPING, _shaping_or_substitute, visible))


def on_one_line(text: str) -> SafeText:
    """Return safe text with blanks for line breaks and tabs; blanks at its ends stay."""
    return SafeText(safe_text(text).replace("\n", " ").replace("\t", " "))


def safe_line(text: str, *, limit: int | None = None) -> SafeText:
    """Return safe text on one line without blanks at its ends, for titles, names and errors.

    With `limit`, a longer line is cut to at most that many characters, the last of which is `…`.
    """
    line = on_one_line(text).strip()
    if limit is not None and len(line) > limit:
        # a limit of 0 leaves `…` alone
        line = line[: max(limit - 1, 0)].rstrip() + "…"
    return SafeText(line)


def safe_json(text: str, *, is_ascii: bool = False) -> SafeText:
    """Return JSON text that is safe on a terminal and decodes to the same value.

    Characters that `safe_text` would change are escaped, and with them all joiners and selectors;
    with `is_ascii`, all characters beyond ASCII are.
    """
    if is_ascii:
        return SafeText(re.sub(_NOT_PRINTABLE_ASCII, _json_escape, text))
    if safe_text(text) == text:
        return SafeText(text)
    return SafeText(re.sub(f"{_HOSTILE.pattern}|{_SHAPING}", _json_escape, text))


def shell_word(name: str) -> str:
    """Return a name from outside as one word of a command that a person may paste into a shell."""
    import shlex  # noqa: PLC0415 - few messages hold a command

    return shlex.quote(safe_line(name))


def header_value(text: str) -> str:
    """Return text without blanks and line ends around it, as the value of an HTTP header.

    Raises `ValueError` for control characters and letters beyond ASCII. Its message does not
    quote the text, which may be an API key.
    """
    value = text.strip()
    if not (value.isascii() and value.isprintable()):
        raise ValueError(NO_HEADER_VALUE)
    return value


def without_secret(text: str, secret: str) -> str:
    """Return a text in which `…` replaces a key or header value, also in its URL-encoded form.

    A secret of fewer than `_SHORTEST_SECRET` characters is not replaced.
    """
    from urllib.parse import quote  # noqa: PLC0415 - a start without an error does not need it

    secret = secret.strip()
    if len(secret) < _SHORTEST_SECRET:
        return text
    return text.replace(secret, "…").replace(quote(secret, safe=""), "…")


def _json_escape(unsafe: re.Match[str]) -> str:
    """Return a matched character as JSON writes it in ASCII, as one or two numbers of 4 digits."""
    utf16 = unsafe[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{utf16[start : start + 4]}" for start in range(0, len(utf16), 4))


def _picture_of(hostile: re.Match[str]) -> str:
    """Return the visible symbol of a matched control character, else U+FFFD."""
    return _CONTROL_PICTURES.get(ord(hostile[0]), _SUBSTITUTE)


def _shaping_or_substitute(match: re.Match[str]) -> str:
    """Return a matched joiner or variation selector if it has an effect, else U+FFFD.

    A joiner needs a character to join on both sides; a selector acts on the character before it.
    """
    char = match[0]
    start, end = match.span()
    # empty at the beginning of the text, or at its end
    char_before = match.string[max(start - 1, 0) : start]
    char_after = match.string[end : end + 1]
    if char in _JOINERS:
        has_effect = _can_be_joined(char_before) and _can_be_joined(char_after)
    else:
        has_effect = _has_variants(char_before)
    return char if has_effect else _SUBSTITUTE


def _has_variants(char: str) -> bool:
    """Return whether a variation selector behind a character has an effect.

    It has one behind `1` (a keycap) or ❤. It has none at the start, where `char` is empty, or
    behind another joiner or selector.
    """
    if char == "":
        return False
    if char.isascii():
        return char in _KEYCAPS
    return _can_be_joined(char) and not re.match(_SHAPING, char)


def _can_be_joined(char: str) -> bool:
    """Return whether a joiner beside a character may have an effect.

    It may beside a letter, mark or symbol beyond ASCII, and not where `char` is empty.
    """
    return not char.isascii() and unicodedata.category(char)[0] in "LMS"


def decoded_text(data: bytes) -> str:
    """Return bytes as text: as UTF-8 if they are valid UTF-8, else as the likelier encoding.

    Bytes of another encoding hardly ever form a UTF-8 character beyond ASCII by chance. So bytes
    with such a character are taken for damaged UTF-8, others for Windows-1252, which is common for
    old files. Bytes that the encoding does not have become U+FFFD.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        valid_text = text.replace(_SUBSTITUTE, "")
        return data.decode("cp1252", "replace") if valid_text.isascii() else text


def plural(count: int, unit: str) -> str:
    """Return a number with its unit, a word that takes an `s`: `2 chats`, `1 chat`."""
    return f"{count} {unit}{'' if count == 1 else 's'}"


def size_text(value_bytes: int | None, *, is_exact: bool = False) -> str:
    """Return a size for a person, in powers of 1000; "" if it is None.

    B, kB and MB have no decimal, as `12 MB`; GB and TB have one, as `4.7 GB`. With `is_exact`, less
    than 10 kB or MB have a decimal too, as `2.1 kB`.
    """
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


class Fence(Struct, frozen=True):
    """Opening line of a fenced code block (CommonMark 4.5)."""

    indent: str  # up to three blanks
    marks: str  # three or more backticks or tildes
    info: str  # its first word is usually the language

    def is_closed_by(self, line: str) -> bool:
        """Return whether a line ends the block.

        It holds only marks of this kind, at least as many as the opening line, and is indented by
        less than four blanks.
        """
        indent = len(line) - len(line.lstrip(" "))
        if indent >= _CODE_INDENT:
            return False
        marks = line.rstrip(" \t").lstrip(" ")
        has_only_marks = not marks.strip(self.marks[0])
        return has_only_marks and len(marks) >= len(self.marks)


def opening_fence(line: str) -> Fence | None:
    """Return the code fence that a line opens; None if it opens none."""
    match = re.match(_FENCE, line.rstrip("\n"))
    if match is None:
        return None
    return Fence(match["indent"], match["marks"], match["info"].strip())


def unclosed_fence(text: str) -> Fence | None:
    """Return the code fence that is still open at the end of a text; None if all are closed."""
    fence: Fence | None = None
    for line in text.split("\n"):
        if fence is None:
            fence = opening_fence(line)
        elif fence.is_closed_by(line):
            fence = None
    return fence


def graphemes(text: str) -> Iterator[tuple[int, int]]:
    """Yield, for each grapheme, the index of its first character and its width in cells.

    Rich splits some graphemes into several spans: flags into two letters, and some marks from their
    letters. Here such spans are joined again. An empty text has no grapheme.
    """
    from rich.cells import split_graphemes  # noqa: PLC0415 - commands start without rich

    spans, _ = split_graphemes(text)
    begin = 0
    cells = 0
    is_half_flag = False  # whether the grapheme so far is a flag letter without the second one
    for start, _end, width in spans:
        char = text[start]
        is_flag_letter = _FIRST_FLAG_LETTER <= char <= _LAST_FLAG_LETTER
        is_mark = char in _DRAWN_AS_MARKS or unicodedata.category(char)[0] == "M"
        completes_flag = is_flag_letter and is_half_flag
        # a grapheme is yielded when the next one begins; before the first span, none has begun
        if start and not is_mark and not completes_flag:
            yield begin, cells
            begin = start
            cells = 0
        cells += width
        is_half_flag = is_flag_letter and not is_half_flag
    if text:
        yield begin, cells


def fold(text: str) -> str:
    """Return text without accents, capitals and compatibility forms, for comparing.

    `Café` becomes `cafe`, and `x²` becomes `x2`.
    """
    if text.isascii():
        return text.lower()
    return re.sub(_ACCENTS, "", normalized("NFKD", text)).lower()


def normalized(form: Literal["NFC", "NFKD"], text: str) -> str:
    """Return a normal form of text, in linear time.

    Python sorts the marks on a letter in quadratic time. So text with long runs of marks, which
    only hostile text has, is cut into sections that have at most `_MOST_MARKS` marks in a row, and
    each section is normalized alone.
    """
    # a longer run of marks covers an index that is a multiple of `_MOST_MARKS`: without a mark at
    # any of these, there is no such run
    if not any(map(_is_mark, text[::_MOST_MARKS])):
        return unicodedata.normalize(form, text)

    boundaries = [0]
    for run in re.finditer(_MARK_RUN, text):
        boundaries += range(run.start() + _MOST_MARKS, run.end(), _MOST_MARKS)
    boundaries.append(len(text))
    sections = (text[start:end] for start, end in pairwise(boundaries))
    return "".join(unicodedata.normalize(form, section) for section in sections)


def _is_mark(char: str) -> bool:
    """Return whether a character is a combining mark, or becomes one by normalization."""
    return unicodedata.category(char).startswith("M") or char in _MARK_LETTERS


def unescaped(text: str) -> str:
    """Return text with characters in place of HTML references, such as `&amp;` and `&#62;`.

    An unknown name stays, and so does a number with more digits than that of any character.
    """
    from html import unescape  # noqa: PLC0415 - not before the first paint

    # `unescape` turns the "&amp;" before a long number back into "&"
    return unescape(re.sub(_LONG_REFERENCE, "&amp;", text))


class FuzzyMatch(Struct, frozen=True):
    """Offsets and score of typed characters in a name."""

    score: float  # higher is better
    offsets: tuple[int, ...]  # indices of the typed characters in the name


def fuzzy_match(typed: str, name: str) -> FuzzyMatch | None:
    """Find the typed characters in a name, in order and without regard to capitals.

    Return None if one is missing. If the name contains the typed text in one piece, its first place
    there counts, with a higher score than any other. Adjacent characters, beginnings of words and
    an early place also give a better score. An empty text is found in every name.
    """
    query = _lower_of_same_length(typed)
    text = _lower_of_same_length(name)
    start = text.find(query)
    is_contained = start >= 0
    if is_contained:
        offsets = tuple(range(start, start + len(query)))
    else:
        offsets = _offsets_in_order(query, text)
    if len(offsets) < len(query):
        return None

    adjacent_pairs = sum(1 for before, after in pairwise(offsets) if after == before + 1)
    word_starts = sum(1 for offset in offsets if offset == 0 or not text[offset - 1].isalnum())
    lateness = offsets[0] / (len(text) + 1) if offsets else 0  # less than 1
    score = len(offsets) + adjacent_pairs + word_starts - lateness
    if is_contained:
        score += 2 * len(query)  # more than beginnings of words can add to another match
    return FuzzyMatch(score=score, offsets=offsets)


def _lower_of_same_length(text: str) -> str:
    """Return text in lower case, or unchanged if lower case would change its length.

    Offsets must stay valid. An example is `İ`, which has two characters in lower case.
    """
    lower = text.lower()
    return lower if len(lower) == len(text) else text


def _offsets_in_order(query: str, text: str) -> tuple[int, ...]:
    """Return the offsets of the characters of `query`, each searched behind the one before it.

    The search ends at the first character that is not found; then there are fewer offsets than
    characters.
    """
    offsets: list[int] = []
    start = 0
    for char in query:
        offset = text.find(char, start)
        if offset < 0:
            break
        offsets.append(offset)
        start = offset + 1
    return tuple(offsets)


def split_at_cell(text: str, cell: int) -> tuple[str, str]:
    """Return the text of the first `cell` cells, and the text of the other cells.

    A wide character across the cut becomes blanks on both sides, so the widths stay. If the text
    has no more than `cell` cells, the second text is empty.
    """
    # the hidden characters are on the left of every cut: they stay with the first text
    hidden = _count_hidden(text)
    # of each grapheme after them, its first index in `text` and its width
    spans = [(hidden + begin, width) for begin, width in graphemes(text[hidden:])]
    column = 0  # cells before the grapheme
    for next_index, (begin, width) in enumerate(spans, 1):
        column_after = column + width
        if column_after > cell:  # the cut is at the beginning of this grapheme, or within it
            if column == cell:
                return text[:begin], text[begin:]
            end = spans[next_index][0] if next_index < len(spans) else len(text)
            blanks_before = " " * (cell - column)
            blanks_after = " " * (column_after - cell)
            return text[:begin] + blanks_before, blanks_after + text[end:]
        column = column_after
    return text, ""


def _count_hidden(text: str) -> int:
    """Return the number of characters at the start of a text to which rich gives no cells.

    They are U+FE0F, U+200D, and the character behind a U+200D, which rich takes for a part of one
    emoji. At the start, there is no grapheme to which they could belong. Elsewhere they belong to
    the grapheme before them.
    """
    count = 0
    while text[count : count + 1] in (_ZWJ, _EMOJI_VARIANT):
        count += 2 if text[count] == _ZWJ else 1
    return min(count, len(text))  # a joiner at the end hides no other character


def closest_word(word: str, words: tuple[str, ...]) -> str:
    """Return the one of `words` that is most similar to a misspelt word; "" if none is similar."""
    import difflib  # noqa: PLC0415 - needed for a misspelt word only

    matches = difflib.get_close_matches(word, words, n=1, cutoff=_SIMILARITY)
    return matches[0] if matches else ""
