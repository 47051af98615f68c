"""Safe text, graphemes, and code fences as CommonMark 4.5 defines them."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from lmchat.cells import graphemes
from lmchat.markdown.commonmark import Fence, opening_fence, unclosed_fence
from lmchat.safe_text import safe_line, safe_text


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


def test_marks_and_flags_stay_together():
    for text, begins in [
        ("", []),
        ("ab", [(0, 1), (1, 1)]),
        ("e\u0301x", [(0, 1), (2, 1)]),
        ("🇩🇪🇫🇷", [(0, 2), (2, 2)]),
        ("✔️漢", [(0, 2), (2, 2)]),
    ]:
        assert list(graphemes(text)) == begins


def test_of_all_controls_and_surrogates_there_are_newline_and_tab_alone_pass():
    there_are = [
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs")
    ]
    assert len(there_are) == 65 + 2048
    assert [char for char in there_are if char in safe_text(f"é{char}é")] == ["\t", "\n"]


def test_bidi_and_invisible_controls_become_visible():
    for char in "\u202a\u202e\u2066\u2069\u200e\u200f\u061c\u200b\u2060\ufeff\u00ad\u2028\u2029\ud83d\U000e0041":
        shown = safe_text(f"a{char}b")
        assert char not in shown
        assert len(shown) == 3


def test_what_is_no_character_is_not_shown_as_one():
    """A reader of YAML refuses a whole export for it."""
    assert safe_text("a\ufffeb\uffffc") == "a\ufffdb\ufffdc"
    for plane in range(17):
        assert safe_text(chr(plane * 0x10000 + 0xFFFE)) == "\ufffd"
    assert safe_text("\ufdcf\ufdd0\ufdef\ufdf0") == "\ufdcf\ufffd\ufffd\ufdf0"


def test_crlf_becomes_lf_and_a_lone_cr_is_shown_not_obeyed():
    assert safe_text("a\r\n\tb\r\n") == "a\n\tb\n"
    assert safe_text("safe\revil") == "safe␍evil"


def test_joined_characters_and_selectors_that_select_stay():
    for text in [
        *("👩‍👩‍👧", "❤️‍🔥", "नमस्‍ते", "می‌خواهم", "漢字 🙂 é"),
        *("1️⃣ #️⃣ *️⃣", "❤️ ❤︎ ☎︎", "葛\U000e0100飾", "🏳️‍🌈", "ខ្មែរ", "\u0600\u0661"),
    ]:
        assert safe_text(text) == text


def test_a_joiner_that_joins_nothing_becomes_visible():
    assert "\u200d" not in safe_text("pass\u200dword \u200d")


@given(st.text())
def test_a_line_is_one_line(text: str):
    assert "\n" not in safe_line(text)
    assert len(safe_line(text, limit=20)) <= 20


def test_a_row_of_selectors_hides_no_message():
    for text in [
        "a\ufe0f",
        "\ufe0f",
        "❤\ufe0f\ufe0f",
        "é\U000e0101\U000e0102",
        "\n\ufe00",
        "a\u180bb",
        "x\U0001bca0y",
    ]:
        assert safe_text(text).count("\ufffd") == 1
        assert len(safe_text(text)) == len(text)


@given(st.text() | st.text(alphabet="a1é❤葛\u200c\u200d\ufe0e\ufe0f\U000e0100\r\n\x1b\ufffd"))
def test_filtering_twice_changes_nothing_more(text: str):
    once = safe_text(text)
    assert safe_text(once) == once
