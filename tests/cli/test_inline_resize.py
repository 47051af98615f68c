"""Formatted answers in a terminal that wraps its lines again when its width changes."""

from __future__ import annotations

import asyncio
import random
import re

import pytest

from lmchat.cli.inline import InlineText
from tests.support.markdown_answers import markdown_answer, markers_of, pieces

_SIZES = [(80, 24), (50, 18), (57, 20), (100, 24)]
_FRAME_S = 0.07  # a frame or none may be drawn in this time; the sizes change in both cases
_STYLE = re.compile(r"\x1b\[(?:[0-9;]*m|\?2026[hl])")
_ERASE = re.compile(r"\r\x1b\[(\d+)A\x1b\[J")


class WrappingTerminal:
    """The lines of a terminal whose cursor is at the begin of the line below them.

    It knows what `lmchat --inline` writes: text, and how many rows above the cursor to erase.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.columns, self.rows = _SIZES[0]

    def write(self, text: str) -> None:
        before, *erased = _ERASE.split(_STYLE.sub("", text))
        self.lines += before.splitlines()
        for rows, after in zip(erased[::2], erased[1::2], strict=True):
            self._erase(int(rows))
            self.lines += after.splitlines()

    def _erase(self, rows: int) -> None:
        """Drop the last rows; they must be on the screen, and whole lines."""
        assert rows < self.rows
        while rows > 0:
            rows -= max(-(-len(self.lines.pop()) // self.columns), 1)
        assert rows == 0


@pytest.mark.parametrize("seed", range(3))
async def test_each_line_is_there_once_after_many_resizes(monkeypatch, seed):
    chance = random.Random(seed)  # noqa: S311 - the same sizes in each run
    terminal = WrappingTerminal()
    text = InlineText(terminal.write, {"NO_COLOR": "1"})
    for number, piece in enumerate(pieces(markdown_answer(seed), seed)):
        text.write(piece)
        if number % 20 == 0:
            terminal.columns, terminal.rows = chance.choice(_SIZES)
            monkeypatch.setenv("COLUMNS", str(terminal.columns))
            monkeypatch.setenv("LINES", str(terminal.rows))
            await asyncio.sleep(_FRAME_S)
    await text.settle()
    text.end()
    await text.aclose()
    words = re.findall(
        r"\b(?:Heading|word|item|row|quote|end)\d+(?:-\d+)?\b|function_\d+_\d+",
        "\n".join(terminal.lines),
    )
    assert words == markers_of(seed)
