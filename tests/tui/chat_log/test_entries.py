"""The messages of a session that grew turn by turn."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.tui.widgets.chat_log.document import Entries
from lmchat.tui.widgets.chat_log.entry import Entry
from tests.support.chat_log_app import answer, question

TURNS = 40


def of_turns():
    """Entries of a session, half of them forgotten, and its messages; each tenth model is another."""
    messages = [question("the first")]
    entries = Entries(messages)
    for turn in range(TURNS):
        reply = replace(answer(f"It is {turn}."), model=f"m{turn // 10}")
        for message in (question(f"What is {turn}?"), reply):
            messages.append(message)
            entries.append(Entry(message))
    for index in range(TURNS):
        entries.forget(index)
    return entries, messages


def test_all_that_was_said_is_there_in_its_order():
    entries, messages = of_turns()
    assert [entries.source(index) for index in range(len(entries))] == [one.text for one in messages]
    assert [entries[index].message for index in range(len(entries))] == messages
    assert all(entries.place(one.message_id) == place for place, one in enumerate(messages))


def test_the_lines_between_models_stay_where_they_were():
    entries, messages = of_turns()
    switches = [(index, entries[index].switch) for index in range(len(messages)) if entries[index].switch]
    assert switches == [(2 + 20 * turn, f"m{turn}") for turn in range(1, TURNS // 10)]
