from __future__ import annotations

import asyncio

import pytest

from lmchat.tui.chat_log.entry import Entry
from tests.support.chat_log_app import (
    answer,
    chance_of,
    document_with,
    pour,
    prose,
    question,
    streaming,
    text,
)

pytestmark = pytest.mark.timeout(120)


def looks(document, index=0):
    """Rows of a message, all laid out; where it is cut into blocks is not seen."""
    document.lay_out_from(index, 1, 1_000_000)
    entry, found = document.entries[index], []
    for number, block in enumerate(entry.blocks):
        lines = [line.text for line in block.lines or []]
        found += [""] * (entry.heights[number] - len(lines)) + lines
    return found


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_done_meanwhile_the_log_looks_as_if_all_had_come_at_once(
    pilot, log, seed
):
    chance = chance_of(seed)
    messages = [
        question("Go on."),
        answer(text(chance, 8), thought=prose(chance, 200)),
        question("And?"),
    ]
    streamed = text(chance, 6)
    log.load(messages)
    log.begin_answer(streaming())
    acts = [
        lambda: pilot.resize_terminal(chance.choice([50, 80, 110]), 30),
        lambda: log.scroll_to(y=chance.randrange(max(log.max_scroll_y, 1))),
        log.scroll_home,
        log.scroll_end,
        lambda: log.finder.find("alpha"),
        lambda: log.finder.step(chance.choice([1, -1])),
        log.finder.clear,
        lambda: log.toggle("is_folded"),
        lambda: log.toggle("is_source"),
    ]
    for start in range(0, len(streamed), 200):
        await pour(log, streamed[start : start + 200])
        log.viewport.cursor = 1
        done = chance.choice(acts)()
        if asyncio.iscoroutine(done):
            await done
        await asyncio.sleep(0)
    log.finish(answer(streamed))
    log.finder.clear()
    for name, wanted in (("is_source", False), ("is_folded", True)):
        if getattr(log.document.entries[1], name) is not wanted:
            log.viewport.cursor = 1
            log.toggle(name)
    await pilot.resize_terminal(80, 30)
    await pilot.pause()
    shown = [looks(log.document, index) for index in range(len(log.document))]
    page = log.document.layout.page
    last = log.document.entries[3].message
    assert shown == [looks(document_with(Entry(message), page)) for message in (*messages, last)]
