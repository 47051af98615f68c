from __future__ import annotations

from msgspec.structs import replace

from lmchat.sessions.message import ToolCallPart
from tests.support.chat_log_app import (
    answer,
    load,
    marked,
    question,
    screen_text,
)


async def test_hits_are_counted_and_marked_whatever_their_case(log):
    log.show([question("Shade or sun?"), answer("The **shade**, deep SHADE.")])
    assert log.finder.find("shade") == 3
    assert marked(log) == ["Shade", "shade", "SHADE"]
    for number, current in enumerate(("Shade", "shade", "SHADE"), 1):
        assert log.finder.step(1) == (number, 3)
        assert marked(log, "hit-now") == [current]
        assert len(marked(log)) == 2
    log.finder.clear()
    assert marked(log) == []


async def test_hits_are_found_in_all_that_is_said_and_not_in_what_the_log_tells(log):
    text = (
        "# Fern head\n\n> fern quote\n\n- fern item\n\n| fern | b |\n|---|---|\n| c | fern |\n\n"
        "```python\nfern = 1\n```\n\n[fern](http://fern.example) and `fern`, <http://example.org/fern>\n"
    )
    call = replace(
        answer(""), parts=(ToolCallPart(call_id="", name="plant", arguments='{"a": "fern"}'),)
    )
    log.show([question("fern?"), replace(answer(text), model="fern"), call])
    assert log.finder.find("fern") == 12  # with the address of a link, which is not marked
    assert len(marked(log)) == 11


async def test_a_hit_in_a_folded_thought_is_counted_and_unfolded_when_it_is_reached(pilot, log):
    thinking = answer("Nothing.", thought="A fern, and a fern.")
    await load(pilot, question("fern"), thinking, answer("Last fern."))
    assert log.finder.find("fern") == 4
    log.finder.step(1)
    assert "A fern" not in screen_text(log)
    assert log.finder.step(1) == (2, 4)
    assert "A fern, and a fern." in screen_text(log)
    assert marked(log, "hit-now") == ["fern"]
    assert log.finder.step(1) == (3, 4)
    assert "A fern, and a fern." in screen_text(log)
    assert log.finder.step(1) == (4, 4)
    log.finder.clear()
    assert "A fern" in screen_text(log)


async def test_words_of_a_search_are_marked_everywhere_and_the_message_shows_its_first(pilot, log):
    await load(
        pilot, *[question(f"{n} Shade") for n in range(50)] + [answer("hay") for _ in range(50)]
    )
    message_id = log.document.entries[7].message.message_id
    assert log.go_to_message(message_id)
    log.finder.mark_words(message_id, ("shade", "Shade", "had", "7"))
    await pilot.pause()
    assert "7 Shade" in screen_text(log)
    assert marked(log, "hit-now") == ["7"]
    assert log.finder.index == 7
    assert log.focused_message.message_id == message_id
    assert not log.go_to_message("nowhere")


async def test_n_goes_on_after_the_search_was_left(pilot, log):
    log.show([answer("fern fern")])
    log.finder.find("fern")
    log.finder.clear()
    log.focus()
    await pilot.press("n")
    assert marked(log, "hit-now") == ["fern"]
    assert log.finder.number_and_count == (1, 2)
    await pilot.press("n")
    assert log.finder.number_and_count == (2, 2)
    await pilot.press("N")
    assert log.finder.number_and_count == (1, 2)
