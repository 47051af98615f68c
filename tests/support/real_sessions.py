"""Users of a real server: the model that it has, and sessions with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from lmchat.config.settings import ChatSettings, Settings
from lmchat.domain.event import StreamFinished, UsageReported
from lmchat.domain.server import Endpoint, LoadState, Target
from lmchat.proxy.client import ProxyClient
from lmchat.services.backend import Backend
from lmchat.services.conversation import Conversation
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import Lazy
from lmchat.storage.store import SqliteStore
from tests.support.scripted_backend import read


async def target_at(server: ProxyClient | Backend, url: str, name: str = "") -> Target:
    """Return the first model of a server whose id has the name."""
    endpoint = Endpoint.parse(url)
    candidate = await server.check(endpoint)
    models = [model for model in candidate.models if name in model.model_id]
    return Target(endpoint=endpoint, product=candidate.product, model=models[0])


async def until_read() -> None:
    """Wait until nothing is being read ahead."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "read ahead"]
    await asyncio.gather(*tasks, return_exceptions=True)


class User:
    """A user of one server, with sessions."""

    def __init__(self, backend: Backend, store: SqliteStore, chat: ChatSettings) -> None:
        self.backend = backend
        self.sessions = OpenSessions(chat=chat, backend=backend, store=store)

    @property
    def conversation(self) -> Conversation:
        return self.sessions.shown.conversation

    async def use(self, url: str) -> None:
        self.sessions.next_turn.target = await target_at(self.backend, url)

    async def model_state(self, url: str) -> LoadState:
        """Look at the server again, and return the state of its model."""
        await self.use(url)
        return self.sessions.next_turn.target.model.state

    async def wait_until_asleep(self, url: str) -> None:
        while await self.model_state(url) is not LoadState.ASLEEP:  # noqa: ASYNC110 - only the server knows when
            await asyncio.sleep(0.1)

    async def send(self, text: str, files=()) -> UsageReported:
        """Send a prompt; return the counts of its first request, the last of which are final."""
        settings = self.sessions.next_turn.settings()
        events = await read(self.conversation.send(text, settings, files))
        first = takewhile(lambda event: not isinstance(event, StreamFinished), events)
        return [event for event in first if isinstance(event, UsageReported)][-1]


_User = TypeVar("_User", bound=User)


@asynccontextmanager
async def user_at(kind: type[_User], folder: Path, url: str, **chat: Any) -> AsyncIterator[_User]:
    """Start a user whose sessions are in a folder, and whose answers are short."""
    client = ProxyClient(Settings())
    options = ChatSettings(max_tokens=4, temperature=0.0, **chat)
    async with (
        aclosing(SqliteStore(folder / "sessions.db")) as store,
        aclosing(Backend(lambda: client, Lazy(lambda: None))) as backend,
    ):
        user = kind(backend, store, options)
        await user.use(url)
        yield user
