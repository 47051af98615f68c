"""One open session: what was said, the turn that runs, and how both get to the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from lmchat.domain.context import ContextPlan
from lmchat.domain.event import ModelNamed, StreamEvent
from lmchat.domain.message import AnswerState, ChatMessage, Failure, Role, now, text_message
from lmchat.domain.path import STRETCH, MessagePath
from lmchat.domain.session import Session, SessionHeader, title_from
from lmchat.domain.turn import GrowingAnswer, Turn
from lmchat.errors import LMChatError, RequestInvalid
from lmchat.services.asking import (
    AnswerBegun,
    ConversationEvent,
    HowToAsk,
    MessageAdded,
    empty_answer,
    still_answering,
)
from lmchat.services.context_meter import ContextMeter
from lmchat.services.fitted_stream import FittedStream, fitting_plan
from lmchat.services.ports import Backend, SessionStore
from lmchat.services.save_queue import PieceWriter, SaveQueue
from lmchat.services.turn_stats import failure_of, ledger_row, receipt_of


class Earlier:
    """Reads what stands before the messages that are known, in slices; after a failure it goes on there."""

    def __init__(self, store: SessionStore, session_id: str, next_id: str) -> None:
        self._store = store
        self._session_id = session_id
        self._next_id: str | None = next_id
        self._path = MessagePath()
        self._turn = asyncio.Lock()

    async def read(self) -> MessagePath:
        """Return all of it, root first; whoever asks while another reads waits for the same."""
        async with self._turn:
            while self._next_id is not None:
                found, self._next_id = await self._store.read_back(
                    self._session_id, self._next_id, count=STRETCH
                )
                self._path = self._path.after(found)
        return self._path


def earlier_of(store: SessionStore, session: Session) -> Earlier | None:
    """Return what is still to be read of a session, if anything is."""
    if session.earlier_id is None:
        return None
    return Earlier(store, session.header.session_id, session.earlier_id)


class Conversation:
    """A session with at most one running turn.

    Read its generators under `aclosing`: cancelling the reader stops the answer and keeps what came.
    """

    def __init__(
        self,
        session: Session,
        *,
        backend: Backend,
        save_queue: SaveQueue,
        meter: ContextMeter,
        system_prompt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.header: SessionHeader = session.header
        self.messages = MessagePath(session.messages)
        """The path; of a long session only its end, until `fill` has read the rest."""
        self.turn: Turn | None = None
        self.sent: ContextPlan | None = None
        """What the last answer was asked with."""
        self.error: LMChatError | None = None
        """What ended the last answer."""
        self.is_cut = False
        """Whether the server counted far less than was sent: it left something out without a word."""
        self._backend = backend
        self._save_queue = save_queue
        self._meter = meter
        self._clock = clock
        self._system_prompt = system_prompt
        self._answer = GrowingAnswer()
        self._running: ChatMessage | None = None
        self._path = MessagePath()
        self._ending: asyncio.Future[None] | None = None
        self._earlier = earlier_of(save_queue.store, session)

    @property
    def is_whole(self) -> bool:
        """Whether all messages of the path are known."""
        return self._earlier is None

    async def fill(self) -> None:
        """Read what a long session holds before its end; what asks for more than the end waits for it."""
        earlier = self._earlier
        path = await earlier.read() if earlier else MessagePath()
        if earlier is self._earlier:  # else another has put it in, or another path is shown
            self.messages, self._earlier = self.messages.after(path), None

    @property
    def opening(self) -> list[ChatMessage]:
        """What a session that has just begun is opened with: its system prompt, if there is any."""
        is_new = not self.messages and bool(self._system_prompt)
        return [text_message(Role.SYSTEM, self._system_prompt)] if is_new else []

    @property
    def is_running(self) -> bool:
        """Whether a turn is on its way."""
        return self.turn is not None and self.turn.is_running

    @property
    def running(self) -> ChatMessage | None:
        """The answer that is on its way, as it began."""
        return self._running if self.is_running else None

    @property
    def shown_messages(self) -> MessagePath:
        """The path with what has arrived of a running answer."""
        if self.running is None:
            return self.messages
        return self.messages.replaced(replace(self.running, parts=self._answer.parts))

    async def settled(self) -> None:
        """Wait until an answer that has ended is on the disk."""
        if self._ending is not None:
            await asyncio.wait([self._ending])

    def adopt(self, session: Session) -> None:
        """Take over another path of the same session; an answer that is on its way goes on, shown or not."""
        self.header, self.messages = session.header, MessagePath(session.messages)
        self._earlier = earlier_of(self._save_queue.store, session)
        if self.running is not None:
            self.messages = self.messages.replaced(self.running)

    def rename(self, title: str) -> None:
        """Take over a title that was written to the store."""
        self.header = replace(self.header, title=title)

    def find(self, message_id: str) -> ChatMessage | None:
        """Return a message of the path, None where it is not on it."""
        place = self.messages.place(message_id)
        return None if place is None else self.messages[place]

    async def set_system_prompt(self, text: str) -> ChatMessage:
        """Change the system prompt from the next turn on; it becomes a message of the path."""
        message = text_message(Role.SYSTEM, text, parent_id=self._leaf_id())
        before = self._put_last(message)
        await self._save_queue.append(self.header, message, before)
        return message

    async def send(self, text: str, how: HowToAsk) -> AsyncGenerator[ConversationEvent, None]:
        """Say something and yield what comes of it; a new session begins with its system prompt."""
        await self.fill()
        opening = self.opening
        parent_id = opening[0].message_id if opening else self._leaf_id()
        prompt = text_message(Role.USER, text, parent_id=parent_id)
        async with aclosing(self._say([*opening, prompt], how)) as events:
            async for event in events:
                yield event

    async def edit(
        self, message_id: str, text: str, how: HowToAsk
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Say something instead of an earlier prompt: a sibling of it; the old one stays in the tree."""
        await self.fill()
        old = self.messages[self._index(message_id)]
        fresh = replace(
            text_message(old.role, text, parent_id=old.parent_id),
            version=old.versions + 1,
            versions=old.versions + 1,
        )
        async with aclosing(self._say([fresh], how, index=self._index(message_id))) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, answer_id: str, how: HowToAsk, *, is_resumed: bool = False
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Answer once more: a sibling of the old answer, which stays in the tree.

        Given a prompt whose answer never came, answer it.
        """
        await self.fill()
        index = self._index(answer_id)
        old = self.messages[index]
        is_prompt = old.role is Role.USER
        path = self.messages[: index + 1] if is_prompt else self.messages[:index]
        versions, begun = 1 if is_prompt else old.versions + 1, old if is_resumed else None
        async with aclosing(self._respond(path, how, versions=versions, begun=begun)) as events:
            async for event in events:
                yield event

    def resume(self, answer_id: str, how: HowToAsk) -> AsyncGenerator[ConversationEvent, None]:
        """Go on with an unfinished answer: a sibling that begins with its text."""
        return self.regenerate(answer_id, how, is_resumed=True)

    async def _say(
        self, said: Sequence[ChatMessage], how: HowToAsk, *, index: int | None = None
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Add a prompt at the end, or in the place of another, and ask for the answer."""
        self._require_rest()
        said_then = self.messages[:index].added(*said)
        fitting_plan(self._meter, said_then, how)  # refuses before anything is changed
        self.messages = self.messages[:index]
        if not self.header.title:
            self.header = replace(self.header, title=title_from(said[-1].text))
        for message in said:
            before = self._put_last(message)
            try:
                yield MessageAdded(message=message)  # at once: the disk may be locked for seconds
            finally:
                await self._save_queue.append(self.header, message, before)
        async with aclosing(self._respond(self.messages, how)) as events:
            async for event in events:
                yield event

    async def _respond(
        self,
        path: MessagePath,
        how: HowToAsk,
        *,
        versions: int = 1,
        begun: ChatMessage | None = None,
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Ask for an answer to a path, and keep it however it ends."""
        self._require_rest()
        asking = FittedStream(self._backend, self._meter, how, path, begun)
        answer = self._begin(path, how, versions, begun)
        state, failure = AnswerState.STOPPED, None
        try:
            await self._save_queue.begin_answer(self.header, answer, path)
            yield AnswerBegun(message=answer, plan=asking.plan)
            async with (
                PieceWriter(self._save_queue, answer.message_id) as writer,
                aclosing(asking.events()) as events,
            ):
                writer.add(*self._answer.pieces)
                async for event in events:
                    self._take(event, writer)
                    yield event
            state = AnswerState.COMPLETE
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer ends in a card and is kept
            state = AnswerState.INTERRUPTED if self._answer.has_content else AnswerState.FAILED
            failure = failure_of(error)
            self.error = error if isinstance(error, LMChatError) else None
        finally:
            for event in asking.left():
                self._answer.add(event)
            self._ending = asyncio.ensure_future(self._end(state, failure, how, asking.plan))
            await asyncio.shield(self._ending)

    def _begin(
        self, path: MessagePath, how: HowToAsk, versions: int, begun: ChatMessage | None
    ) -> ChatMessage:
        answer = empty_answer(path, how, versions, begun)
        self._answer = GrowingAnswer.after(begun)
        self.turn = Turn(model=how.target.model_id, started_s=self._clock())
        self._path, self.messages = path, path.added(answer)
        self._running, self.error, self.is_cut = answer, None, False
        return answer

    def _put(self, answer: ChatMessage) -> None:
        """Take over a newer form of the running answer; its path may not be the one that is shown."""
        self._running = answer
        self.messages = self.messages.replaced(answer)

    def _take(self, event: StreamEvent, writer: PieceWriter) -> None:
        if self.turn is not None:
            self.turn = self.turn.apply(event, self._clock())
        writer.add(*self._answer.add(event))
        if isinstance(event, ModelNamed) and event.model and self._running is not None:
            self._put(replace(self._running, model=event.model))

    async def _end(
        self, state: AnswerState, failure: Failure | None, how: HowToAsk, plan: ContextPlan
    ) -> None:
        """Make the answer final, in memory first, so that the screen never waits for the disk."""
        running, turn = self._running, self.turn
        if running is None or turn is None:
            return
        self.turn, self.sent = turn.end(state, self._clock()), plan
        turn = self.turn
        receipt = receipt_of(turn, how, self._answer.begun)
        final = replace(running, parts=self._answer.parts, state=state, receipt=receipt, failure=failure)
        self._put(final)
        self._touch(model=final.model, endpoint=final.endpoint)
        if turn.usage is not None and turn.usage.prompt_tokens is not None:
            counted = (how.target, plan.messages, turn.usage.prompt_tokens)
            self.is_cut = self._meter.is_cut(*counted)
            self._meter.learn(*counted)
        await self._save_queue.finish(self.header, final, self._path)
        await self._save_queue.add_ledger(ledger_row(final, turn, how.target))

    def _put_last(self, message: ChatMessage) -> MessagePath:
        """Put a message at the end of the path; return what stands before it."""
        before, self.messages = self.messages, self.messages.added(message)
        self._touch()
        return before

    def _touch(self, **changes: Any) -> None:
        """Let the header tell of one more message."""
        changes |= {"updated_at": now(), "message_count": self.header.message_count + 1}
        self.header = replace(self.header, **changes)

    def _leaf_id(self) -> str | None:
        return self.messages[-1].message_id if self.messages else None

    def _index(self, message_id: str) -> int:
        place = self.messages.place(message_id)
        if place is None:
            raise RequestInvalid("This message is not on the path shown.", hint="Choose it in the tree.")
        return place

    def _require_rest(self) -> None:
        if self.is_running:
            raise still_answering()
