"""Safe text, and code fences as CommonMark 4.5 defines them."""

from __future__ import annotations

import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.base.markdown.fences import Fence, opening_fence, unclosed_fence
from lmchat.base.safe_text import (
    bounded_rows,
    safe_line,
    safe_text,
    without_controls,
    without_secret,
)


def test_an_open_fence_is_recognised():
    for text, marks in [
        ("", ""),
        ("```\na\n```", ""),
        ("```a", "```"),
        ("~~~~\n```\n~~~", "~~~~"),
        ("    ```\ncode", ""),
        ("```\n``` x", "```"),
        ("````\n```", "````"),
        ("```\na\n`````", ""),
        ("```\n    ```", "```"),
    ]:
        fence = unclosed_fence(text)
        assert (fence.marks if fence else "") == marks


def test_a_fence_has_marks_and_words():
    for line, fence in [
        ("```py title\n", Fence("", "```", "py title")),
        ("  ~~~~ a`b", Fence("  ", "~~~~", "a`b")),
        ("```a`b", None),
        ("``", None),
        ("text ```", None),
    ]:
        assert opening_fence(line) == fence


def test_of_all_controls_and_surrogates_newline_and_tab_alone_pass():
    there_are = [
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs")
    ]
    assert len(there_are) == 65 + 2048
    for filtered in (safe_text, without_controls):
        assert [char for char in there_are if char in filtered(f"é{char}é")] == ["\t", "\n"]


REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
TAGS = "".join(map(chr, (0xE0001, *range(0xE0020, 0xE0080))))
# of the category of invisible signs, but drawn: they are put around a number
NUMBER_SIGNS = (
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
OTHERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0\ufe0e\ufe0f\U000e0100"


@cache
def invisible() -> list[str]:
    formats = (char for char in map(chr, range(0x110000)) if unicodedata.category(char) == "Cf")
    return [*(char for char in formats if char not in REORDERING + TAGS + NUMBER_SIGNS), *OTHERS]


def test_what_reorders_text_and_tags_become_visible():
    for char in f"{REORDERING}{TAGS}\u2028\u2029\ud83d":
        shown = safe_text(f"a{char}b")
        assert char not in shown
        assert len(shown) == 3
        assert without_controls(f"a{char}b") == (shown if char == "\ud83d" else f"a{char}b")


def test_invisible_characters_of_ordinary_text_are_not_lost():
    for char in invisible():
        assert safe_text(f"soft{char}ware") == "software"
        assert without_controls(f"soft{char}ware") == f"soft{char}ware"
        assert safe_line(f"{char} soft{char}ware") == "software"


def test_number_signs_are_painted():
    assert safe_text(NUMBER_SIGNS) == NUMBER_SIGNS


def test_what_is_no_character_is_not_shown_as_one():
    """A reader of YAML refuses a whole export for it."""
    assert safe_text("a\ufffeb\uffffc") == "a\ufffdb\ufffdc"
    for plane in range(17):
        assert safe_text(chr(plane * 0x10000 + 0xFFFE)) == "\ufffd"
    assert safe_text("\ufdcf\ufdd0\ufdef\ufdf0") == "\ufdcf\ufffd\ufffd\ufdf0"


def test_crlf_and_cr_become_lf():
    for filtered in (safe_text, without_controls):
        assert filtered("é\r\n\tb\r\n") == "é\n\tb\n"
        assert filtered("safe\revil\r\r\nend\r") == "safe\nevil\n\nend\n"
    assert safe_line("safe\revil") == "safe evil"


def test_joined_characters_and_selectors_that_select_stay():
    for text in [
        *("👩‍👩‍👧", "❤️‍🔥", "नमस्‍ते", "می‌خواهم", "漢字 🙂 é"),
        *("1️⃣ #️⃣ *️⃣", "❤️ ❤︎ ☎︎", "葛\U000e0100飾", "🏳️‍🌈", "ខ្មែរ", "\u0600\u0661"),
    ]:
        assert safe_text(text) == text


def test_a_joiner_that_joins_nothing_is_not_painted():
    assert safe_text("pass\u200dword \u200d") == "password "


@given(st.text())
def test_a_line_is_one_line(text: str):
    assert "\n" not in safe_line(text)
    assert len(safe_line(text, limit=20)) <= 20


def test_of_a_row_of_selectors_the_first_one_is_painted_if_it_selects():
    for text, painted in [
        ("a\ufe0f", "a"),
        ("\ufe0f", ""),
        ("❤\ufe0f\ufe0f", "❤\ufe0f"),
        ("é\U000e0101\U000e0102", "é\U000e0101"),
        ("\n\ufe00", "\n"),
    ]:
        assert safe_text(text) == painted


@given(
    st.text()
    | st.text(alphabet="a1é❤葛\u200b\u2060\u200c\u200d\ufe0e\ufe0f\U000e0100\r\n\x1b\ufffd")
)
def test_filtering_twice_changes_nothing_more(text: str):
    once = safe_text(text)
    assert safe_text(once) == once


def test_a_secret_is_removed_also_as_addresses_and_json_write_it():
    text = r"4/0Ab+c code=4%2F0Ab%2Bc {\"code\": \"4\/0Ab+c\"}"
    assert without_secret(text, "4/0Ab+c") == r"… code=… {\"code\": \"…\"}"


@pytest.mark.parametrize(
    "hidden", [" " * 2000, "\u2800", "\n" * 40, "\u3164\u200d", "\ufe0f", "\t"]
)
def test_above_a_question_a_run_of_letters_without_a_look_is_one_mark(hidden):
    assert bounded_rows(f"run{hidden}this", "a b") == ["run␣this", "a b"]
    assert bounded_rows("a" * 300, "b" * 300)
    assert bounded_rows("a" * 300, "b" * 301) == []
