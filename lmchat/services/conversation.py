"""One open session: its messages and its running turn, and what of them is written when.

`Conversation._turn` is the path of every prompt:

1. `MessageAdded` shows the prompt. Then `SaveQueue.save` writes it and waits for the disk, before
   the request is sent. If the disk fails, the prompt stays in the queue, and the request is sent.
2. `SaveQueue.begin_answer` creates the file of the running answer. While events arrive,
   `PieceWriter` appends their text to it a few times a second. After `kill -9`, the next start
   finds this file without a lock, and `SqliteStore` (`storage/store.py`) saves its text as an
   interrupted answer.
3. However the answer ends (complete, stopped, interrupted, failed), the `finally` of `_answer`
   calls `_end_answer`: first the message in memory becomes final, then `SaveQueue.save` writes it
   and the file is removed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.event import RequestAdapted, StreamEvent
from lmchat.domain.imported import is_imported_call
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Failure,
    FilePart,
    Part,
    Role,
    ToolCallPart,
    new_id,
    now,
    text_message,
)
from lmchat.domain.server import Target
from lmchat.domain.session import MESSAGES_PER_READ, MessagePath, Session, SessionHeader, title_from
from lmchat.domain.tool import stopped_call
from lmchat.domain.turn import GrowingAnswer, Stage, Turn
from lmchat.errors import FileRefused, LMChatError, RequestInvalid
from lmchat.services.answer_stream import AnswerStream, TurnSettings
from lmchat.services.attachments import Attachment
from lmchat.services.compacting import compacted, makes_room, older_part, with_note
from lmchat.services.context_meter import ContextMeter, ContextPlan, cut_note, has_images
from lmchat.services.ports import ServerClient
from lmchat.services.save_queue import PieceWriter, SaveQueue
from lmchat.services.tool_loop import MessageEnded, ToolEvent, ToolLoop, streamed_calls
from lmchat.services.turn_stats import failure_of, ledger_row
from lmchat.text import safe_line


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
    """Calls that run side by side, and ended tool messages that follow them."""

    calls: tuple[ToolCallPart, ...]
    ended: tuple[ChatMessage, ...] = ()


class TurnStart(Struct, frozen=True, kw_only=True):
    """Start of a turn on the path of a session, worked out before anything is changed."""

    path: MessagePath  # the messages that stay
    prompts: tuple[ChatMessage, ...] = ()  # the new prompt, perhaps after a system prompt
    files: Sequence[Attachment] = ()  # new files of the prompt
    version: int = 1  # of the first answer, or of the repeated call
    continued: ChatMessage | None = None  # the answer to continue
    batch: CallBatch | None = None  # the call to repeat


def imported_call() -> RequestInvalid:
    """Return the error for the repetition of a tool call that lmchat has not run."""
    words = "This call came with an imported chat, so lmchat does not run it."
    hint = "Retry the answer above it: the model then makes its own call."
    return RequestInvalid(words, hint=hint)


def still_answering() -> RequestInvalid:
    """Return the error for a second turn in one session."""
    return RequestInvalid("An answer is still streaming.", hint="Press Esc to stop it, or wait.")


class Conversation:
    """A session with at most one running turn.

    Read its generators under `aclosing`: cancelling the reader stops the answer and keeps what has
    arrived.
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
        self._reported_left_out = 0
        self._backend = backend
        self._save_queue = save_queue
        self._meter = meter
        self._clock = clock
        self._system_prompt = system_prompt
        self._growing = GrowingAnswer()
        self._newest_answer: ChatMessage | None = None
        """As it began, with its text in `_growing` and its figures in `turn`; or as it ended."""
        self._ending: asyncio.Future[None] | None = None
        self._earlier_id = session.earlier_id
        self._filling = asyncio.Lock()

    # The path

    @property
    def has_all_messages(self) -> bool:
        return self._earlier_id is None

    async def fill(self) -> None:
        """Read the rest of a long session of which only the end was read."""
        store = self._save_queue.store
        async with self._filling:
            while (wanted := self._earlier_id) is not None:
                found, earlier_id = await store.read_back(
                    self.header.session_id, wanted, count=MESSAGES_PER_READ
                )
                if wanted == self._earlier_id:  # else another path is shown now
                    self.messages = self.messages.after(found)
                    self._earlier_id = earlier_id

    @property
    def is_running(self) -> bool:
        return self.turn is not None and self.turn.is_running

    @property
    def newest_answer(self) -> ChatMessage | None:
        """The answer that began last, with what has arrived; its branch may not be shown."""
        newest = self._newest_answer
        if newest is None or self.turn is None or not self.turn.is_running:
            return newest
        return replace(newest, parts=self._growing.parts, model=self.turn.model)

    @property
    def shown_messages(self) -> MessagePath:
        """The path, with what has arrived of a running answer."""
        newest = self.newest_answer
        if newest is None or not self.is_running:
            return self.messages
        return self.messages.replaced(newest)

    async def wait_until_saved(self) -> None:
        if self._ending is not None:
            await asyncio.wait([self._ending])

    def show_path(self, session: Session) -> None:
        """Take over a path that was read from the disk."""
        self.header = session.header
        self.messages = MessagePath(session.messages)
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
        wanted = "" if text == '""' else text
        message = text_message(Role.SYSTEM, wanted, parent_id=self._leaf_id)
        before = self._put_last(message)
        await self._save_queue.save(self.header, message, before)
        return message

    # Turns

    def send(
        self, text: str, settings: TurnSettings, files: Sequence[Attachment] = ()
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Send a prompt and yield events; a new session begins with its system prompt."""
        return self._turn(settings, text=text, files=files)

    def edit(
        self,
        message_id: str,
        text: str,
        settings: TurnSettings,
        files: Sequence[Attachment] | None = None,
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Send another version of a prompt; without `files`, it keeps those that it has."""
        return self._turn(settings, message_id, text=text, files=files)

    def regenerate(
        self, message_id: str, settings: TurnSettings
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Answer a prompt, repeat a tool call, or answer once more beside the old answer."""
        return self._turn(settings, message_id)

    def resume(
        self, answer_id: str, settings: TurnSettings
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Continue an unfinished answer: a sibling that begins with its text."""
        return self._turn(settings, answer_id, is_resumed=True)

    async def compact(
        self, prompt: str, settings: TurnSettings
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Let the model summarise the older messages, and continue with that on a new branch.

        The branch is written when the summary is complete; before, nothing changes on the disk.
        """
        await self.fill()
        path = self.messages
        header = self.header
        older = self._older_messages(prompt, settings.target)
        request = text_message(Role.USER, prompt, parent_id=self._leaf_id)
        settings = replace(settings, is_truncating=True, toolbox=None)
        stream = self._stream(settings, older.added(request))
        is_written = False
        try:
            self.messages = path.added(request)
            yield SummaryAsked(message=request)
            async with aclosing(self._answer(stream, is_saved=False)) as events:
                async for event in events:
                    if isinstance(event, AnswerBegun):
                        self.messages = path.added(request, event.message)
                    yield event
            summary = with_note(_summary(self._newest_answer), stream.plan.left_out)
            await self._save_queue.write_unsaved()
            branch = compacted(older, request, summary, path[len(older) :])
            session = await self._save_queue.store.append_branch(self.header, branch)
            is_written = True
            self.show_path(session)
        finally:
            is_shown = self.find(request.message_id) is not None
            if is_shown and not is_written:
                self.messages = path
                self.header = header

    def _older_messages(self, prompt: str, target: Target) -> MessagePath:
        """Return the messages to summarise; raises `RequestInvalid` if that makes no room."""
        path = self.messages
        is_streaming = bool(path) and path[-1].state is AnswerState.STREAMING
        if self.is_running or is_streaming:
            raise still_answering()
        older = older_part(path, prompt)
        tokens = self._meter.use(target, path).tokens
        if makes_room(older, path, tokens, target.sent_thoughts):
            return older
        words = "There are no older messages to summarise yet."
        if older:
            words = "A summary would make no room: the last prompts and answers take most of it."
        hint = "A summary takes the place of all but the last two prompts and answers."
        raise RequestInvalid(words, hint=hint)

    async def _turn(
        self,
        settings: TurnSettings,
        message_id: str = "",
        *,
        text: str | None = None,
        files: Sequence[Attachment] | None = None,
        is_resumed: bool = False,
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Save the prompt, then stream, save and yield its answers; refuse before any change."""
        await self.fill()
        if self.is_running:
            raise still_answering()
        if message_id:
            start = self._start_at(message_id, text, files, is_resumed=is_resumed)
        else:
            start = self._start_at_end(text or "", files or ())
        _refuse_unseen(settings.target, start.prompts)
        loop = None
        if settings.toolbox is not None:
            loop = ToolLoop(settings.toolbox, self.header.session_id)
        path = start.path.added(*start.prompts)
        stream = self._stream(settings, path, continued=start.continued, loop=loop)

        self.messages = start.path
        async with aclosing(self._add_prompts(start)) as additions:
            async for added in additions:
                yield added
        answers: AsyncGenerator[ConversationEvent, None]
        if loop is None:
            answers = self._answer(stream, start.version)
        else:
            answers = self._answer_with_tools(stream, loop, start)
        async with aclosing(answers) as events:
            async for event in events:
                yield event

    def _start_at_end(self, text: str, files: Sequence[Attachment]) -> TurnStart:
        """Return the start of a turn with a new prompt."""
        opening: list[ChatMessage] = []
        if not self.messages and self._system_prompt:
            opening.append(text_message(Role.SYSTEM, self._system_prompt))
        parent_id = opening[0].message_id if opening else self._leaf_id
        prompt = text_message(Role.USER, text, parent_id=parent_id)
        parts = tuple(file.part for file in files)
        prompts = (*opening, _with_files(prompt, parts))
        return TurnStart(path=self.messages, prompts=prompts, files=files)

    def _start_at(
        self,
        message_id: str,
        text: str | None,
        files: Sequence[Attachment] | None,
        *,
        is_resumed: bool,
    ) -> TurnStart:
        """Return the start of a turn that edits, answers, repeats or continues a message."""
        index = self.messages.index_of(message_id)
        if index is None:
            words = "This message is on another branch."
            raise RequestInvalid(words, hint="Open it in the tree.")
        path = MessagePath(self.messages[:index])
        old = self.messages[index]
        if is_imported_call(old):
            raise imported_call()
        if text is not None:
            prompt = _edited(old, text, files)
            return TurnStart(path=path, prompts=(prompt,), files=files or ())
        if old.role is Role.USER:
            return TurnStart(path=path.added(old))
        version = old.versions + 1
        if old.role is Role.TOOL:
            following = takewhile(_is_tool_message, self.messages[index + 1 :])
            batch = CallBatch(calls=old.tool_calls, ended=tuple(following))
            return TurnStart(path=path, version=version, batch=batch)
        return TurnStart(path=path, version=version, continued=old if is_resumed else None)

    async def _add_prompts(self, start: TurnStart) -> AsyncGenerator[MessageAdded, None]:
        """Add, yield and save the new prompts; the first one names its session."""
        if start.prompts and not self.header.title:
            prompt = start.prompts[-1]
            names = ", ".join(part.name for part in prompt.files)
            self.rename(title_from(prompt.text or names))
        for message in start.prompts:
            before = self._put_last(message)
            try:
                yield MessageAdded(message=message)  # at once: the disk may be locked for seconds
            finally:
                new_files = [
                    file for file in start.files if file.data and file.part in message.files
                ]
                await self._save_queue.save(self.header, message, before, new_files)

    def _stream(
        self,
        settings: TurnSettings,
        path: MessagePath,
        *,
        continued: ChatMessage | None = None,
        loop: ToolLoop | None = None,
    ) -> AnswerStream:
        return AnswerStream(
            settings,
            path,
            backend=self._backend,
            meter=self._meter,
            save_queue=self._save_queue,
            continued=continued,
            loop=loop,
        )

    # Answers

    async def _answer_with_tools(
        self, stream: AnswerStream, loop: ToolLoop, start: TurnStart
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Answer, run the calls of the answer, and so on until an answer has none."""
        settings = stream.settings
        batch = start.batch
        version = start.version
        while True:
            if batch is not None:
                if loop.may_run(batch.calls):
                    run = self._run_calls(loop, settings.target, batch, version)
                    async with aclosing(run) as happenings:
                        async for happening in happenings:
                            yield happening
                    version = 1
                stream = self._stream(settings, self.messages, loop=loop)
            async with aclosing(self._answer(stream, version)) as events:
                async for event in events:
                    yield event
            version = 1
            calls = streamed_calls(self.messages, self._newest_answer)
            if not calls:
                return
            batch = CallBatch(calls=calls)
            yield MessageEnded(message=self.messages[-1])

    async def _answer(
        self, stream: AnswerStream, version: int = 1, *, is_saved: bool = True
    ) -> AsyncGenerator[AnswerBegun | StreamEvent, None]:
        """Stream, save and yield one answer; whatever goes wrong becomes its state."""
        answer = self._begin_answer(stream, version)
        steps = stream.loop.steps if stream.loop else 0
        self.turn = Turn(
            model=answer.model, started_s=self._clock(), steps=steps, is_summary=not is_saved
        )
        state = AnswerState.STOPPED  # a stop is a cancellation, which only `finally` sees
        failure: Failure | None = None
        try:
            if is_saved:
                await self._save_queue.begin_answer(self.header, answer)
            yield AnswerBegun(message=answer, plan=stream.plan)
            async with (
                PieceWriter(self._save_queue, answer.message_id) as writer,
                aclosing(stream.events()) as events,
            ):
                writer.add(*self._growing.pieces)
                async for event in events:
                    self.turn = self.turn.apply(event, self._clock())
                    pieces = self._growing.add(event)
                    if is_saved:
                        writer.add(*pieces)
                    yield event
            state = AnswerState.COMPLETE
        except Exception as error:  # noqa: BLE001 - any error is shown, the answer kept
            state = AnswerState.INTERRUPTED if self._growing.pieces else AnswerState.FAILED
            failure = failure_of(error)
            self.error = error if isinstance(error, LMChatError) else None
        finally:
            for event in stream.withheld():
                self._growing.add(event)
            answer = replace(answer, state=state, failure=failure)
            await self._shield(self._end_answer(answer, self.turn, stream, is_saved=is_saved))
        if self.cut_note != stream.cut_note:
            yield RequestAdapted(note=self.cut_note)

    def _begin_answer(self, stream: AnswerStream, version: int) -> ChatMessage:
        continued = stream.continued
        parts = continued.parts if continued else ()
        target = stream.settings.target
        answer = _streaming(Role.ASSISTANT, parts, stream.path, target, version)
        stream.reported_left_out = self._reported_left_out
        self.messages = stream.path.added(answer)
        self._growing = GrowingAnswer(continued)
        self._newest_answer = answer
        self.error = None
        self.cut_note = ""
        return answer

    async def _end_answer(
        self, answer: ChatMessage, turn: Turn, stream: AnswerStream, *, is_saved: bool
    ) -> None:
        """Make the answer final, in memory first, so that the screen never waits for the disk."""
        settings = stream.settings
        turn = turn.end(answer.state, self._clock())
        self.turn = turn
        self.sent = stream.plan
        self._reported_left_out = stream.reported_left_out if stream.plan.left_out else 0
        receipt = turn.receipt(
            context=settings.target.context, max_tokens=settings.sampling.max_tokens
        )
        receipt = receipt.after(stream.continued.receipt if stream.continued else None)
        final = replace(answer, parts=self._growing.parts, model=turn.model, receipt=receipt)
        self._newest_answer = final
        self.messages = self.messages.replaced(final)
        self._touch(model=final.model, endpoint=final.endpoint)
        self._learn(turn, stream)
        if is_saved:
            await self._save_queue.save(self.header, final, stream.path)
        await self._save_queue.add_ledger(ledger_row(final, turn, settings.target))

    def _learn(self, turn: Turn, stream: AnswerStream) -> None:
        """Give the server's count of the prompt to the meter; note a prompt that was cut."""
        if turn.usage is None or turn.usage.prompt_tokens is None:
            return
        target = stream.settings.target
        plan = stream.plan
        counted = turn.usage.prompt_tokens - stream.tool_tokens
        self.cut_note = stream.cut_note
        is_cut = self._meter.is_cut(target, plan.size, counted)
        if is_cut and not self.cut_note:
            self.cut_note = cut_note(target, plan.tokens, counted)
        self._meter.learn(target, plan.size, counted)

    # Tool calls

    async def _run_calls(
        self, loop: ToolLoop, target: Target, batch: CallBatch, version: int
    ) -> AsyncGenerator[MessageAdded | ToolEvent, None]:
        """Run calls, save and yield their tool messages; those without a result were stopped."""
        self._newest_answer = None
        self.turn = Turn(
            model=target.model_id,
            started_s=self._clock(),
            stage=Stage.TOOLS,
            steps=loop.steps,
        )
        running: dict[str, ChatMessage] = {}
        try:
            await loop.toolbox.host.list_servers()
            for call in batch.calls:
                message = await self._begin_call(loop, call, target, version)
                running[message.message_id] = message
                version = 1
                yield MessageAdded(message=message)
            for ended in batch.ended:
                yield MessageAdded(message=await self._copy_last(ended))
            async with aclosing(loop.run(tuple(running.values()))) as events:
                async for event in events:
                    if isinstance(event, MessageEnded):
                        del running[event.message.message_id]
                        await self._end_call(event.message)
                    yield event
        finally:
            if running:
                await self._shield(self._stop_calls(loop, tuple(running.values())))

    async def _begin_call(
        self, loop: ToolLoop, call: ToolCallPart, target: Target, version: int
    ) -> ChatMessage:
        """Write a call to the disk before it runs."""
        part = replace(call, name=loop.name(call.name))
        message = _streaming(Role.TOOL, (part,), self.messages, target, version)
        self._put_last(message)
        await self._save_queue.begin_answer(self.header, message)
        return message

    async def _copy_last(self, ended: ChatMessage) -> ChatMessage:
        """Add and save a copy of an ended tool message."""
        copy = replace(ended, message_id=new_id(), parent_id=self._leaf_id, version=1, versions=1)
        before = self._put_last(copy)
        await self._save_queue.save(self.header, copy, before)
        return copy

    async def _stop_calls(self, loop: ToolLoop, calls: Sequence[ChatMessage]) -> None:
        if self.turn is not None:
            self.turn = self.turn.end(AnswerState.STOPPED, self._clock())
        for call in calls:
            may_still_run = call.message_id in loop.still_running
            await self._end_call(stopped_call(call, may_still_run=may_still_run))

    async def _end_call(self, call: ChatMessage) -> None:
        """Make a tool message final, in memory first."""
        index = self.messages.index_of(call.message_id)
        self.messages = self.messages.replaced(call)
        await self._save_queue.save(self.header, call, MessagePath(self.messages[:index]))

    # Small steps

    async def _shield(self, ending: Coroutine[Any, Any, None]) -> None:
        """Finish what ends a turn also where its reader is cancelled."""
        self._ending = asyncio.ensure_future(ending)
        await asyncio.shield(self._ending)

    def _put_last(self, message: ChatMessage) -> MessagePath:
        """Add a message, and return the path before it."""
        before = self.messages
        self.messages = before.added(message)
        self._touch()
        return before

    def _touch(self, **changes: Any) -> None:
        count = self.header.message_count + 1
        self.header = replace(self.header, updated_at=now(), message_count=count, **changes)

    @property
    def _leaf_id(self) -> str | None:
        return self.messages[-1].message_id if self.messages else None


def _is_tool_message(message: ChatMessage) -> bool:
    return message.role is Role.TOOL


def _edited(old: ChatMessage, text: str, files: Sequence[Attachment] | None) -> ChatMessage:
    """Return another version of a prompt, with its files or new ones."""
    parts = old.files if files is None else tuple(file.part for file in files)
    fresh = _with_files(text_message(old.role, text, parent_id=old.parent_id), parts)
    version = old.versions + 1
    return replace(fresh, version=version, versions=version)


def _with_files(message: ChatMessage, files: tuple[FilePart, ...]) -> ChatMessage:
    typed = message.parts if message.text or not files else ()
    return replace(message, parts=(*files, *typed))


def _refuse_unseen(target: Target, prompts: Sequence[ChatMessage]) -> None:
    """Raise `FileRefused` where a prompt has an image and the model cannot see."""
    is_blind = target.model is not None and target.model.is_blind
    if is_blind and has_images(prompts):
        words = f"{safe_line(target.model_id, limit=80)} cannot see images."
        hint = "Choose a model with vision, or remove the image."
        raise FileRefused(words, hint=hint, kind="no_vision")


def _streaming(
    role: Role, parts: tuple[Part, ...], path: MessagePath, target: Target, version: int
) -> ChatMessage:
    """Return a message that follows a path and is about to get its content."""
    return ChatMessage(
        message_id=new_id(),
        role=role,
        parts=parts,
        created_at=now(),
        parent_id=path[-1].message_id if path else None,
        state=AnswerState.STREAMING,
        model=target.model_id,
        endpoint=target.endpoint.url,
        version=version,
        versions=version,
    )


def _summary(answer: ChatMessage | None) -> ChatMessage:
    """Return an answer that is a summary; raises `LMChatError` for others."""
    hint = "Nothing has changed; /compact tries again."
    if answer is not None and answer.failure is not None:
        raise LMChatError(answer.failure.message, hint=hint, kind=answer.failure.kind)
    if answer is None or not answer.text.strip():
        raise LMChatError("The model wrote no summary.", hint=hint)
    return answer
