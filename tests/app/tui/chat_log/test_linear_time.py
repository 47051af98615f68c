"""Whatever a server or a file says: work grows with the text only, and each step is short.

Lines of Python are counted, never seconds. What runs in C, such as a pattern, gets so long a text
that quadratic time would exceed the time limit of the test.
"""

from __future__ import annotations

import pytest

from lmchat.app.markdown_lines.block import PIECE_CHARS
from lmchat.app.markdown_lines.open_marks import completed
from lmchat.app.tui.chat_log.entry import Entry
from lmchat.app.tui.chat_log.find import Query
from lmchat.base.markdown.links import is_honest_link, rest_of_address
from lmchat.core.servers.events import TextDelta
from tests.support.chat_log_app import (
    answer,
    call,
    document_with,
    plain_page,
    pour,
    question,
    streaming,
)
from tests.support.counting import calls_of, counted_lines
from tests.support.markdown_corpus import DEAR, ENDLESS, MIXED

pytestmark = pytest.mark.timeout(120)

SIZE = (100, 40)
LONG_CHARS = 200_000  # for patterns: in quadratic time they would take minutes
LENGTHS = (200, 960)
ANSWERS = {
    **ENDLESS,
    "lazy lines in quotes": lambda chars: "> " * 30 + "a\n" * (chars // 2),
    "backticks in a cell too many": lambda chars: "|a|\n|-|\n|b|c|" + "`" * chars,
    "rows with cells too few": lambda chars: (
        "|" + "a|" * 32 + "\n|" + "-|" * 32 + "\n" + "b\n" * (chars // 2)
    ),
    "blanks behind mathematics": lambda chars: "$$a$$" + " " * chars + "b",
}
SEARCHED = {
    "blanks behind a word": lambda chars: "hello" + " " * chars,
    "marks behind a word": lambda chars: "hello" + "*" * chars,
    "accents in the wrong order": lambda chars: "a" + "\u0315\u0300" * (chars // 2),
    "a reference of many digits": lambda chars: "&#" + "1" * chars,
}
PLAIN = {
    name: ENDLESS[name]
    for name in (
        *(f"run of {sign}" for sign in "[ \t\r\n"),
        *("lines of a", "paragraphs", "line of words", "word", "addresses", "controls"),
        *("combining marks", "joiners", "joined emoji", "emoji", "right to left"),
        "ideographs and brackets",
    )
}
"""Where no Markdown is read, texts differ by their letters and by where their lines end."""
FRAME_CHARS = 200  # what comes in half a second at 100 tokens a second
MOST_CALLS = 350_000  # for one frame, functions in C too: 30 ms, 60 times what prose takes
CALLS = {
    "one list in another": lambda chars: "[" * (chars // 2) + "]" * (chars // 2),
    "more lists than can be read": lambda chars: "[" * chars,
    "a deep list before a wide one": lambda chars: (
        "[" * 100 + "1," * (chars // 2) + "1" + "]" * 100
    ),
    "one string": lambda chars: '{"text": "' + "word " * (chars // 5) + '"}',
    "one word": lambda chars: '{"text": "' + "a" * chars + '"}',
    "ideographs with accents": lambda chars: '{"text": "' + "\u6f22\u0301" * (chars // 2) + '"}',
    "short lines": lambda chars: "a\n" * (chars // 2),
}


async def lines_of_looking_at(log, message):
    """Count what it takes to show a message from end to end, to search, unfold and copy it."""
    with counted_lines() as lines:
        log.show([question("Go on."), message])
        log.scroll_home()
        log.scroll_end()
        log.finder.find("hello world", "aa", "word")
        log.finder.step(1)
        log.finder.clear()
        log.viewport.focus(1)
        log.toggle("is_collapsed")
        log.action_select(-1)
        assert log.copy_selection()
    return lines.count


async def assert_linear(log, message, name):
    """A longer text may take a little more a character, since it fills the screen."""
    small, large = [await lines_of_looking_at(log, message(chars)) for chars in LENGTHS]
    ratio = LENGTHS[1] / LENGTHS[0]
    assert large <= 1.15 * ratio * small + 20 * LENGTHS[1], (name, small, large)


@pytest.mark.slow  # every kind, at two sizes
async def test_an_answer_of_any_kind_takes_linear_time(log):
    for name, text in ANSWERS.items():
        await assert_linear(log, lambda chars, text=text: answer(text(chars)), name)


@pytest.mark.slow  # every kind, at two sizes
async def test_prompts_and_calls_of_any_kind_take_linear_time(log):
    kinds = {
        "arguments": (CALLS, lambda text: call(arguments=text)),
        "result": (PLAIN, lambda text: call(result=text)),
        "prompt": (PLAIN, question),
    }
    for kind, (texts, message) in kinds.items():
        for name, text in texts.items():

            def made(chars, text=text, message=message):
                return message("." + text(chars))

            await assert_linear(log, made, f"{kind}: {name}")


def test_patterns_take_linear_time():
    for text in (*ANSWERS.values(), *SEARCHED.values()):
        source = text(LONG_CHARS)  # of other than ASCII, the signs are told apart in Python
        shown = source if source.isascii() else source[: LONG_CHARS // 20]
        for words in ("hello world", " hello", "aa", "[a](b"):
            query = Query([words])
            query.count(source)
            list(query.spans(shown))
    for words in ("a", "a.1.", "e\u0301"):
        is_honest_link("http://a.b", words * LONG_CHARS)
    for end in (")", ").", "].", "?"):
        rest_of_address("a" + end * LONG_CHARS)
    completed("-" * LONG_CHARS + "a")


@pytest.mark.slow  # every kind
def test_no_frame_costs_much_whatever_the_answer_is_made_of():
    for name, text in DEAR.items():
        entry = Entry(streaming(), is_streaming=True)
        document = document_with(entry, plain_page(117))

        def show(piece, entry=entry, document=document):
            entry.feed(TextDelta(text=piece))
            document.grow(0)

        whole = text(PIECE_CHARS + FRAME_CHARS)
        show(whole[:PIECE_CHARS])  # the longer a paragraph, the more it takes
        assert calls_of(show, whole[PIECE_CHARS:]) <= MOST_CALLS, name


async def test_a_frame_costs_the_same_after_any_length(log):
    text = MIXED.replace("[ref]: ", "")  # a definition changes what is above it
    most = []
    for repeats in (1, 20):
        log.show([])
        log.start_answer(streaming())
        await pour(log, f"{text}\n\n" * repeats)
        frames = []
        for start in range(0, len(text), 40):
            with counted_lines() as lines:
                await pour(log, text[start : start + 40])
            frames.append(lines.count)
        most.append(max(frames))
    assert most[1] <= 1.5 * most[0]
    assert most[0] <= 30_000  # with all blocks on the screen, 65,000
