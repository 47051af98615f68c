"""Words of many scripts on a real pty: each in its column, with no letter of a control sequence."""

from __future__ import annotations

import re
from functools import partial

import pytest

from tests.support.lmchat_screen import LMChatScreen, configure, ready_screen
from tests.support.pty_program import count_cells, joined_cells, own_cells
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripts import SCRIPTS, misplaced

LINES = {
    "paragraph": "{}\n",
    "heading": "## {}\n",
    "item": "- {}",
    "quote": "> {}\n",
    "bold": "**{}**\n",
    "after": "`code` {}\n",
    "table": "| {} | x |\n|---|---|\n| a | b |\n",
    "fence": "```python\n{}\n```\n",
}
"""Markdown around the words; most of it starts a colour right before them."""
_SAMPLES = {"plain": "plain words", **SCRIPTS}
_CLEAR_PROMPT = "\x1b[1;5F\x1b[1;6H\x7f"  # the end, all before it, Backspace


def tag_of(place: str, name: str) -> str:
    return f"{place[:4]}{list(_SAMPLES).index(name):02}"


def tagged(place: str, name: str) -> str:
    """Return the words of a script with a tag behind them, by which their row is found."""
    return f"{_SAMPLES[name]} {tag_of(place, name)}"


def row_with(screen: LMChatScreen, pattern: str) -> list[str]:
    """Wait for a tag on the screen; return the cells of the last row that has it."""
    wanted = re.compile(pattern)
    screen.wait_for(wanted)
    return next(row for row in reversed(screen.cells()) if wanted.search("".join(row)))


def faults(screen: LMChatScreen, place: str) -> list[str]:
    """Compare the rows of a place with that of its plain words, which start in the same column."""
    start = "".join(row_with(screen, tag_of(place, "plain"))).index(tagged(place, "plain"))
    found = []
    for name in SCRIPTS:
        row = row_with(screen, tag_of(place, name))
        found += [f"{place}: {fault}" for fault in misplaced(row, start, tagged(place, name))]
    return found


@pytest.mark.timeout(90)
@pytest.mark.parametrize("cells", [joined_cells, own_cells])
def test_words_of_all_scripts_are_whole_and_in_their_columns_in_prompt_and_answer(
    tmp_path, server, cells, request
):
    request.addfinalizer(partial(count_cells, joined_cells))
    count_cells(cells)
    configure(tmp_path, "[ui]\nreduced_motion = true\n")
    lines = [line.format(tagged(place, name)) for place, line in LINES.items() for name in _SAMPLES]
    server.on(CHAT, chat_reply("\n".join(lines)))
    found = []
    with ready_screen(tmp_path, server.url, size=(120, 50)) as screen:
        for name in _SAMPLES:
            screen.paste(tagged("prompt", name))
            row = row_with(screen, tag_of("prompt", name))
            found += misplaced(row, row.index("▌") + 2, tagged("prompt", name))
            screen.type(_CLEAR_PROMPT, hides=tag_of("prompt", name))
        screen.resize(120, 520)
        screen.ask("Say it.", answers=1)
        for place in LINES:
            found += faults(screen, place)
        assert found == []
