"""What a search takes for the same, and where it finds it."""
# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

from lmchat.app.tui.chat_log.find import MAX_CHARS, Query
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
        ("cafe", "cafe\u0301 CAF\u00c9 cafe", ["cafe\u0301", "CAF\u00c9", "cafe"]),
        ("caf\u00e9", "cafe cafe\u0301", ["cafe", "cafe\u0301"]),
        ("か", "が か", ["か"]),
        ("x2", "x² x2", ["x²", "x2"]),
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
        ("software", "soft\u00adware sóft", ["soft\u00adware"]),
        ("zero\u200bwidth", "zerowidth é", ["zerowidth"]),
    ]:
        assert found(words, text) == wanted


def test_as_many_hits_are_counted_as_marked_however_many_letters_of_a_text_have_accents():
    for text in ("Caf\u00e9 CAFE\u0301", "".join(map(chr, range(0xC0, 0x180))) + "caf\u00e9 Cafe"):
        query = Query(["cafe"])
        assert query.count(text) == len(list(query.spans(text))) == 2


def test_no_part_of_a_character_that_means_several_is_counted_or_marked():
    for words, text, wanted in [
        (".", "Wait\u2026 now.", ["."]),
        ("t.", "Wait\u2026 wait.", ["t."]),
        ("...", "Wait\u2026 wait...", ["\u2026", "..."]),
        ("t", "Brand\u2122 t", ["t"]),
        ("tm", "Brand\u2122", ["\u2122"]),
        ("m", "Brand\u2122", []),
        ("f", "\ufb01ne", []),
        ("s", "\u00df", []),
        ("ss", "\u00dfs \u00dfe\u0301", ["\u00df", "\u00df"]),
        ("k", "5 \u338f, e\u0301 \ud800\u200b\u2026 k", ["k"]),
        ("\u30c8", "\u3300\u3099\u30c8", ["\u30c8"]),
    ]:
        assert found(words, text) == wanted
        assert Query([words]).count(text) == len(wanted)


def test_a_part_of_a_drawn_character_is_neither_counted_nor_marked():
    for words, text, wanted in [
        ("\u0915", "\u0915\u093c \u0958 \u0915", ["\u0915"]),
        ("\u0958", "\u0915\u093c \u0958 \u0915", ["\u0915\u093c", "\u0958"]),
        ("\u0939", "\u0939\u0948 \u0939", ["\u0939"]),
        ("e", "\u0065\u0301 \u00e9 e", ["e\u0301", "\u00e9", "e"]),
        ("👩", "👩\u200d👧 👩🏽 👩", ["👩"]),
        ("👧", "👩\u200d👧 👧", ["👧"]),
        ("🇪", "🇩🇪 🇪", ["🇪"]),
        ("\u30ac", "\uff76\uff9e \u30ac \uff76", ["\uff76\uff9e", "\u30ac"]),
        ("\u30ab", "\uff76\uff9e \u30ac \uff76", ["\uff76"]),
        ("\ud55c", "\ud55c\n\ud55c\r\n\ud55c\t", ["\ud55c"] * 3),
    ]:
        assert found(words, text) == wanted
        assert Query([words]).count(text) == len(wanted), words


def test_no_words_are_too_strange_to_be_looked_for():
    for words in ["", "\x00", "\ud800", HOSTILE, "x" * 2_000_000, "\n", "(" * 5_000, "\ufe0f"]:
        query = Query([words])
        assert query.count("x" * 10 + HOSTILE) >= 0
        list(query.spans(HOSTILE))
        assert all(len(needle) <= 3 * MAX_CHARS for needle in query.needles)
