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
    program.type("\r", sees=r"sent 'one\ntwo'")


def test_a_command_typed_in_one_go_is_the_one_that_was_typed(program: PtyProgram) -> None:
    program.type("/mo\t2\r", sees="sent '/model 2'")
    program.type("/ne\r", sees="sent '/new'")
