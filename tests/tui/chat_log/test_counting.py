"""Hits are counted once, and the one that is shown stays the same one."""

from __future__ import annotations

from lmchat.domain.session import MessagePath
from lmchat.tui.widgets.chat_log.matching import Query
from tests.support.chat_log_app import answer, question


async def test_hits_of_a_folded_thought_and_of_its_answer_are_counted_once_each(pilot, log):
    link = "[owl](http://owl.example)"
    log.load([question("Which?"), answer(f"An {link}.", thought=f"Is it an {link}? An owl.")])
    await pilot.pause()
    log.finder.find("owl")
    assert log.finder.standing[1] == 3
    assert log.finder.step(1) == (1, 3)


async def test_the_hit_that_is_shown_stays_when_older_messages_come_above(pilot, log):
    log.load([answer(f"owl {n}") for n in range(4)])
    await pilot.pause()
    log.finder.find("owl")
    log.finder.step(1)
    assert log.finder.step(1) == (2, 4)
    shown = log.document.entries[log.finder.index].message
    log.prepend(MessagePath([answer("an owl"), answer("no bird")]))
    await pilot.pause()
    assert log.finder.standing == (3, 5)
    assert log.document.entries[log.finder.index].message is shown
    assert log.finder.step(1) == (4, 5)


def test_what_looks_like_the_address_of_a_link_is_found_in_code():
    assert Query(["owl"]).count("In `[a](owl)` and [a](owl)") == 1
