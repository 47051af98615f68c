"""The prompt on a real terminal: what a person's keys do, byte by byte."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pty_program import PtyProgram

BAR = "▌"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[PtyProgram]:
    with PtyProgram([sys.executable, "-m", "tests.support.tui_host"], home=tmp_path) as program:
        program.wait_for(BAR)
        yield program


def prompt(program: PtyProgram) -> list[str]:
    rows = [line.strip() for line in program.screen() if line.lstrip().startswith("▌")]
    return [row.removeprefix("▌").strip() for row in rows[:-1]]


@pytest.mark.parametrize("newline", ["\x1b\r", "\n", "\x1b[13;2u", "\x1b[27;2;13~", "\x1b[13;3u"])
def test_other_enters_break_the_line_and_enter_sends(program: PtyProgram, newline: str) -> None:
    program.type("one")
    program.type(newline)
    program.type("two")
    program.wait_until(lambda: prompt(program) == ["one", "two"], "two rows in the prompt")
    program.type("\r")
    program.wait_for(r"sent 'one\ntwo'")


def test_a_paste_without_brackets_sends_nothing(program: PtyProgram) -> None:
    program.type("one\rtwo\rthree\r")
    program.wait_until(lambda: prompt(program)[:3] == ["one", "two", "three"], "three rows in the prompt")
    assert "sent" not in program.text


def test_a_paste_in_brackets_is_made_safe(program: PtyProgram) -> None:
    program.paste("one\x1b[31m\r\ntwo")
    program.wait_until(lambda: prompt(program) == ["one␛[31m", "two"], "two safe rows")


def test_escape_is_escape_and_alt_up_is_not(program: PtyProgram) -> None:
    program.type("\x1b\x1b[A")
    program.wait_for("focus_message -1")
    assert "stop_or_leave" not in program.text
    program.type("\x1b")
    program.wait_for("stop_or_leave")


def test_keys_of_an_editor_reach_the_screen(program: PtyProgram) -> None:
    program.type("words\x0b\x05\x1b1")
    program.wait_for("search_sessions\nlibrary export\nrecent_model 1")
    program.wait_until(lambda: prompt(program) == ["words"], "the words are still there")


def test_slash_commands_are_offered_and_completed(program: PtyProgram) -> None:
    program.type("/mo")
    program.wait_for("/model [N]")
    program.type("\t")
    program.type("2\r")
    program.wait_for("sent '/model 2'")


def test_a_command_typed_in_one_go_is_the_one_that_was_typed(program: PtyProgram) -> None:
    program.type("/mo\t2\r")
    program.wait_for("sent '/model 2'")
    program.type("/ne\r")
    program.wait_for("sent '/new'")


def test_a_smaller_window_keeps_what_was_typed(program: PtyProgram) -> None:
    program.type("some words that need more than one row on a small screen")
    program.wait_for("small screen")
    program.resize(40, 12)
    program.wait_until(lambda: "small screen" in program.text and len(prompt(program)) == 2, "two rows")
    program.type("\r")
    program.wait_for("sent 'some words")
