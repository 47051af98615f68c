"""Graphemes, and the cells they take.

Terminals disagree about many characters, and rich 15.0.0 counts the fewest cells: none for vowel
signs of Indian scripts, skin tones, and what a joiner joins. tmux 3.3a, and all other terminals
that ask the C library, draw each in cells of its own, over what follows. So rich is made to count
the most cells that a usual terminal gives.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise

from lmchat.base.safe_text import MARKED, UNSEEN
from lmchat.base.units import SIGNS

# letters by category, but parts of the letter before: Thai and Lao vowels, sound marks of kana
_DRAWN_AS_MARKS = "\u0e33\u0eb3\uff9e\uff9f"
_JOINER = "\u200d"  # of two emoji
# signs between two consonants that many scripts draw as one (GB9c of Unicode's UAX 29)
_LINKERS = (
    "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d\u1039\u17d2\u1a60\u1b44\u1bab\ua9c0\uaaf6\U00010a3f\U00011133"
    "\U0001193e\U00011a47\U00011a99"
)
_MOST_LINKED_CELLS = 8  # of consonants in a row, so that an endless chain can be wrapped
_MOST_BEFORE = 16  # characters by which a place is judged that may be within a grapheme
_EMOJI_SELECTOR = "\ufe0f"  # makes a wide emoji of a narrow sign, such as ⚠
_SKIN_TONES = [chr(code) for code in range(0x1F3FB, 0x1F400)]
_WIDE_NUMBERS = [chr(code) for code in range(0x3248, 0x3250)]  # wide in the C library only
_FIRST_FLAG_LETTER = "\U0001f1e6"  # two in a row are one flag
_LAST_FLAG_LETTER = "\U0001f1ff"


@cache
def widen_cells() -> None:
    """Change rich for the whole process: `rich.cells` finds its own parts by name at each call."""
    import rich.cells as rich_cells  # noqa: PLC0415 - commands start without rich

    table = rich_cells.load_cell_table("auto")  # type: ignore[attr-defined]
    widest = table._replace(widths=_widest(table.widths))
    char_cells = rich_cells.get_character_cell_size

    def text_cells(text: str, unicode_version: str = "auto") -> int:  # noqa: ARG001 - as rich's
        if text.isascii() and text.isprintable():
            return len(text)
        cells = sum(map(char_cells, text))
        if _EMOJI_SELECTOR in text:
            pairs = pairwise(text)
            cells += sum(
                sign in widest.narrow_to_wide and mark == _EMOJI_SELECTOR for sign, mark in pairs
            )
        return cells

    def spans(text: str, unicode_version: str = "auto") -> tuple[list[tuple[int, int, int]], int]:  # noqa: ARG001 - as rich's
        found = [*graphemes(text)]
        return found, sum(cells for *_, cells in found)

    for name, part in (
        ("load_cell_table", lambda _version: widest),
        ("_cell_len", text_cells),
        ("split_graphemes", spans),
        ("_split_text", lambda text, cell, _version="auto": split_at_cell(text, cell)),
    ):
        setattr(rich_cells, name, part)
    char_cells.cache_clear()
    rich_cells.cached_cell_len.cache_clear()


def _widest(table: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Give each code point the most cells of any terminal."""
    changed = [(ord(char), ord(char), 0) for char in UNSEEN]  # not painted
    changed += [(ord(char), ord(char), 2) for char in (*_WIDE_NUMBERS, *_SKIN_TONES)]
    marked = re.compile(f"[{MARKED}]+")  # each painted as one narrow sign
    for start, end, cells in table:
        text = "" if cells else "".join(map(chr, range(start, end + 1)))
        for run in marked.finditer(text):
            changed.append((start + run.start(), start + run.end() - 1, 1))
        for code, char in enumerate(text, start):
            if unicodedata.category(char) == "Mc":
                is_wide = unicodedata.east_asian_width(char) == "W"
                changed.append((code, code, 2 if is_wide else 1))
    changed.sort()
    ranges = list(changed)
    for start, end, cells in table:  # the rest of each range
        rest_start = start
        within = slice(bisect_left(changed, (start,)), bisect_left(changed, (end + 1,)))
        for first, last, _ in changed[within]:
            ranges.append((rest_start, first - 1, cells))
            rest_start = last + 1
        ranges.append((rest_start, end, cells))
    return sorted(found for found in ranges if found[0] <= found[1])


def graphemes(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield for each grapheme its first index, the one behind it, and its width in cells."""
    from rich.cells import cell_len, get_character_cell_size  # noqa: PLC0415 - see `widen_cells`

    widen_cells()
    start = 0
    cells = 0
    before = ""
    is_linked = False  # behind the last consonant
    is_half_flag = False  # the last grapheme is the first letter of a flag
    for index, char in enumerate(text):
        size = get_character_cell_size(char)
        category = unicodedata.category(char)
        is_flag_letter = _FIRST_FLAG_LETTER <= char <= _LAST_FLAG_LETTER
        # the next grapheme starts here
        if before and not (
            (not size and category != "Cc")  # a line break is a grapheme of its own
            or before == _JOINER
            or char in _DRAWN_AS_MARKS
            or category[0] == "M"
            or (is_linked and category == "Lo" and cells < _MOST_LINKED_CELLS)
            or (is_flag_letter and is_half_flag)
            or (char in _SKIN_TONES and not before.isascii())
        ):
            yield start, index, cells
            start = index
            cells = 0
        cells += cell_len(before + char) - cell_len(before) if char == _EMOJI_SELECTOR else size
        if char in _LINKERS:  # behind anything but a letter, it links nothing
            is_linked = unicodedata.category(text[start]) == "Lo"
        elif size and category[0] != "M":
            is_linked = False
        is_half_flag = is_flag_letter and not is_half_flag
        before = char
    if text:
        yield start, len(text), cells


@lru_cache(maxsize=16 * 1024)
def joins(char: str) -> bool:
    """Whether a character can be in one grapheme with what is before it."""
    return len([*graphemes(char * 2)]) == 1


def starts_grapheme(text: str, index: int) -> bool:
    """Whether a grapheme starts at an index, or the text ends there; its run decides for a flag."""
    around = text[max(index - _MOST_BEFORE, 0) : index + 1]
    return index == len(text) or around[-2:].isascii() or _ends_in_new_grapheme(around)


@lru_cache(maxsize=16 * 1024)
def _ends_in_new_grapheme(text: str) -> bool:
    *_, (start, end, _) = graphemes(text)
    return start == end - 1


def without_middle(text: str, width: int) -> str:
    from rich.cells import cell_len  # noqa: PLC0415 - see `widen_cells`

    if cell_len(text) <= width:
        return text
    room = max(width - 1, 0)
    head, _ = split_at_cell(text, room - room // 2)
    _, tail = split_at_cell(text, cell_len(text) - room // 2)
    return head + SIGNS.cut + tail


def split_at_cell(text: str, cell: int) -> tuple[str, str]:
    """A wide character across the cut becomes blanks on both sides, so the widths stay."""
    column = 0  # cells before the grapheme
    for start, end, width in graphemes(text):
        column_after = column + width
        if column_after > cell:
            if column == cell:
                return text[:start], text[start:]
            blanks_before = " " * (cell - column)
            blanks_after = " " * (column_after - cell)
            return text[:start] + blanks_before, blanks_after + text[end:]
        column = column_after
    return text, ""
