"""One open session: its messages and its running turn, and what of them is written when.

`Conversation._turn` is the path of every prompt:

1. `MessageAdded` shows the prompt. Then the `SaveQueue` writes it and waits for the disk, before
   the request is sent. If the disk fails, the prompt stays in the queue, and the request is sent.
2. `SaveQueue.begin_answer` creates the file of the running answer. While events arrive,
   `JournalWriter` appends their text to it a few times a second. After `kill -9`, the next start
   finds this file without a lock, and `Store` (`storage/store.py`) saves its text as an
   interrupted answer.
3. However the answer ends (complete, stopped, interrupted, failed), the `finally` of `_answer`
   calls `_end_answer`: first the message in memory becomes final, then `SaveQueue.save` writes it
   and the file is removed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from msgspec.structs import replace

from lmchat.chat.answering import AnswerStream, TurnSettings, refuse_unseen_images
from lmchat.chat.attachments import Attachment
from lmchat.chat.choosing import BegunAnswer
from lmchat.chat.compacting import (
    compacted_branch,
    require_older,
    require_summary,
    with_left_out_note,
)
from lmchat.chat.context import ContextMeter, ContextPlan
from lmchat.chat.events import (
    AnswerBegun,
    ConversationEvent,
    MessageAdded,
    SummaryAsked,
    still_answering_error,
)
from lmchat.chat.kept import (
    hung_up,
    joined_answer,
    kept_answer,
    replay_request,
    target_of,
    without_replay,
)
from lmchat.chat.kept_sampling import forget_sampling, kept_sampling, save_sampling
from lmchat.chat.ports import ServerClient
from lmchat.chat.save_queue import JournalWriter, SaveQueue
from lmchat.chat.starts import (
    CallBatch,
    TurnStart,
    path_with_rewritten,
    start_at,
    start_at_end,
    start_with_edit,
    streaming_message,
)
from lmchat.chat.tool_rounds import MessageEnded, ToolEvent, ToolLoop, streamed_calls
from lmchat.chat.turn_stats import failure_of, turn_record
from lmchat.errors import LMChatError
from lmchat.servers.answer import GrowingAnswer, Stage, Turn
from lmchat.servers.events import RequestAdapted, StreamEvent
from lmchat.servers.model import Target
from lmchat.servers.options import usable_options
from lmchat.servers.products import sent_thoughts_of
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Failure,
    Role,
    TokenProbabilities,
    ToolCallPart,
    new_id,
    now,
    text_message,
)
from lmchat.sessions.session import MESSAGES_PER_READ, MessagePath, Session, SessionHeader, title_of


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
        """The path; of a long session only its newest messages, until `fill`."""
        self.turn: Turn | None = None  # the running turn, or the last one
        self.sent: ContextPlan | None = None  # what was sent for the last answer
        self.error: LMChatError | None = None  # that has ended the last answer
        self.cut_note = ""  # sentence about a prompt that was longer than the context window
        self.first_words = ""  # words of the user with which the next answer begins
        self.may_call_tools = False  # whether the newest turn offers tools to the model
        self._reported_left_out = 0  # number of left-out messages in the last note about them
        self._backend = backend
        self._save_queue = save_queue
        self._meter = meter
        self._make_stream = partial(
            AnswerStream, backend=backend, meter=meter, save_queue=save_queue
        )
        """Plans an answer below a path, and raises what `AnswerStream` raises; sends nothing."""
        self._clock = clock
        self._system_prompt = system_prompt
        self._growing = GrowingAnswer()
        self.stream: AnswerStream | None = None  # of the running answer
        self._newest_answer: ChatMessage | None = None
        """The answer that began last: empty while it streams into `_growing`, then as it ended."""
        self._end_of_turn: asyncio.Future[None] | None = None  # task that saves what came last
        self._earlier_id = session.earlier_id
        """The newest message that is still only on the disk; None if all are in memory."""
        self._fill_lock = asyncio.Lock()
        self.is_hung_up = False
        """Whether the terminal is gone: answers that servers keep are interrupted, not stopped."""

    # The path

    @property
    def has_all_messages(self) -> bool:
        return self._earlier_id is None

    async def fill(self) -> None:
        """Read the older messages of a long session, some at a time from the newest back."""
        store = self._save_queue.store
        async with self._fill_lock:
            while self._earlier_id is not None:
                last_id = self._earlier_id
                older, earlier_id = await store.read_back(
                    self.header.session_id, last_id, count=MESSAGES_PER_READ
                )
                if last_id == self._earlier_id:  # else `show_path` has changed the path
                    self.messages = self.messages.after(older)
                    self._earlier_id = earlier_id

    @property
    def is_running(self) -> bool:
        return self.turn is not None and self.turn.is_running

    @property
    def newest_answer(self) -> ChatMessage | None:
        """The answer that began last, with the text so far; it may be on a branch not shown."""
        newest = self._newest_answer
        if newest is None or self.turn is None or not self.turn.is_running:
            return newest
        return replace(newest, parts=self._growing.parts, model=self.turn.model)

    def with_figures(self, answer: ChatMessage) -> ChatMessage:
        """Return an answer with its figures; with those so far if it is streaming."""
        newest = self._newest_answer
        is_newest = newest is not None and newest.message_id == answer.message_id
        if self.stream is None or self.turn is None or not is_newest:
            return answer
        turn = replace(self.turn, ended_s=self._clock())  # the times end now
        return replace(answer, stats=self.stream.stats(turn))

    @property
    def token_choices(self) -> Sequence[TokenProbabilities]:
        """Choices of the tokens of the newest answer, if its server has reported them."""
        return self._growing.choices

    @property
    def shown_messages(self) -> MessagePath:
        """The path; a running answer on it has the text that has arrived so far."""
        newest = self.newest_answer
        if newest is None or not self.is_running:
            return self.messages
        return self.messages.replaced(newest)

    async def wait_until_saved(self) -> None:
        """Wait until the save queue has tried to write the ended turn, or the rewritten answer."""
        if self._end_of_turn is not None:
            await asyncio.wait([self._end_of_turn])

    def show_path(self, session: Session) -> None:
        """Replace the messages by a path that was read from the disk, such as another branch."""
        self.header = session.header
        self.messages = MessagePath(session.messages)
        self._earlier_id = session.earlier_id
        if self._newest_answer is not None and self.is_running:
            # its text so far is in `_growing`, and may be longer than that on the disk
            self.messages = self.messages.replaced(self._newest_answer)

    def rename(self, title: str) -> None:
        self.header = replace(self.header, title=title)

    @property
    def own_sampling(self) -> dict[str, object]:
        """The sampling options of this session, as they are sent from the next answer on."""
        return usable_options(self.header.sampling)

    async def set_sampling(self, options: Mapping[str, object]) -> None:
        """Give the session other sampling options from the next answer on, and save them.

        A new session is not on the disk yet: they are kept beside its draft until its first message
        is saved. If the disk fails, they hold in memory, and the error is raised.
        """
        self.header = replace(self.header, sampling=options)
        await save_sampling(self._save_queue, self.header.session_id, options)

    async def restore_sampling(self) -> None:
        """Give a new session the sampling options that an earlier run has kept beside its draft."""
        options = await kept_sampling(self._save_queue.store)
        is_untouched = not self.messages and not self.header.sampling  # also during the reading
        if options and is_untouched:
            self.header = replace(self.header, sampling=options)

    def find(self, message_id: str) -> ChatMessage | None:
        index = self.messages.index_of(message_id)
        return None if index is None else self.messages[index]

    def current(self, message: ChatMessage) -> ChatMessage:
        """Return a message as it is now; it may have streamed when the caller got it.

        While it streams, only `newest_answer` has its text; `messages` gets the text at its end.
        """
        if message.state is not AnswerState.STREAMING:
            return message
        newest = self.newest_answer
        if newest is not None and newest.message_id == message.message_id:
            return newest
        return self.find(message.message_id) or message

    async def set_system_prompt(self, text: str) -> ChatMessage:
        """Add, save and return a system prompt for the next answers; two quotes `""` remove it."""
        content = "" if text == '""' else text
        message = text_message(Role.SYSTEM, content, parent_id=self._leaf_id)
        ancestors = self._append(message)
        await self._save_queue.save(self.header, message, ancestors)
        return message

    async def rewrite(self, answer_id: str, text: str) -> ChatMessage:
        """Add and return another version of an answer, with a text by the user; send nothing.

        It is saved in a task, for which `wait_until_saved` waits: the disk may be locked for
        seconds. Raises `RequestInvalid` while an answer is running, and as `path_with_rewritten`
        does; then nothing has changed.
        """
        await self.fill()
        if self.is_running:
            raise still_answering_error()
        *ancestors, message = path_with_rewritten(self.messages, answer_id, text)
        self.messages = MessagePath(ancestors)
        self._append(message)
        save = self._save_queue.save(self.header, message, ancestors)
        self._end_of_turn = asyncio.ensure_future(save)
        return message

    # Turns

    def send(
        self, text: str, settings: TurnSettings, files: Sequence[Attachment] = ()
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Send a prompt and yield events; a new session begins with its system prompt."""
        return self._turn(settings, text=text, files=files)

    def unsent(
        self,
        text: str,
        settings: TurnSettings,
        files: Sequence[Attachment] = (),
        *,
        first_words: str = "",
    ) -> AnswerStream:
        """Return the stream of the answer that `send` would ask for; nothing is sent or changed.

        The text may be empty, and an answer may be running. Raises `RequestInvalid` if the session
        is too long.
        """
        start = start_at_end(self.shown_messages, text, files, self._system_prompt)
        path = start.path.added(*start.prompts)
        loop = self._make_loop(settings)
        return self._make_stream(settings, path, first_words=first_words, loop=loop)

    def edit(
        self,
        message_id: str,
        text: str,
        settings: TurnSettings,
        files: Sequence[Attachment] | None = None,
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Send another version of a prompt; `files` None keeps the files that it has."""
        return self._turn(settings, message_id, text=text, files=files)

    def regenerate(
        self, message_id: str, settings: TurnSettings
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Answer a prompt, repeat a tool call, or give an answer another version."""
        return self._turn(settings, message_id)

    def resume(
        self, answer_id: str, settings: TurnSettings, begun: BegunAnswer | None = None
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Continue an unfinished answer in another version, which begins with its text.

        With `begun`, the version begins with that instead, and the answer may be complete.
        """
        return self._turn(settings, answer_id, is_resumed=True, begun=begun)

    async def has_kept_answer(self) -> bool:
        """Ask the server whether it has continued the last answer while lmchat was away (R-42).

        Return False if the server cannot be asked now, or does not know the answer any more. In the
        second case the answer is not asked for again.
        """
        kept = kept_answer(self.messages)
        if kept is None or self.is_running:
            return False
        try:
            is_kept = await self._backend.keeps_answer(replay_request(kept))
            await self.fill()
        except LMChatError:
            return False
        if kept_answer(self.messages) is not kept or self.is_running:
            return False  # a turn has begun while the server was asked
        if not is_kept:
            forgotten = without_replay(kept)
            self.messages = self.messages.replaced(forgotten)
            await self._save_queue.save(self.header, forgotten, self.messages[:-1])
        return is_kept

    def catch_up(self) -> AsyncGenerator[ConversationEvent, None]:
        """Fetch the last answer, after `has_kept_answer` has said that its server has it (R-42).

        The answer keeps its place and its version.
        """
        kept = kept_answer(self.messages)
        if kept is None or self.is_running:  # a turn has begun since
            raise still_answering_error()
        settings = TurnSettings(target=target_of(kept))
        path = MessagePath(self.messages[:-1])
        return self._answer(self._make_stream(settings, path, replayed=kept))

    async def compact(
        self, prompt: str, settings: TurnSettings
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Let the model summarise the older messages, and continue with that on a new branch.

        Yield the request for the summary, and its events. The branch is written when the summary is
        complete; before, nothing changes on the disk. If it is stopped or fails, the path is as
        before, and a failure is raised. Raises `RequestInvalid` if a summary would make no room.
        """
        await self.fill()
        path = self.messages
        header = self.header
        target = settings.target
        if self.is_running:
            raise still_answering_error()
        tokens = self._meter.use(target, path).next_tokens
        older = require_older(path, prompt, tokens, sent_thoughts_of(target.product, target.model))
        request = text_message(Role.USER, prompt, parent_id=self._leaf_id)
        settings = replace(settings, is_truncating=True, toolbox=None, is_kept=False)
        stream = self._make_stream(settings, older.added(request))
        is_branch_written = False
        try:
            self.messages = path.added(request)
            yield SummaryAsked(message=request)
            async with aclosing(self._answer(stream, is_saved=False)) as events:
                async for event in events:
                    if isinstance(event, AnswerBegun):
                        # show all messages, though the answer has only `older` before it
                        self.messages = path.added(request, event.message)
                    yield event
            summary = require_summary(self._newest_answer)
            summary = with_left_out_note(summary, stream.plan.left_out)
            await self._save_queue.write_unsaved()  # the branch needs its session on the disk
            branch = compacted_branch(older, request, summary, path[len(older) :])
            session = await self._save_queue.store.append_branch(self.header, branch)
            is_branch_written = True
            self.show_path(session)
        finally:
            # if the user has opened another branch since, that path stays
            is_request_shown = self.find(request.message_id) is not None
            if is_request_shown and not is_branch_written:
                self.messages = path
                # the user may have changed these while the summary was written
                changed = self.header
                self.header = replace(header, title=changed.title, sampling=changed.sampling)

    async def _turn(
        self,
        settings: TurnSettings,
        message_id: str = "",
        *,
        text: str | None = None,
        files: Sequence[Attachment] | None = None,
        is_resumed: bool = False,
        begun: BegunAnswer | None = None,
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Save the prompt, then stream, save and yield its answers.

        A turn that is not possible raises an error before anything has changed.

        Args:
            settings: Settings of the turn.
            message_id: The message to edit, answer, repeat or continue; empty for a new prompt.
            text: The new prompt, or the changed one; None if the prompt stays.
            files: Files of the prompt; None keeps those of a changed prompt.
            is_resumed: Whether to continue an answer instead of giving another one.
            begun: With what the continued answer begins; None for its text.
        """
        await self.fill()
        if self.is_running:
            raise still_answering_error()
        if not message_id:
            start = start_at_end(self.messages, text or "", files or (), self._system_prompt)
        elif text is not None:
            start = start_with_edit(self.messages, message_id, text, files)
        else:
            start = start_at(self.messages, message_id, is_resumed=is_resumed, begun=begun)
        refuse_unseen_images(settings.target, start.prompts)
        loop = self._make_loop(settings)
        self.may_call_tools = loop is not None
        path = start.path.added(*start.prompts)
        is_new_answer = start.continued is None and start.batch is None
        stream = self._make_stream(
            settings,
            path,
            continued=start.continued,
            first_words=self.first_words if is_new_answer else "",
            loop=loop,
        )
        stream.begun_choices = start.begun_choices

        self.messages = start.path
        async with aclosing(self._add_prompts(start)) as additions:
            async for addition in additions:
                yield addition
        answers: AsyncGenerator[ConversationEvent, None]
        if loop is None:
            answers = self._answer(stream, start.version)
        else:
            answers = self._answer_with_tools(stream, loop, start)
        async with aclosing(answers) as events:
            async for event in events:
                yield event

    async def _add_prompts(self, start: TurnStart) -> AsyncGenerator[MessageAdded, None]:
        """Add, yield and save the new prompts; a session without a title is named by the last."""
        if not start.prompts:  # only another version of an answer
            return
        if not self.header.title:
            self.rename(title_of(start.prompts[-1]))
        for message in start.prompts:
            ancestors = self._append(message)
            self._save_queue.add(self.header, message, ancestors, start.new_files_of(message))
        try:
            for message in start.prompts:
                yield MessageAdded(message=message)  # at once: the disk may be locked for seconds
        finally:  # all prompts are saved, also if the turn is stopped at a `yield` or here
            await self._save_queue.write_unsaved()
        if not start.path and self.header.sampling:  # they were saved with the header
            await forget_sampling(self._save_queue.store)

    def _make_loop(self, settings: TurnSettings) -> ToolLoop | None:
        """Return the rounds of tool calls of a turn; None if the model gets no tools."""
        if settings.toolbox is None:
            return None
        return ToolLoop(settings.toolbox, self.header.session_id)

    async def _answer_with_tools(
        self, stream: AnswerStream, loop: ToolLoop, start: TurnStart
    ) -> AsyncGenerator[ConversationEvent, None]:
        """Answer, run the calls of the answer, and so on until an answer has none.

        A turn that repeats a call begins with that call instead. When no further round is allowed,
        the next answer fails with the reason: `loop` refuses to offer tools for it.
        """
        settings = stream.settings
        batch = start.batch
        version = start.version  # of the first new message; all that follow it are first versions
        while True:
            if batch is not None:
                if loop.count_round(batch.calls):
                    call_run = self._run_calls(loop, settings.target, batch, version)
                    async with aclosing(call_run) as call_events:
                        async for call_event in call_events:
                            yield call_event
                    version = 1
                stream = self._make_stream(settings, self.messages, loop=loop)
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
        """Stream, save and yield one answer; an error becomes its state and is not raised.

        `is_saved` is False for a summary, which is saved with its branch when it is complete.
        """
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
            yield AnswerBegun(message=answer, plan=stream.plan, is_replay=bool(stream.replayed))
            async with (
                JournalWriter(self._save_queue, answer.message_id) as writer,
                aclosing(stream.events()) as events,
            ):
                writer.add(*self._growing.entries)  # those of the continued answer, if there is one
                async for event in events:
                    self.turn.apply(event, self._clock())
                    entries = self._growing.add(event)
                    if is_saved:
                        writer.add(*entries)
                    yield event
            state = AnswerState.COMPLETE
        except Exception as error:  # noqa: BLE001 - any error is shown, the answer kept
            state = AnswerState.INTERRUPTED if self._growing.entries else AnswerState.FAILED
            failure = failure_of(error)
            self.error = error if isinstance(error, LMChatError) else None
        finally:
            answer = replace(answer, state=state, failure=failure)
            # then the stop only means that the terminal is gone, and the answer can be fetched
            server_continues = self.is_hung_up and self.turn.is_kept
            if state is AnswerState.STOPPED and server_continues:
                answer = hung_up(replace(answer, parts=self._growing.parts))
            await self._complete(self._end_answer(answer, self.turn, stream, is_saved=is_saved))
        if self.cut_note != stream.cut_note:  # the server's count has shown that it was cut
            yield RequestAdapted(note=self.cut_note)

    def _begin_answer(self, stream: AnswerStream, version: int) -> ChatMessage:
        """Add an answer to the path in memory, with the parts that it continues; return it.

        An answer that is fetched again takes its own place on the path, and begins empty.
        """
        continued = stream.continued
        parts = continued.parts if continued else ()
        target = stream.settings.target
        answer = streaming_message(Role.ASSISTANT, parts, stream.path, target, version)
        if stream.replayed is not None:
            answer = replace(stream.replayed, parts=(), state=AnswerState.STREAMING, failure=None)
        elif stream.replay_id:  # saved with the answer before the request is sent
            answer = replace(answer, stats=AnswerStats(replay_id=stream.replay_id))
        stream.reported_left_out = self._reported_left_out  # so that notes are not repeated
        self.messages = stream.path.added(answer)
        self._growing = GrowingAnswer(continued, stream.begun_choices)
        self.stream = stream
        self._newest_answer = answer
        self.error = None
        self.cut_note = ""
        if stream.first_words:
            self.first_words = ""
        return answer

    async def _end_answer(
        self, answer: ChatMessage, turn: Turn, stream: AnswerStream, *, is_saved: bool
    ) -> None:
        """Make the answer final and save it with its figures.

        Memory is changed before the first `await`, so that the screen never waits for the disk.
        """
        is_fetched = stream.replayed is not None
        if not stream.has_first_words:  # nothing has arrived: the next answer begins with them
            self.first_words = self.first_words or stream.first_words
        turn.end(answer.state, self._clock())
        self.sent = stream.plan
        self.stream = None
        self._reported_left_out = stream.reported_left_out if stream.plan.left_out else 0
        final = self._final_answer(answer, turn, stream)
        self._newest_answer = final
        self.messages = self.messages.replaced(final)
        if not is_fetched:
            self._update_header(model=final.model, endpoint=final.endpoint)
            self.cut_note = stream.learn_from(turn)

        if is_saved:
            choices = self._growing.choices
            await self._save_queue.save(self.header, final, stream.path, choices=choices)
        if not is_fetched:  # else the times are those of fetching it
            await self._save_queue.add_turn_record(turn_record(final, turn, stream.settings.target))

    def _final_answer(self, answer: ChatMessage, turn: Turn, stream: AnswerStream) -> ChatMessage:
        """Return an answer whose turn has ended, with all its text and its stats.

        If its server may continue it, the stats has the id under which it can be fetched (R-42).
        """
        stats = stream.stats(turn)
        if turn.is_kept and (answer.state is AnswerState.INTERRUPTED or self.is_hung_up):
            stats = replace(stats, replay_id=stream.replay_id)
        final = replace(answer, parts=self._growing.parts, model=turn.model, stats=stats)
        return final if stream.replayed is None else joined_answer(final, stream.replayed)

    # Tool calls

    async def _run_calls(
        self, loop: ToolLoop, target: Target, batch: CallBatch, version: int
    ) -> AsyncGenerator[MessageAdded | ToolEvent, None]:
        """Run calls, save and yield their tool messages; `version` is that of the first one.

        Copies of the messages of other calls, which do not run again, follow. If the turn is
        stopped, calls without a result get the state "stopped".
        """
        self._newest_answer = None  # while this turn runs, no text streams into an answer
        self.turn = Turn(
            model=target.model_id, started_s=self._clock(), stage=Stage.TOOLS, steps=loop.steps
        )
        running: dict[str, ChatMessage] = {}
        have_all_ended = False
        try:
            await loop.toolbox.host.list_servers()  # starts them for a turn that repeats a call
            for call in batch.calls:
                message = self._add_call(loop, call, target, version)
                running[message.message_id] = message
                await self._save_queue.begin_answer(self.header, message)  # before the call runs
                version = 1
                yield MessageAdded(message=message)
            for ended in batch.ended:
                yield MessageAdded(message=await self._append_copy(ended))
            async with aclosing(loop.run(tuple(running.values()))) as events:
                async for event in events:
                    if isinstance(event, MessageEnded):
                        del running[event.message.message_id]
                        await self._end_call(event.message)
                    yield event
            have_all_ended = True
        finally:
            if not have_all_ended:  # else the turn goes on with an answer
                await self._complete(self._stop_calls(tuple(running.values())))

    def _add_call(
        self, loop: ToolLoop, call: ToolCallPart, target: Target, version: int
    ) -> ChatMessage:
        """Add the tool message of a call to the path in memory, and return it."""
        part = replace(call, name=loop.full_name(call.name))  # `SERVER/TOOL` in tool messages
        message = streaming_message(Role.TOOL, (part,), self.messages, target, version)
        self._append(message)
        return message

    async def _append_copy(self, ended: ChatMessage) -> ChatMessage:
        """Add a copy of an ended tool message to the end of the path, save it and return it."""
        copy = replace(ended, message_id=new_id(), parent_id=self._leaf_id, version=1, versions=1)
        ancestors = self._append(copy)
        await self._save_queue.save(self.header, copy, ancestors)
        return copy

    async def _stop_calls(self, calls: Sequence[ChatMessage]) -> None:
        """End the turn as stopped, and save its tool messages that have no result."""
        if self.turn is not None:
            self.turn.end(AnswerState.STOPPED, self._clock())
        for call in calls:
            await self._end_call(replace(call, state=AnswerState.STOPPED))

    async def _end_call(self, call: ChatMessage) -> None:
        """Replace a tool message by its final state, in memory first, and save it."""
        index = self.messages.index_of(call.message_id)
        self.messages = self.messages.replaced(call)
        await self._save_queue.save(self.header, call, MessagePath(self.messages[:index]))

    # Small steps

    async def _complete(self, end_of_turn: Coroutine[Any, Any, None]) -> None:
        """Run the end of a turn to completion, also if the reader of the turn is cancelled."""
        self._end_of_turn = asyncio.ensure_future(end_of_turn)
        await asyncio.shield(self._end_of_turn)

    def _append(self, message: ChatMessage) -> MessagePath:
        """Add a message to the path in memory, and return the path before it."""
        ancestors = self.messages
        self.messages = ancestors.added(message)
        self._update_header()
        return ancestors

    def _update_header(self, **changes: Any) -> None:
        """Count one more message in the header, with the time of the change and other fields."""
        count = self.header.message_count + 1
        self.header = replace(self.header, updated_at=now(), message_count=count, **changes)

    @property
    def _leaf_id(self) -> str | None:
        return self.messages[-1].message_id if self.messages else None
