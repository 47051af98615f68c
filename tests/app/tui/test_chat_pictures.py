from __future__ import annotations

import asyncio

import pytest

from lmchat.core.servers.events import ReasoningDelta, RequestSent, TextDelta
from tests.support.desktop import Desktop
from tests.support.saved_chat import SIZES, TALK, seen, steps


@pytest.mark.parametrize("size", ["200x50", "80x24", "40x12"])
def test_a_chat_at_every_size(snap_compare, tmp_path, size):
    desk = seen(tmp_path, *TALK[:2], theme="lmchat-light" if size == "200x50" else "lmchat-dark")
    # beside the panel, its figure with what is typed
    sees = {"200x50": "~3 313", "80x24": "north", "40x12": "qwen3-8b"}[size]
    assert snap_compare(
        desk.app, terminal_size=SIZES[size], run_before=steps(desk, sees, *"and?"[:3])
    )


async def start_streaming(desk: Desktop) -> None:
    """Let the answer come as far as its gate, four seconds after it was asked for."""
    await desk.press("ctrl+r")
    await desk.until(lambda: "sorrel" in desk.text, "the first words")
    desk.workspace.clock.now_s += 4.1
    desk.dispatcher.controllers.status.tick()


@pytest.mark.parametrize("size", ["120x40", "40x12"])
def test_a_running_answer(snap_compare, tmp_path, size):
    script = [
        RequestSent(),
        ReasoningDelta(text="Hm."),
        TextDelta(text="Wood sorrel and"),
        asyncio.Event(),
    ]
    desk = seen(tmp_path, *TALK, script=script)
    see = steps(desk, "4.1 s · 2 tok", then=start_streaming)  # below the answer, too
    assert snap_compare(desk.app, terminal_size=SIZES[size], run_before=see)


@pytest.mark.parametrize(
    ("key", "size"),
    [("ctrl+b", "80x24"), ("ctrl+t", "80x24"), ("ctrl+t", "60x20"), ("ctrl+t", "40x12")],
)
def test_a_panel_over_the_chat(snap_compare, tmp_path, key, size):
    desk = seen(tmp_path, *TALK[:2])
    sees = "/ filter" if key == "ctrl+b" else "Context"
    see = steps(desk, sees, key)
    assert snap_compare(desk.app, terminal_size=SIZES[size], run_before=see)
