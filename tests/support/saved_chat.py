"""A saved chat with fixed ids and times, and the app that shows it, for pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from textual.pilot import Pilot

from lmchat.core.config.settings import Settings, UiSettings
from lmchat.core.servers.discovery.status import ServerState
from lmchat.core.sessions.message import AnswerStats, ChatMessage, ReasoningPart, Role, TextPart
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.storage.store import Store
from tests.support.desktop import Desktop, HandClock, make_desktop
from tests.support.look_data import NOW
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model, probed

SIZES = {
    "200x50": (200, 50),
    "120x40": (120, 40),
    "80x24": (80, 24),
    "60x20": (60, 20),
    "40x12": (40, 12),
}
PLAN = """Several do well:

1. **Lettuce** – four hours of sun are enough
2. Spinach, *sown early*

```python
beds = plan(["lettuce", "spinach"])
```

| bed | width |
|---|---|
| north | 1.2 m |
| wall | 0.8 m |
"""
SESSION = "00000000000000a1"


def said(number: int, role: Role, text: str, **more) -> ChatMessage:
    """A stored message with fixed id and time."""
    is_answer = role is Role.ASSISTANT
    stats = AnswerStats(
        ttft_ms=210, tokens_per_second=42.3, prompt_tokens=3000, completion_tokens=312, is_estimated=False,
        elapsed_ms=7400, reasoning_ms=3200, finish_reason="stop",
    )  # fmt: skip
    known = {"model": "qwen3-8b", "endpoint": ENDPOINT.url, "stats": stats} if is_answer else {}
    return ChatMessage(
        message_id=f"{number:016x}",
        role=role,
        parts=more.pop("parts", (TextPart(text=text),) if text else ()),
        created_at=NOW + timedelta(minutes=number - 10),
        parent_id=f"{number - 1:016x}" if number > 1 else None,
        **(known | more),
    )


TALK = (
    said(1, Role.USER, "Which vegetables grow in shade?"),
    said(2, Role.ASSISTANT, "", parts=(ReasoningPart(text="Shade …"), TextPart(text=PLAN))),
    said(3, Role.USER, "And in full shade?\nThe wall is to the north."),
)


async def fill(folder: Path, *messages: ChatMessage) -> None:
    """Put a session on the disk, as an earlier run would have."""
    store = Store(folder / "sessions.db", clock=lambda: NOW)
    header = SessionHeader(
        session_id=SESSION, title="Plan for the garden", created_at=NOW, updated_at=NOW
    )
    for message in messages:
        if message.role is Role.USER:
            await store.append(header, message)
        else:
            await store.end_answer(SESSION, message)
    await store.aclose()


def seen(folder: Path, *messages: ChatMessage, theme: str = "lmchat-dark", script=()) -> Desktop:
    """The app with a session of an earlier run."""
    asyncio.run(fill(folder, *messages))
    return make_desktop(
        folder,
        ScriptedBackend(script, results=[probed("", model(), model("gemma-3-4b"))]),
        settings=Settings(ui=UiSettings(theme=theme, reduced_motion=True)),
        store=Store(folder / "sessions.db", clock=lambda: NOW),
        resume_id="last",
        clock=HandClock(),
        check_pause_s=3600,  # the bar of each check would be in the picture
        moment=lambda: NOW,
    )


def steps(
    desk: Desktop, sees: str, *keys: str, then: Callable[[Desktop], Awaitable[None]] | None = None
) -> Callable[[Pilot], Awaitable[None]]:
    """Wait for the session and the server, press keys, and look before the picture is taken."""

    async def run(pilot: Pilot) -> None:
        desk.pilot = pilot
        await desk.ready()
        await desk.until(lambda: desk.session_id == SESSION, "the session")
        await desk.until(
            lambda: desk.dispatcher.controllers.status.health.state is ServerState.READY,
            "a look at the server",
        )
        await desk.rests()  # the frames of an answer would show colours of code with its text
        await pilot.press(*keys)
        if then is not None:
            await then(desk)
        await desk.until(lambda: sees in desk.text, f"“{sees}”")
        await desk.rests()
        if not desk.chat.open_sessions.running_ids:
            await desk.store.aclose()

    return run
