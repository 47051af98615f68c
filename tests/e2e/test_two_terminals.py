"""Two terminals show the same screen at each step of a story, in all cells and colours.

The bytes that the program writes to the terminal in memory (pyte) are fed to tmux (3.3a), too. It
knows nothing of lmchat, and counts cells by the C library.
"""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest

from tests.support.lmchat_screen import LMChatScreen, ready_screen
from tests.support.pty_program import WAIT_S, Terminal, count_cells, joined_cells, own_cells
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, delta, finish, sse
from tests.support.scripts import SCRIPTS
from tests.support.tmux import Tmux

pytestmark = pytest.mark.timeout(120)
PRODUCT = llama_cpp

_FRAME_END = b"\x1b[?2026l"
CODE = "\n".join(f"row{number} = {number}" for number in range(60))
ANSWER = (
    "# Letters\n\nWide: 漢字かな交じり文、한국어 조선글。 **Bold** and *italic*, `code`, ~~gone~~.\n\n"
    + "".join(f"- {name}: {words} end.\n" for name, words in SCRIPTS.items())
    + f"\n```python\n{CODE}\n```\n\n| a | 漢 |\n|---|---|\n| 🙂 | नमस्ते |\n\n> A quote.\n"
)


class Story:
    """Steps of a screen: how much was written when each of them was seen, and in which size."""

    def __init__(self, screen: LMChatScreen, size: tuple[int, int]) -> None:
        self.screen = screen
        self.steps = [("nothing", 0, size)]

    def seen(self, name: str) -> None:
        self.screen.wait_quiet(0.3)
        self.steps.append((name, len(self.screen.raw), self.steps[-1][2]))

    def streaming(self, name: str) -> None:
        """As `seen`, while a clock runs: the last whole frame counts."""
        end = self.screen.raw.rfind(_FRAME_END) + len(_FRAME_END)
        self.steps.append((name, end, self.steps[-1][2]))

    def resized(self, columns: int, lines: int) -> None:
        self.steps.append(("resize", len(self.screen.raw), (columns, lines)))
        self.screen.resize(columns, lines)


def looks(terminal: Terminal) -> list[list[tuple[object, ...]]]:
    """Return each cell with its colours, and () for a cell of a sign that a joiner joins.

    In pyte, such signs have cells of their own. tmux draws them over the sign before, and blanks
    behind it; if its read ends with the joiner, it forgets it, and shows the next sign.
    """
    screen = terminal.screen
    rows: list[list[tuple[object, ...]]] = [[] for _ in range(screen.lines)]
    for y, row in enumerate(rows):
        is_joined = has_joiner = False
        for x in range(screen.columns):
            data, *colours = screen.buffer[y][x]
            if data:  # the second cell of a wide sign holds nothing
                is_joined = has_joiner
                has_joiner = data.endswith("\u200d")
            row.append(() if is_joined else (data.partition("\u200d")[0], *colours))
    return rows


def different_rows(first: Terminal, second: Terminal) -> list[int]:
    return [
        y
        for y, rows in enumerate(zip(looks(first), looks(second), strict=True))
        if any(cell and cell != other for cell, other in zip(*rows, strict=True))
    ]


def as_seen(rows: str, columns: int, lines: int) -> Terminal:
    """Return a terminal with the rows of tmux."""
    terminal = Terminal(columns, lines)
    for number, row in enumerate(rows.split("\n")[:lines], 1):
        first_signs = re.sub("(?:\u200d\\S\ufe0f?)+", "", row)
        terminal.feed(f"\x1b[{number};1H{first_signs}".encode())
    return terminal


@pytest.fixture(autouse=True)
def _cells_of_tmux():
    count_cells(own_cells)
    yield
    count_cells(joined_cells)


def test_pyte_and_tmux_show_the_same_at_each_step(tmp_path, server):
    gate = Gate()
    started = ANSWER[:700]
    rest = ANSWER[700:]
    server.on(CHAT, sse(delta(started), gate, delta(rest), finish(), DONE))
    size = (120, 40)
    with ready_screen(tmp_path, server.url, size=size) as screen:
        story = Story(screen, size)
        story.seen("start")
        screen.ask("Letters of 漢字 and नमस्ते, 👨‍👩‍👧 please")
        assert gate.reached.wait(10)
        screen.wait_for("row3")
        story.streaming("stream")
        gate.open()
        screen.wait_for("A quote.")
        story.seen("answer")
        screen.type("\x1b[5~")
        story.seen("page up")
        screen.type("\x1b[1;5H")
        story.seen("top")
        screen.type("\x0f", sees="tiny.gguf")
        story.seen("dialog")
        screen.type("\x1b")
        story.seen("no dialog")
        for columns, lines in ((80, 24), (60, 20), (120, 40)):
            story.resized(columns, lines)
            story.seen(f"{columns}x{lines}")
        screen.type("வணக்கம் 🇩🇪 மீண்டும் 👍🏽", sees="👍🏽")
        story.seen("typed")
        screen.type("\x15")
        screen.type("\x11")
        assert screen.wait_exit() == 0
        raw = screen.raw.partition(b"To continue")[0]  # that line is on the main screen
        story.steps.append(("quit", len(raw), size))

    differences = []
    first = Terminal(*size)
    with Tmux(tmp_path, *size) as tmux:
        for (_, start, _), (name, end, (columns, lines)) in pairwise(story.steps):
            first.feed(raw[start:end])
            tmux.feed(raw[start:end])
            if name == "resize":
                first.resize(columns, lines)
                tmux.resize(columns, lines)
                continue
            until_s = time.monotonic() + WAIT_S
            second = as_seen(tmux.rows(), columns, lines)
            while different_rows(first, second) and time.monotonic() < until_s:
                second = as_seen(tmux.rows(), columns, lines)
            differences += [
                f"{name}, row {y}:\n{first.lines[y]}\n{second.lines[y]}"
                for y in different_rows(first, second)
            ]
    assert not differences, "\n".join(differences)
