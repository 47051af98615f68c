from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.sessions.message import FilePart, ToolCallPart
from lmchat.core.sessions.session import MessagePath
from tests.support.chat_log_app import (
    answer,
    load,
    marked,
    pour,
    question,
    screen_text,
    streaming,
)


async def test_hits_are_found_in_all_that_is_said_and_not_in_what_the_log_tells(log):
    text = (
        "# Fern head\n\n> fern quote\n\n- fern item\n\n| fern | b |\n|---|---|\n| c | fern |\n\n"
        "```python\nfern = 1\n```\n\n[fern](http://fern.example) and `fern`, <http://example.org/fern>\n"
    )
    call = replace(
        answer(""), parts=(ToolCallPart(call_id="", name="plant", arguments='{"a": "fern"}'),)
    )
    part = FilePart(name="a.md", media_type="text/plain", digest="a" * 64, size=3)
    asked = question("fern?")
    asked = replace(asked, parts=(*asked.parts, part))
    log.show([asked, replace(answer(text), model="fern"), call])
    assert log.finder.find("fern") == 12  # with the address of a link, which is not marked
    assert len(marked(log)) == 11
    log.show([answer("[moss]: http://fern.example\n")])
    assert log.finder.step(1) == (1, 1)  # in a definition, which is not shown
    assert marked(log) == []


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
    log.show([answer("A fern.", thought="fern fern"), answer("Moss.", thought="A fern.")])
    both, thought = (entry.message.message_id for entry in log.document.entries)
    log.finder.mark_words(both, ["fern"])
    assert log.finder.number_and_count == (3, 4)  # the text before the thought
    log.finder.mark_words(thought, ["fern"])
    assert log.finder.number_and_count == (4, 4)
    assert marked(log, "hit-now") == ["fern"]
    log.finder.mark_words(thought, ["bark"])
    log.finder.mark_words("deleted", ["fern"])
    assert log.finder.number_and_count == (0, 0)


async def test_the_current_hit_stays_while_messages_come_and_change(pilot, log):
    asked = question("fern")
    said = answer("fern one fern two", parent_id=asked.message_id)
    log.show([said])
    log.finder.find("fern")
    log.finder.step(1)
    log.finder.step(1)
    log.prepend_older(MessagePath([asked, said]))
    assert log.finder.number_and_count == (3, 3)
    log.replace(replace(asked, parts=question("fern fern").parts))
    assert log.finder.number_and_count == (4, 4)
    log.replace(replace(said, parts=answer("fern fern fern").parts))
    assert log.finder.number_and_count == (4, 5)
    log.focus_hit()
    assert log.focused_message.message_id == said.message_id
    assert [log.finder.step(-1) for _ in range(3)] == [(3, 5), (2, 5), (1, 5)]
    log.finder.step(-1)
    log.replace(said)
    assert log.finder.number_and_count == (0, 4)
    log.focus_hit()  # there is none
    assert log.focused_message.message_id == said.message_id
    log.show([question("two")])
    log.start_answer(streaming("moss"))
    await pilot.pause()
    log.finder.seek("two")
    await pour(log, "\n\nmore" * 40)
    assert marked(log, "hit-now") == ["two"]


async def test_n_goes_on_after_the_search_was_left(pilot, log):
    log.show([answer("fern fern")])
    log.focus()
    await pilot.press("n")
    assert [fact.command_id for fact in pilot.app.facts] == ["find"]
    log.finder.find("moss")
    await pilot.press("n")
    assert [notice.message for notice in pilot.app._notifications] == ["No hits."]
    log.finder.find("fern")
    log.finder.clear()
    await pilot.press("n")
    assert marked(log, "hit-now") == ["fern"]
    assert log.finder.number_and_count == (1, 2)
    await pilot.press("n")
    assert log.finder.number_and_count == (2, 2)
    await pilot.press("N")
    assert log.finder.number_and_count == (1, 2)
