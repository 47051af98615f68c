"""A session that lasts: what came long ago is packed, and still there in every way."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, TextPart
from lmchat.domain.path import MessagePath
from lmchat.tui.widgets.chat_log.document import Entries
from lmchat.tui.widgets.chat_log.entry import Entry
from tests.support.chat_log_app import answer, question, streaming

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
            entries[-1].switch = entries.switch_at(len(entries) - 1)
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


def test_what_is_shown_in_another_way_stays_so():
    entries, _ = of_turns(10)
    changed = entries[5]
    changed.is_source = True
    laid_out = entries[6]
    laid_out.build()
    for turn in range(TURNS):
        entries.append(Entry(question(f"And {turn}?")))
    assert entries[5] is changed
    assert entries[6] is laid_out


def test_an_answer_on_its_way_stays_as_it_is():
    entries, _ = of_turns(10)
    kept = Entry(streaming(), is_open=True)
    entries.append(kept)
    place = len(entries) - 1
    for turn in range(TURNS * 2):
        entries.append(Entry(question(f"And {turn}?")))
    assert entries[place] is kept
    assert entries.source(place + 1) == "And 0?"


def test_notices_stay_where_they_are_and_keep_nothing_else_unpacked():
    entries, _ = of_turns(10)
    for turn in range(TURNS * 2):
        entries.append(Entry(question(f"And {turn}?")))
        if turn % 10 == 0:
            entries.append(Entry(None, note=f"notice {turn}"))
    assert sum(1 for _ in entries.made()) < SOME * 3 // 4
    entries.forget(0)
    notices = [index for index in range(len(entries)) if not entries.is_message(index)]
    assert [entries[index].note for index in notices] == [
        f"notice {turn}" for turn in range(0, TURNS * 2, 10)
    ]
    assert all(entries[index].message is None and not entries.source(index) for index in notices)
    assert entries.message_from(notices[0], 1) == notices[0] + 1


def test_an_answer_that_ends_long_after_others_came_is_what_it_became():
    entries, _ = of_turns(10)
    late = streaming()
    entry = Entry(late, is_open=True)
    entries.append(entry)
    place = len(entries) - 1
    for turn in range(TURNS * 2):
        entries.append(Entry(question(f"And {turn}?")))
    whole = replace(late, parts=(TextPart(text="At last."),), state=AnswerState.COMPLETE)
    entry.finish(whole)
    for turn in range(TURNS * 2):
        entries.append(Entry(question(f"And {turn}?")))
    entries.forget(0)
    assert entries[place].message == whole
