"""Heights are the sum of what is painted, whatever was laid out before."""

from __future__ import annotations

import pytest

from lmchat.domain.event import TextDelta
from lmchat.domain.message import Role, text_message
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.entry import Entry
from tests.support.chat_log_app import document_with, plain_page, streaming


def laid_out_rows(document):
    document.lay_out_from(0, 0, 1, 1 << 30)
    return list(document.rows(0, 1 << 30))


def segments_of(document):
    return [line and line.segments for _, line in laid_out_rows(document)]


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
