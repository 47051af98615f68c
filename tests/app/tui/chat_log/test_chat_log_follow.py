from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from msgspec.structs import replace
from textual import events

from lmchat.core.servers.events import TextDelta
from tests.support.chat_log_app import (
    answer,
    call,
    load,
    question,
    rows,
    screen_text,
    streaming,
    talk,
)
from tests.support.markdown_corpus import LONG_LIST, MIXED
from tests.support.programs import until

SIZE = (80, 24)


async def pour(log, text):
    for start in range(0, len(text), 20):
        log.apply(TextDelta(text=text[start : start + 20]))


@pytest.mark.parametrize("up", [5, 120])
async def test_reading_back_no_line_moves_while_text_streams_in(pilot, log, up):
    log.show(talk(6))
    log.start_answer(streaming())
    await pour(log, MIXED)
    log.flush()
    await pilot.pause()
    log.scroll_relative(y=-up)
    await pilot.pause()
    before = rows(log)
    for start in range(0, len(LONG_LIST), 9):
        log.apply(TextDelta(text=LONG_LIST[start : start + 9]))
        log.flush()
        kept = rows(log)[: 10 if up < 10 else 24]
        assert kept == before[: len(kept)]
    assert not log.viewport.is_following


async def test_frames_are_as_rare_as_was_asked_for_and_no_timer_is_left(pilot, log):
    log.show([])
    log.start_answer(streaming())
    await pilot.pause()
    flushed_s = []
    flush = log.flush
    clock = asyncio.get_running_loop().time
    log.flush = lambda: (flushed_s.append(clock()), flush())
    log.inflow.frames_per_second = 5
    for _ in range(6):
        for _ in range(10):
            log.apply(TextDelta(text="word "))
        await pilot.pause(0.02)
    await until(lambda: log.inflow.timer is None, "what has come is shown")
    assert len(flushed_s) >= 2
    assert all(after - before >= 0.19 for before, after in pairwise(flushed_s))
    assert screen_text(log).count("word") == 60


async def test_the_wheel_scrolls_and_the_end_key_follows_again(pilot, log):
    await load(pilot, *talk(6))
    end = log.scroll_offset.y
    await pilot._post_mouse_events([events.MouseScrollUp], log, offset=(10, 5))
    await pilot.pause()
    assert log.scroll_offset.y < end
    assert not log.viewport.is_following
    log.focus()
    await pilot.press("end")
    assert log.viewport.is_following
    assert log.scroll_offset.y == log.max_scroll_y
    log.show(talk(1)[:2])
    log.viewport.focus(0)
    assert not log.viewport.is_following
    await pilot._post_mouse_events([events.MouseScrollDown], log, offset=(10, 5))
    await pilot.pause()
    assert log.viewport.is_following


async def test_text_that_turns_out_to_be_a_thought_stays_where_it_is_read(pilot, log):
    text = "".join(f"Line {number}.\n\n" for number in range(60))
    for rows_up in (0, 30):
        begun = streaming()
        log.show([question("go"), call()])  # below it, the thought is another row
        log.start_answer(begun)
        await pour(log, text)
        log.flush()
        log.scroll_relative(y=-rows_up)
        await pilot.pause()
        words = [row.strip() for row in rows(log)]
        assert "Line 40." in words or not rows_up
        log.restate(replace(begun, parts=answer("", thought=text).parts))
        if rows_up:
            assert [row.strip() for row in rows(log)] == words
        else:
            assert "Line" not in screen_text(log)
