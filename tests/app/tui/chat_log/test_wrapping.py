from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from lmchat.app.markdown_lines.wrap import wrap_points
from lmchat.base.safe_text import safe_text

WHOLE = [
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea",
    "1\ufe0f\u20e3",
    "\u2764\ufe0f",
    "e\u0301\u0323",
    "\u0915\u093e",
    "\u0e01\u0e33",
    "\uac01",
    "\u304b\u3099",
    "a\u0338",
]
"""Graphemes of more than one character, and one of a single wide one."""
LETTERS = st.sampled_from(
    [
        *WHOLE,
        *"ab-,.(\u00e9\u00df\u05d0\u0639\u6f22\u5b57\u3001\u3002\u300c\u300d\u3063\uff01\ud55c\u2026\u2019",
    ]
)
TEXTS = st.lists(
    LETTERS | st.sampled_from([" ", "  ", "\u00a0", "\u3000", "word", "\u4f7f\u7528"]), max_size=60
)
WIDTHS = st.integers(2, 30)


def lines(text, width):
    return [text[start:end] for start, end in pairwise([0, *wrap_points(text, width), len(text)])]


def edges(pieces):
    """The places between graphemes."""
    positions = [0]
    for piece in pieces:
        for part in [piece] if piece in WHOLE else piece:
            positions.append(positions[-1] + len(part))
    return positions


@given(TEXTS, WIDTHS)
@settings(deadline=None)
def test_the_lines_are_the_text_fit_and_cut_no_grapheme(pieces, width):
    text = safe_text("".join(pieces))
    made = lines(text, width)
    assert "".join(made) == text
    assert all(made) or made == [""]
    widest = max((cell_len(piece) for piece in pieces if piece in WHOLE), default=0)
    assert all(cell_len(line.rstrip(" \u3000")) <= max(width, widest) for line in made)
    assert set(wrap_points(text, width)) <= set(edges(pieces))


def test_texts_break_where_a_reader_expects_it():
    for text, width, expected in [
        ("one two three", 8, ["one two ", "three"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("  indented", 4, ["  in", "dent", "ed"]),
        ("a  b", 1, ["a  ", "b"]),
        ("a\u00a0b c", 3, ["a\u00a0b ", "c"]),
        # ideographs break anywhere, but not before a stop or behind an opening bracket
        ("漢字漢字", 4, ["漢字", "漢字"]),
        ("使用Python来写程序", 12, ["使用Python来", "写程序"]),
        ("这是一句话。好", 10, ["这是一句", "话。好"]),
        ("他说「你好」吗", 8, ["他说「你", "好」吗"]),
        ("他说「你好」吗", 6, ["他说", "「你", "好」吗"]),
        ("ちょっと待って", 6, ["ちょっ", "と待っ", "て"]),
        ("第一（二）三", 6, ["第一", "（二）", "三"]),  # noqa: RUF001 - such brackets are meant
        ("한국어 낱말", 8, ["한국어 ", "낱말"]),
        ("ខ្មែរ\u200bខ្មែរ\u200bab", 6, ["ខ្មែរ\u200b", "ខ្មែរ\u200bab"]),
        ("\U0001f1e9\U0001f1ea" * 3, 3, ["\U0001f1e9\U0001f1ea"] * 3),
    ]:
        assert lines(text, width) == expected
