"""Turns of one session at a time over a scripted server, and what front end and disk get of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

from msgspec.structs import replace

from lmchat.chat.open_sessions import OpenSession, OpenSessions
from lmchat.chat.tool_rounds import ApprovalAsked
from lmchat.chat.tools import Toolbox
from lmchat.config.settings import ChatSettings
from lmchat.servers.events import RequestAdapted
from lmchat.servers.model import Target
from lmchat.sessions.message import ChatMessage
from lmchat.sessions.session import MessagePath, Session
from lmchat.tools.tool import Decision
from tests.support.chats import header
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model


class ChatTurns:
    """A front end that keeps all events; `decisions` answer the questions about tools."""

    def __init__(
        self,
        store,
        *scripts,
        server: ScriptedBackend | None = None,
        product="llama.cpp",
        window=8192,
        box: Toolbox | None = None,
        **settings: Any,
    ) -> None:
        self.store = store
        self.server = server or ScriptedBackend(*scripts)
        self.sessions = OpenSessions(
            chat=ChatSettings(**settings), backend=self.server, store=store
        )
        self.use(product, window=window)
        self.sessions.next_turn.toolbox = box
        self.events: list[object] = []
        self.questions: list[ApprovalAsked] = []
        self.decisions: list[Decision] = []
        self.breaks_at: type | None = None
        """A kind of event that the front end cannot show."""
        self._came = asyncio.Condition()
        self._turn: asyncio.Task[None] | None = None

    def use(self, product: str, *, window: int | None = 8192) -> None:
        known = replace(model(context_loaded=window, capabilities=("tools",)), product=product)
        self.sessions.next_turn.target = Target(endpoint=ENDPOINT, product=product, model=known)

    @property
    def opened(self) -> OpenSession:
        return self.sessions.shown

    @property
    def path(self) -> MessagePath:
        return self.opened.conversation.messages

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.path]

    @property
    def notes(self) -> list[str]:
        return [event.note for event in self.events if isinstance(event, RequestAdapted)]

    def sent(self, index: int = -1) -> list[str]:
        return [message.text for message in self.server.requests[index].messages]

    async def on_disk(self) -> MessagePath:
        return (await self.store.open_session(self.opened.session_id)).messages

    async def open_import(self, *messages: ChatMessage) -> None:
        session = Session(header=header("Imported"), messages=MessagePath(messages))
        await self.store.import_session(session)
        self.sessions.show(await self.sessions.load(session.header.session_id))

    async def send(self, text: str, files: Sequence[Any] = ()) -> None:
        await self._read(self.opened.conversation.send(text, self._settings, files))

    async def edit(self, message: ChatMessage, text: str) -> None:
        await self._read(self.opened.conversation.edit(message.message_id, text, self._settings))

    async def regenerate(self, message: ChatMessage) -> None:
        await self._read(self.opened.conversation.regenerate(message.message_id, self._settings))

    async def resume(self, message: ChatMessage, beginning: Any = None) -> None:
        resume = self.opened.conversation.resume
        await self._read(resume(message.message_id, self._settings, beginning))

    async def compact(self) -> None:
        prompt = self.sessions.next_turn.options.compact_prompt
        await self._read(self.opened.conversation.compact(prompt, self._settings))

    async def fetch_kept(self) -> bool:
        is_kept = await self.opened.conversation.has_kept_answer()
        if is_kept:
            await self._read(self.opened.conversation.catch_up())
        return is_kept

    async def begin(self, turn: Coroutine[Any, Any, object], until: type) -> None:
        """Run a turn in the background until an event of this kind was shown."""
        self.events.clear()
        self._turn = asyncio.ensure_future(turn)
        async with self._came:
            await self._came.wait_for(lambda: any(isinstance(one, until) for one in self.events))

    async def stop(self) -> None:
        self._turn.cancel()
        with suppress(asyncio.CancelledError):
            await self._turn

    async def wait(self) -> None:
        await self._turn

    @property
    def _settings(self):
        return self.sessions.next_turn.settings(self.opened.conversation.own_sampling)

    async def _read(self, events) -> None:
        async with aclosing(events) as stream:
            async for event in stream:
                if self.breaks_at is not None and isinstance(event, self.breaks_at):
                    raise BrokenPipeError
                self.events.append(event)
                if isinstance(event, ApprovalAsked):
                    self.questions.append(event)
                    if self.decisions:
                        event.decision.set_result(self.decisions.pop(0))
                async with self._came:
                    self._came.notify_all()
