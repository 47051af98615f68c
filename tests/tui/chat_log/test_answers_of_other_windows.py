from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, TextPart
from lmchat.domain.turn import Turn
from tests.support.chat_log_app import answer, pour, question, rows, select, streaming

ELSEWHERE = "another lmchat is writing this"


async def test_figures_of_a_turn_are_never_those_of_an_answer_from_elsewhere(pilot):
    log, theirs = pilot.app.log_view, streaming("theirs")
    log.load([question("Go on."), theirs], is_ours=False)
    log.show_turn(Turn(model="tiny", started_s=0.0), 7.0)
    await pilot.pause()
    assert any(ELSEWHERE in row for row in rows(log))
    assert not any("Esc stop" in row or "7.0" in row for row in rows(log))


async def test_the_end_of_ones_own_goes_to_ones_own_and_that_of_the_other_to_the_other(pilot):
    log, theirs = pilot.app.log_view, streaming("theirs")
    log.load([question("Go on."), theirs], is_ours=False)
    log.append(question("And on."))
    mine = streaming()
    log.begin_answer(mine)
    await pour(log, "mine")
    log.replace(replace(theirs, parts=(TextPart(text="theirs goes on"),)))
    await pour(log, " too")
    await pilot.pause()
    said = [row.strip() for row in rows(log)]
    assert said.index("theirs goes on") < said.index("mine too")
    log.finish(replace(answer("mine too"), message_id=mine.message_id))
    await pilot.pause()
    assert sum(ELSEWHERE in row for row in rows(log)) == 1
    log.replace(
        replace(theirs, parts=(TextPart(text="theirs goes on"),), state=AnswerState.STOPPED)
    )
    await pilot.pause()
    assert not any(ELSEWHERE in row for row in rows(log))
    said = [row.strip() for row in rows(log)]
    assert said.index("theirs goes on") < said.index("mine too")


async def test_where_another_model_answers_is_told_anew_once_the_one_above_has_named_its_own(pilot):
    log, theirs = pilot.app.log_view, streaming("theirs", model="tiny.gguf")
    log.load([question("Go on."), theirs], is_ours=False)
    log.append(question("And on."))
    mine = streaming(model="tiny")
    log.begin_answer(mine)
    log.finish(replace(answer("mine"), message_id=mine.message_id, model="tiny"))
    await pilot.pause()
    assert any("tiny answers from here" in row for row in rows(log))
    log.replace(replace(theirs, model="tiny", state=AnswerState.STOPPED))
    await pilot.pause()
    assert not any("answers from here" in row for row in rows(log))


async def test_what_is_selected_below_or_in_it_stays_selected_while_it_comes_and_when_it_ends(
    pilot,
):
    log, theirs = pilot.app.log_view, streaming("theirs begins")
    log.load([question("Go on."), theirs, question("And on."), answer("mine it is")], is_ours=False)
    await pilot.pause()
    for first, last in (("theirs", "begins"), ("mine", "it is"), ("begins", "mine")):
        await select(pilot, log, first, last)
        selected = log.selected_text
        assert selected.startswith(first)
        assert selected.endswith(last)
        theirs = replace(theirs, parts=(TextPart(text=f"{theirs.text}\n\nmore"),))
        log.replace(theirs)
        await pilot.pause()
        grown = selected.count("more") + (first == "begins")
        assert (log.selected_text.count("more"), log.selected_text.split()[0]) == (grown, first)
        assert log.selected_text.endswith(last)
    await select(pilot, log, "mine", "it is")
    log.replace(replace(theirs, state=AnswerState.STOPPED))
    await pilot.pause()
    assert log.selected_text == "mine it is"


async def test_an_end_that_the_log_saw_no_beginning_of_is_added_below(pilot):
    log, theirs = pilot.app.log_view, streaming("theirs")
    log.load([question("Go on."), theirs], is_ours=False)
    log.finish(answer("mine"))
    await pilot.pause()
    said = [row.strip() for row in rows(log)]
    assert said.index("theirs") < said.index(ELSEWHERE) < said.index("mine")
