"""Heights are the sum of what is painted, whatever was laid out before."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.domain.event import TextDelta
from lmchat.domain.message import Role, text_message
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.entry import Entry
from tests.support.chat_log_app import answer, document_with, plain_page, question, streaming
from tests.support.markdown_corpus import CORPUS, MIXED

TEXTS = st.sampled_from([*CORPUS.values(), "short", "two\n\nparagraphs", "word " * 60])
MESSAGES = st.lists(st.tuples(st.booleans(), TEXTS), min_size=1, max_size=5)


def document_of(messages, width=60):
    document = Document()
    document.set_page(plain_page(width))
    for is_prompt, text in messages:
        document.append(Entry(question(text) if is_prompt else answer(text, thought=text[:20])))
    return document


def pieces_fed(entry, document, sizes):
    """Feed a text in pieces of these sizes; give where each has changed the document."""
    start = 0
    while start < len(MIXED):
        size = sizes[start % len(sizes)]
        entry.feed(TextDelta(text=MIXED[start : start + size]))
        yield document.grow(0)
        start += size


def laid_out_rows(document):
    document.lay_out_from(0, 0, 1, 1 << 30)
    return list(document.rows(0, 1 << 30))


def segments_of(document):
    return [line and line.segments for _, line in laid_out_rows(document)]


@given(MESSAGES, st.data())
@settings(max_examples=25, deadline=None)
def test_the_height_is_the_number_of_rows_and_each_place_is_where_it_says(messages, data):
    document = document_of(messages)
    for _ in range(3):
        index = data.draw(st.integers(0, len(messages) - 1))
        document.build(index)
        document.lay_out_block(
            index, data.draw(st.integers(0, len(document.entries[index].blocks) - 1))
        )
    rows = laid_out_rows(document)
    assert len(rows) == document.total
    for y, (place, _) in enumerate(rows):
        assert document.locate(y) == place
        assert document.position(place) == y


@pytest.mark.rule("R-17")
@given(st.lists(st.integers(1, 90), min_size=1, max_size=8), st.booleans())
@settings(max_examples=25, deadline=None)
def test_text_that_turned_out_to_be_thought_is_laid_out_as_thought_that_is_loaded(sizes, is_folded):
    entry = Entry(streaming(), is_streaming=True, is_folded=is_folded)
    streamed = document_with(entry)
    list(pieces_fed(entry, streamed, sizes))
    final = answer("Four", thought=MIXED)
    entry.set_parts(final.parts[:1])
    streamed.rebuild(0)
    entry.feed(TextDelta(text="Four"))
    streamed.grow(0)
    assert len(list(streamed.rows(0, 1 << 30))) == streamed.total
    entry.finish(final)
    streamed.rebuild(0)
    assert segments_of(streamed) == segments_of(document_with(Entry(final, is_folded=is_folded)))


@pytest.mark.parametrize("ending", ["\n" * 9_000, "   \n" * 4_000, "\n" * 9_000 + "more"])
def test_a_text_that_is_parsed_in_steps_has_the_rows_of_one_that_is_parsed_at_once(ending):
    message = text_message(Role.ASSISTANT, f"```\nx\n```\n{ending}")
    at_once, in_steps = Document(), Document(step_s=0.0)
    for document in (at_once, in_steps):
        document.set_page(plain_page())
        document.load([message])
        document.build(0)
        laid_out_rows(document)
    while in_steps.unparsed is not None:
        in_steps.grow(0)
    assert segments_of(in_steps) == segments_of(at_once)
    assert in_steps.total == at_once.total


def test_a_late_link_lays_out_what_is_new_and_no_more():
    entry = Entry(message=streaming(), is_streaming=True)
    document, laid = document_with(entry), []
    document.layout.lines = lambda block, links, lines=document.layout.lines: (
        laid.append(block.source) or lines(block, links)
    )
    document.build(0)
    for number in range(100):
        laid.clear()
        entry.feed(TextDelta(text=f"[r{number}] text\n\n[r{number}]: /{number}\n\n"))
        document.grow(0)
        assert len(laid) < 8
