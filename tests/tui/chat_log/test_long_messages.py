"""A long message is read piece by piece: never much at once, and in the end it looks the same."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.domain.event import ReasoningDelta, TextDelta
from lmchat.domain.message import RefusalPart, TextPart, ToolCallPart
from lmchat.tui.widgets.chat_log import entry
from lmchat.tui.widgets.chat_log import viewport as long
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail
from lmchat.tui.widgets.chat_log.selection import Selected, Unit, ends_at, message_ends
from tests.support.chat_log_app import (
    LogApp,
    answer,
    chance_of,
    plain_page,
    prose,
    question,
    rows,
    screen_text,
    streaming,
    text,
)
from tests.support.markdown_corpus import CORPUS, GIANTS

pytestmark = pytest.mark.timeout(120)
PARAGRAPHS = "\n\n".join(f"Paragraph {n} of a long answer." for n in range(400))
MOST_CHARS = 150
DEFINED = "[r]: http://example.org/r\n[other]: http://example.org/other\n\n"
"""Links that are defined later look different from then on, which moves what stands below."""
READING = "reading a long message"


@pytest.fixture
def short(monkeypatch):
    """What is rather short counts as long, so that a test is quick."""
    monkeypatch.setattr(entry, "AT_ONCE_CHARS", MOST_CHARS)
    monkeypatch.setattr(entry, "READ_CHARS", 70)
    monkeypatch.setattr(long, "SLICE_S", 0)


@pytest.fixture
def read_all(short, monkeypatch):
    """Nothing is read before a test calls this with a log."""
    read = long.Viewport.read_long

    async def nothing(*_):
        return

    monkeypatch.setattr(long.Viewport, "read_long", nothing)
    return lambda log: read(log.viewport, lambda place: log.settle(changed=place))


async def until_read(pilot):
    while any(worker.group == "reading" and worker.is_running for worker in pilot.app.workers):
        await pilot.pause()


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
    document.entries[index].build_whole()
    document.rebuild(index)
    return looks(document)


MESSAGES = {
    **{name: answer(words) for name, words in CORPUS.items() if words},
    **{name: answer(grown(1_500)) for name, grown in GIANTS.items()},
    "thought": answer(PARAGRAPHS[:2_000], thought=PARAGRAPHS[:1_500]),
    "late link": answer("See [late] here.\n\n" * 30 + "[late]: http://late.example"),
    "several": replace(
        answer(""),
        parts=(
            TextPart(text=PARAGRAPHS[:700]),
            ToolCallPart(call_id="1", name="look", arguments='{"a": [' + "1, 2,\n" * 200 + "3]}"),
            RefusalPart(text=PARAGRAPHS[:600]),
            TextPart(text="The end."),
        ),
    ),
}


def refold(document, *, is_folded):
    document.entries[0].is_folded = is_folded
    document.rebuild(0)
    assert document.heights.total == document.entries[0].heights.total
    assert len(document.entries[0].heights) == len(document.entries[0].blocks)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_is_read_in_pieces_looks_as_one_that_is_read_at_once(short, name):
    message, chance, width = MESSAGES[name], chance_of(len(name)), 60
    document = document_of(message, page=plain_page(width))
    document.build(0)
    while document.is_reading:
        document.read()
        match chance.randrange(10):
            case 0:
                document.set_page(plain_page(width := chance.choice([30, 60, 90])))
            case 1:
                document.sweep(0, None, -1, chance.randrange(60))
            case 2:
                refold(document, is_folded=chance.choice([True, False]))
    refold(document, is_folded=False)
    while document.is_reading:
        document.read()
    refold(document, is_folded=False)
    assert looks(document) == at_once(message, page=plain_page(width), is_folded=False)


def test_words_that_stream_behind_a_long_thought_come_in_their_place(short):
    page, said, thought = plain_page(), PARAGRAPHS[:900], PARAGRAPHS[:1_500]
    document = document_of(page=page)
    index = document.append(Entry(streaming(), is_open=True, is_folded=False))
    entry = document.entries[index]
    document.build(index)
    for delta in [
        ReasoningDelta(text=thought),
        *(TextDelta(text=said[n : n + 30]) for n in range(0, 900, 30)),
    ]:
        entry.feed(delta)
        document.grow(index)
        document.read()
    while document.is_reading:
        document.read()
    document.rebuild(index)
    message = answer(said, thought=thought, receipt=None)
    assert looks(document)[:-1] == at_once(message, page=page, is_folded=False)[:-1]


@pytest.fixture
def stretches(monkeypatch):
    """How many characters are cut in one go of the event loop, each time."""
    monkeypatch.setattr(long, "SLICE_S", 0)
    stretches, feed = [0], MarkdownTail.feed

    def counted(tail, words, *, is_final=False):
        if not stretches[-1]:
            asyncio.get_running_loop().call_soon(stretches.append, 0)
        stretches[-1] += len(words)
        feed(tail, words, is_final=is_final)

    monkeypatch.setattr(MarkdownTail, "feed", counted)
    return stretches


async def _opened(log, giant):
    log.load([question("Go on."), answer(giant)])


async def _streamed(log, giant):
    log.load([question("Go on.")])
    log.begin_answer(streaming())
    await log.apply(TextDelta(text=giant))
    log.flush()
    log.finish(answer(giant))


async def _shown_as_source_and_back(log, giant):
    log.load([question("Go on."), answer(giant)])
    log.viewport.cursor = 1
    log.toggle("is_source")
    await asyncio.sleep(0)
    log.toggle("is_source")


async def _thought(log, giant):
    log.load([question("Go on."), answer("Said.", thought=giant)])
    log.viewport.cursor = 1
    log.toggle("is_folded")


@pytest.mark.parametrize("way", [_opened, _streamed, _shown_as_source_and_back, _thought])
async def test_no_stretch_of_the_loop_cuts_more_than_a_few_characters(pilot, log, stretches, way):
    giant = PARAGRAPHS * 10
    await way(log, giant)
    await until_read(pilot)
    assert sum(len(block.source) for block in log.document.entries[1].blocks) > 0.9 * len(giant)
    assert max(stretches) <= (entry.FIRST_PIECES + 1) * entry.READ_CHARS


async def test_a_message_of_common_length_is_there_at_once(pilot, log):
    log.load([question("Go on."), answer(PARAGRAPHS)])
    assert "Paragraph 399" in screen_text(log)
    assert not log.document.is_reading


async def test_what_was_looked_at_last_is_read_first(read_all, pilot, log):
    log.load([question("Go on."), answer(PARAGRAPHS), question("And?"), answer(PARAGRAPHS)])
    await pilot.pause()
    log.scroll_home(animate=False)
    await pilot.pause()
    while log.document.entries[1].unread:
        assert log.document.entries[3].unread
        log.document.read()
    assert log.document.entries[3].unread


def test_code_that_a_long_message_ends_with_is_coloured_as_a_whole_though_its_fence_has_no_end(short):
    document = document_of(answer("Code:\n\n```py\n" + "x = 1\n" * 300), page=plain_page())
    document.build(0)
    while document.is_reading:
        document.read()
    document.rebuild(0)
    document.sweep(0, 0, 1, 1_000)
    assert [info for _, info in document.uncoloured] == ["py"]


async def test_what_is_not_read_yet_is_told_and_the_end_is_followed(read_all, pilot, log):
    log.load([question("Go on."), answer(PARAGRAPHS)])
    assert READING in screen_text(log)
    assert "Paragraph 0" in screen_text(log)
    assert "qwen3-8b" in screen_text(log)
    await read_all(log)
    assert log.viewport.is_at_end
    assert "Paragraph 399" in screen_text(log)
    assert READING not in screen_text(log)


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_read_stays_where_it_is_while_the_rest_comes(read_all, pilot, log, seed):
    chance = chance_of(seed)
    first, last = DEFINED + text(chance, 12), DEFINED + text(chance, 6)
    thought = prose(chance, 300)
    many = [question(f"Mark {n}") for n in range(30)]
    log.load([*many, answer(first, thought=thought), *many, answer(last), *many])
    await pilot.pause()
    log.scroll_to(y=chance.randrange(max(log.max_scroll_y, 1)))
    before = rows(log)
    kept = next((row for row, words in enumerate(before) if READING in words), len(before))
    await read_all(log)
    assert rows(log)[:kept] == before[:kept]
    assert not log.document.is_reading


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_done_meanwhile_the_log_looks_as_if_it_had_been_read_at_once(
    short, monkeypatch, seed
):
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
            await log.apply(TextDelta(text=streamed[start : start + 200]))
            log.flush()
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
        await until_read(pilot)
        shown = [looks(log.document, index) for index in range(len(log.document))]
        page = log.document.layout.page
        last = log.document.entries[3].message
    assert shown == [at_once(message, page=page) for message in (*messages, last)]


async def test_a_bookmark_in_the_middle_is_gone_to_as_soon_as_it_is_read(read_all, pilot, log):
    messages = [question("Go on."), answer(PARAGRAPHS)]
    log.load(messages)
    await read_all(log)
    log.scroll_to(y=301)
    mark, seen = log.viewport.bookmark, rows(log)
    log.load([question("Other.")])
    log.load(messages)
    assert log.go_to_bookmark(mark)
    assert READING in screen_text(log)
    await read_all(log)
    assert rows(log) == seen
    assert log.viewport.bookmark == mark


@pytest.mark.parametrize("to_end", [False, True])
async def test_one_who_goes_elsewhere_is_not_taken_to_the_bookmark(read_all, pilot, log, to_end):
    messages = [*(question(f"Mark {n}") for n in range(30)), answer(PARAGRAPHS)]
    log.load(messages)
    await read_all(log)
    log.scroll_to(y=301)
    mark = log.viewport.bookmark
    log.load(messages)
    log.go_to_bookmark(mark)
    if to_end:
        log.scroll_end(animate=False)
    else:
        log.scroll_home(animate=False)
    await pilot.pause()
    await read_all(log)
    assert log.viewport.is_at_end if to_end else log.scroll_offset.y == 0


@pytest.mark.parametrize("by", [1, -1])
async def test_a_hit_in_what_is_not_read_is_gone_to_as_soon_as_it_is(read_all, pilot, log, by):
    log.load([question("Go on."), answer(PARAGRAPHS.replace("Paragraph 250 ", "needle 250 "))])
    log.finder.find("needle")
    log.finder.step(by)
    assert log.finder.standing == (0, 1)
    await read_all(log)
    assert log.finder.standing == (1, 1)
    assert "needle 250" in screen_text(log)


async def test_a_hit_in_a_long_thought_unfolds_it_and_is_shown(read_all, pilot, log):
    thought = PARAGRAPHS.replace("Paragraph 250 ", "needle 250 ")
    log.load([question("Go on."), answer("Said.", thought=thought)])
    log.finder.find("needle")
    log.finder.step(1)
    await read_all(log)
    assert "needle 250" in screen_text(log)


async def test_a_long_thought_that_is_folded_is_not_read(read_all, pilot, log):
    log.load([question("Go on."), answer("Said.", thought=PARAGRAPHS)])
    assert not log.document.is_reading
    assert "Said." in screen_text(log)


async def test_a_copy_has_all_of_a_message_that_is_still_being_read(read_all, pilot, log):
    log.load([question("Go on."), answer(PARAGRAPHS)])
    log.focus()
    await pilot.press("y")
    assert pilot.app.wanted()[-1] == ("copy", PARAGRAPHS)
    assert log.document.is_reading


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_selection_over_what_is_not_read_copies_it(read_all, pilot, log, is_whole):
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


async def test_another_session_ends_the_reading_and_nothing_is_left(short, pilot, log):
    log.load([question("Go on."), answer(PARAGRAPHS * 3)])
    await asyncio.sleep(0)
    assert log.document.is_reading
    left = log.document.entries[1]
    log.load([question("Other.")])
    was = len(left.unread.waiting)
    await until_read(pilot)
    assert len(left.unread.waiting) == was
    assert not [worker for worker in pilot.app.workers if worker.group == "reading" and worker.is_running]


async def test_the_final_form_of_a_long_answer_keeps_what_was_read(read_all, pilot, log):
    log.load([question("Go on.")])
    log.begin_answer(streaming())
    for start in range(0, 4_000, 100):
        await log.apply(ReasoningDelta(text=PARAGRAPHS[start : start + 100]))
        log.flush()
    for start in range(0, 4_000, 100):
        await log.apply(TextDelta(text=PARAGRAPHS[start : start + 100]))
        log.flush()
    log.finish(answer(PARAGRAPHS[:4_000], thought=PARAGRAPHS[:4_000]))
    assert not log.document.is_reading
    assert READING not in screen_text(log)
