"""The real app on a scripted backend and a real store in a folder of the test's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from textual import events
from textual.pilot import Pilot

from lmchat.cli.target import own_endpoints, own_names
from lmchat.config.settings import Settings, UiSettings
from lmchat.domain.candidate import Remembered
from lmchat.domain.message import now
from lmchat.domain.server import Endpoint
from lmchat.files import write_new_file
from lmchat.services.candidates import Catalogue
from lmchat.services.doctor import Check, Examination
from lmchat.services.engine_backend import EngineBackend
from lmchat.services.importing import Importer
from lmchat.services.late import LateBackend
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.workspace import Outside, Workspace
from lmchat.storage.import_ import DiskFiles, read_as_block
from lmchat.storage.store import SessionStore
from lmchat.tui.app.lmchat_app import LMChatApp
from lmchat.tui.quirks.failures import keep_tracebacks_off
from lmchat.tui.widgets.chat_log.view.typed_over import TypedOver
from tests.support.scripted_backend import ScriptedBackend
from tests.support.scripted_engine import ScriptedEngine


@dataclass
class Desktop:
    """What a test looks at: the app, its driver of keys, and what the world saw."""

    app: LMChatApp
    pilot: Pilot
    backend: ScriptedBackend
    store: SessionStore
    folder: Path
    copied: list[str] = field(default_factory=list)
    kept_keys: list[tuple[Endpoint, str]] = field(default_factory=list)
    remembered: list[Remembered] = field(default_factory=list)
    paged: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    has_browser: bool = True
    checks: list[Check] = field(default_factory=list)

    @property
    def chat(self):
        return self.app.chat

    @property
    def conversation(self):
        return self.app.open_sessions.shown.conversation

    async def until(self, condition, what: str = "") -> None:
        """Let the app work until something holds."""
        for _ in range(400):
            if condition():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"never came: {what or condition}")

    async def ready(self) -> None:
        """Wait until a server was found."""
        await self.until(lambda: self.app.open_sessions.target is not None, "a server")
        await self.pilot.pause()

    async def say(self, text: str) -> None:
        """Type a line and send it."""
        await self.type(text)
        await self.pilot.press("enter")

    async def type(self, text: str) -> None:
        """Type as fast as the terminal hands keys over; the pilot rests 50 ms after each."""
        for char in text:
            event = events.Key(_KEYS.get(char, char), char)
            event.set_sender(self.app)
            self.app._driver.send_message(event)
            await asyncio.sleep(0)

    async def answered(self, count: int = 1) -> None:
        """Wait until so many answers have ended."""
        await self.until(
            lambda: (
                not self.conversation.is_running
                and sum(bool(m.receipt) for m in self.conversation.messages) >= count
            ),
            f"{count} answers",
        )
        await self.pilot.pause()

    async def on_disk(self):
        """Messages of the shown session as the store has them."""
        return (await self.store.open_session(self.conversation.header.session_id)).messages


_KEYS = {" ": "space", "?": "question_mark", "/": "slash", ".": "full_stop", "_": "underscore", "-": "minus"}


def make_desktop(  # noqa: PLR0913 - all but two are named
    folder: Path,
    backend: ScriptedBackend | None = None,
    *,
    settings: Settings | None = None,
    remembered: Remembered | None = None,
    resume_id: str = "",
    store: SessionStore | None = None,
    engine: ScriptedEngine | None = None,
    clock: Callable[[], float] = time.monotonic,
    moment: Callable[[], datetime] = now,
) -> Desktop:
    """Return the app, not yet running, on a scripted backend and a real store."""
    backend = backend or ScriptedBackend()
    settings = settings or Settings(ui=UiSettings(reduced_motion=True))
    store = store or SessionStore(folder / "sessions.db")
    late = LateBackend(lambda: EngineBackend(backend, lambda: engine))
    seen = Desktop(None, None, backend, store, folder)  # type: ignore[arg-type]
    seen.app = LMChatApp(
        Workspace(
            settings=settings,
            backend=late,
            store=store,
            library=Library(store, write_file=write_new_file, clock=moment),
            open_sessions=OpenSessions(chat=settings.chat, backend=late, store=store, clock=clock),
            monitor=Monitor(late, clock=clock),
            catalogue=Catalogue(late, store, expected=own_endpoints(settings), names=own_names(settings)),
            outside=_outside(seen),
            remembered=remembered or Remembered(),
            resume_id=resume_id,
            make_importer=lambda: Importer(store, DiskFiles(), clock=moment),
            make_engine=_maker_of(engine),
            clock=clock,
        )
    )
    keep_tracebacks_off(seen.app, seen.app.tell_failure)
    return seen


def _maker_of(engine: ScriptedEngine | None):
    async def make() -> ScriptedEngine | None:
        return engine

    return make if engine else None


def _outside(seen: Desktop) -> Outside:
    async def copy(text: str) -> str:
        seen.copied.append(text)
        return "Copied with test-copy"

    async def remember(value: Remembered) -> None:
        seen.remembered.append(value)

    async def keep_key(endpoint: Endpoint, key: str) -> None:
        seen.kept_keys.append((endpoint, key))

    async def edit(text: str) -> str:
        return text + " edited"

    async def page(text: str) -> None:
        seen.paged.append(text)

    async def open_page(address: str) -> bool:
        seen.opened.append(address)
        return seen.has_browser

    async def read_text(name: str) -> str:
        return read_as_block(name)

    return Outside(
        copy=copy,
        examination=lambda: Examination(
            checks=tuple(seen.checks), note_error=lambda error: f"{error!r}"[:8], home=str(seen.folder)
        ),
        edit=edit,
        page=page,
        open_page=open_page,
        read_text=read_text,
        remember=remember,
        keep_key=keep_key,
        notification=lambda _: "\a",
        note_error=lambda error: f"{error!r}"[:8],
        log_file="/var/log/lmchat.log",
    )


@asynccontextmanager
async def desktop(
    folder: Path,
    backend: ScriptedBackend | None = None,
    *,
    size: tuple[int, int] = (120, 40),
    word_gap_s: float = 0.0,
    **more: Any,
) -> AsyncIterator[Desktop]:
    """Run the app without a terminal; keys of a message wait so long whether they become a word."""
    seen = make_desktop(folder, backend, **more)
    with patch.object(TypedOver, "word_gap_s", word_gap_s):
        async with seen.app.run_test(size=size, notifications=True) as pilot:
            seen.pilot = pilot
            yield seen
            await seen.app.stop_and_save()
    await seen.store.aclose()
