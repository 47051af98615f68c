"""A session that lasts: what came long ago is packed, and still there in every way."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.message import TextPart
from lmchat.domain.path import MessagePath
from lmchat.tui.widgets.chat_log.document import Entries
from lmchat.tui.widgets.chat_log.entry import Entry
from tests.support.chat_log_app import answer, question

TURNS = 200
SOME = 400
"""More than are kept as entries."""


def of_turns(count=TURNS):
    """Entries of a session that grew turn by turn, and the messages in them; each tenth model is another."""
    messages = [question("the first")]
    entries = Entries(MessagePath(messages))
    for turn in range(count):
        for message in (
            question(f"What is {turn}?"),
            replace(answer(f"It is {turn}."), model=f"m{turn // 10}"),
        ):
            messages.append(message)
            entries.append(Entry(message))
            entries.update_switches(len(entries) - 1)
    return entries, messages


def test_all_that_was_said_is_there_in_its_order():
    entries, messages = of_turns()
    assert [entries.source(index) for index in range(len(entries))] == [one.text for one in messages]
    assert [entries[index].message for index in range(len(entries))] == messages
    assert [index for index, *_ in entries.searched(7)] == [*range(7, len(messages)), *range(7)]


def test_the_lines_between_models_stay_where_they_were():
    entries, messages = of_turns()
    switches = [(index, entries[index].switch) for index in range(len(messages)) if entries[index].switch]
    assert switches == [(2 + 20 * turn, f"m{turn}") for turn in range(1, TURNS // 10)]


def test_a_message_that_was_packed_is_found_by_its_id_and_can_be_another():
    entries, messages = of_turns()
    old = next(one for one in messages if one.text == "It is 3.")
    place = entries.place(old.message_id)
    assert place == messages.index(old)
    entries.replace(place, replace(old, parts=(TextPart(text="It was 3."),)))
    assert entries.source(place) == "It was 3."
    assert entries.place(old.message_id) == place
