from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.sessions.message import AnswerState, TextPart
from tests.support.chat_log_app import answer, pour, question, rows, streaming

ELSEWHERE = "another lmchat is writing this"


async def test_the_end_of_ones_own_goes_to_ones_own_and_that_of_the_other_to_the_other(pilot):
    log = pilot.app.log_view
    theirs = streaming("theirs")
    log.show([question("Go on."), theirs], is_ours=False)
    log.append(question("And on."))
    mine = streaming()
    log.start_answer(mine)
    await pour(log, "mine")
    log.replace(replace(theirs, parts=(TextPart(text="theirs goes on"),)))
    await pour(log, " too")
    await pilot.pause()
    said = [row.strip() for row in rows(log)]
    assert said.index("theirs goes on") < said.index("mine too")
    log.end_answer(replace(answer("mine too"), message_id=mine.message_id))
    await pilot.pause()
    assert sum(ELSEWHERE in row for row in rows(log)) == 1
    log.replace(
        replace(theirs, parts=(TextPart(text="theirs goes on"),), state=AnswerState.STOPPED)
    )
    await pilot.pause()
    assert not any(ELSEWHERE in row for row in rows(log))
    said = [row.strip() for row in rows(log)]
    assert said.index("theirs goes on") < said.index("mine too")
