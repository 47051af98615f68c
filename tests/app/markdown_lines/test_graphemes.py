"""Graphemes are those of Unicode (UAX 29), but where terminals draw something else."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from rich.cells import cell_len

from lmchat.app.cells import graphemes, split_at_cell, widen_cells
from lmchat.app.markdown_lines.wrap import wrap_points
from tests.base.test_safe_text import invisible

BREAKS = Path(__file__).parent / "data" / "grapheme_break_test.txt"
JOINER = "\u200d"
HANGUL_INITIAL = "\u1100"  # two cells
HANGUL_WITHOUT_CELLS = "\u1160\u11a8"  # a vowel and a final
NUMBER_SIGNS = "\u0600\u06dd"  # Unicode joins them to what follows; terminals draw them beside it
BURMESE_VOWEL = "\u102c"  # a mark by its category
TONE = "\U0001f3ff"  # behind a letter of ASCII, it is shown on its own


def unicodes_graphemes() -> Iterator[list[str]]:
    """Yield the graphemes of each line that has no control character: none comes that far."""
    for line in BREAKS.read_text(encoding="utf-8").splitlines():
        codes = line.replace("×", " ").split("÷") if line.startswith("÷") else []
        found = ["".join(chr(int(code, 16)) for code in part.split()) for part in codes]
        text = "".join(found)
        if text and "Cc" not in map(unicodedata.category, text):
            yield [part for part in found if part]


def is_known(text: str, position: int) -> bool:
    before, after = text[position - 1], text[position]
    return (
        before in (JOINER, HANGUL_INITIAL, *NUMBER_SIGNS)
        or after in (*HANGUL_WITHOUT_CELLS, BURMESE_VOWEL)
        or (before == "a" and after == TONE)
    )


def test_each_line_of_unicodes_test_has_its_graphemes():
    lines = list(unicodes_graphemes())
    assert len(lines) > 500
    for parts in lines:
        text = "".join(parts)
        wanted = {0, *accumulate(map(len, parts[:-1]))}
        found = {start for start, *_ in graphemes(text)}
        assert all(is_known(text, position) for position in wanted ^ found), ascii(text)


def test_a_skin_tone_alone_has_two_cells_and_joins_the_emoji_before_it():
    assert list(graphemes("a\U0001f3fd.")) == [(0, 1, 1), (1, 2, 2), (2, 3, 1)]
    assert list(graphemes(": \U0001f3fd")) == [(0, 1, 1), (1, 2, 1), (2, 3, 2)]
    assert next(graphemes("\U0001f44d\U0001f3fd.")) == (0, 2, 4)
    assert cell_len("Tone: \U0001f3fd end.") == 13


def test_consonants_that_are_drawn_as_one_are_not_cut_apart_and_a_chain_of_them_is():
    for word, whole in (
        ("\u0915\u094d\u0937\u092e\u093e", "\u0915\u094d\u0937"),
        ("\u17a0\u17d2\u1798\u17c2\u179a", "\u17a0\u17d2\u1798\u17c2"),
        ("\u1019\u1039\u1018\u1010", "\u1019\u1039\u1018"),
    ):
        assert next(graphemes(word))[1] == len(whole)
        assert split_at_cell(word, 1)[0] == " "
    chain = "\u0915\u094d" * 100
    assert wrap_points(chain, 12)
    assert all(cells <= 12 for *_, cells in graphemes(chain))
    assert next(graphemes("\u0b95\u0bcd\u0ba4"))[1] == 2  # Tamil has none


def test_marks_and_flags_stay_together():
    for text, starts in [
        ("", []),
        ("ab", [(0, 1), (1, 1)]),
        ("e\u0301x", [(0, 1), (2, 1)]),
        ("🇩🇪🇫🇷", [(0, 2), (2, 2)]),
        ("✔️漢", [(0, 2), (2, 2)]),
    ]:
        assert [(start, cells) for start, _, cells in graphemes(text)] == starts


def test_invisible_characters_take_no_cell():
    widen_cells()
    for char in invisible():
        assert cell_len(f"a{char}b") == 2
