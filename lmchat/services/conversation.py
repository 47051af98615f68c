"""One open session: its messages and its running turn, and what of them is written when.

`Conversation._turn` is the path of every prompt:

1. `MessageAdded` shows the prompt. Then `SaveQueue.save` writes it and waits for the disk, before the request
   is sent; if the disk fails, the prompt stays in the queue and the request is sent all the same.
2. `SaveQueue.begin_answer` creates the file of the running answer. While events arrive, `PieceWriter` appends
   their text to it a few times a second. After `kill -9`, the next start finds this file without a lock, and
   `SqliteStore` (`storage/store.py`) saves its text as an interrupted answer.
3. However the answer ends (complete, stopped, interrupted, failed), the `finally` of `_turn` calls `_end`:
   first the message in memory becomes final, then `SaveQueue.save` writes it and the file is removed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.event import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from lmchat.domain.imported import is_imported_call
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    FilePart,
    Part,
    Role,
    SentThoughts,
    ToolCallPart,
    new_id,
    now,
    text_message,
)
from lmchat.domain.request import AnyText, ChatRequest, Output, Sampling
from lmchat.domain.server import Target
from lmchat.domain.session import STRETCH, MessagePath, Session, SessionHeader, title_from
from lmchat.domain.tool import MAX_TOOLS, Tool, stopped_call, wire_form
from lmchat.domain.turn import GrowingAnswer, Stage, Turn
from lmchat.errors import FileRefused, LMChatError, RequestInvalid, ServerRejected
from lmchat.services.attachments import Attachment
from lmchat.services.compacting import compacted, makes_room, older_part, with_note
from lmchat.services.context_meter import (
    ContextMeter,
    ContextPlan,
    cut_note,
    estimate_tokens,
    has_images,
    plan_context,
)
from lmchat.services.continuation import CONTINUE, Continuation, can_prefill, last_words
from lmchat.services.ports import ServerClient
from lmchat.services.save_queue import PieceWriter, SaveQueue
from lmchat.services.tool_loop import MessageEnded, ToolEvent, ToolLoop, streamed_calls
from lmchat.services.tools import Toolbox
from lmchat.services.turn_stats import failure_of, ledger_row
from lmchat.text import safe_line

_TOKENS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
_PREFILL_REFUSED = ("bad_request", "server_error", "unsupported")
"""Kinds of errors by which servers refuse prefill, as for models that think."""
_MOST_IMAGE_BYTES = 20_000_000
"""Older images than the newest of so many bytes are sent by name, so that no session outgrows its server."""
_NEARLY_FULL = 0.8  # share of the window beyond which an estimate may be wrong about what fits


class TurnSettings(Struct, frozen=True, kw_only=True):
    """Settings of a turn; a change applies from the next turn on."""

    target: Target
    sampling: Sampling = field(default_factory=Sampling)
    is_truncating: bool = True
    output: Output = field(default_factory=AnyText)
    toolbox: Toolbox | None = None  # tools that the model may call


class MessageAdded(Struct, frozen=True, kw_only=True):
    """A prompt was added; it is on the screen before it is on the disk."""

    message: ChatMessage


class AnswerBegun(Struct, frozen=True, kw_only=True):
    """An answer is about to come."""

    message: ChatMessage
    plan: ContextPlan


class SummaryAsked(Struct, frozen=True, kw_only=True):
    """A summary was asked for, with this prompt; neither is on the disk yet."""

    message: ChatMessage


ConversationEvent = MessageAdded | AnswerBegun | SummaryAsked | ToolEvent | StreamEvent


class CallBatch(Struct, frozen=True, kw_only=True):
    """Calls that run side by side, and tool messages that follow them as they ended before."""

    calls: tuple[ToolCallPart, ...]
    ended: tuple[ChatMessage, ...] = ()


def imported_call() -> RequestInvalid:
    """Return the error for the repetition of a tool call that lmchat has not run."""
    words = "This call came with an imported chat, so lmchat does not run it."
    hint = "Retry the answer above it: the model then makes its own call."
    return RequestInvalid(words, hint=hint)


def still_answering() -> RequestInvalid:
    """Return the error for a second turn in one session."""
    return RequestInvalid("An answer is still streaming.", hint="Press Esc to stop it, or wait.")


class AnswerStream:
    """The stream of one answer, and the plan of what is sent for it."""

    def __init__(
        self,
        backend: ServerClient,
        meter: ContextMeter,
        how: TurnSettings,
        path: MessagePath,
        continued: ChatMessage | None,
        read_file: Callable[[str], Awaitable[bytes]],
        loop: ToolLoop | None = None,
    ) -> None:
        """Raises `RequestInvalid` if too much is to be sent and nothing may be left out."""
        self.how, self.path, self.continued, self.loop = how, path, continued, loop
        self.tools: tuple[Tool, ...] = ()
        self.tool_tokens = self.told_left_out = 0
        self.cut_note = ""
        self._backend = backend
        self._meter = meter
        self._read_file = read_file
        self._files: dict[str, bytes] = {}
        self._is_prefilled = self.continued is not None and can_prefill(
            how.target.product, self.continued
        )
        self._continuation: Continuation | None = None
        self.plan = self._planned()

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield events; retry once with fewer messages or without prefill where the server refuses."""
        has_begun = is_second = False
        for note in await self._prepare():
            yield RequestAdapted(note=note)
        while True:
            if self.continued is not None:
                self._continuation = Continuation(self.continued, is_prefilled=self._is_prefilled)
            for note in self._new_notes():
                yield RequestAdapted(note=note)
            try:
                async with aclosing(self._backend.stream(self._request())) as events:
                    async for event in events:
                        has_begun |= isinstance(event, _TOKENS)
                        for one in (
                            self._continuation.feed(event) if self._continuation else (event,)
                        ):
                            yield one
            except ServerRejected as error:
                if not has_begun and self._is_prefilled and error.kind in _PREFILL_REFUSED:
                    self._is_prefilled = False
                    self.plan = self._planned()
                elif has_begun or is_second or not self._shorten(error):
                    raise
                else:
                    is_second = True
            else:
                return

    async def _prepare(self) -> list[str]:
        """Complete the plan; return what is left out of tools and files."""
        notes: list[str] = []
        if self.loop is not None:
            offered = await self.loop.offered(self.how.target)
            self.tools = offered[:MAX_TOOLS]
            told = [json.dumps(wire_form(tool), ensure_ascii=False) for tool in self.tools]
            self.tool_tokens = sum(map(estimate_tokens, told))
            self.plan = self._planned()
            if (count := len(offered) - MAX_TOOLS) > 0 and not self.loop.steps:
                notes.append(f"{count} tools are left out. Switch off others with /tools.")
            notes += self.loop.host_notes()
        await self._count()
        missing = await self._read_files()
        return notes + [
            f"{name} is missing on this disk; its name is sent instead." for name in missing
        ]

    def withheld(self) -> tuple[StreamEvent, ...]:
        """Return what came and was not yielded when the stream ended."""
        return self._continuation.close() if self._continuation else ()

    def _planned(self, limit: int | None = None) -> ContextPlan:
        path = self.path.added(self.continued) if self.continued else self.path
        plan = plan_context(
            path,
            limit=limit or self.how.target.context,
            max_tokens=self.how.sampling.max_tokens,
            factor=self._meter.factor(self.how.target),
            tool_tokens=self.tool_tokens,
            sent_thoughts=self._sent_thoughts,
            is_continued=self._is_prefilled,
        )
        if plan.fits or self.how.is_truncating:
            return plan
        raise RequestInvalid(
            (
                f"The session needs about {plan.needed_tokens} tokens, plus {plan.reserve} for "
                f"the answer; the context window has {plan.limit}."
            ),
            hint="Start a new session, set auto_truncate = true, or use a larger context window.",
            kind="context_overflow",
        )

    @property
    def _sent_thoughts(self) -> SentThoughts:
        """The thoughts to plan for; a prompt that asks to go on follows all of them."""
        sent = self.how.target.sent_thoughts
        is_asked_to_go_on = self.continued is not None and not self._is_prefilled
        if is_asked_to_go_on and sent is SentThoughts.SINCE_PROMPT:
            return SentThoughts.NONE
        return sent

    async def _read_files(self) -> list[str]:
        """Read the files of the plan, newest first; return the names of those that are missing."""
        model, room, missing = self.how.target.model, _MOST_IMAGE_BYTES, list[str]()
        is_blind = model is not None and model.is_blind
        for part in (part for message in reversed(self.plan.messages) for part in message.files):
            if part.is_image and (is_blind or room <= 0):
                self._files.setdefault(part.digest, b"")
                continue
            try:
                self._files[part.digest] = await self._read_file(part.digest)
            except LMChatError:
                missing.append(part.name)
            room -= part.size if part.is_image else 0
        return missing

    def _request(self) -> ChatRequest:
        messages, continued, loop = self.plan.messages, self.continued, self.loop
        if continued is not None and continued.text and not self._is_prefilled:
            messages = (
                *messages,
                text_message(Role.USER, f"{CONTINUE}\n\n{last_words(continued.text)}"),
            )
        return ChatRequest(
            endpoint=self.how.target.endpoint,
            product=self.how.target.product,
            model=self.how.target.model_id,
            messages=messages,
            sampling=self.how.sampling,
            output=self.how.output,
            tools=self.tools,
            files=self._files,
            must_call=loop is not None
            and not loop.steps
            and loop.toolbox.settings.choice == "required",
        )

    async def _count(self) -> None:
        plan = self.plan
        is_small = plan.limit is None or plan.tokens < _NEARLY_FULL * (plan.limit - plan.reserve)
        if (
            (is_small and not plan.left_out)
            or self.continued is not None
            or not self.how.is_truncating
        ):
            return
        if plan.size.has_images:
            return
        await self._read_files()
        try:
            counted = await self._backend.count_tokens(self._request())
        except LMChatError:
            return
        if counted is not None:
            counted -= self.tool_tokens
            self._meter.learn(self.how.target, plan.size, counted, is_exact=True)
            self.plan = self._planned()

    def _new_notes(self) -> Iterator[str]:
        """Say what does not fit; of messages left out, only when their number has doubled."""
        plan = self.plan
        if plan.left_out > 2 * self.told_left_out:
            self.told_left_out = plan.left_out
            oldest = "message is" if plan.left_out == 1 else f"{plan.left_out} messages are"
            yield f"The context window is full: the oldest {oldest} left out."
        if plan.limit is not None and plan.tokens > plan.limit and not self.cut_note:
            self.cut_note = cut_note(self.how.target, plan.tokens, plan.limit)
            yield self.cut_note

    def _shorten(self, error: ServerRejected) -> bool:
        """Learn from a refusal; return whether the plan leaves out more now."""
        # a server that names no count has at least said that it is more than the window
        least = error.needed_tokens or error.room_tokens or self.plan.limit
        if error.kind != "context_overflow" or not least:
            return False
        before = self.plan
        self._meter.learn_refusal(
            self.how.target, before.messages, max(least - self.tool_tokens, 1)
        )
        if self.how.is_truncating:
            self.plan = self._planned(error.room_tokens)
        return self.plan.left_out > before.left_out


class Conversation:
    """A session with at most one running turn.

    Read its generators under `aclosing`: cancelling the reader stops the answer and keeps what came.
    """

    def __init__(
        self,
        session: Session,
        *,
        backend: ServerClient,
        save_queue: SaveQueue,
        meter: ContextMeter,
        system_prompt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.header: SessionHeader = session.header
        self.messages = MessagePath(session.messages)
        """The path; of a long session only its end, until `fill`."""
        self.turn: Turn | None = None
        self.sent: ContextPlan | None = None
        self.error: LMChatError | None = None
        self.cut_note = ""  # sentence about a prompt that was longer than the context window
        self._told_left_out = 0
        self._backend = backend
        self._save_queue = save_queue
        self._meter = meter
        self._clock = clock
        self._system_prompt = system_prompt
        self._answer = GrowingAnswer()
        self._newest_answer: ChatMessage | None = None
        """As it was begun, its text being in `_answer` and its figures in `turn`; or as it has ended."""
        self._ending: asyncio.Future[None] | None = None
        self._earlier_id = session.earlier_id
        self._filling = asyncio.Lock()

    @property
    def has_all_messages(self) -> bool:
        return self._earlier_id is None

    async def fill(self) -> None:
        """Read the rest of a long session of which only the end was read."""
        async with self._filling:
            while (asked := self._earlier_id) is not None:
                found, earlier_id = await self._save_queue.store.read_back(
                    self.header.session_id, asked, count=STRETCH
                )
                if asked == self._earlier_id:  # else another path is shown now
                    self.messages, self._earlier_id = self.messages.after(found), earlier_id

    @property
    def is_running(self) -> bool:
        return self.turn is not None and self.turn.is_running

    @property
    def newest_answer(self) -> ChatMessage | None:
        """The answer that was begun last, with what has arrived of it; its branch may not be shown."""
        if self.turn is None or self._newest_answer is None or not self.turn.is_running:
            return self._newest_answer
        return replace(self._newest_answer, parts=self._answer.parts, model=self.turn.model)

    @property
    def shown_messages(self) -> MessagePath:
        """The path, with what has arrived of a running answer."""
        newest = self.newest_answer
        return (
            self.messages.replaced(newest)
            if newest is not None and self.is_running
            else self.messages
        )

    async def wait_until_saved(self) -> None:
        if self._ending is not None:
            await asyncio.wait([self._ending])

    def show_path(self, session: Session) -> None:
        """Take over a path that was read from the disk."""
        self.header, self.messages = session.header, MessagePath(session.messages)
        self._earlier_id = session.earlier_id
        if self._newest_answer is not None and self.is_running:
            self.messages = self.messages.replaced(self._newest_answer)

    def rename(self, title: str) -> None:
        self.header = replace(self.header, title=title)

    def find(self, message_id: str) -> ChatMessage | None:
        index = self.messages.index_of(message_id)
        return None if index is None else self.messages[index]

    def current(self, message: ChatMessage) -> ChatMessage:
        """Return a message with what has arrived of it, if it was streaming."""
        if message.state is not AnswerState.STREAMING:
            return message
        newest = self.newest_answer
        if newest is not None and newest.message_id == message.message_id:
            return newest
        return self.find(message.message_id) or message

    async def set_system_prompt(self, text: str) -> ChatMessage:
        """Change the system prompt from the next answer on; `""` takes it away."""
        message = text_message(Role.SYSTEM, "" if text == '""' else text, parent_id=self._leaf_id)
        before = self._put_last(message)
        await self._save_queue.save(self.header, message, before)
        return message

    def send(
        self, text: str, how: TurnSettings, files: Sequence[Attachment] = ()
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Send a prompt and yield events; a new session begins with its system prompt."""
        return self._turn(how, text=text, files=files)

    def edit(
        self,
        message_id: str,
        text: str,
        how: TurnSettings,
        files: Sequence[Attachment] | None = None,
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Send another version of a prompt; without `files`, it keeps those that it has."""
        return self._turn(how, message_id, text=text, files=files)

    def regenerate(
        self, answer_id: str, how: TurnSettings
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Answer once more, as a sibling of the old answer, answer a prompt, or repeat a tool call."""
        return self._turn(how, answer_id)

    def resume(self, answer_id: str, how: TurnSettings) -> AsyncGenerator[ConversationEvent, None]:
        """Continue an unfinished answer: a sibling that begins with its text."""
        return self._turn(how, answer_id, is_resumed=True)

    async def compact(
        self, prompt: str, how: TurnSettings
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Let the model summarise the older messages, and go on with the summary on a new branch.

        The branch is written at once when the summary is complete; until then, nothing changes on the disk.
        """
        await self.fill()
        path, header = self.messages, self.header
        if self.is_running or (path and path[-1].state is AnswerState.STREAMING):
            raise still_answering()
        older = older_part(path, prompt)
        tokens = self._meter.use(how.target, path).tokens
        if not makes_room(older, path, tokens, how.target.sent_thoughts):
            hint = "A summary takes the place of all but the last two prompts and answers."
            why = "A summary would make no room: the last prompts and answers take most of it."
            raise RequestInvalid(
                why if older else "There are no older messages to summarise yet.", hint=hint
            )
        asked = text_message(Role.USER, prompt, parent_id=self._leaf_id)
        how = replace(how, is_truncating=True, toolbox=None)
        read_file = self._save_queue.read_file
        asking = AnswerStream(self._backend, self._meter, how, older.added(asked), None, read_file)
        is_done = False
        try:
            self.messages = path.added(asked)
            yield SummaryAsked(message=asked)
            async with aclosing(self._answer_once(asking, 1, is_saved=False)) as events:
                async for event in events:
                    if isinstance(event, AnswerBegun):
                        self.messages = path.added(asked, event.message)
                    yield event
            summary = with_note(_summary(self._newest_answer), asking.plan.left_out)
            await self._save_queue.write_unsaved()
            branch = compacted(older, asked, summary, path[len(older) :])
            session = await self._save_queue.store.append_branch(self.header, branch)
            is_done = True
            self.show_path(session)
        finally:
            if not is_done and self.find(asked.message_id) is not None:
                self.messages, self.header = path, header

    async def _turn(
        self,
        how: TurnSettings,
        message_id: str = "",
        *,
        text: str | None = None,
        files: Sequence[Attachment] | None = None,
        is_resumed: bool = False,
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Save the prompt, then stream, save and yield its answer; refuse before anything is changed."""
        await self.fill()
        if self.is_running:
            raise still_answering()
        path, old = self._up_to(message_id) if message_id else (self.messages, None)
        if old is not None and is_imported_call(old):
            raise imported_call()
        batch = (
            _repeat_of(self.messages, old) if old is not None and old.role is Role.TOOL else None
        )
        said = [] if text is None else self._said(text, old, files)
        _refuse_unseen(how.target, said)
        if text is None and old is not None and old.role is Role.USER:
            path, old = path.added(old), None
        versions = old.versions + 1 if old is not None and not said else 1
        continued = old if is_resumed and old is not None and old.role is Role.ASSISTANT else None
        loop = ToolLoop(how.toolbox, self.header.session_id) if how.toolbox is not None else None
        read_file = self._save_queue.read_file
        asking = AnswerStream(
            self._backend, self._meter, how, path.added(*said), continued, read_file, loop
        )
        self.messages = path
        if said and not self.header.title:
            self.rename(
                title_from(said[-1].text or ", ".join(part.name for part in said[-1].files))
            )
        for message in said:
            before = self._put_last(message)
            try:
                yield MessageAdded(message=message)  # at once: the disk may be locked for seconds
            finally:
                fresh = [one for one in files or () if one.data and one.part in message.files]
                await self._save_queue.save(self.header, message, before, fresh)
        while True:
            if loop is not None and batch is not None:
                if loop.may_run(batch.calls):
                    async with aclosing(
                        self._run_calls(loop, how.target, batch, versions)
                    ) as happenings:
                        async for happening in happenings:
                            yield happening
                    versions = 1
                asking = AnswerStream(
                    self._backend, self._meter, how, self.messages, None, read_file, loop
                )
            async with aclosing(self._answer_once(asking, versions)) as events:
                async for event in events:
                    yield event
            versions = 1
            calls = streamed_calls(self.messages, self._newest_answer)
            if loop is None or not calls:
                return
            batch = CallBatch(calls=calls)
            yield MessageEnded(message=self.messages[-1])

    async def _answer_once(
        self, asking: AnswerStream, versions: int, *, is_saved: bool = True
    ) -> AsyncGenerator[AnswerBegun | StreamEvent, None]:
        """Stream, save and yield one answer."""
        answer = self._begin(asking, versions)
        asking.told_left_out = self._told_left_out
        steps = asking.loop.steps if asking.loop else 0
        self.turn = Turn(
            model=answer.model, started_s=self._clock(), steps=steps, is_summary=not is_saved
        )
        state, failure = (
            AnswerState.STOPPED,
            None,
        )  # a stop is a cancellation, which only `finally` sees
        try:
            if is_saved:
                await self._save_queue.begin_answer(self.header, answer)
            yield AnswerBegun(message=answer, plan=asking.plan)
            async with (
                PieceWriter(self._save_queue, answer.message_id) as writer,
                aclosing(asking.events()) as events,
            ):
                writer.add(*self._answer.pieces)
                async for event in events:
                    self.turn = self.turn.apply(event, self._clock())
                    pieces = self._answer.add(event)
                    writer.add(*(pieces if is_saved else ()))
                    yield event
            state = AnswerState.COMPLETE
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer ends in a card and is kept
            state = AnswerState.INTERRUPTED if self._answer.pieces else AnswerState.FAILED
            failure = failure_of(error)
            self.error = error if isinstance(error, LMChatError) else None
        finally:
            for event in asking.withheld():
                self._answer.add(event)
            answer = replace(answer, state=state, failure=failure)
            self._ending = asyncio.ensure_future(
                self._end(answer, self.turn, asking, is_saved=is_saved)
            )
            await asyncio.shield(self._ending)
        if self.cut_note != asking.cut_note:
            yield RequestAdapted(note=self.cut_note)

    async def _run_calls(
        self, loop: ToolLoop, target: Target, batch: CallBatch, versions: int
    ) -> AsyncGenerator[MessageAdded | ToolEvent, None]:
        """Run calls, and save and yield their tool messages; those without a result were stopped."""
        model, self._newest_answer = target.model_id, None
        self.turn = Turn(model=model, started_s=self._clock(), stage=Stage.TOOLS, steps=loop.steps)
        running: dict[str, ChatMessage] = {}
        try:
            await loop.toolbox.host.list_servers()
            for call in batch.calls:
                part = replace(call, name=loop.name(call.name))
                message = _streaming(Role.TOOL, (part,), self.messages, target, versions)
                versions = 1
                self._put_last(message)
                running[message.message_id] = message
                await self._save_queue.begin_answer(self.header, message)
                yield MessageAdded(message=message)
            for ended in batch.ended:
                copy = replace(
                    ended, message_id=new_id(), parent_id=self._leaf_id, version=1, versions=1
                )
                before = self._put_last(copy)
                await self._save_queue.save(self.header, copy, before)
                yield MessageAdded(message=copy)
            async with aclosing(loop.run(tuple(running.values()))) as events:
                async for event in events:
                    if isinstance(event, MessageEnded):
                        del running[event.message.message_id]
                        await self._end_call(event.message)
                    yield event
        finally:
            if running:
                self._ending = asyncio.ensure_future(
                    self._stop_calls(loop, tuple(running.values()))
                )
                await asyncio.shield(self._ending)

    async def _stop_calls(self, loop: ToolLoop, calls: Sequence[ChatMessage]) -> None:
        self.turn = self.turn and self.turn.end(AnswerState.STOPPED, self._clock())
        for call in calls:
            may_still_run = call.message_id in loop.still_running
            await self._end_call(stopped_call(call, may_still_run=may_still_run))

    async def _end_call(self, call: ChatMessage) -> None:
        """Make a tool message final, in memory first."""
        index = self.messages.index_of(call.message_id)
        self.messages = self.messages.replaced(call)
        await self._save_queue.save(self.header, call, MessagePath(self.messages[:index]))

    def _said(
        self, text: str, old: ChatMessage | None, files: Sequence[Attachment] | None
    ) -> list[ChatMessage]:
        parts = (
            old.files
            if old is not None and files is None
            else tuple(one.part for one in files or ())
        )
        if old is not None:
            fresh = _with_files(text_message(old.role, text, parent_id=old.parent_id), parts)
            return [replace(fresh, version=old.versions + 1, versions=old.versions + 1)]
        is_new = not self.messages and bool(self._system_prompt)
        opening = [text_message(Role.SYSTEM, self._system_prompt)] if is_new else []
        parent_id = opening[0].message_id if opening else self._leaf_id
        return [*opening, _with_files(text_message(Role.USER, text, parent_id=parent_id), parts)]

    def _begin(self, asking: AnswerStream, versions: int) -> ChatMessage:
        path, continued = asking.path, asking.continued
        parts = continued.parts if continued else ()
        answer = _streaming(Role.ASSISTANT, parts, path, asking.how.target, versions)
        self._answer = GrowingAnswer(continued)
        self.messages = path.added(answer)
        self._newest_answer, self.error, self.cut_note = answer, None, ""
        return answer

    async def _end(
        self, answer: ChatMessage, turn: Turn, asking: AnswerStream, *, is_saved: bool
    ) -> None:
        """Make the answer final, in memory first, so that the screen never waits for the disk."""
        how, plan = asking.how, asking.plan
        self.turn = turn = turn.end(answer.state, self._clock())
        self.sent = plan
        self._told_left_out = asking.told_left_out if plan.left_out else 0
        receipt = turn.receipt(context=how.target.context, max_tokens=how.sampling.max_tokens)
        receipt = receipt.after(asking.continued.receipt if asking.continued else None)
        self._newest_answer = final = replace(
            answer, parts=self._answer.parts, model=turn.model, receipt=receipt
        )
        self.messages = self.messages.replaced(final)
        self._touch(model=final.model, endpoint=final.endpoint)
        if turn.usage is not None and turn.usage.prompt_tokens is not None:
            counted = (how.target, plan.size, turn.usage.prompt_tokens - asking.tool_tokens)
            self.cut_note = asking.cut_note
            if self._meter.is_cut(*counted):
                self.cut_note = asking.cut_note or cut_note(how.target, plan.tokens, counted[2])
            self._meter.learn(*counted)
        if is_saved:
            await self._save_queue.save(self.header, final, asking.path)
        await self._save_queue.add_ledger(ledger_row(final, turn, how.target))

    def _put_last(self, message: ChatMessage) -> MessagePath:
        before, self.messages = self.messages, self.messages.added(message)
        self._touch()
        return before

    def _touch(self, **changes: Any) -> None:
        changes |= {"updated_at": now(), "message_count": self.header.message_count + 1}
        self.header = replace(self.header, **changes)

    @property
    def _leaf_id(self) -> str | None:
        return self.messages[-1].message_id if self.messages else None

    def _up_to(self, message_id: str) -> tuple[MessagePath, ChatMessage]:
        index = self.messages.index_of(message_id)
        if index is None:
            raise RequestInvalid("This message is on another branch.", hint="Open it in the tree.")
        return MessagePath(self.messages[:index]), self.messages[index]


def _repeat_of(path: MessagePath, repeated: ChatMessage) -> CallBatch:
    """Return the call of a tool message; what follows it of the same answer keeps its results."""
    index = path.index_of(repeated.message_id)
    following = path[index + 1 :] if index is not None else ()
    ended = tuple(takewhile(lambda message: message.role is Role.TOOL, following))
    return CallBatch(calls=repeated.tool_calls, ended=ended)


def _with_files(message: ChatMessage, files: tuple[FilePart, ...]) -> ChatMessage:
    typed = message.parts if message.text or not files else ()
    return replace(message, parts=(*files, *typed))


def _refuse_unseen(target: Target, said: Sequence[ChatMessage]) -> None:
    if target.model is not None and target.model.is_blind and has_images(said):
        words = f"{safe_line(target.model_id, limit=80)} cannot see images."
        raise FileRefused(
            words, hint="Choose a model with vision, or remove the image.", kind="no_vision"
        )


def _streaming(
    role: Role, parts: tuple[Part, ...], path: MessagePath, target: Target, versions: int
) -> ChatMessage:
    return ChatMessage(
        message_id=new_id(),
        role=role,
        parts=parts,
        created_at=now(),
        parent_id=path[-1].message_id if path else None,
        state=AnswerState.STREAMING,
        model=target.model_id,
        endpoint=target.endpoint.url,
        version=versions,
        versions=versions,
    )


def _summary(answer: ChatMessage | None) -> ChatMessage:
    """Return an answer that is a summary; raises `LMChatError` for others."""
    hint = "Nothing has changed; /compact tries again."
    if answer is not None and answer.failure is not None:
        raise LMChatError(answer.failure.message, hint=hint, kind=answer.failure.kind)
    if answer is None or not answer.text.strip():
        raise LMChatError("The model wrote no summary.", hint=hint)
    return answer
