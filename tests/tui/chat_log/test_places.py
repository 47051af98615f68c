"""What is read or selected stays with its words while the open end of an answer becomes other blocks."""

from __future__ import annotations

import pytest

from lmchat.domain.event import TextDelta
from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS
from tests.support.chat_log_app import LogApp, rows, streaming
from tests.support.marks import drag

FENCE = "```py\nx = 1\n```\n\n"
FAR = "\n\n".join(f"line {n}" for n in range(30)) + "\n\n"


@pytest.fixture
async def pilot():
    async with LogApp().run_test(size=(80, 12)) as pilot:
        yield pilot


@pytest.fixture
def log(pilot):
    log = pilot.app.log_view
    log.begin_answer(streaming())
    return log


async def pour(log, words):
    await log.apply(TextDelta(text=words))
    log.flush()


def words(first, last):
    return "".join(f"w{n} " for n in range(first, last))


def count_of_blocks(log):
    return sum(bool(block.source) for block in log.document.entries[0].blocks)


async def test_rows_in_an_open_paragraph_stay_when_it_is_cut_above_them(pilot, log):
    bold = "**" + words(0, 900) + "**"  # it is not cut within bold words as long as there is another place
    await pour(log, words(0, 600) + bold[: PIECE_CHARS - 3_000])
    await pilot.pause()
    log.scroll_relative(y=-12)
    before = rows(log)
    assert count_of_blocks(log) == 1
    await pour(log, bold[PIECE_CHARS - 3_000 :])
    await pilot.pause()
    assert count_of_blocks(log) > 1
    assert rows(log) == before


async def test_what_is_selected_in_an_open_paragraph_stays_when_it_is_cut_above_it(pilot, log):
    bold = "**" + words(0, 900) + "**"
    await pour(log, words(0, 600) + bold[: PIECE_CHARS - 3_000])
    await pilot.pause()
    await drag(pilot, log, (10, 3), (30, 5))
    chosen = log.selected_text
    assert chosen
    await pour(log, bold[PIECE_CHARS - 3_000 :])
    await pilot.pause()
    assert log.selected_text == chosen


async def test_code_that_begins_like_other_code_above_is_not_taken_for_it(pilot, log):
    await pour(log, FENCE + FAR + FENCE.removesuffix("\n```\n\n"))
    await pilot.pause()
    row = next(row for row, text in reversed(list(enumerate(rows(log)))) if "x = 1" in text)
    await drag(pilot, log, (3, row), (9, row))
    assert log.selected_text == "x = 1"
    log.scroll_relative(y=-1)
    before = rows(log)
    await pour(log, "\ny = 2")
    await pilot.pause()
    assert rows(log)[:-3] == before[:-3]
    assert log.selected.start.number > 5
    assert log.selected_text == "x = 1"
