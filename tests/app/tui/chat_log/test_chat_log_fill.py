from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.core.servers.events import TextDelta
from lmchat.core.sessions.message import AnswerState
from lmchat.core.sessions.session import MessagePath
from tests.support.chat_log_app import answer, pour, question, rows, streaming
from tests.support.markdown_corpus import MIXED

SIZE = (80, 24)

END = 64


def talk(count):
    messages = []
    for n in range(count):
        asked = question(f"Question {n}?", parent_id=messages[-1].message_id if messages else None)
        text = f"{MIXED}\n\nEnd {n}" if n % 9 == 0 else f"Answer {n}\n\nEnd {n}"
        said = answer(text, parent_id=asked.message_id)
        messages += [asked, said]
    return MessagePath(messages)


async def start(pilot, whole):
    pilot.app.log_view.show(whole[-END:])
    await pilot.pause()
    return whole


@pytest.fixture
async def whole(pilot):
    """A session whose end is in the log."""
    return await start(pilot, talk(200))


async def test_what_comes_above_moves_nothing_while_one_reads_back(pilot, log, whole):
    for rows_up in (0, 70, 300):
        await start(pilot, whole)
        for _ in range(0, rows_up, 10):
            log.scroll_relative(y=-10)
        log.focus_message(-1)
        await pilot.pause()
        before = rows(log)
        focused = log.focused_message
        log.prepend_older(talk(3))  # another path
        log.prepend_older(whole)
        assert rows(log) == before
        await pilot.pause()
        assert rows(log) == before
        assert log.focused_message == focused
    await start(pilot, whole)
    log.go_to_message(whole[-END].message_id, row=5)  # there is no room for it above
    before = rows(log)
    log.prepend_older(whole)
    assert rows(log) == before


async def test_an_answer_that_streams_meanwhile_goes_on_in_its_place(pilot, log, whole):
    log.append(question("One more?"))
    growing = streaming()
    log.start_answer(growing)
    log.apply(TextDelta(text="the first words "))
    log.prepend_older(whole)
    await pour(log, "and the last")
    log.replace(replace(growing, is_excluded=True))
    await pilot.pause()
    assert any("the first words and the last" in row for row in rows(log))
    log.end_answer(
        replace(
            growing, parts=answer("the first words and the last").parts, state=AnswerState.COMPLETE
        )
    )
    await pilot.pause()
    assert sum("the first words and the last" in row for row in rows(log)) == 1
    assert any("One more?" in row for row in rows(log))
