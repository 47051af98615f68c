from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import ReasoningDelta, TextDelta
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.selection import Selected, Unit, ends_at, message_ends
from tests.support.chat_log_app import (
    LogApp,
    answer,
    chance_of,
    plain_page,
    pour,
    prose,
    question,
    rows,
    screen_text,
    streaming,
    text,
)

pytestmark = pytest.mark.timeout(120)
PARAGRAPHS = "\n\n".join(f"Paragraph {n} of a long answer." for n in range(400))


def looks(document, index=0):
    """Rows of a message, all laid out; where it is cut into blocks is not seen."""
    document.sweep(index, 0, 1, 1_000_000)
    entry, found = document.entries[index], []
    for number, block in enumerate(entry.blocks):
        lines = [line.text for line in block.lines or []]
        found += [""] * (entry.heights[number] - len(lines)) + lines
    return found


def document_of(*messages, page):
    document = Document()
    document.load(messages)
    document.set_page(page)
    return document


def at_once(message, *, page, **changes):
    """Rows of a message that is cut into blocks at once."""
    document = document_of(page=page)
    index = document.append(Entry(message, **changes))
    document.rebuild(index)
    return looks(document)


def test_words_that_stream_behind_a_long_thought_come_in_their_place():
    page, said, thought = plain_page(), PARAGRAPHS[:900], PARAGRAPHS[:1_500]
    document = document_of(page=page)
    index = document.append(Entry(streaming(), is_streaming=True, is_folded=False))
    entry = document.entries[index]
    document.build(index)
    for delta in [
        ReasoningDelta(text=thought),
        *(TextDelta(text=said[n : n + 30]) for n in range(0, 900, 30)),
    ]:
        entry.feed(delta)
        document.grow(index)
    document.rebuild(index)
    message = answer(said, thought=thought, receipt=None)
    assert looks(document)[:-1] == at_once(message, page=page, is_folded=False)[:-1]


async def test_a_long_message_is_there_at_once(pilot, log):
    log.load([question("Go on."), answer(PARAGRAPHS * 10)])
    assert "Paragraph 399" in screen_text(log)


def test_code_that_a_long_message_ends_with_is_coloured_as_a_whole_though_its_fence_has_no_end():
    document = document_of(answer("Code:\n\n```py\n" + "x = 1\n" * 300), page=plain_page())
    document.sweep(0, 0, 1, 1_000)
    assert [info for _, info in document.unhighlighted] == ["py"]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_done_meanwhile_the_log_looks_as_if_all_had_come_at_once(seed):
    chance = chance_of(seed)
    messages = [question("Go on."), answer(text(chance, 8), thought=prose(chance, 200)), question("And?")]
    streamed = text(chance, 6)
    async with LogApp().run_test(size=(80, 30)) as pilot:
        log = pilot.app.log_view
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
    assert shown == [at_once(message, page=page) for message in (*messages, last)]


async def test_a_bookmark_in_the_middle_is_gone_to(pilot, log):
    messages = [question("Go on."), answer(PARAGRAPHS)]
    log.load(messages)
    log.scroll_to(y=301)
    mark, seen = log.viewport.bookmark, rows(log)
    log.load([question("Other.")])
    log.load(messages)
    assert log.go_to_bookmark(mark)
    assert rows(log) == seen
    assert log.viewport.bookmark == mark


@pytest.mark.parametrize("by", [1, -1])
async def test_a_hit_in_a_long_message_is_gone_to(pilot, log, by):
    log.load([question("Go on."), answer(PARAGRAPHS.replace("Paragraph 250 ", "needle 250 "))])
    log.finder.find("needle")
    log.finder.step(by)
    assert log.finder.standing == (1, 1)
    assert "needle 250" in screen_text(log)


async def test_a_hit_in_a_long_thought_unfolds_it_and_is_shown(pilot, log):
    thought = PARAGRAPHS.replace("Paragraph 250 ", "needle 250 ")
    log.load([question("Go on."), answer("Said.", thought=thought)])
    log.finder.find("needle")
    log.finder.step(1)
    assert "needle 250" in screen_text(log)


async def test_a_long_thought_that_is_folded_is_not_parsed(pilot, log):
    log.load([question("Go on."), answer("Said.", thought=PARAGRAPHS)])
    assert not log.document.entries[1].parts[0].tail.closed
    assert "Said." in screen_text(log)


async def test_a_copy_has_all_of_a_long_message(pilot, log):
    log.load([question("Go on."), answer(PARAGRAPHS)])
    log.focus()
    await pilot.press("y")
    assert pilot.app.wanted()[-1] == ("copy", PARAGRAPHS)


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_selection_over_a_long_message_copies_it(pilot, log, is_whole):
    log.load([question("Go on."), answer(PARAGRAPHS), question("And?")])
    log.scroll_home(animate=False)
    start = message_ends(1)
    if not is_whole:  # from the second paragraph on
        place = log.document.locate(log.document.heights.top(1) + 3)
        start = ends_at(log.document, place, 0, Unit.PARAGRAPH)
    log.selection.selected = Selected(start, message_ends(2), Unit.CHARACTER)
    wanted = PARAGRAPHS if is_whole else PARAGRAPHS.partition("\n\n")[2]
    assert log.copy_selection()
    assert pilot.app.clipboard == wanted + "\n\nAnd?"


async def test_the_final_form_of_a_long_answer_keeps_its_blocks(pilot, log):
    log.load([question("Go on.")])
    log.begin_answer(streaming())
    for start in range(0, 4_000, 100):
        await pour(log, PARAGRAPHS[start : start + 100])
    was = log.document.entries[1].blocks[:50]
    log.finish(answer(PARAGRAPHS[:4_000]))
    assert all(old is new for old, new in zip(was, log.document.entries[1].blocks, strict=False))
