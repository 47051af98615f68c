"""One open session: its messages, the turn that runs, and how both get to server and disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.context import ContextPlan
from lmchat.domain.event import (
    ModelNamed,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from lmchat.domain.message import AnswerState, ChatMessage, Failure, Receipt, Role, new_id, now, text_message
from lmchat.domain.path import STRETCH, MessagePath
from lmchat.domain.request import AnyText, ChatRequest, Output, Sampling
from lmchat.domain.server import Target
from lmchat.domain.session import Session, SessionHeader, title_from
from lmchat.domain.turn import GrowingAnswer, Turn
from lmchat.errors import LMChatError, RequestInvalid, ServerRejected
from lmchat.services.context_meter import ContextMeter
from lmchat.services.continuation import CONTINUE, Continuation, anchor, can_prefill
from lmchat.services.ports import Backend
from lmchat.services.save_queue import PieceWriter, SaveQueue
from lmchat.services.turn_stats import failure_of, ledger_row

_TOKENS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
_PREFILL_REFUSED = ("bad_request", "server_error", "unsupported")
"""Kinds of the refusal of a last message that is the assistant's, as by models that think."""
COUNT_S = 1.0
"""No answer waits longer for the server's count of its prompt: an estimate is at hand."""
_NEARLY_FULL = 0.8
"""Share of the window beyond which an estimate may be wrong about what fits."""
_MOST_COUNTS = 2


class HowToAsk(Struct, frozen=True, kw_only=True):
    """Settings of a turn; a change applies from the next turn on."""

    target: Target
    sampling: Sampling = field(default_factory=Sampling)
    is_truncating: bool = True
    """Whether the oldest messages may be left out; else a full window is refused."""
    output: Output = field(default_factory=AnyText)


class MessageAdded(Struct, frozen=True, kw_only=True):
    """A prompt is on the disk (or, where nothing can be saved, in memory)."""

    message: ChatMessage


class AnswerBegun(Struct, frozen=True, kw_only=True):
    """An answer is about to come."""

    message: ChatMessage
    plan: ContextPlan


ConversationEvent = MessageAdded | AnswerBegun | StreamEvent


def still_answering() -> RequestInvalid:
    """Return the refusal of a second turn in one session."""
    return RequestInvalid("An answer is still on its way.", hint="Stop it with Esc, or wait.")


def fitting_plan(
    meter: ContextMeter, path: MessagePath, how: HowToAsk, *, limit: int | None = None
) -> ContextPlan:
    """Return what of a path fits; raises `RequestInvalid` if too much and nothing may be left out."""
    limit = limit or (how.target.model.context if how.target.model else None)
    plan = meter.plan(how.target, path, limit=limit, max_tokens=how.sampling.max_tokens)
    if not plan.fits and not how.is_truncating:
        raise RequestInvalid(
            f"The conversation needs about {plan.needed_tokens} tokens and {plan.reserve} more for the "
            f"answer; the model has room for {plan.limit}.",
            hint="Begin a new session, choose a model with a larger window, or set auto_truncate = true.",
            kind="context_overflow",
        )
    return plan


class AnswerStream:
    """The stream of one answer, and the plan of what is sent for it."""

    def __init__(
        self,
        backend: Backend,
        meter: ContextMeter,
        how: HowToAsk,
        path: MessagePath,
        begun: ChatMessage | None,
    ) -> None:
        """`begun` is an unfinished answer to continue."""
        self._backend = backend
        self._meter = meter
        self._how = how
        self._path = path.added(begun) if begun else path
        self._begun = begun
        self._is_prefilled = begun is not None and can_prefill(how.target.product, begun)
        self._continuation: Continuation | None = None
        self.plan = fitting_plan(meter, self._path, how)
        """Plan of the request; it leaves out more after a refusal."""

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield what comes; retry once with less text where the prompt was too long, or without prefill."""
        has_begun = is_second = False
        if self._how.is_truncating and self._begun is None:
            await self._fit()
        while True:
            try:
                async with aclosing(self._attempt()) as events:
                    async for event in events:
                        has_begun |= isinstance(event, _TOKENS)
                        yield event
            except ServerRejected as error:
                if self._is_prefilled and not has_begun and error.kind in _PREFILL_REFUSED:
                    self._is_prefilled = False
                    continue
                shorter = self._shorter(error)
                if has_begun or is_second or shorter is None:
                    raise
                self.plan, is_second = shorter, True
            else:
                return

    def held_back(self) -> tuple[StreamEvent, ...]:
        """Return what came and was not yielded when the stream was stopped."""
        return self._continuation.close() if self._continuation else ()

    async def _attempt(self) -> AsyncGenerator[StreamEvent, None]:
        if self._begun is not None:
            self._continuation = Continuation(self._begun, is_prefilled=self._is_prefilled)
        filtered = self._continuation
        try:
            async with aclosing(self._backend.stream(self._request())) as events:
                async for event in events:
                    for one in (event,) if filtered is None else filtered.feed(event):
                        yield one
        except LMChatError:
            for one in self.held_back():
                yield one
            raise
        for one in self.held_back():
            yield one

    def _request(self) -> ChatRequest:
        messages, begun = self.plan.messages, self._begun
        if begun is not None and self._is_prefilled and not begun.text:
            messages = (*messages, begun)  # without text it takes no part in the plan
        elif begun is not None and begun.text and not self._is_prefilled:
            messages = (*messages, text_message(Role.USER, f"{CONTINUE}\n\n{anchor(begun.text)}"))
        return ChatRequest(
            endpoint=self._how.target.endpoint,
            product=self._how.target.product,
            model=self._how.target.model_id,
            messages=messages,
            sampling=self._how.sampling,
            output=self._how.output,
        )

    async def _fit(self) -> None:
        """Have the server count a prompt that nearly fills the window, and plan by that."""
        for _ in range(_MOST_COUNTS):
            plan = self.plan
            if plan.limit is None:
                return
            if not plan.left_out and plan.tokens < _NEARLY_FULL * (plan.limit - plan.reserve):
                return
            try:
                async with asyncio.timeout(COUNT_S):
                    counted = await self._backend.count_tokens(self._request())
            except (LMChatError, TimeoutError):
                return
            if counted is None:
                return
            self._meter.learn(self._how.target, plan.messages, counted, is_exact=True)
            self.plan = fitting_plan(self._meter, self._path, self._how)
            if len(self.plan.messages) == len(plan.messages):
                return

    def _shorter(self, error: ServerRejected) -> ContextPlan | None:
        """Learn from a refusal, and return a plan that leaves out more; None where there is none."""
        # a server that names no count has at least said that it is more than the window
        least = error.needed_tokens or error.room_tokens or self.plan.limit
        if error.kind != "context_overflow" or not least:
            return None
        self._meter.learn_refusal(self._how.target, self.plan.messages, least)
        if not self._how.is_truncating:
            return None
        plan = fitting_plan(self._meter, self._path, self._how, limit=error.room_tokens)
        return plan if plan.left_out > self.plan.left_out else None


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
        self.error: LMChatError | None = None
        self.is_cut = False
        """Whether the server counted far less than was sent: it left something out without a word."""
        self._backend = backend
        self._save_queue = save_queue
        self._meter = meter
        self._clock = clock
        self._system_prompt = system_prompt
        self._answer = GrowingAnswer()
        self._running: ChatMessage | None = None
        self._begun: Receipt | None = None
        self._path = MessagePath()
        self._ending: asyncio.Future[None] | None = None
        self._earlier_id = session.earlier_id
        self._filling = asyncio.Lock()

    @property
    def is_whole(self) -> bool:
        return self._earlier_id is None

    async def fill(self) -> None:
        """Read what a long session holds before its end; every use of more than the end waits for it."""
        async with self._filling:
            while (asked := self._earlier_id) is not None:
                found, earlier_id = await self._save_queue.store.read_back(
                    self.header.session_id, asked, count=STRETCH
                )
                if asked == self._earlier_id:  # else another path is shown now
                    self.messages, self._earlier_id = self.messages.after(found), earlier_id

    @property
    def opening(self) -> list[ChatMessage]:
        is_new = not self.messages and bool(self._system_prompt)
        return [text_message(Role.SYSTEM, self._system_prompt)] if is_new else []

    @property
    def is_running(self) -> bool:
        return self.turn is not None and self.turn.is_running

    @property
    def running(self) -> ChatMessage | None:
        return self._running if self.is_running else None

    @property
    def shown_messages(self) -> MessagePath:
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
        self._earlier_id = session.earlier_id
        if self.running is not None:
            self.messages = self.messages.replaced(self.running)

    def rename(self, title: str) -> None:
        self.header = replace(self.header, title=title)

    def find(self, message_id: str) -> ChatMessage | None:
        place = self.messages.place(message_id)
        return None if place is None else self.messages[place]

    async def set_system_prompt(self, text: str) -> ChatMessage:
        """Change the system prompt from the next turn on; it becomes a message of the path."""
        message = text_message(Role.SYSTEM, text, parent_id=self._leaf_id())
        before = self._put_last(message)
        await self._save_queue.append(self.header, message, before)
        return message

    async def send(self, text: str, how: HowToAsk) -> AsyncGenerator[ConversationEvent, None]:
        """Send a prompt and yield events; a new session begins with its system prompt."""
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
        """Answer once more, as a sibling of the old answer; or answer a prompt that got no answer."""
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
        """Continue an unfinished answer: a sibling that begins with its text."""
        return self.regenerate(answer_id, how, is_resumed=True)

    async def _say(
        self, said: Sequence[ChatMessage], how: HowToAsk, *, index: int | None = None
    ) -> AsyncGenerator[ConversationEvent, None]:
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
        self, path: MessagePath, how: HowToAsk, *, versions: int = 1, begun: ChatMessage | None = None
    ) -> AsyncGenerator[ConversationEvent, None]:
        self._require_rest()
        asking = AnswerStream(self._backend, self._meter, how, path, begun)
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
            state = AnswerState.INTERRUPTED if self._answer.pieces else AnswerState.FAILED
            failure = failure_of(error)
            self.error = error if isinstance(error, LMChatError) else None
        finally:
            for event in asking.held_back():
                self._answer.add(event)
            self._ending = asyncio.ensure_future(self._end(state, failure, how, asking.plan))
            await asyncio.shield(self._ending)

    def _begin(
        self, path: MessagePath, how: HowToAsk, versions: int, begun: ChatMessage | None
    ) -> ChatMessage:
        answer = ChatMessage(
            message_id=new_id(),
            role=Role.ASSISTANT,
            parts=begun.parts if begun else (),
            created_at=now(),
            parent_id=path[-1].message_id if path else None,
            state=AnswerState.STREAMING,
            model=how.target.model_id,
            endpoint=how.target.endpoint.url,
            version=versions,
            versions=versions,
        )
        self._answer = GrowingAnswer(begun)
        self.turn = Turn(model=how.target.model_id, started_s=self._clock())
        self._path, self.messages = path, path.added(answer)
        self._running, self.error, self.is_cut = answer, None, False
        self._begun = begun.receipt if begun else None
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
        context = how.target.model.context if how.target.model else None
        receipt = turn.receipt(context=context, max_tokens=how.sampling.max_tokens).after(self._begun)
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
        before, self.messages = self.messages, self.messages.added(message)
        self._touch()
        return before

    def _touch(self, **changes: Any) -> None:
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
