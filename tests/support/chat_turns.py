"""Turns of sessions over a scripted server, and what front end and disk get of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from lmchat.core.chat.events import ChatEvent, PromptsReturned, TurnEnded, TurnListener
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.settings import SamplingLayers, options_set_in
from lmchat.core.chat.toolbox import Toolbox, ToolQuestion
from lmchat.core.config.settings import ChatSettings
from lmchat.core.servers.events import RequestAdapted
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.sessions.prompts import PendingPrompt, Prompt
from lmchat.core.sessions.session import MessagePath, Session
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.tools.calls import Decision
from tests.support.chats import header
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model


class ChatTurns(TurnListener):
    """A front end that keeps all events; `decisions` answer the questions about tools."""

    def __init__(
        self,
        store,
        *scripts,
        server: Any = None,
        target: Target | None = None,
        product="llama.cpp",
        window=8192,
        box: Toolbox | None = None,
        clock=time.monotonic,
        **settings: Any,
    ) -> None:
        self.store = store
        self.server = server or ScriptedBackend(*scripts)
        chat = ChatSettings(**settings)
        self.sessions = ChatService(
            chat=chat,
            backend=self.server,
            store=store,
            stats_store=StatsStore(store.database),
            layers=SamplingLayers(chat=options_set_in(chat)),
            toolbox=box,
            clock=clock,
        )
        self.sessions.reporter.listener = self
        if target is None:
            self.use(product, window=window)
        else:
            self.sessions.turn_options.target = target
        self.events: list[ChatEvent] = []
        self.returned: list[str] = []
        self.questions: list[ToolQuestion] = []
        self.decisions: list[Decision] = []
        self.breaks_at: type | None = None
        """A kind of event that the front end cannot show."""
        self._came = asyncio.Event()

    def on_event(self, session: OpenSession, event: ChatEvent) -> None:
        if self.breaks_at is not None and isinstance(event, self.breaks_at):
            raise BrokenPipeError
        self.events.append(event)
        if isinstance(event, PromptsReturned):
            self.returned += (prompt.draft for prompt in event.prompts)
        self._came.set()

    async def approve(self, session: OpenSession, question: ToolQuestion) -> Decision:
        self.questions.append(question)
        self._came.set()
        while not self.decisions:
            self._came.clear()
            await self._came.wait()
        return self.decisions.pop(0)

    def decide(self, decision: Decision) -> None:
        self.decisions.append(decision)
        self._came.set()

    async def until(self, kind: type) -> None:
        """Wait until an event of this kind was shown, or a question asked."""
        while not any(isinstance(one, kind) for one in (*self.events, *self.questions)):
            self._came.clear()
            await self._came.wait()

    def use(self, product: str, *, window: int | None = 8192) -> None:
        known = replace(model(context_loaded=window, tools=True), product=product)
        self.sessions.turn_options.target = Target(endpoint=ENDPOINT, product=product, model=known)

    @property
    def session(self) -> OpenSession:
        return self.sessions.active

    @property
    def path(self) -> MessagePath:
        return self.session.messages

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.path]

    @property
    def notes(self) -> list[str]:
        return [event.note for event in self.events if isinstance(event, RequestAdapted)]

    @property
    def ends(self) -> list[TurnEnded]:
        return [event for event in self.events if isinstance(event, TurnEnded)]

    def sent(self, index: int = -1) -> list[str]:
        return [message.text for message in self.server.requests[index].messages]

    async def on_disk(self) -> MessagePath:
        return (await self.store.open_session(self.session.session_id)).messages

    async def open_import(self, *messages: ChatMessage) -> None:
        session = Session(header=header("Imported"), messages=MessagePath(messages))
        await self.store.import_session(session)
        await self.open(session.header.session_id)

    async def open(self, session_id: str) -> OpenSession:
        open_sessions = self.sessions.open_sessions
        return open_sessions.switch_to(await open_sessions.find_or_load(session_id))

    async def send(self, text: str, files: Sequence[Any] = ()) -> None:
        for file in files:
            await self.store.files.save(file.data)
        await self.send_prompt(Prompt(text, tuple(file.part for file in files)))

    async def send_prompt(self, prompt: Prompt) -> None:
        self.sessions.send_now(self.session, prompt)
        await self.wait()

    async def edit(self, message: ChatMessage, text: str, files=None) -> None:
        prompt = Prompt(text, tuple(files or ()))
        self.sessions.edit(self.session, message.message_id, prompt, keeps_files=files is None)
        await self.wait()

    async def regenerate(self, message: ChatMessage, target: Target | None = None) -> None:
        self.sessions.regenerate(self.session, message, target)
        await self.wait()

    async def continue_answer(self, message: ChatMessage) -> None:
        self.sessions.continue_answer(self.session, message)
        await self.wait()

    async def compact(self) -> None:
        self.sessions.compact(self.session)
        await self.wait()

    async def start(self, text: str, until: type) -> None:
        """Send a prompt, and wait until an event of this kind was shown."""
        self.events.clear()
        self.sessions.send(self.session, PendingPrompt(draft=text))
        await self.until(until)

    async def stop(self) -> None:
        self.session.stop()
        await self.session.wait_until_saved()

    async def wait(self) -> None:
        await self.sessions.wait(self.session)
