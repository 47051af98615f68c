"""However long a session lasts, only what was looked at last is more than its text."""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.texts import KINDS
from tests.support.chat_log_app import LogApp, answer, pour, question, rows, streaming
from tests.support.counting import counted_lines

SIZE = (80, 24)

pytestmark = pytest.mark.timeout(120)
TEXT = KINDS["mixed"](2_000)


async def take_turns(log, turns):
    for turn in range(turns):
        log.append(question(f"Question {turn}"))
        log.begin_answer(streaming())
        text = f"Answer {turn}\n\n{TEXT}"
        for start in range(0, len(text), 400):
            await pour(log, text[start : start + 400])
        log.finish(answer(text))


async def test_what_is_a_message_again_looks_as_it_did():
    pictures = []
    for kept in (1_000_000, 300):
        async with LogApp().run_test(size=(80, 24)) as pilot:
            log = pilot.app.log_view
            log.document.kept_lines = kept
            await take_turns(log, 10)
            seen = [rows(log)]
            for _ in range(30):
                log.scroll_to(y=log.scroll_offset.y - 20)
                seen.append(rows(log))
            pictures.append(seen)
    assert pictures[0] == pictures[1]


async def test_what_grows_or_was_opened_up_is_not_forgotten(log):
    log.document.kept_lines = 200
    log.append(answer("short", thought="opened up"))
    log.viewport.focus_last()
    log.toggle("is_folded")
    source = answer("**as source**")
    log.append(source)
    log.show_message(source.message_id)
    log.toggle("is_source")
    await take_turns(log, 10)
    opened, as_source, *_ = log.document.entries
    assert not opened.is_folded
    assert as_source.is_source
    log.begin_answer(streaming())
    for _ in range(30):
        await pour(log, TEXT)
    assert log.document.entries[-1].blocks
    assert log.document.entries[-1].source == TEXT * 30


async def test_a_turn_costs_as_much_at_the_end_as_at_the_beginning(log):
    log.document.kept_lines = 300
    log.document.step_s = math.inf
    await take_turns(log, 3)
    counts = []
    for _ in range(12):
        with counted_lines() as lines:
            await take_turns(log, 1)
        counts.append(lines.count)
    assert max(counts[-3:]) <= 1.3 * max(counts[:3])


async def test_what_is_on_the_screen_is_kept_however_long_it_is(log):
    long = [answer(f"Answer {turn}\n\n{TEXT * 3}") for turn in range(3)]
    log.document.kept_lines = 200
    log.load(tuple(long))
    assert log.document.entries[-1].blocks
    for _ in range(12):
        log.scroll_to(y=log.scroll_offset.y - log.size.height)
        assert log.document.entries[log.document.locate(log.scroll_offset.y)[0]].blocks
        assert any(row.strip() for row in rows(log))
