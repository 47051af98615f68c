"""What a search takes for the same, and where it finds it."""
# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import random
import unicodedata

from lmchat.tui.widgets.chat_log.matching import MAX_CHARS, Query
from tests.support.hostile import HOSTILE


def found(words, text):
    return [text[slice(*span)] for span in Query([words]).spans(text)]


def test_letters_are_the_same_for_a_search_where_they_are_for_a_reader():
    for words, text, wanted in [
        ("strasse", "die Straße, STRASSE", ["Straße", "STRASSE"]),
        ("s", "Straße", ["S"]),
        ("ß", "Straße Strasse", ["ß", "ss"]),
        ("istanbul", "İstanbul ISTANBUL", ["İstanbul", "ISTANBUL"]),
        ("ışık", "IŞIK ışık", ["IŞIK", "ışık"]),
        ("\u00e9", "cafe\u0301 caf\u00e9", ["e\u0301", "\u00e9"]),
        ("e\u0301", "cafe\u0301 caf\u00e9", ["e\u0301", "\u00e9"]),
        ("e", "cafe\u0301 e", ["e"]),
        ("❤", "a ❤\ufe0f b ❤", ["❤\ufe0f", "❤"]),
        ("👩", "👩\u200d🔬 👩", ["👩"]),
        ("하", "한 하 \u1112\u1161\u11ab \u1112\u1161", ["하", "\u1112\u1161"]),
        ("漢字", "x漢字漢字", ["漢字", "漢字"]),
        ("οδος", "ΟΔΟΣ", ["ΟΔΟΣ"]),
        ("fi", "\ufb01ne", ["\ufb01"]),
        (".*", "a.*b ab", [".*"]),
        ("a b", "a   b a\nb a\tb a\u00a0b ab", ["a   b", "a\nb", "a\tb", "a\u00a0b"]),
        ("\x1b[", "␛[x", ["␛["]),
        ("a", "aaa", ["a", "a", "a"]),
        ("aa", "aaa", ["aa"]),
    ]:
        assert found(words, text) == wanted


def test_no_words_are_too_strange_to_be_looked_for():
    for words in ["", "\x00", "\ud800", HOSTILE, "x" * 2_000_000, "\n", "(" * 5_000, "\ufe0f"]:
        query = Query([words])
        assert query.count("x" * 10 + HOSTILE) >= 0
        list(query.spans(HOSTILE))
        assert all(len(needle) <= 3 * MAX_CHARS for needle in query.needles)


def test_each_word_of_a_text_is_found_in_it_in_either_case():
    chance = random.Random(5)  # noqa: S311 - not a secret
    letters = "aàéßşçøÆДжΩω漢字ขשم"
    for _ in range(300):
        words = ["".join(chance.choices(letters, k=chance.randrange(1, 6))) for _ in range(4)]
        text = " ".join(words)
        for form in ("NFC", "NFD"):
            for change in (str.upper, str.lower, str.title):
                assert found(words[1], unicodedata.normalize(form, change(text))), (
                    words[1],
                    change,
                    form,
                )
