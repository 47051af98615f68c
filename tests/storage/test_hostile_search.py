"""Searches that nobody types, and texts that are made to be slow to compare."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.storage.search import parse
from lmchat.text import fold
from tests.support.chats import header, say

MARKS = ["\u0300\u0316", "\u05b7\u05b0", "\u0316\uff9e", "\u0f73"]
"""Two orders of combining marks; what becomes of a letter, and of a mark that is two."""


@pytest.fixture
async def session(store):
    session = header("A long talk")
    await say(store, session, "wor word a b %% and more words")
    return session


@pytest.mark.parametrize(
    "text",
    [
        *("a" * 60_000, "%" * 60_000, "wor " * 20_000, '"a ' * 5_000, "title:" + "t" * 60_000),
        *("(" * 60_000, "ﷺ" * 60_000, "role:you " * 2_000, "title:b " * 2_000, "after:2020-01-01 " * 2_000),
    ],
    ids=lambda text: f"{text[:8]}…",
)
async def test_what_is_pasted_into_the_search_ends_without_an_error(store, session, text):
    assert len(await store.search(text)) <= 2


async def test_a_word_that_is_said_a_thousand_times_is_looked_for_once(store, session):
    assert parse("wor b " * 1000 + "a") == ("wor", "b", "a")
    assert len(await store.search("wor b " * 1000 + "a")) == 1


@pytest.mark.parametrize("marks", MARKS, ids=ascii)
def test_combining_marks_without_end_cost_a_text_no_more_than_other_characters(marks):
    """With time that grows by the square of its length, one of these would take hours."""
    assert fold("a" + marks * 500_000).startswith("a")


@given(st.text(alphabet="ae\u0300\u0316\u05b7\u05b0é-ガ ", max_size=64))
def test_short_runs_of_marks_come_into_the_order_that_all_programs_share(text):
    plain = unicodedata.normalize("NFKD", text)
    assert fold(text) == re.sub("[\u0300-\u036f]", "", plain).lower()


def test_marks_behind_a_long_run_are_found_by_the_same_run():
    assert fold("─" * 70) in fold(f"head\n{'─' * 100}\nbody")
