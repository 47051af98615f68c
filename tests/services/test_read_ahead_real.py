"""Reading ahead at a real llama.cpp server: what the next request finds in the cache."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from lmchat.config.settings import ChatSettings, Settings
from lmchat.domain.event import UsageReported
from lmchat.domain.message import Role, text_message
from lmchat.domain.server import Endpoint, LoadState, Target
from lmchat.domain.session import Session
from lmchat.proxy.client import ProxyClient
from lmchat.services.backend import Backend
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import Lazy
from lmchat.services.read_ahead import ReadAhead
from lmchat.storage.store import SqliteStore
from tests.support.scripted_backend import read

pytestmark = pytest.mark.timeout(180)  # it reads thousands of tokens, about 100 a second
PROMPT = "Which crop needs the most water?"
PROMPT_TOKENS = 8


def garden_session(open_sessions: OpenSessions, name: str, *, rounds: int) -> Session:
    """Return a session of prompts and answers, of about 100 tokens for each round."""
    header = open_sessions.begin().conversation.header
    messages = []
    for number in range(rounds):
        words = f"The {name} bed {number} has carrots, beans and {number} rows of lettuce. " * 3
        for role in (Role.USER, Role.ASSISTANT):
            parent_id = messages[-1].message_id if messages else None
            messages.append(text_message(role, words, parent_id=parent_id))
    return Session(header=header, messages=tuple(messages))


class Typist:
    """A user of one server, who types into sessions that were read from the disk."""

    def __init__(self, backend: Backend, store: SqliteStore, chat: ChatSettings) -> None:
        self.backend = backend
        self.open_sessions = OpenSessions(chat=chat, backend=backend, store=store)
        self.read_ahead = ReadAhead(backend, self.open_sessions)

    async def use(self, endpoint: Endpoint) -> None:
        candidate = await self.backend.check(endpoint)
        self.open_sessions.next_turn.target = Target(
            endpoint=endpoint, product=candidate.product, model=candidate.models[0]
        )

    async def type(self, draft: str) -> None:
        """Type a draft, and wait until nothing is read any more."""
        self.read_ahead.follow(draft)
        await self.read_ahead.wait_until_ended()

    async def until_something_is_read(self) -> None:
        for _ in range(2000):
            if self.read_ahead.fraction:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("nothing was read ahead")

    async def send(self, text: str = PROMPT) -> UsageReported:
        """Send a prompt as the screen does, and return the server's counts."""
        self.read_ahead.cancel()
        conversation = self.open_sessions.shown.conversation
        events = await read(conversation.send(text, self.open_sessions.next_turn.settings()))
        self.read_ahead.note_turn(conversation)
        return next(event for event in events if isinstance(event, UsageReported))


@pytest.fixture
async def make_typist(tmp_path):
    @asynccontextmanager
    async def make(url: str, **chat):
        store = SqliteStore(tmp_path / "sessions.db")
        client = ProxyClient(Settings())
        backend = Backend(lambda: client, Lazy(lambda: None))
        options = ChatSettings(max_tokens=4, temperature=0.0, **chat)
        typist = Typist(backend, store, options)
        await typist.use(Endpoint.parse(url))
        yield typist
        typist.read_ahead.cancel()
        await backend.aclose()
        await store.aclose()

    return make


def new_tokens(usage: UsageReported) -> int:
    return usage.prompt_tokens - usage.cached_tokens


@pytest.mark.rule("R-41")
async def test_after_reading_ahead_only_the_prompt_is_new(real_server, make_typist):
    async with make_typist(real_server.url) as typist:
        session = garden_session(typist.open_sessions, "northern", rounds=20)
        typist.open_sessions.show_path(session)
        await typist.type("W")
        usage = await typist.send()
        assert usage.prompt_tokens > 1800
        assert new_tokens(usage) <= PROMPT_TOKENS + 16
        metrics = typist.backend.metrics()
        assert metrics.total_requests == 1  # the answer


async def test_thoughts_of_older_answers_do_not_spoil_the_cache(start_real_server, make_typist):
    server = start_real_server(reasoning=24)
    async with make_typist(server.url) as typist:
        session = garden_session(typist.open_sessions, "thoughtful", rounds=8)
        typist.open_sessions.show_path(session)
        await typist.type("W")
        assert new_tokens(await typist.send()) <= PROMPT_TOKENS + 40  # the template opens a thought


async def test_what_was_read_before_enter_is_in_the_cache(real_server, make_typist):
    async with make_typist(real_server.url) as typist:
        session = garden_session(typist.open_sessions, "southern", rounds=12)
        typist.open_sessions.show_path(session)
        typist.read_ahead.follow("W")
        await typist.until_something_is_read()
        usage = await typist.send()
        assert usage.cached_tokens > 200
        assert new_tokens(usage) > 200  # the other steps were not read before the answer
        assert typist.open_sessions.shown.conversation.messages[-1].text


async def test_a_file_in_the_draft_is_read_ahead_too(real_server, make_typist):
    async with make_typist(real_server.url) as typist:
        content = "Row by row, the beets grow slowly in the shade of the wall.\n" * 60
        file = f"beets.md ({len(content)} bytes):\n```md\n{content}```\n"
        await typist.type(f"{file}W")
        assert new_tokens(await typist.send(file + PROMPT)) <= PROMPT_TOKENS + 16


async def test_a_model_that_sleeps_is_not_woken(start_real_server, make_typist):
    server = start_real_server(sleep_s=1)
    async with make_typist(server.url) as typist:
        target = typist.open_sessions.next_turn.target
        while target.model.state is not LoadState.ASLEEP:
            await asyncio.sleep(0.1)
            await typist.use(target.endpoint)
            target = typist.open_sessions.next_turn.target
        session = garden_session(typist.open_sessions, "sleepy", rounds=8)
        typist.open_sessions.show_path(session)
        await typist.type("W")
        await typist.use(target.endpoint)
        assert typist.open_sessions.next_turn.target.model.state is LoadState.ASLEEP
