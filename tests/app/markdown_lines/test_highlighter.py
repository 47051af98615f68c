"""Colours of code come from a child process, which never delays lmchat."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from lmchat.app.markdown_lines.highlighter import Colours, Highlighter
from lmchat.app.markdown_lines.lexer_child import COLOUR_NAMES, colours_of
from tests.support.programs import is_running

pytestmark = pytest.mark.timeout(60)
HANGING = '"' + "\\" * 60  # Pygments' lexer for fish needs exponential time


@pytest.fixture
async def highlighter():
    highlighter = Highlighter()
    yield highlighter
    await highlighter.aclose()


def names(colours):
    return [COLOUR_NAMES[position] for position in colours]


async def test_each_character_has_a_colour(highlighter):
    colours = await highlighter.colours("python", "x = 1  # é漢🙂")
    assert names(colours) == [""] * 4 + ["number"] + [""] * 2 + ["comment"] * 5


def test_of_a_diff_only_changed_lines_are_green_and_red_and_its_files_plain():
    diff = "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n--- sql\n-old\n+new\n same"
    colours = names(colours_of("Diff", diff))
    starts = [0, *(position + 1 for position, char in enumerate(diff) if char == "\n")]
    assert [colours[start] for start in starts] == [
        "",
        "",
        "keyword",
        "error",
        "error",
        "string",
        "",
    ]


async def test_an_unknown_language_has_no_colours(highlighter):
    assert await highlighter.colours("no-such-language", "x") == b""
    assert await highlighter.colours("", "x") == b""


async def test_a_lexer_that_hangs_is_ended_and_the_loop_is_never_held_up():
    highlighter = Highlighter(limit_s=0.5)
    assert await highlighter.colours("python", "x = 1")
    first = highlighter.pid
    hanging = asyncio.create_task(highlighter.colours("fish", HANGING))
    turns = 0
    while not hanging.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert hanging.result() == b""
    assert turns > 10
    assert await highlighter.colours("python", "x = 1")
    assert highlighter.pid != first
    assert not is_running(first)
    await highlighter.aclose()


async def test_a_language_that_has_ended_two_children_stays_plain_as_no_other_does():
    highlighter = Highlighter(limit_s=0.5)
    assert await highlighter.colours("fish", HANGING) == b""
    assert await highlighter.colours("fish", "echo hello")
    assert await highlighter.colours("fish", HANGING) == b""
    assert await highlighter.colours("fish", "echo hello") == b""
    assert highlighter.pid is None
    assert await highlighter.colours("python", "x = 1")
    await highlighter.aclose()


async def test_closing_ends_the_child_also_while_a_request_waits():
    highlighter = Highlighter(limit_s=30)
    await highlighter.colours("python", "x = 1")
    pid = highlighter.pid
    request = asyncio.create_task(highlighter.colours("fish", HANGING))
    await asyncio.sleep(0.05)
    await highlighter.aclose()
    assert await request == b""
    assert not is_running(pid)
    assert await highlighter.colours("python", "x = 1") == b""


async def test_the_child_gets_neither_the_environment_nor_the_current_folder(
    tmp_path, monkeypatch, highlighter
):
    (tmp_path / "pygments.py").write_text(
        "raise SystemExit('the code of a folder ran')", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert await highlighter.colours("python", "x = 1")
    if sys.platform == "linux":
        process = Path("/proc", str(highlighter.pid))
        assert b"secret" not in (process / "environ").read_bytes()
        assert (process / "cwd").readlink() != tmp_path


async def test_without_a_child_code_stays_plain(monkeypatch, highlighter, caplog):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await highlighter.colours("python", "x = 1") == b""
    assert await highlighter.colours("python", "x = 1") == b""
    assert caplog.text.count("the highlighter cannot start") == 1


class _Losing:
    def get_tokens(self, _code):
        return [("Token.Comment", "x")]


class _Failing:
    def get_tokens(self, _code):
        raise ZeroDivisionError


@pytest.mark.parametrize("lexer", [_Losing, _Failing])
def test_a_lexer_that_loses_characters_or_fails_is_not_believed(monkeypatch, lexer):
    monkeypatch.setattr("lmchat.app.markdown_lines.lexer_child._lexer", lambda _: lexer())
    assert colours_of("python", "x = 1") == b""


def test_no_lexer_swallows_or_adds_a_line():
    for text in ["$ ls\ntotal 0", "$ ls", "", "a\n", "\n\n"]:
        for language in ["console", "psql", "rconsole", "robotframework", "json", "diff"]:
            assert len(colours_of(language, text)) == len(text)


def test_the_colours_of_a_short_while_ago_are_kept_but_not_those_of_all_code():
    colours = Colours()
    codes = [f"{number:02} " * 20_000 for number in range(30)]  # of 60,000 characters each
    for code in codes:
        colours.of("python", code)
        colours.put(("python", code), b"1" * len(code))
    kept = [code for code in codes if colours.of("python", code)]
    assert kept
    assert kept == codes[-len(kept) :]
    assert sum(map(len, kept)) <= 500_000
