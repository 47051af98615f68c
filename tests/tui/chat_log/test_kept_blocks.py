"""However long a session lasts, a turn costs the same."""

from __future__ import annotations

import pytest

from tests.benchmarks.texts import KINDS
from tests.support.chat_log_app import answer, pour, question, streaming
from tests.support.counting import counted_lines

pytestmark = pytest.mark.timeout(120)

SIZE = (80, 24)
TEXT = KINDS["mixed"](2_000)


async def take_turns(log, turns):
    for turn in range(turns):
        log.append(question(f"Question {turn}"))
        log.begin_answer(streaming())
        text = f"Answer {turn}\n\n{TEXT}"
        for start in range(0, len(text), 400):
            await pour(log, text[start : start + 400])
        log.finish(answer(text))


async def test_a_turn_costs_as_much_at_the_end_as_at_the_beginning(log):
    await take_turns(log, 3)
    counts = []
    for _ in range(12):
        with counted_lines() as lines:
            await take_turns(log, 1)
        counts.append(lines.count)
    assert max(counts[-3:]) <= 1.3 * max(counts[:3])
