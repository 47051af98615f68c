from __future__ import annotations

import re

import pytest

from tests.support.chat_log_app import (
    answer,
    load,
    load_focused,
    question,
    rows,
    screen_text,
    talk,
)
from tests.support.programs import until

SIZE = (80, 24)

NUMBERED = " ".join(f"word{number}" for number in range(3_000))
CODE = "```python\n" + "\n".join(f"line_{n} = {'x' * (n % 90)}" for n in range(600)) + "\n```"


@pytest.fixture
async def log(pilot):
    log = pilot.app.log_view
    await load(pilot, *talk(12))
    return log


async def resize(pilot, *size):
    await pilot.resize_terminal(*size)
    await until(lambda: pilot.app.size == size, f"the size {size}")
    await pilot.pause()


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
    before = rows(log)
    for size in ((69, 73), (33, 9), (131, 58), (1, 100), (389, 61), (243, 98), (195, 1), (7, 30)):
        await pilot.resize_terminal(*size)
    await resize(pilot, 80, 24)
    assert rows(log) == before


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
