"""Reading ahead at a real llama.cpp server: what the next request finds in the cache."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from lmchat.config.settings import ChatSettings
from lmchat.domain.event import UsageReported
from lmchat.domain.message import Role, text_message
from lmchat.domain.server import LoadState
from lmchat.domain.session import Session
from lmchat.services.backend import Backend
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.read_ahead import ReadAhead
from lmchat.storage.store import SqliteStore
from tests.support.real_sessions import User, until_read, user_at

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


class Typist(User):
    """A user who types into sessions that were read from the disk."""

    def __init__(self, backend: Backend, store: SqliteStore, chat: ChatSettings) -> None:
        super().__init__(backend, store, chat)
        self.read_ahead = ReadAhead(backend, self.sessions)

    async def type(self, draft: str) -> None:
        """Type a draft, and wait until nothing is read any more."""
        self.read_ahead.follow(draft)
        await until_read()

    async def until_something_is_read(self) -> None:
        for _ in range(2000):
            if self.read_ahead.fraction:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("nothing was read ahead")

    async def send(self, text: str = PROMPT) -> UsageReported:
        """Send a prompt as the screen does, and return the server's counts."""
        self.read_ahead.cancel()
        usage = await super().send(text)
        self.read_ahead.note_turn(self.conversation)
        return usage


@pytest.fixture
def make_typist(tmp_path):
    return partial(user_at, Typist, tmp_path)


def new_tokens(usage: UsageReported) -> int:
    return usage.prompt_tokens - usage.cached_tokens


@pytest.mark.rule("R-41")
async def test_after_reading_ahead_only_the_prompt_is_new(real_server, make_typist):
    async with make_typist(real_server.url) as typist:
        session = garden_session(typist.sessions, "northern", rounds=20)
        typist.sessions.show_path(session)
        await typist.type("W")
        usage = await typist.send()
        assert usage.prompt_tokens > 1800
        assert new_tokens(usage) <= PROMPT_TOKENS + 16
        metrics = typist.backend.metrics()
        assert metrics.total_requests == 1  # the answer


async def test_thoughts_of_older_answers_do_not_spoil_the_cache(start_real_server, make_typist):
    server = start_real_server(reasoning=24)
    async with make_typist(server.url) as typist:
        session = garden_session(typist.sessions, "thoughtful", rounds=8)
        typist.sessions.show_path(session)
        await typist.type("W")
        assert new_tokens(await typist.send()) <= PROMPT_TOKENS + 40  # the template opens a thought


async def test_what_was_read_before_enter_is_in_the_cache(real_server, make_typist):
    async with make_typist(real_server.url) as typist:
        session = garden_session(typist.sessions, "southern", rounds=12)
        typist.sessions.show_path(session)
        typist.read_ahead.follow("W")
        await typist.until_something_is_read()
        usage = await typist.send()
        assert usage.cached_tokens > 200
        assert new_tokens(usage) > 200  # the other steps were not read before the answer
        assert typist.conversation.messages[-1].text


async def test_a_file_in_the_draft_is_read_ahead_too(real_server, make_typist):
    async with make_typist(real_server.url) as typist:
        content = "Row by row, the beets grow slowly in the shade of the wall.\n" * 60
        file = f"beets.md ({len(content)} bytes):\n```md\n{content}```\n"
        await typist.type(f"{file}W")
        assert new_tokens(await typist.send(file + PROMPT)) <= PROMPT_TOKENS + 16


async def test_a_model_that_sleeps_is_not_woken(start_real_server, make_typist):
    server = start_real_server(sleep_s=1)
    async with make_typist(server.url) as typist:
        await typist.wait_until_asleep(server.url)
        session = garden_session(typist.sessions, "sleepy", rounds=8)
        typist.sessions.show_path(session)
        await typist.type("W")
        assert await typist.model_state(server.url) is LoadState.ASLEEP
