"""Conversations over a scripted or a real server, and what is on the disk of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lmchat.errors import StoreUnavailable
from lmchat.sessions.message import AnswerState, ChatMessage, now
from lmchat.sessions.session import SessionHeader
from tests.support.chats import acted_reply


def named_header(name: str) -> SessionHeader:
    return SessionHeader(session_id=name, title=name, created_at=now(), updated_at=now())


def ended(text: str) -> ChatMessage:
    """Return a stopped answer; a `Disk` writes its model down as its text."""
    return acted_reply(state=AnswerState.STOPPED, model=text)


@dataclass
class Disk:
    """Writes down what it is given; fails for some sessions, and waits where it is told to."""

    written: list[tuple[str, str]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    broken: dict[str, Exception] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    begins: asyncio.Event = field(default_factory=asyncio.Event)
    writers: int = 0
    most_writers: int = 0

    async def _write(self, session_id: str, what: str) -> None:
        self.begins.set()
        self.writers += 1
        self.most_writers = max(self.most_writers, self.writers)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if session_id in self.broken:
                raise self.broken[session_id]
            self.written.append((session_id, what))
        finally:
            self.writers -= 1

    async def append(self, header, message):
        await self._write(header.session_id, message.text)

    async def finish(self, session_id, message, choices=()):
        await self._write(session_id, message.model)

    async def begin_answer(self, session_id, message, *, has_prompt=True):
        self.begun.append((session_id, has_prompt))

    @property
    def figures(self):
        return self

    async def add_turn_record(self, row):
        raise StoreUnavailable("no")
