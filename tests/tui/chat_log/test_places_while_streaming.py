"""What is read or selected stays with its words while the open end of an answer becomes other blocks."""

from __future__ import annotations

import pytest

from tests.support.chat_log_app import LogApp, drag, pour, rows, streaming

FENCE = "```py\nx = 1\n```\n\n"
FAR = "\n\n".join(f"line {n}" for n in range(30)) + "\n\n"


def words(first, last):
    return "".join(f"w{n} " for n in range(first, last))


TWO_LINES = words(0, 640).rstrip() + "\n" + words(1_000, 1_140)
"""A paragraph that is nearly too long; it will be cut where its lines meet."""


@pytest.fixture
async def pilot():
    async with LogApp().run_test(size=(80, 12)) as pilot:
        yield pilot


@pytest.fixture
def log(pilot):
    log = pilot.app.log_view
    log.begin_answer(streaming())
    return log


def count_of_blocks(log):
    return sum(bool(block.source) for block in log.document.entries[0].blocks)


def row_of_second_line(log):
    return next(y for y, (_, line) in enumerate(log.document.rows(0, 99)) if "w1000" in line.text)


@pytest.mark.parametrize("row", [0, 1])
async def test_rows_in_an_open_paragraph_stay_when_it_is_cut_above_them(pilot, log, row):
    await pour(log, TWO_LINES)
    await pilot.pause()
    log.scroll_to(y=row_of_second_line(log) + row)
    before = rows(log)[: 8 - row]  # the last row of text is not full
    assert count_of_blocks(log) == 1
    for first in (1_140, 1_200, 1_300):
        await pour(log, words(first, first + 60))
        await pilot.pause()
        assert rows(log)[: 8 - row] == before
    assert count_of_blocks(log) > 1


async def test_what_is_selected_in_an_open_paragraph_stays_when_it_is_cut_there(pilot, log):
    start, end = 3, 7
    await pour(log, TWO_LINES)
    await pilot.pause()
    log.scroll_to(y=row_of_second_line(log) - 5)
    await drag(pilot, log, (3, start), (79, end))
    chosen = log.selected_text
    assert chosen.startswith("w")
    await pour(log, words(1_140, 1_500))
    await pilot.pause()
    assert count_of_blocks(log) > 1
    assert log.selected_text.rstrip() == chosen.rstrip()
    assert log.selection.selected.end.number == int(end > 4)


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
    assert log.selection.selected.start.number > 5
    assert log.selected_text == "x = 1"
