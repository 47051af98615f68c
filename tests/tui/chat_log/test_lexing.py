"""Code has the colours of the whole, however it was cut, and no lexer holds the screen up."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygments.lexers import PythonLexer
from pygments.token import Token

from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, SEGMENT_LINES
from lmchat.tui.widgets.chat_log.layout import code as coding
from lmchat.tui.widgets.chat_log.layout.code import known_kinds, piece_kinds, read_whole
from lmchat.tui.widgets.chat_log.layout.page import harmless
from tests.support.chat_log_app import LogApp, answer, load, pour, streaming, tail_of
from tests.support.programs import until

pytestmark = pytest.mark.timeout(120)
STRING = '"""\n' + "def word(x): return 1  # none of this is code\n" * 3 * SEGMENT_LINES + '"""\n'
CODE = f"x = 1\ny = {STRING}z = 2  # note\n"


def codes(text):
    return {id(block.code): block.code for block in tail_of(text).closed if block.code}.values()


def by_character(kinds):
    return [(char, kind) for kind, text in kinds for char in text]


@pytest.fixture(autouse=True)
def any_time(monkeypatch):
    coding._strikes.clear()
    monkeypatch.setattr(coding, "MOST_WHOLE_S", 1e9)
    monkeypatch.setattr(coding, "MOST_PIECE_S", 1e9)
    yield
    coding._strikes.clear()


LINES = st.sampled_from(
    ["x = 1", '"""', "# c", "def f(): pass", "", "\ttab\t'a'", "s = 'a", "\x1b[1m", "漢\u200d字"]
)


@given(
    st.lists(LINES, max_size=4),
    st.integers(1, 40),
    st.sampled_from(["python", "json", "diff", "console", "html"]),
)
@settings(max_examples=30, deadline=None)
def test_the_colours_of_the_pieces_are_those_of_the_whole(lines, repeats, language):
    for code in codes(f"```{language}\n" + "\n".join(lines * repeats) + "\n```\n"):
        text = "\n".join(code.pieces)
        colours = read_whole(code, language, lambda: False)
        found = [by_character(known_kinds(*pair)) for pair in zip(code.pieces, colours or [], strict=False)]
        whole = by_character(piece_kinds(text, language))
        if harmless(text):
            assert found
            assert [char for piece in found for char in [*piece, ("\n", None)]][:-1] == [
                (char, None if char == "\n" and is_end else kind)
                for (char, kind), is_end in zip(whole, ends(code.pieces), strict=True)
            ]


def ends(pieces):
    """Whether each character stands between two pieces."""
    for number, piece in enumerate(pieces):
        if number:
            yield True
        yield from (False for _ in harmless(piece))


def test_the_pieces_of_a_line_without_an_end_are_one_line():
    text = 'x = "' + "a" * 3 * PIECE_CHARS + '"'
    (code,) = codes(f"```python\n{text}\n```\n")
    assert len(code.pieces) == 4
    assert len(code.inner) == 3
    colours = read_whole(code, "python", lambda: False)
    assert {kind for _, kind in by_character(known_kinds(code.pieces[2], colours[2]))} == {"string"}


def test_what_is_too_long_or_not_wanted_or_unknown_keeps_the_colours_of_its_pieces(monkeypatch):
    (code,) = codes(f"```python\n{CODE}```\n")
    assert read_whole(code, "python", lambda: True) is None
    assert read_whole(code, "no-such-language", lambda: False) is None
    monkeypatch.setattr(coding, "MOST_WHOLE_CHARS", 100)
    assert read_whole(code, "python", lambda: False) is None


def test_a_lexer_that_loses_characters_or_fails_is_not_believed(monkeypatch, caplog):
    (code,) = codes(f"```python\n{CODE}```\n")
    monkeypatch.setattr(PythonLexer, "get_tokens", lambda *_: iter([(Token.Comment, "x")]))
    assert read_whole(code, "python", lambda: False) is None
    assert list(piece_kinds("x = 1", "python")) == [("", "x = 1")]
    monkeypatch.setattr(PythonLexer, "get_tokens", lambda *_: 1 / 0)
    assert read_whole(code, "python", lambda: False) is None
    assert list(piece_kinds("x = 1", "python")) == [("", "x = 1")]
    assert "lexer for python failed" in caplog.text


def test_a_lexer_that_often_takes_too_long_for_a_piece_is_not_asked_again(monkeypatch, caplog):
    clock, asked = count(), []

    def tokens(_self, text):
        asked.append(text)
        return ((Token.Comment, "a") for _ in count())

    monkeypatch.setattr(PythonLexer, "get_tokens", tokens)
    monkeypatch.setattr(coding, "thread_time", lambda: next(clock) * 0.01)
    monkeypatch.setattr(coding, "MOST_PIECE_S", 0.02)
    text = "a" * 1_000
    for _ in range(9):
        assert list(piece_kinds(text, "python")) == [("", text)]
    assert len(asked) == 3
    assert "lexer for python is too slow" in caplog.text


def test_a_lexer_that_never_ends_is_given_up_on_the_whole(monkeypatch):
    clock = count()
    (code,) = codes(f"```python\n{CODE}```\n")
    monkeypatch.setattr(PythonLexer, "get_tokens", lambda *_: ((Token.Comment, "") for _ in count()))
    monkeypatch.setattr(coding, "thread_time", lambda: next(clock) * 0.1)
    monkeypatch.setattr(coding, "MOST_WHOLE_S", 5)
    monkeypatch.setattr(coding, "sleep", lambda _: None)
    assert read_whole(code, "python", lambda: False) is None


def styles_of(log, words):
    return {
        str(segment.style.color)
        for strip in log.render_lines(log.size.region)
        for segment in strip
        if words in segment.text
    }


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_a_string_over_many_pieces_is_a_string_when_the_fence_has_ended(log, is_loaded):
    text = f"```python\n{STRING}```\n"
    if is_loaded:
        log.load([answer(text)])
    else:
        log.begin_answer(streaming())
        for start in range(0, len(text), 500):
            await pour(log, text[start : start + 500])
    string = str(log.get_component_rich_style("chat-log--string", partial=True).color)
    await until(lambda: styles_of(log, "none of this") == {string}, "the colours of the whole")
    assert not log.document.unhighlighted
    log.scroll_home()
    await until(lambda: styles_of(log, "none of this") == {string}, "the colours of the whole")


async def test_a_fence_of_one_piece_is_never_read_twice(pilot, log):
    await load(pilot, answer("```python\nx = 1\n```\n\n```\n" + "plain\n" * 90 + "```\n"))
    assert not log.document.unhighlighted
    assert not [worker for worker in log.workers if worker.name == "colours"]


async def test_leaving_ends_the_colouring(monkeypatch):
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tokens(_self, text):
        loop.call_soon_threadsafe(begun.set)
        return ((Token.Comment, "") for _ in count())

    coding._strikes["python"] = 3
    monkeypatch.setattr(PythonLexer, "get_tokens", tokens)
    async with LogApp().run_test() as pilot:
        pilot.app.log_view.load([answer(f"```python\n{CODE}```\n")])
        await begun.wait()


@pytest.mark.parametrize("language", ["console", "psql", "rconsole", "robotframework", "json", "diff"])
@pytest.mark.parametrize("text", ["$ ls\ntotal 0", "$ ls", "", "a\n", "\n\n"])
def test_no_lexer_swallows_or_adds_a_line(language, text):
    assert "".join(part for _, part in piece_kinds(text, language)) == text
