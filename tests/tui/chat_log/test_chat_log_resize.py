from __future__ import annotations

import re
from itertools import pairwise

import pytest
from textual import events

from tests.support.chat_log_app import (
    LogApp,
    answer,
    chance_of,
    load,
    load_focused,
    pour,
    question,
    rows,
    screen_text,
    streaming,
    talk,
)
from tests.support.programs import until

NUMBERED = " ".join(f"word{number}" for number in range(3_000))
CODE = "```python\n" + "\n".join(f"line_{n} = {'x' * (n % 90)}" for n in range(600)) + "\n```"


SIZE = (80, 24)


@pytest.fixture
async def log(pilot):
    log = pilot.app.log_view
    await load(pilot, *talk(chance_of(7), 12))
    return log


async def resize(pilot, *size):
    await pilot.resize_terminal(*size)
    await until(lambda: pilot.app.size == size, f"the size {size}")
    await pilot.pause()


def plain(log):
    """What is to be read, without the bar of the focus and what a focused message offers."""
    return [re.sub(r" +c copy$", "", row.replace("▌", " ").rstrip()).rstrip() for row in rows(log)]


@pytest.mark.parametrize("seed", range(2))
async def test_the_old_size_brings_the_old_view_back_wherever_one_reads(seed):
    chance = chance_of(seed)
    width, height = chance.randint(40, 160), chance.randint(12, 50)
    async with LogApp().run_test(size=(width, height)) as pilot:
        log = pilot.app.log_view
        await load(pilot, *talk(chance, 6))
        for _ in range(2):
            log.scroll_to(y=chance.randint(0, log.max_scroll_y))
            before = rows(log)
            for _ in range(chance.randint(1, 3)):
                await resize(pilot, chance.randint(1, 400), chance.choice([1, 12, height, 100]))
            await resize(pilot, width, height)
            assert rows(log) == before


async def test_the_line_at_the_top_stays_the_first_within_a_block_of_many_screens(pilot, log):
    for text in (NUMBERED, CODE):
        await load(pilot, question("Go on."), answer(text))
        log.scroll_to(y=log.max_scroll_y // 2)
        first = re.findall(r"(?:word|line_)\d+", rows(log)[0])[0]
        for width in (40, 237, 51, 80):
            await resize(pilot, width, 24)
            assert first in " ".join(rows(log)[:2])


async def test_a_storm_of_resizes_changes_nothing(pilot, log):
    log.scroll_to(y=200)
    before, chance = rows(log), chance_of(1)
    for _ in range(12):
        await pilot.resize_terminal(chance.randint(1, 400), chance.randint(1, 100))
    await resize(pilot, 80, 24)
    assert rows(log) == before


async def test_at_the_end_it_stays_at_the_end_through_all_sizes(pilot, log):
    for size in ((40, 12), (400, 100), (12, 5), (80, 24)):
        await resize(pilot, *size)
        assert log.viewport.is_following
        assert log.is_vertical_scroll_end


async def test_a_larger_screen_that_shows_the_end_does_not_follow_it(pilot, log):
    log.begin_answer(streaming("Begun."))
    await pilot.pause()
    log.scroll_relative(y=-5)
    await resize(pilot, 80, 40)
    assert log.viewport.is_at_end
    seen = rows(log)
    await pour(log, "".join(f"\n\nmore {n}" for n in range(30)))
    await pilot.pause()
    assert rows(log)[: len(seen) - 2] == seen[:-2]
    assert not log.viewport.is_following
    log.scroll_end()
    log.scroll_to(y=0)
    assert not log.viewport.is_following


async def test_back_at_the_old_size_what_came_meanwhile_is_below(pilot, log):
    log.begin_answer(streaming("Begun."))
    await pilot.pause()
    log.scroll_relative(y=-150)
    before = rows(log)
    for width in (60, 120, 80):
        await resize(pilot, width, 24)
        await pour(log, "\n\nmore and more" * 9)
    await pilot.pause()
    assert rows(log) == before
    assert pilot.app.new_lines()[-1] == 9 * 3 * 2


async def test_on_a_screen_that_was_made_larger_wheel_and_keys_follow_the_end_again(pilot, log):
    for has_wheel in (True, False):
        await resize(pilot, 80, 24)
        log.scroll_relative(y=-5)
        await resize(pilot, 80, 40)
        assert log.viewport.is_at_end
        assert not log.viewport.is_following
        if has_wheel:
            await pilot._post_mouse_events([events.MouseScrollDown], log, offset=(10, 5))
        else:
            log.scroll_relative(y=2)
        await pilot.pause()
        assert log.viewport.is_following


async def test_the_focused_message_stays_on_its_row(pilot, log):
    await load_focused(pilot, *(question(f"Mark {n}. " + "word " * 30) for n in range(60)))
    for _ in range(22):
        log.focus_message(-1)
    row = next(number for number, text in enumerate(rows(log)) if "Mark 37" in text)
    for width in (60, 45, 140, 100, 80):
        await resize(pilot, width, 24)
        assert "Mark 37" in rows(log)[row]
    await resize(pilot, 80, 12)
    assert "Mark 37" in screen_text(log)


async def test_no_size_is_too_small_or_too_large(pilot, log):
    log.focus_message(-1)
    for size in ((20, 8), (5, 3), (1, 1), (39, 11), (400, 100)):
        await resize(pilot, *size)
        log.begin_answer(streaming("Some words that are there."))
        log.scroll_relative(y=-3)
        await pour(log, "\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
        log.scroll_end()
        await pilot.pause()
        assert all(len(row) <= size[0] for row in rows(log))


async def test_a_bookmark_is_the_same_line_after_the_session_was_loaded_again(log):
    messages = [question("Go on."), answer(NUMBERED)]
    log.load(messages)
    log.scroll_to(y=101)
    mark, seen = log.viewport.bookmark, rows(log)
    log.load(messages)
    assert log.go_to_bookmark(mark)
    assert rows(log) == seen


async def test_each_step_moves_by_itself_through_what_nobody_has_seen():
    chance = chance_of(2)
    async with LogApp().run_test(size=(chance.randint(40, 120), chance.randint(12, 40))) as pilot:
        log = pilot.app.log_view
        await load(pilot, *talk(chance, 8))
        for step in (chance.choice([1, 2, 5]) for _ in range(80)):
            before = plain(log)
            log.scroll_relative(y=-step)
            moved = min(step, len(before))
            assert plain(log)[moved:] == before[:-moved] or not log.scroll_offset.y
        seen = [plain(log)]
        while not log.viewport.is_at_end:
            log.scroll_relative(y=1)
            seen.append(plain(log))
        assert all(after[:-1] == before[1:] for before, after in pairwise(seen))


async def test_a_table_that_turns_into_a_list_of_values_keeps_its_row_at_the_top(pilot, log):
    head = "| " + " | ".join(f"a long name {n}" for n in range(8)) + " |\n" + "|---" * 8 + "|\n"
    table = head + "".join(f"| N{n} |" + " some words |" * 7 + "\n" for n in range(22))
    await pilot.resize_terminal(120, 12)
    await load(pilot, question("Go on."), answer(table + "\n\n" + NUMBERED))
    log.scroll_to(y=20)
    first = int(re.findall(r"N(\d+)", screen_text(log))[0])
    await resize(pilot, 44, 30)
    found = [int(number) for number in re.findall(r"N(\d+)", screen_text(log))]
    assert found
    assert abs(found[0] - first) <= 1
