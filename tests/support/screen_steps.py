"""What tests of the whole screen do again and again."""

from __future__ import annotations

import asyncio

from lmchat.domain.event import RequestSent, StreamFinished, TextDelta
from tests.support.desktop import Desktop
from tests.support.scripted_backend import ScriptedBackend, Step
from tests.support.tui_host import screen_text


def half(text: str, gate: asyncio.Event | None = None, rest: str = "") -> list[Step]:
    """An answer that stands still at a gate; without one for good."""
    return [
        RequestSent(),
        TextDelta(text=text),
        gate or asyncio.Event(),
        *([TextDelta(text=rest)] if rest else []),
        StreamFinished(reason="stop"),
    ]


def sent(backend: ScriptedBackend) -> list[str]:
    """The last message of every request."""
    return [request.messages[-1].text for request in backend.requests]


async def shown(desk: Desktop, text: str) -> None:
    """Wait until the screen shows something."""
    await desk.until(
        lambda: text in screen_text(desk.app), f"“{text}” on the screen:\n{screen_text(desk.app)}"
    )


async def gone(desk: Desktop, text: str) -> None:
    """Wait until the screen does not show something any more."""
    await desk.until(lambda: text not in screen_text(desk.app), f"a screen without “{text}”")
