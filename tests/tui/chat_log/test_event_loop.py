"""Whatever a server or a file says, the event loop is never held for long."""

from __future__ import annotations

import asyncio
import time
from asyncio import events
from functools import partial

import pytest
from msgspec.structs import replace

from lmchat.domain.event import TextDelta
from lmchat.domain.message import AnswerState
from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS
from lmchat.tui.widgets.chat_log.entry import ASKS, Entry
from lmchat.tui.widgets.chat_log.layout.page import wrap_points
from lmchat.tui.widgets.chat_log.markdown.inline import completed, names_target, rest_of_address
from lmchat.tui.widgets.chat_log.markdown.parser import code_blocks, links, parse_blocks
from lmchat.tui.widgets.chat_log.matching import Query
from tests.support.chat_log_app import (
    answer,
    call,
    document_with,
    plain_page,
    pour,
    question,
    screen_text,
    streaming,
)
from tests.support.machine_speed import processor_limit_s, without_collections
from tests.support.markdown_corpus import ENDLESS
from tests.support.programs import until

pytestmark = pytest.mark.timeout(240)
SIZE = (100, 40)
CHARS = 100_000
LONGEST_BLOCK = 20_000  # characters of an item or a quote, which is laid out in one piece
MOST_S = processor_limit_s(0.25)
"""CPU time of one callback: 50 ms, with room for other programs and the caches of the processor."""


@pytest.fixture(autouse=True)
def _no_collections():
    with without_collections():
        yield


@pytest.fixture
def longest_s(monkeypatch):
    """CPU time of the longest callback of the event loop so far."""
    taken_s, run = [0.0], events.Handle._run

    def timed(handle):
        begun_s = time.thread_time()
        run(handle)
        taken_s.append(time.thread_time() - begun_s)

    monkeypatch.setattr(events.Handle, "_run", timed)
    return lambda: max(taken_s)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDLESS)
async def test_a_chat_is_opened_without_holding_the_loop(pilot, log, longest_s, name):
    text = ENDLESS[name](CHARS)
    asyncio.get_running_loop().call_soon(log.load, [question(text), answer(text)])
    await until(
        lambda: len(log.document) == 2 and log.document.unparsed is None, "all of it is shown"
    )
    log.scroll_home()
    await pilot.pause()
    log.scroll_end()
    await pilot.pause()
    assert longest_s() < MOST_S
    assert log.document.entries[1].source == text


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDLESS)
async def test_an_answer_streams_without_holding_the_loop(pilot, log, longest_s, name):
    text = ENDLESS[name](CHARS // 10)
    log.begin_answer(streaming())
    for start in range(0, len(text), 200):
        await log.apply(TextDelta(text=text[start : start + 200]))
        await asyncio.sleep(0)
    await log.apply(TextDelta(text=ENDLESS[name](CHARS)))  # what came while the loop had other work
    await until(
        lambda: log.inflow.timer is None and log.document.unparsed is None, "all of it is shown"
    )
    assert longest_s() < MOST_S
    assert log.document.entries[0].source == text + ENDLESS[name](CHARS)


async def test_code_of_a_long_answer_is_copied_without_holding_the_loop(pilot, log, longest_s):
    log.load([question("Go on."), answer(ENDLESS["paragraphs"](CHARS) + "\n\n```py\nlast\n```\n")])
    await until(lambda: log.document.unparsed is None, "all of it is shown")
    log.viewport.set_cursor(1)
    asyncio.get_running_loop().call_soon(log.action_message, "copy_code")
    await until(lambda: "copy_code" in dict(log.app.wanted()), "code is copied")
    assert longest_s() < MOST_S


async def test_a_long_answer_is_parsed_in_steps_and_shown_as_if_in_one(pilot, log):
    text = "".join(f"word {number}\n\n" for number in range(20_000)) + "LAST"
    log.document.step_s = 0.001
    log.load([question("Go on."), answer(text)])
    assert log.document.unparsed == 1
    assert len(log.document.entries[1].blocks) < 20_000
    await until(lambda: log.document.unparsed is None, "all of it is parsed")
    await pilot.pause()
    assert "LAST" in screen_text(log)
    assert "word 19999" in screen_text(log)
    await pour(log, "")
    assert len(log.document.entries[1].blocks) > 20_000


def cpu_s(work, *given):
    begun_s = time.thread_time()
    work(*given)
    return time.thread_time() - begun_s


@pytest.mark.parametrize(
    "name", ["run of  ", "line of words", "word", "ideographs and brackets", "joiners"]
)
def test_a_line_is_wrapped_in_linear_time(name):
    assert cpu_s(wrap_points, ENDLESS[name](CHARS), 90) < MOST_S


@pytest.mark.parametrize(
    "name", ["run of  ", "lines of a", "word", "run of \t", "ideographs and brackets"]
)
def test_a_prompt_of_one_line_is_laid_out_in_pieces(name):
    document = document_with(Entry(question(ENDLESS[name](CHARS))), plain_page(90))
    assert cpu_s(document.build, 0) < MOST_S
    assert cpu_s(document.lay_out_from, 0, 0, 1, 100) < MOST_S
    assert max(len(block.source) for block in document.entries[0].blocks) <= PIECE_CHARS


@pytest.mark.parametrize("start", ["- ", "> "])
@pytest.mark.parametrize("sign", ["[a](", "[", "` "])
def test_thousands_of_marks_in_one_text_are_shown_as_they_are(start, sign):
    text = start + sign * (20_000 // len(sign))
    document = document_with(Entry(answer(text)), plain_page(90))
    assert cpu_s(document.build, 0) < MOST_S
    assert cpu_s(document.lay_out_from, 0, 0, 1, 100) < MOST_S / 2
    shown = "".join(line.text for block in document.entries[0].blocks for line in block.lines or [])
    assert shown.count(sign[0]) == text.count(sign[0])


@pytest.mark.parametrize("words", ["a" * CHARS, "a.1." * CHARS, "e" + "\u0301" * CHARS])
def test_words_of_a_link_are_compared_with_its_host_in_linear_time(words):
    assert cpu_s(names_target, "http://a.b", words) < MOST_S


@pytest.mark.parametrize("end", [")", ").", "].", "?"])
def test_the_end_of_an_address_is_found_in_linear_time(end):
    assert cpu_s(rest_of_address, "a" + end * CHARS) < MOST_S
    assert rest_of_address("a.b/(c)" + end * 100) == "a.b/(c)"


def test_lazy_lines_in_many_quotes_are_parsed_in_linear_time():
    assert cpu_s(parse_blocks, "> " * 30 + "a\n" * 2_000, {}) < MOST_S


@pytest.mark.parametrize("find", [code_blocks, links])
@pytest.mark.parametrize(
    "text",
    [
        "|a|\n|-|\n|b|c|" + "`" * 20_000,
        "|" + "a|" * 32 + "\n|" + "-|" * 32 + "\n" + "b\n" * 2_500,
        "$$a$$" + " " * 40_000 + "b",
    ],
    ids=["backticks in a cell too many", "rows with cells too few", "blanks behind mathematics"],
)
def test_code_and_links_are_found_in_linear_time(find, text):
    assert cpu_s(find, text) < MOST_S


def test_a_line_that_may_become_a_rule_is_completed_in_linear_time():
    assert cpu_s(completed, "-" * 20_000 + "a") < MOST_S


SEARCHED = {
    **ENDLESS,
    "blanks behind a word": lambda chars: "hello" + " " * chars,
    "marks behind a word": lambda chars: "hello" + "*" * chars,
    "targets behind a word": lambda chars: "hello" + "](b)" * (chars // 4),
    "accents in the wrong order": lambda chars: "a" + "\u0315\u0300" * (chars // 2),
    "long names of entities": lambda chars: "&abcdefgh" * (chars // 9),
    "a reference of many digits": lambda chars: "&#" + "1" * chars,
}
NEEDLES = ["hello world", " hello", "aa", "[a](b"]


@pytest.mark.parametrize("words", NEEDLES)
@pytest.mark.parametrize("name", SEARCHED)
def test_words_are_counted_in_a_message_in_linear_time(name, words):
    query, text = Query([words]), SEARCHED[name](CHARS)
    assert cpu_s(query.count, text) < MOST_S
    assert cpu_s(partial(query.count, is_plain=True), text) < MOST_S


@pytest.mark.parametrize("words", NEEDLES)
@pytest.mark.parametrize("name", SEARCHED)
def test_words_are_marked_in_the_longest_block_in_linear_time(name, words):
    query, text = Query([words]), SEARCHED[name](LONGEST_BLOCK)
    assert cpu_s(lambda: list(query.spans(text))) < MOST_S


DEEP = "[" * 100 + "1" + "]" * 100
CALLS = {
    "one list in another": "[" * 900 + "]" * 900,
    "more lists than can be read": "[" * (CHARS // 2),
    "a deep list before a wide one": "[" * 900 + "1," * 40_000 + "1" + "]" * 900,
    "many deep lists": "[" + f"{DEEP}," * (CHARS // len(DEEP)) + "1]",
    "a flat list": "[" + "1," * (CHARS // 2 - 1) + "1]",
    "lists of one": "[" + "[1]," * (CHARS // 4 - 1) + "1]",
    "lists of one that are indented": "[" + "[1]," * 9_950 + "1]",
    "lists that become many rows": "[" + f"{DEEP}," * 190 + "1]",
    "one string": '{"text": "' + "word " * (CHARS // 5) + '"}',
    "one word": '{"text": "' + "a" * CHARS + '"}',
    "ideographs with accents": '{"text": "' + "\u6f22\u0301" * (CHARS // 2) + '"}',
    "short lines": "a\n" * (CHARS // 2),
    "blank lines": "\n" * CHARS,
    "tabs": "\t" * CHARS,
}
LONG_CALLS = {
    **{f"{name} as arguments": call(arguments=text) for name, text in CALLS.items()},
    **{f"{name} as result": call(result=text) for name, text in CALLS.items()},
}


@pytest.mark.parametrize("is_folded", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize("state", ["", "running 3 s", ASKS])
@pytest.mark.parametrize("name", LONG_CALLS)
def test_a_call_of_a_tool_is_laid_out_without_holding_the_loop(name, state, is_folded):
    message = LONG_CALLS[name]
    if state:
        message = replace(message, state=AnswerState.STREAMING)
    document = document_with(Entry(message, call_state=state, is_folded=is_folded), plain_page(90))
    assert cpu_s(document.build, 0) < MOST_S
    for block in range(len(document.entries[0].blocks[:40])):
        assert cpu_s(document.lay_out_block, 0, block) < MOST_S / 2


@pytest.mark.parametrize("name", LONG_CALLS)
async def test_a_folded_call_of_a_tool_is_searched_and_copied_without_holding_the_loop(
    pilot, log, longest_s, name
):
    log.load([question("Go on."), LONG_CALLS[name]])
    loop = asyncio.get_running_loop()
    loop.call_soon(log.finder.find, "word")
    await until(lambda: log.finder.is_complete, "all is counted")
    loop.call_soon(log.finder.step, 1)
    await pilot.pause()
    log.document.entries[1].is_folded = False
    log.document.rebuild(1)
    log.viewport.set_cursor(1)
    loop.call_soon(log.action_message, "copy")
    await pilot.pause()
    assert longest_s() < MOST_S
