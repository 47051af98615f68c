"""What was painted piece by piece is what one whole paint shows: nothing stale stays on the screen."""

from __future__ import annotations

import pytest

from lmchat.core.sessions.message import AnswerState
from tests.benchmarks.texts import mixed
from tests.support.lmchat_screen import (
    LMChatScreen,
    answers,
    configure,
    ready_screen,
    stored_titles,
)
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Pause, finish, sse

PRODUCT = llama_cpp

_THUMB = dict.fromkeys(map(ord, "▁▂▃▄▅▆▇█"), " ")
STILL = "[ui]\nreduced_motion = true\n"


def repaint(screen: LMChatScreen) -> None:
    """Let the program paint everything over what another program has written."""
    screen.wipe()
    screen.type("\x0c")


def still(screen: LMChatScreen) -> list[str]:
    """The screen without the latencies, which go on being measured, and the edges of the scrollbar's thumb.

    What was never laid out at a width is estimated, so the thumb may be a part of a cell higher or lower.
    """
    rows = [row.translate(_THUMB).rstrip() for row in screen.screen()]
    return [row[:92] if number < 5 else row for number, row in enumerate(rows)]


@pytest.mark.timeout(120)
def test_pieces_add_up_to_the_whole_screen(tmp_path, server):
    configure(tmp_path, STILL)
    text = mixed(900)
    pieces = [step for at in range(0, len(text), 12) for step in (text[at : at + 12], Pause(0.004))]
    server.on(CHAT, sse(*pieces, finish(), DONE))
    with ready_screen(tmp_path, server.url) as screen:
        for count, keys in enumerate(("", "\x02\x02", "\x14", "\x0f\x1b", "\x1b[5~", "/mo"), 1):
            screen.ask("go")
            screen.type(keys)
            screen.wait_until(lambda: is_complete(tmp_path, count), "the end", 30)  # noqa: B023
            screen.wait_quiet(0.5)
            painted = still(screen)
            repaint(screen)
            screen.wait_until(
                lambda: still(screen) == painted,  # noqa: B023
                "\n".join(
                    (f"the same screen, painted as a whole, after {keys!r}, namely:", *painted)
                ),
            )


def is_complete(home, count: int) -> bool:
    found = answers(home) if stored_titles(home) else []
    return len(found) == count and found[-1].state is AnswerState.COMPLETE
