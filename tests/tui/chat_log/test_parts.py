"""Text of an answer that turns out to be thought looks like thought."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.message import ReasoningPart, TextPart
from tests.support.chat_log_app import pour, rows, streaming


async def begun(pilot, log, text):
    """An unfolded answer that has said something so far."""
    message = streaming()
    log.begin_answer(message)
    log.document.entries[0].is_folded = False
    await pour(log, text)
    await pilot.pause()
    return message


async def test_text_that_was_seen_already_is_indented_as_thought_once_it_is_thought(pilot, log):
    message = await begun(pilot, log, "First **this**.\n\nThen that.\n\n")
    assert "     First this." in rows(log)
    log.restate(replace(message, parts=(ReasoningPart(text="First **this**.\n\nThen that.\n\n"),)))
    await pilot.pause()
    assert "       First this." in rows(log)
    assert "       Then that." in rows(log)


async def test_a_mark_that_lacks_its_end_is_seen_once_the_thought_that_it_is_in_has_ended(pilot, log):
    message = await begun(pilot, log, "Perhaps **two")
    assert "     Perhaps two" in rows(log)
    log.restate(replace(message, parts=(ReasoningPart(text="Perhaps **two"), TextPart(text="Two."))))
    await pilot.pause()
    assert "       Perhaps **two" in rows(log)
    assert "     Two." in rows(log)
