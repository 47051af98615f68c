from __future__ import annotations

from lmchat.services.continuation import ANCHOR_CHARS, last_words

PROSE = (
    "Several vegetables grow well in the shade. Lettuce needs four hours of sun, spinach three; both bolt in "
    "the heat, so the shade of taller plants does them good. Sow again every two weeks."
)


def test_the_last_words_are_whole_ones_where_there_are_enough():
    assert last_words("Short.\n") == "Short."
    assert last_words(PROSE) in PROSE
    assert PROSE[PROSE.index(last_words(PROSE)) - 1] == " "
    assert len(last_words(PROSE)) <= ANCHOR_CHARS
    assert len(last_words("x" * 500)) == ANCHOR_CHARS
