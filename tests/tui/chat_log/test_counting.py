"""Hits are counted once: those in a folded thought are not those in the answer."""

from __future__ import annotations

from tests.support.chat_log_app import answer, question


async def test_hits_of_a_folded_thought_and_of_its_answer_are_counted_once_each(pilot, log):
    link = "[owl](http://owl.example)"
    log.load([question("Which?"), answer(f"An {link}.", thought=f"Is it an {link}? An owl.")])
    await pilot.pause()
    log.find("owl")
    assert log.finder.standing[1] == 3
    log.finder.step(log.document, 1)
    assert log.finder.is_hidden
    assert log.finder.standing == (1, 3)
