"""No frame of an answer that streams costs much more than another, whatever the answer is made of."""

from __future__ import annotations

import sys

import pytest

from lmchat.domain.event import TextDelta
from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, TABLE_ROWS
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail
from tests.support.chat_log_app import coloured_page, document_with, plain_page, shown, streaming
from tests.support.markdown_corpus import DEAR

PAGE = coloured_page(200)
AT_ONCE_CHARS = 3_000
FRAME_CHARS = (
    200  # what comes in half a second at 100 tokens a second; a frame usually has a tenth of it
)
MOST_CALLS = 350_000
"""Functions called for one frame, those in C too: 30 ms of a core, 60 times what prose takes."""
TABLE = "| many words | other words |\n|---|---|\n" + "| a | b |\n" * TABLE_ROWS
pytestmark = pytest.mark.timeout(120)


def pieces(text, size):
    return [text[start : start + size] for start in range(0, len(text), size)]


def most_calls(text):
    """How many functions are called for the dearest of some frames, behind what came before."""
    entry = Entry(streaming(), is_streaming=True)
    document = document_with(entry, plain_page(117))
    entry.feed(TextDelta(text=text[:AT_ONCE_CHARS]))
    document.grow(0)
    count, most = 0, 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    for piece in pieces(text[AT_ONCE_CHARS:], FRAME_CHARS):
        count = 0
        sys.setprofile(note)
        try:
            entry.feed(TextDelta(text=piece))
            document.grow(0)
        finally:
            sys.setprofile(before)
        most = max(most, count)
    return most


@pytest.mark.parametrize("name", DEAR)
def test_no_frame_costs_more_than_it_may(name):
    assert most_calls(DEAR[name](PIECE_CHARS + FRAME_CHARS)) <= MOST_CALLS


def test_the_words_below_a_long_table_are_seen_before_their_line_ends():
    growing = MarkdownTail()
    for piece in pieces(TABLE + "| a | b |\n\nThis comes after", 7):
        growing.feed(piece)
    (words,) = growing.open
    words.has_cursor = True
    assert [shown(line) for line in Layout(PAGE).lines(words, {})] == [" This comes after"]


@pytest.mark.parametrize(
    "above", ["A paragraph.", "# A heading", "***", "> A\nquote", "| a | b |\n|---|---|"]
)
def test_what_stands_above_a_blank_line_is_not_laid_out_again_with_what_comes_below(above):
    growing = MarkdownTail()
    for piece in (above, "\n\n", "Words"):
        growing.feed(piece)
    assert [part.source.strip() for part in growing.closed + growing.open] == [above, "Words"]
    assert [part.source.strip() for part in growing.open] == ["Words"]
