"""The real app on a scripted backend and a real store in a folder of the test's."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

from msgspec.structs import force_setattr, replace
from textual import events
from textual.pilot import Pilot

from lmchat.api.api_keys import ApiKeys
from lmchat.app.terminal.clipboard import terminal_copy
from lmchat.app.terminal.programs import Editor
from lmchat.app.tui.app import LMChatApp
from lmchat.app.tui.dispatcher import Dispatcher
from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.widgets.message_row import MessageRow
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.app.tui.workspace import Report, Workspace
from lmchat.base.errors import FileRefused, StoreUnavailable
from lmchat.core.attachments.file_finder import FileFinder
from lmchat.core.attachments.shell_command import ShellCommand
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.settings import SamplingLayers, options_set_in
from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.load import LoadedSettings
from lmchat.core.config.settings import Settings, UiSettings
from lmchat.core.config.state import Change, State
from lmchat.core.library.importer import Importer
from lmchat.core.library.library import Library
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.discovery.choose import endpoints_of
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.discovery.monitor import POLL_S, Monitor
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.connections import Connections
from lmchat.core.servers.model import ModelList
from lmchat.core.servers.models import ServerModels
from lmchat.core.servers.products.request_body import MessageEncoder
from lmchat.core.sessions.message import ChatMessage, SentThoughts, now
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store
from tests.support.client_calls import PortMap
from tests.support.look_data import NOW
from tests.support.programs import WAIT_S
from tests.support.scripted_backend import ScriptedBackend, ScriptedEngine, Step
from tests.support.scripted_server import ScriptedServer
from tests.support.tui_host import confirm, screen_text, unpainted


async def nothing_examined() -> Report:
    return Report(lambda _width: "", "no checks")


_PASSING = {
    "library",
    "queue",
    "remember",
    "history",
    "open",
    "draft",
    "picker",
    "load",
    "address",
    "key",
    "count",
    "colours",
    "parse",
    "catch",  # up with another lmchat
}
"""Groups of workers that end by themselves."""


@dataclass
class Desktop:
    """What a test looks at: the app, its driver of keys, and what the world saw."""

    app: LMChatApp
    workspace: Workspace
    pilot: Pilot
    backend: ScriptedBackend
    store: Store
    folder: Path
    copied: list[str] = field(default_factory=list)
    copied_image: bytes = b""
    copied_files: str = ""
    kept_keys: list[tuple[Endpoint, str]] = field(default_factory=list)
    state: list[State] = field(default_factory=list)
    paged: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    has_browser: bool = True
    has_full_disk: bool = False
    report: Callable[[], Awaitable[Report]] = nothing_examined

    @property
    def chat_screen(self):
        return self.app.chat_screen

    @property
    def dispatcher(self) -> Dispatcher:
        """What answers; it is there once the app has been painted."""
        assert isinstance(self.app.dispatcher, Dispatcher)
        return self.app.dispatcher

    @property
    def chat(self) -> ChatService:
        return self.workspace.chat

    @property
    def prompt_input(self):
        return self.app.chat_screen.widgets.prompt_input

    @property
    def log_view(self):
        return self.app.chat_screen.widgets.log

    @property
    def active(self):
        return self.chat.active

    @property
    def session_id(self) -> str:
        return self.active.session_id

    @property
    def session_list(self):
        return self.chat_screen.widgets.session_list

    @property
    def target(self):
        return self.chat.turn_options.target

    @property
    def text(self) -> str:
        """What the screen shows."""
        return screen_text(self.app)

    @property
    def log_rows(self) -> list[str]:
        """The rows of the log that the screen shows."""
        strips = self.log_view.render_lines(self.log_view.size.region)
        return ["".join(segment.text for segment in strip) for strip in strips]

    @property
    def texts(self) -> list[str]:
        """What the messages of the active session say."""
        return [message.text for message in self.active.messages]

    async def until(self, condition, what: str = "") -> None:
        end_s = time.monotonic() + WAIT_S
        pause_s = 0.01
        while not condition():
            assert time.monotonic() < end_s, f"never came: {what or condition}\n{self.text}"
            await asyncio.sleep(pause_s)
            pause_s *= 1.2  # to look takes 10 ms of work
            self.app.screen._on_timer_update()  # as after a pause, which calls each widget

    async def ready(self) -> None:
        await self.until(lambda: self.target is not None, "a server")
        await self.pilot.pause()

    async def on(self, kind: type) -> None:
        await self.until(lambda: isinstance(self.app.screen, kind), kind.__name__)
        await self.pilot.pause()

    async def press(
        self, *keys: str, leads_to: type | None = None, sees: str = "", hides: str = ""
    ) -> None:
        """Press keys, and wait for the screen that they lead to, and a text that comes or goes."""
        await self.pilot.press(*keys)
        if leads_to:
            await self.on(leads_to)
        if sees:
            await shown(self, sees)
        if hides:
            await gone(self, hides)

    async def confirm(self, **then: Any) -> None:
        """Answer the open question with yes, and wait as `press` does."""
        confirm(self.app)
        await self.press(**then)

    async def say(self, text: str, **then: Any) -> None:
        """Write a line and send it; only its last letter is a key, since each takes 5 ms of work.

        All letters are keys if keys before them have still to have their effect: they would be
        written before an Enter that waits.
        """
        if self.app.focused is self.prompt_input and not self._has_waiting_keys:
            self.prompt_input.insert(text[:-1])
            text = text[-1:]
        await self.type(text)
        await self.press("enter", **then)

    @property
    def _has_waiting_keys(self) -> bool:
        queue = self.app.key_queue  # private names: lmchat itself does not ask
        return queue._current is not None or bool(queue._waiting)

    async def ask(self, text: str, count: int = 1) -> None:
        """Send a line, and wait until so many answers have ended."""
        await self.say(text)
        await self.answered(count)

    async def type(self, keys: Iterable[str]) -> None:
        """Type as fast as the terminal hands keys over; the pilot rests 50 ms after each."""
        for key in keys:
            event = events.Key(_KEYS.get(key, key), key if len(key) == 1 else None)
            event.set_sender(self.app)
            self.app._driver.send_message(event)
            await asyncio.sleep(0)

    async def paste(self, text: str) -> None:
        event = Paste(text)
        event.set_sender(self.app)
        self.app._driver.send_message(event)
        await self.pilot.pause()

    async def answered(self, count: int = 1) -> ChatMessage:
        def answers() -> list[ChatMessage]:
            return [message for message in self.active.messages if message.stats]

        await self.until(
            lambda: not self.active.is_running and len(answers()) >= count, f"{count} answers"
        )
        await self.pilot.pause()
        return answers()[-1]

    async def at_rest(self, *, requests: int = 0) -> None:
        """Wait until the active session has no turn, and so many requests have gone out."""
        await self.until(
            lambda: len(self.backend.requests) >= requests and not self.chat.active.is_running,
            "a session at rest",
        )
        await self.pilot.pause()

    async def rests(self, while_busy: str = "") -> None:
        """Wait until nothing moves any more; `while_busy` names what the server is at."""

        def is_at_rest() -> bool:
            running = {
                one.group.partition(" ")[0] for one in self.app.workers if not one.is_finished
            }
            return (
                not (running - {while_busy}) & _PASSING
                and self.workspace.monitor.next_check_s is not None
                and self.log_view.inflow.timer is None
            )

        for _ in range(3):
            await self.until(is_at_rest, "rest")
            await self.pilot.pause()

    async def prompt_is(self, text: str) -> None:
        await self.until(lambda: self.prompt_input.text == text, f"{text!r} in the prompt")

    async def go_to_list(self) -> None:
        """Give the keys to the list of sessions, which Ctrl+B would hide if it has them."""
        if not self.session_list.has_focus:
            await self.press("ctrl+b")
            await self.until(lambda: self.session_list.has_focus, "the focus on the list")

    async def open_in_list(self, session_id: str) -> None:
        """Go to a session by the keys of the list."""
        await self.go_to_list()
        await self.until(lambda: bool(self.session_list.chosen_id), "a list")
        await self.press("home")
        for _ in range(20):
            if self.session_list.chosen_id == session_id:
                break
            await self.press("down")
        await self.press("enter")
        await self.until(lambda: self.session_id == session_id, "the session")

    async def on_disk(self):
        return (await self.store.open_session(self.session_id)).messages

    async def texts_on_disk(self) -> list[str]:
        return [message.text for message in await self.on_disk()]


_KEYS = {
    " ": "space",
    "?": "question_mark",
    "/": "slash",
    ".": "full_stop",
    "_": "underscore",
    "-": "minus",
}


def make_desktop(  # noqa: PLR0913 - all but two are named
    folder: Path,
    backend: ScriptedBackend | None = None,
    *,
    settings: Settings | None = None,
    state: State | None = None,
    resume_id: str = "",
    system_prompt: str | None = None,
    store: Store | None = None,
    engine: ScriptedEngine | None = None,
    toolbox: Toolbox | None = None,
    clock: Callable[[], float] = time.monotonic,
    moment: Callable[[], datetime] = now,
    check_pause_s: float = POLL_S,
) -> Desktop:
    backend = backend or ScriptedBackend()
    settings = settings or calm()
    store = store or Store(folder / "sessions.db")
    backend.engine = engine
    chat = ChatService(
        chat=settings.chat,
        backend=backend,
        store=store,
        stats_store=StatsStore(store.database),
        layers=SamplingLayers(chat=options_set_in(settings.chat)),
        toolbox=toolbox,
        clock=clock,
    )
    seen = Desktop(None, None, None, backend, store, folder)  # type: ignore[arg-type]
    state = state or State()
    seen.workspace = Workspace(
        settings=settings,
        backend=backend,
        store=store,
        saved=store,
        stats_store=StatsStore(store.database),
        library=Library(store, clock=moment),
        chat=chat,
        monitor=Monitor(backend.models.check, clock=clock, pause_s=check_pause_s),
        finder=ServerFinder(backend.models, settings, lambda: seen.workspace.state),
        platform=DeskPlatform(seen),
        state=state,
        resume_id=resume_id,
        system_prompt=system_prompt,
        importer=Importer(store),
        engine=engine,
        clock=clock,
    )

    async def open_dispatcher(app: LMChatApp) -> Dispatcher:
        dispatcher = Dispatcher(app, seen.workspace)
        dispatcher.start()
        return dispatcher

    seen.app = LMChatApp(settings, state, open_dispatcher)
    return seen


class QuickEditor(Editor):
    """An editor that adds a word at once."""

    async def run(self) -> str:
        self.saved_text += " edited"
        return self.saved_text


class DeskPlatform:
    """The clipboard, files and programs of a desktop: what happens to them is written down."""

    log_file = "/var/log/lmchat.log"

    def __init__(self, seen: Desktop) -> None:
        self.seen = seen
        self.config_file = seen.folder / "config.toml"
        self.state_folder = seen.folder
        self.find_files = FileFinder(seen.folder).find

    async def copy(self, text: str) -> str:
        self.seen.copied.append(text)
        return "test-copy"

    def terminal_copy(self, text: str) -> str:
        return terminal_copy(text, {})

    async def paste(self) -> str:
        if not self.seen.copied:
            raise FileRefused("The clipboard is empty.", next_step="Copy a text first.")
        return self.seen.copied[-1]

    async def paste_image(self) -> bytes:
        return self.seen.copied_image

    async def paste_files(self) -> str:
        return self.seen.copied_files

    def examine(self, used: Endpoint | None) -> Awaitable[Report]:
        return self.seen.report()

    def editor(self, text: str) -> Editor:
        return QuickEditor(text, environ={})

    async def show_in_pager(self, text: str) -> None:
        self.seen.paged.append(text)

    def shell_command(self, command: str) -> ShellCommand:
        return ShellCommand(command, os.environ)

    async def open_in_browser(self, address: str) -> bool:
        self.seen.opened.append(address)
        return self.seen.has_browser

    async def open_file(self, name: str, data: bytes) -> str:
        self.seen.opened.append(f"{name}: {len(data)} bytes")
        return "" if self.seen.has_browser else f"/copies/{name}"

    async def remember(self, change: Change) -> None:
        if self.seen.has_full_disk:
            raise FileRefused("state.toml cannot be written: the disk is full.")
        self.seen.state.append(change(self.seen.state[-1] if self.seen.state else State()))

    async def keep_key(self, endpoint: Endpoint, key: str) -> None:
        self.seen.kept_keys.append((endpoint, key))

    def notification(self, words: str) -> str:
        return "\a"


@asynccontextmanager
async def desktop(
    folder: Path,
    backend: ScriptedBackend | None = None,
    *,
    size: tuple[int, int] = (120, 40),
    **more: Any,
) -> AsyncIterator[Desktop]:
    """Run the app without a terminal."""
    async with running(make_desktop(folder, backend, **more), size) as seen:
        yield seen


@asynccontextmanager
async def running(desk: Desktop, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Desktop]:
    """Run an app until its test is over, and save."""
    with unpainted():
        async with desk.app.run_test(size=size) as pilot:
            desk.pilot = pilot
            await desk.until(lambda: desk.app.dispatcher is not None, "the dispatcher")
            yield desk
            await desk.app.stop_and_save()
    await desk.store.aclose()


@asynccontextmanager
async def ready_desktop(
    folder: Path,
    *scripts: Sequence[Step],
    backend: ScriptedBackend | None = None,
    asked: Sequence[str] = (),
    **more: Any,
) -> AsyncIterator[Desktop]:
    """Run the app on a backend of these scripts, wait for a server, and have these prompts answered."""
    async with desktop(folder, backend or ScriptedBackend(*scripts), **more) as desk:
        await desk.ready()
        for count, prompt in enumerate(asked, 1):
            await desk.ask(prompt, count)
        yield desk


WIDE = (120, 40)
SMALL = (80, 24)
LOOK_MS = 3.0
Places = Mapping[int | tuple[str, int], ScriptedServer]


class HandClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class StillModels(ServerModels):
    async def _keep_models(self, probed: ServerStatus) -> ServerStatus:
        latency_ms = None if probed.latency_ms is None else LOOK_MS
        return await super()._keep_models(replace(probed, latency_ms=latency_ms))

    def cached(self) -> ModelList:
        return replace(super().cached(), age_s=0.0)


class StillClient(HttpServerClient):
    """The real client of servers; only its measurements are always the same."""

    def __init__(self, settings: Settings, ports: PortMap, **more) -> None:
        super().__init__(settings, **more)
        force_setattr(self._access, "connections", Connections(ports))
        self.models = StillModels(
            self._access, self._scanner, self.model_lists, self._slots, self._engine
        )


@dataclass(kw_only=True)
class Situation(Desktop):
    """What a person sees and does, and what the servers saw."""

    clock: HandClock
    ports: PortMap
    credentials: Credentials

    def places(self, place: int | tuple[str, int], server: ScriptedServer | None) -> None:
        key = place if isinstance(place, tuple) else ("localhost", place)
        self.ports.places.pop(key, None)
        if server is not None:
            self.ports.places[key] = server

    def time_passes(self, seconds: float = 5.0) -> None:
        """Let the pause between two looks be over: nobody presses anything."""
        self.clock.now_s += seconds
        self.dispatcher.controllers.server_search._search_wanted.set()
        self.workspace.monitor.check_now()

    async def goes_on(self) -> None:
        await self.on(ChatScreen)
        await self.until(
            lambda: getattr(self.chat.turn_options.target, "model_id", ""),
            "a server and a model",
        )
        await self.until(
            lambda: isinstance(self.app.focused, PromptInput), "the focus on the prompt"
        )

    async def chats(self, text: str = "Hello?", *, count: int = 1) -> ChatMessage:
        await self.goes_on()
        await self.say(text)
        answer = await self.answered(count)
        assert answer.text == "Hello there."
        return answer

    async def at_size(self, size: tuple[int, int]) -> None:
        await self.pilot.resize_terminal(*size)
        await self.until(lambda: self.app.size == size, f"the size {size}")
        await self.rests()


@asynccontextmanager
async def run(
    folder: Path,
    places: Places | None = None,
    *,
    settings: Settings | None = None,
    state: State | None = None,
) -> AsyncIterator[Situation]:
    """Run the app on servers that stand at these ports of this machine, or at (host, port)."""
    there = {
        (key if isinstance(key, tuple) else ("localhost", key)): one
        for key, one in (places or {}).items()
    }
    settings = settings or Settings()
    settings = replace(settings, ui=UiSettings(reduced_motion=True))
    ports = PortMap(dict(there))
    clock = HandClock()
    credentials = Credentials(folder / "credentials.toml")
    keys = ApiKeys(LoadedSettings(settings=settings, file=folder / "config.toml"), {}, credentials)
    await asyncio.to_thread(keys.load)
    client = StillClient(settings, ports, keys=keys)
    client.model_lists.monotonic = clock
    client.models.scan_also({}, used=endpoints_of(state or State()))
    store = Store(folder / "sessions.db", clock=lambda: NOW)
    desk = make_desktop(
        folder,
        client,
        settings=settings,
        state=state,
        store=store,
        clock=clock,
        moment=lambda: NOW,
        check_pause_s=3600,  # the bar of each check would be in the picture
    )
    workspace = desk.workspace

    async def keep_key(endpoint: Endpoint, key: str) -> None:
        await asyncio.to_thread(keys.keep, endpoint, key)

    workspace.platform.keep_key = keep_key
    async with running(desk):
        yield Situation(**vars(desk), clock=clock, ports=ports, credentials=credentials)
    await client.aclose()


def calm(**tables: Any) -> Settings:
    """Return settings with which nothing on the screen moves by itself."""
    return Settings(ui=UiSettings(reduced_motion=True), **tables)


def sent(backend: ScriptedBackend) -> list[str]:
    """Return the last message of each request as text, with its text files as they are sent."""
    texts: list[str] = []
    for request in backend.requests:
        encoder = MessageEncoder(
            files=request.files,
            has_tools=True,
            sent_thoughts=SentThoughts.NONE,
            thought_fields=(),
        )
        content = encoder.encode(request.messages[-1:])[0]["content"]
        if not isinstance(content, str):  # images, then the text
            content = "".join(part["text"] for part in content if part["type"] == "text")
        texts.append(content)
    return texts


async def kept_as(desk, session_id: str, text: str) -> None:
    """Wait until the draft of a session on the disk is this text."""
    kept = None
    for _ in range(400):
        kept = await desk.store.draft(session_id)
        if kept == text:
            return
        await desk.pilot.pause(0.01)
    assert kept == text


def is_shown(desk: Desktop, text: str) -> bool:
    """Whether the screen has a text, which may be wrapped, or a passing message has it."""
    rows = desk.app.screen.query(MessageRow)
    messages = [row.passing.text for row in rows if row.passing is not None]
    seen = desk.text
    return any(text in place for place in (seen, " ".join(seen.split()), *messages))


async def shown(desk: Desktop, *texts: str) -> None:
    for text in texts:
        await desk.until(lambda text=text: is_shown(desk, text), f"“{text}” on the screen")


async def gone(desk: Desktop, text: str) -> None:
    await desk.until(lambda: not is_shown(desk, text), f"a screen without “{text}”")


def full_disk(store: Store) -> AbstractContextManager[object]:
    """Let the store have no room for what is said."""
    full = AsyncMock(side_effect=StoreUnavailable("The disk is full.", next_step="Free some room."))
    return patch.multiple(store, append=full, start_answer=full, end_answer=full)


async def click(desk: Desktop, words: str, *, nth: int = 0, times: int = 1, by: int = 0) -> None:
    """Click the second letter of some words, or cells beside it, at the n-th place where they stand."""
    rows = desk.text.split("\n")
    x, y = [(row.index(words) + 1 + by, y) for y, row in enumerate(rows) if words in row][nth]
    widget, region = desk.app.get_widget_at(x, y)
    await desk.pilot.click(widget, offset=(x - region.x, y - region.y), times=times)
