"""`python -m tests.support.picture [NAME ...]` draws the pictures of docs/: the real app, fixed answers."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace
from textual.app import App

from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.welcome.server_rows import LocalSetup
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.servers.events import (
    ReasoningDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.core.servers.local.demo import SMOLLM2
from lmchat.core.servers.model import LoadState
from lmchat.core.sessions.message import Role, new_id, text_message
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.storage.store import Store
from tests.support.desktop import Desktop, desktop
from tests.support.look_data import PLACES
from tests.support.scripted_backend import ScriptedBackend, model, probed
from tests.support.start_desk import bare_page, found
from tests.support.tui_host import Host, screen_text

DOCS = Path(__file__).parents[2] / "docs"
FONTS = "Hack, DejaVu Sans Mono, Menlo, Consolas, monospace"
OTHERS = (
    ("SSE parsing, the edge cases", 0),
    ("Regex for dates", 0),
    ("Trip to the north", 1),
    ("Bread without kneading", 9),
)
CANDIDATES = (
    probed(
        "",
        model(size_bytes=4_700_000_000, tools=True, reasoning=True),
        model(
            "gemma-3-4b",
            params="4B",
            quantization="Q4_0",
            state=LoadState.NOT_LOADED,
            size_bytes=2_400_000_000,
        ),
        model(
            "qwen2.5-coder-14b", params="14B", state=LoadState.NOT_LOADED, size_bytes=9_000_000_000
        ),
        model(
            "nomic-embed-text-v1.5",
            params="137M",
            quantization="F16",
            kind="embedding",
            size_bytes=274_000_000,
        ),
    ),
)
ANSWER = """## Leaves first

Whatever has to ripen a fruit needs sun; leaves need little. Four hours are enough for these three:

1. **Lettuce** keeps longer when it stays cool
2. **Spinach** likes `sow(march)` and a second sowing
3. **Chard** is slow, but bears until frost

| Crop | Sun | Sow | Gap |
|---|---|---|---:|
| Lettuce | 4 h | Mar to Aug | 25 cm |
| Chard | 4 h | Apr to Jun | 35 cm |

`plan` fills the bed, the widest rows first:

```python
def plan(rows, width_cm=300):
    for row in sorted(rows, key=by_gap):
        if row.gap_cm <= width_cm:
            width_cm -= row.gap_cm
            yield row  # widest first
```

Three metres hold two rows of chard and four of let"""


def as_svg(app: App) -> str:
    svg = re.sub(r"@font-face \{.*?\}\s*", "", app.export_screenshot(), flags=re.DOTALL)
    svg = svg.replace("Fira Code", FONTS).replace("font-size: 20px", "font-size: 20.27px")
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1)


class Clock:
    """Tells the time that the next message was written at."""

    def __init__(self) -> None:
        self.days_ago = 0

    def __call__(self) -> datetime:
        return datetime.now(UTC) - timedelta(days=self.days_ago)


async def fill(store: Store, clock: Clock) -> None:
    for title, days in reversed(OTHERS):
        clock.days_ago = days
        header = SessionHeader(
            session_id=new_id(), title=title, created_at=clock(), updated_at=clock()
        )
        await store.append(header, replace(text_message(Role.USER, title), created_at=clock()))
    clock.days_ago = 0


@asynccontextmanager
async def talking(theme: str, size: tuple[int, int]) -> AsyncIterator[Desktop]:
    """The app, with a conversation played up to the middle of an answer."""
    words = [
        step
        for piece in re.findall(r"\S+\s*|\s+", ANSWER)
        for step in (0.0225, TextDelta(text=piece))
    ]
    first = "No. Spinach and winter lettuce like the cooler nights, and both are up in a week."
    usage = UsageReported(prompt_tokens=21, completion_tokens=22, tokens_per_second=44.0)
    backend = ScriptedBackend(
        [RequestSent(), 0.19, TextDelta(text=first), usage, StreamFinished(reason="stop")],
        [
            RequestSent(),
            0.21,
            ReasoningDelta(text="The north side has shade."),
            1.2,
            *words,
            asyncio.Event(),
        ],
        results=CANDIDATES,
    )
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        store = Store(Path(folder) / "sessions.db", clock=clock)
        await fill(store, clock)
        async with desktop(Path(folder), backend, size=size, store=store) as desk:
            desk.app.theme = theme
            await desk.ready()
            desk.dispatcher.controllers.turn_view.submit(
                PendingPrompt(draft="Is it too late to sow in August?")
            )
            await desk.answered(1)
            desk.dispatcher.controllers.turn_view.submit(
                PendingPrompt(draft="What grows on the north side, in three metres?")
            )
            await desk.until(lambda: desk.active.messages_so_far[-1].text == ANSWER)
            await desk.pilot.pause(0.6)
            yield desk


async def queue(desk: Desktop) -> None:
    desk.dispatcher.controllers.turn_view.submit(PendingPrompt(draft="Which herbs go with them?"))
    desk.prompt_input.put("and in full shade?")


async def pick(desk: Desktop) -> None:
    await desk.pilot.press("ctrl+o")
    await desk.until(lambda: "gemma" in screen_text(desk.app), "the models")


async def search(desk: Desktop) -> None:
    await desk.pilot.press("ctrl+k")
    await desk.until(lambda: isinstance(desk.app.screen, SearchDialog), "the search")
    await desk.type("bread")
    await desk.until(lambda: "1 hit" in screen_text(desk.app), "a hit")


PICTURES: Mapping[str, tuple[str, tuple[int, int], Callable[[Desktop], Awaitable[None]]]] = {
    "chat": ("lmchat-dark", (120, 40), queue),
    "picker": ("lmchat-dark", (120, 40), pick),
    "search": ("lmchat-light", (120, 40), search),
    "narrow": ("lmchat-dark", (60, 20), queue),
}
"""Name of the file, theme, size, and what is done before the picture is taken."""


async def welcome() -> str:
    def page() -> WelcomeScreen:
        return bare_page(found(PLACES, LocalSetup(offer=SMOLLM2)))

    host = Host(screen=page)
    async with host.run_test(size=(120, 40)) as pilot:
        while "Try the built-in engine" not in screen_text(host):
            await pilot.pause(0.05)
        await pilot.pause(0.6)
        return as_svg(host)


async def draw(name: str) -> str:
    if name == "welcome":
        return await welcome()
    theme, size, prepare = PICTURES[name]
    async with talking(theme, size) as desk:
        await prepare(desk)
        await desk.pilot.pause(0.6)
        return as_svg(desk.app)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or (*PICTURES, "welcome"):
        (DOCS / f"{wanted}.svg").write_text(asyncio.run(draw(wanted)), encoding="utf-8")
