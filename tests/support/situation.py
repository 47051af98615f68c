"""The real app on the real proxy-client layer, over scripted servers that stand at well-known places.

    async with situation.run(tmp_path, {1234: server}) as seen:
        await seen.shows("wants a key")
        ...  # the test does what the sentence says, or the server changes
        seen.time_passes()
        await seen.chats("Hello?")

Nothing of it depends on the clock or on the load of the machine: seconds pass when the test says so, each
look took 3 ms, every message was written at 14:02.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from msgspec.structs import replace

from lmchat.cli.keys import Keys
from lmchat.config.loader import Loaded
from lmchat.config.settings import Settings, UiSettings
from lmchat.domain.candidate import Remembered
from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.domain.server import Candidate, Endpoint, ModelList
from lmchat.domain.telemetry import Health
from lmchat.proxy.client import ProxyClient
from lmchat.proxy.connections import Connections
from lmchat.proxy.looking import Looking
from lmchat.services.monitor import Monitor
from lmchat.storage.credentials import Credentials
from lmchat.storage.store import SessionStore
from lmchat.tui.screens.chat_screen import ChatScreen
from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.desktop import make_desktop
from tests.support.look_data import NOW
from tests.support.port_map import PortMap
from tests.support.scripted_server import ScriptedServer
from tests.support.seen import Seen

WIDE, SMALL = (120, 40), (80, 24)
LOOK_MS = 3.0
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
}
"""Groups of workers that end by themselves."""

Places = Mapping[int | tuple[str, int], ScriptedServer]


class HandClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class MappedConnections(Connections):
    """Sends all through a map of ports; only to the places named in `direct` as the program itself would."""

    def __init__(self, ports: PortMap, direct: Collection[str]) -> None:
        super().__init__(ports)
        self._direct = direct

    def _new_client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        is_direct = endpoint.netloc in self._direct
        return Connections(None if is_direct else self._transport)._new_client(endpoint)


class StillLooking(Looking):
    """The real looks at servers; each takes the same time."""

    async def _keep(self, candidate: Candidate) -> Candidate:
        latency_ms = None if candidate.latency_ms is None else LOOK_MS
        return await super()._keep(replace(candidate, latency_ms=latency_ms))


class StillClient(ProxyClient):
    """The real proxy-client layer; only its measurements are always the same."""

    def __init__(self, settings: Settings, ports: PortMap, *, direct: Collection[str], **more) -> None:
        super().__init__(settings, **more)
        self._connections = self._scout._connections = MappedConnections(ports, direct)
        self._looking = StillLooking(self._admission, self._scout, self._cache, self._counters)

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        return replace(await super().models(endpoint, is_refresh=is_refresh), age_s=0.0)

    def cached_models(self) -> ModelList:
        return replace(super().cached_models(), age_s=0.0)


class StillMonitor(Monitor):
    """The real monitor; how many looks there were before the last one is not told."""

    def _seen(self, candidate: Candidate, target) -> Health:
        health = super()._seen(candidate, target)
        return replace(health, latencies_ms=health.latencies_ms[-1:])


@dataclass
class Situation(Seen):
    """What a person sees and does, and what the servers saw."""

    clock: HandClock
    ports: PortMap
    folder: Path
    credentials: Credentials
    asked: list[str] = field(default_factory=list)

    def candidate(self, port: int) -> Candidate:
        """What the last look found at a port."""
        return next(one for one in self.app.workspace.catalogue.candidates if one.endpoint.port == port)

    def places(self, place: int | tuple[str, int], server: ScriptedServer | None) -> None:
        """Let a server stand at a port from now on, or nobody."""
        key = place if isinstance(place, tuple) else ("127.0.0.1", place)
        self.ports.places.pop(key, None)
        if server is not None:
            self.ports.places[key] = server

    def time_passes(self, seconds: float = 5.0) -> None:
        """Let the pause between two looks be over: nobody presses anything."""
        self.clock.now_s += seconds
        self.app._look.set()
        self.app.workspace.monitor.look_now()

    async def types(self, text: str) -> None:
        await self.desk.type(text)

    async def says(self, text: str) -> None:
        """Type a line and send it."""
        await self.types(text)
        await self.until(lambda: self.app.chat.prompt_input.text.endswith(text[-3:]), f"“{text}” typed")
        await self.presses("enter")

    async def answered(self, count: int = 1) -> ChatMessage:
        """Wait until so many answers are complete; return the last."""

        def complete() -> list[ChatMessage]:
            messages = self.desk.conversation.messages
            return [one for one in messages if one.receipt and one.state is AnswerState.COMPLETE]

        await self.until(
            lambda: len(complete()) >= count and not self.desk.conversation.is_running, f"{count} answers"
        )
        return complete()[-1]

    async def goes_on(self) -> None:
        """Wait until a chat can begin: nobody presses anything."""
        await self.is_on(ChatScreen)
        await self.until(
            lambda: getattr(self.app.open_sessions.target, "model_id", ""), "a server and a model"
        )
        await self.until(lambda: isinstance(self.app.focused, PromptInput), "the focus on the prompt")

    async def chats(self, text: str = "Hello?", *, count: int = 1) -> ChatMessage:
        """Say something and wait for the answer: the end of every situation."""
        await self.goes_on()
        await self.says(text)
        answer = await self.answered(count)
        assert answer.text == "Hello there."
        return answer

    async def rests(self, while_busy: str = "") -> None:
        """Wait until nothing moves any more; `while_busy` names what the server is at."""

        def is_at_rest() -> bool:
            busy = {one.group for one in self.app.workers if not one.is_finished} - {while_busy}
            return not busy & _PASSING and self.app.workspace.monitor.next_look_s is not None

        for _ in range(3):
            await self.until(is_at_rest, "rest")
            await self.desk.pilot.pause()

    async def at_size(self, size: tuple[int, int]) -> None:
        """Make the terminal larger or smaller."""
        await self.desk.pilot.resize_terminal(*size)
        await self.until(lambda: self.app.size == size, f"the size {size}")
        await self.rests()


@asynccontextmanager
async def run(
    folder: Path,
    places: Places | None = None,
    *,
    settings: Settings | None = None,
    remembered: Remembered | None = None,
    direct: Collection[str] = (),
) -> AsyncIterator[Situation]:
    """Run the app on servers that stand at these ports of this machine, or at (host, port).

    What stands in `direct` ("host:port") is not mapped: it is reached as the environment says.
    """
    there = {
        (key if isinstance(key, tuple) else ("127.0.0.1", key)): one for key, one in (places or {}).items()
    }
    settings = settings or Settings()
    settings = replace(settings, ui=UiSettings(reduced_motion=True))
    ports, clock = PortMap(dict(there)), HandClock()
    credentials = Credentials(folder / "credentials.toml")
    keys = Keys(Loaded(settings=settings, file=folder / "config.toml"), {}, credentials)
    await asyncio.to_thread(keys.load)
    client = StillClient(settings, ports, direct=direct, key_for=keys.key_for)
    store = SessionStore(folder / "sessions.db", clock=lambda: NOW)
    desk = make_desktop(
        folder, client, settings=settings, remembered=remembered, store=store, clock=clock, moment=lambda: NOW
    )
    workspace = desk.app.workspace
    workspace.monitor = StillMonitor(workspace.backend, clock=clock)

    async def keep_key(endpoint: Endpoint, key: str) -> None:
        await asyncio.to_thread(keys.keep, endpoint, key)

    workspace.outside = replace(workspace.outside, keep_key=keep_key)
    async with desk.app.run_test(size=WIDE, notifications=True) as pilot:
        desk.pilot = pilot
        yield Situation(desk, clock, ports, folder, credentials)
        await desk.app.stop_and_save()
    await desk.store.aclose()
    await client.aclose()


def named(url: str, *, allowed: Sequence[str] = ()) -> Settings:
    """What `--endpoint` and `--allow-host` set."""
    return Settings(endpoint=url, allowed_hosts=tuple(allowed))
