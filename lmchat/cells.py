"""Graphemes, and the cells they take.

A grapheme is what people see as one character, such as a letter with its accents, or a flag. A cell
is the room of a narrow character on the terminal; most graphemes take one or two.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import pairwise

# Thai and Lao vowels: letters by their category, but drawn as marks on the previous letter
_DRAWN_AS_MARKS = "\u0e33\u0eb3"
_JOINER = "\u200d"  # joins two emoji to one
_FIRST_FLAG_LETTER = "\U0001f1e6"  # two flag letters in a row are drawn as one flag
_LAST_FLAG_LETTER = "\U0001f1ff"


def graphemes(text: str) -> Iterator[tuple[int, int]]:
    """Yield, for each grapheme, the index of its first character and its width in cells.

    Rich splits a text into spans, which are graphemes but for two cases: it splits a flag into two
    letters, and some marks from their letters. Here such spans are joined again. An empty text has
    no grapheme.
    """
    from rich.cells import split_graphemes  # noqa: PLC0415 - commands start without rich

    # The character after a joiner takes no cell. If the joiner begins the text, rich's
    # `split_graphemes` counts a cell for it, unlike its `cell_len`. So `_` is put before the text,
    # and what it adds, one character and one cell, is subtracted.
    if text.startswith(_JOINER):
        (_, cells), *others = graphemes("_" + text)
        yield 0, cells - 1
        yield from ((begin - 1, cells) for begin, cells in others)
        return

    spans, _ = split_graphemes(text)
    # where the grapheme begins that is not yielded yet, and its width so far
    begin = 0
    cells = 0
    is_half_flag = False  # whether the grapheme that began last is the first letter of a flag
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


def split_at_cell(text: str, cell: int) -> tuple[str, str]:
    """Return the text of the first `cell` cells, and the text of the other cells.

    A wide character across the cut becomes blanks on both sides, so the widths stay. If the text
    has no more than `cell` cells, the second text is empty.
    """
    column = 0  # cells before the grapheme
    # each grapheme ends where the next one begins, and the last one with the text
    for (begin, width), (end, _) in pairwise([*graphemes(text), (len(text), 0)]):
        column_after = column + width
        if column_after > cell:  # the cut is at the beginning of this grapheme, or within it
            if column == cell:
                return text[:begin], text[begin:]
            blanks_before = " " * (cell - column)
            blanks_after = " " * (column_after - cell)
            return text[:begin] + blanks_before, blanks_after + text[end:]
        column = column_after
    return text, ""
