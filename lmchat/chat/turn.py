"""One turn of a session; a stop cancels its task.

1. New prompts are shown; then the turn waits until the disk has them, or has failed.
2. For each answer, its file is created, then the request is sent. Events go into memory, to the
   file a few times a second, and to the front end.
3. However the answer ends, it is final in memory first, then on the disk, also after a stop.
4. Its calls run, and the model is asked again.

After a kill, the next start finds the file without a lock, and saves an interrupted answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial

from msgspec.structs import replace

from lmchat.answers.live_stats import LiveStats, Stage
from lmchat.answers.repetition import Repetition, RepetitionWatch
from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.chat.answer_request import AnswerRequest, refuse_unseen_images
from lmchat.chat.compacting import compacted_branch
from lmchat.chat.context import TokenEstimator
from lmchat.chat.events import (
    AnswerBegun,
    ChatEvent,
    MessageAdded,
    MessageEnded,
    PathChanged,
    Reporter,
)
from lmchat.chat.save_queue import SaveQueue, journal_writer
from lmchat.chat.session import OpenSession, TurnEnded
from lmchat.chat.settings import TurnSettings
from lmchat.chat.tool_rounds import ToolQuestion, ToolRounds, streamed_calls
from lmchat.chat.turn_starts import TurnStart
from lmchat.errors import LMChatError, log_bug, new_error_id
from lmchat.servers.events import RequestAdapted
from lmchat.servers.protocols import AnswerSource
from lmchat.servers.target import Target
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    Failure,
    Part,
    Role,
    ToolCallPart,
    new_id,
    now,
)
from lmchat.sessions.session import MessagePath
from lmchat.tools.calls import Decision

NOT_THINKING = "The model is not thinking now."
_logger = logging.getLogger(__name__)


class Turn:
    """One answer or, with tools, several and a round of calls between two.

    Others see it as `TurnState`.
    """

    def __init__(
        self,
        session: OpenSession,
        *,
        backend: AnswerSource,
        save_queue: SaveQueue,
        estimator: TokenEstimator,
        reporter: Reporter,
        clock: Callable[[], float],
        pending: str = "",
        is_summary: bool = False,
    ) -> None:
        self._session = session
        self._backend = backend
        self._save_queue = save_queue
        self._estimator = estimator
        self._reporter = reporter
        self._clock = clock  # monotonic seconds
        self._began_s = clock()
        self.is_stopping = False
        self._error: Exception | None = None  # of the front end
        self._must_report_cut = False  # messages have left the path since the last report
        self._rounds: ToolRounds | None = None  # None: the model gets no tools
        self.pending = pending
        self.saved_as = ""
        self.is_summary = is_summary
        self.summary = MessagePath()
        self.task: asyncio.Task[None] | None = None
        self.question: ToolQuestion | None = None
        self.stats: LiveStats | None = None
        # of the answer that began last
        self.answer: StreamedAnswer | None = None
        self._request: AnswerRequest | None = None
        self.message: ChatMessage | None = None
        self._answer_error: LMChatError | None = None

    @property
    def may_call_tools(self) -> bool:
        return self._rounds is not None

    @property
    def can_answer_now(self) -> bool:
        answer, request = self.answer, self._request
        if answer is None or request is None:
            return False
        return answer.stats.may_be_thinking and request.can_answer_now

    # What all may do

    def stop(self) -> bool:
        task = self.task
        if task is None or self.is_stopping:
            return False
        self.is_stopping = True
        # not at once: a turn begun just now first adds its prompt
        asyncio.get_running_loop().call_soon(task.cancel)
        return True

    def answer_now(self) -> str:
        answer, request = self.answer, self._request
        if answer is None or request is None or not answer.stats.may_be_thinking:
            return NOT_THINKING
        return request.answer_now()

    def fail(self, error: Exception) -> None:
        self._error = error
        self.stop()

    # For `ChatService`, which begins and ends it

    def become_summary(self) -> str:
        """Return the prompt, whose turn follows the summary."""
        self.is_summary = True
        return self._take_pending()

    def end(self, task: asyncio.Task[None]) -> TurnEnded:
        self.task = None
        self.pending = ""
        self.summary = MessagePath()  # on the path now, or given up
        state, error = AnswerState.FAILED, self._error or self._answer_error
        message = self.message
        if self._error is not None:
            pass  # the stop is only what follows
        elif task.cancelled():
            state = AnswerState.STOPPED
            if message is not None and not self.is_summary:
                is_complete = message.state is AnswerState.COMPLETE
                if not (is_complete and self.may_call_tools and message.tool_calls):
                    state = message.state  # it had ended before the stop
        elif (raised := task.exception()) is not None:
            error, _ = shown_error(raised)
        elif self.stats is not None:
            state = self.stats.state
        return TurnEnded(
            state=state,
            answer=self._session.messages.find(message.message_id) if message is not None else None,
            error=error,
            is_shown_in_answer=error is not None and error is self._answer_error,
            is_summary=self.is_summary,
            seconds=self._clock() - self._began_s,
        )

    def answer_request(self, start: TurnStart, settings: TurnSettings) -> AnswerRequest:
        """Nothing is shown, saved or sent.

        Raises `FileRefused` for an image that the model cannot see, and as `AnswerRequest` does.
        """
        refuse_unseen_images(settings.target, start.prompts)
        if settings.toolbox is not None:
            self._rounds = ToolRounds(settings.toolbox, self._session.session_id)
        return AnswerRequest(
            settings,
            start.sent_path,
            backend=self._backend,
            estimator=self._estimator,
            store=self._save_queue.store,
            rounds=self._rounds,
            prefill=start.prefill,
        )

    async def run(self, start: TurnStart, settings: TurnSettings) -> None:
        """Raises as `answer_request` does. A turn that repeats a call begins with the round."""
        session, request = self._session, self.answer_request(start, settings)
        # those behind `start.path` leave the path, but stay in the tree
        self._must_report_cut = len(session.messages) > len(start.path)
        if start.summarised:
            self.summary = MessagePath(start.prompts)
        session.start(start)
        await self._save_prompts(start)
        rounds = self._rounds
        if start.calls and rounds is not None:
            answer = await self._answer_after(
                rounds, request, start.calls, start.copied, start.version
            )
        else:
            answer = await self._stream_answer(request, start.version)
        while rounds is not None and (calls := streamed_calls(session.messages, answer)):
            self._report(MessageEnded(answer))  # `TurnEnded` shows the last
            answer = await self._answer_after(rounds, request, calls)
        if start.summarised:
            branch = compacted_branch(start, answer)
            await self._save_queue.write_unsaved()  # the branch needs its session on the disk
            session.show_path(await self._save_queue.store.append_branch(session.header, branch))

    async def _answer_after(
        self,
        rounds: ToolRounds,
        request: AnswerRequest,
        calls: Sequence[ToolCallPart],
        copied: Sequence[ChatMessage] = (),
        version: int = 1,
    ) -> ChatMessage:
        if rounds.count_round(calls):  # else the answer fails with the reason
            await self._run_calls(rounds, request.target, calls, copied, version)
        # an answer to new messages has no other version
        return await self._stream_answer(request.for_path(self._session.messages), version=1)

    async def _save_prompts(self, start: TurnStart) -> None:
        """The prompt of a summary is saved later, with the summary."""
        session = self._session
        for message in start.prompts:
            self._report(MessageAdded(message))  # first, as the disk may be locked for seconds
        try:
            if start.prompts and not start.summarised:
                self.saved_as = start.prompts[-1].message_id
                await session.finish(self._save_queue.save(session.header, *start.prompts))
        finally:
            self._take_pending()
            session.note_pending_change()

    def _take_pending(self) -> str:
        pending, self.pending = self.pending, ""
        return pending

    # One answer

    async def _stream_answer(self, request: AnswerRequest, version: int) -> ChatMessage:
        """Return the ended answer, also a failed one; a stop is raised once it is saved."""
        session, prefill = self._session, request.prefill
        parts = prefill.message.parts if prefill is not None else ()
        message = streaming_message(Role.ASSISTANT, parts, request.path, request.target, version)
        answer = StreamedAnswer(
            message.model,
            prefill=prefill.message if prefill is not None else None,
            prefill_tokens=prefill.choices if prefill is not None else (),
            clock=self._clock,
            steps=request.rounds.steps if request.rounds else 0,
            is_summary=self.is_summary,
        )
        self._request, self.answer, self.message = request, answer, message
        self.stats = answer.stats
        if request.rounds is not None and request.rounds.must_start(request.target):
            self.stats.stage = Stage.STARTING
        # a summary has no row or file until `run` writes it, complete
        is_summary = self.is_summary
        if is_summary:
            self.summary = self.summary.added(message)
        else:
            session.start_answer(request.path, message)
        watch = RepetitionWatch(request.settings.stuck)
        state = AnswerState.STOPPED  # a cancellation, which only `finally` sees
        failure: Failure | None = None
        try:
            if not is_summary:
                await self._save_queue.begin_answer(session.header, message)
            typed_text = message.text if prefill is not None and prefill.is_typed else ""
            self._report(AnswerBegun(message=message, prefill_text=typed_text))
            async with (
                journal_writer(self._save_queue, message.message_id) as entries,
                aclosing(request.events(message.message_id, session.note_left_out)) as events,
            ):
                if not is_summary:
                    entries.extend(answer.content.entries)  # the text that it continues
                async for event in events:
                    new_entries = answer.add(event)
                    if not is_summary:
                        entries.extend(new_entries)
                    self._report(event)
                    if repetition := watch.add(event):
                        self._report_repetition(repetition, request, answer)
            state = AnswerState.COMPLETE
        except Exception as error:  # noqa: BLE001 - any error is shown, the answer kept
            state = AnswerState.INTERRUPTED if answer.content.entries else AnswerState.FAILED
            self._answer_error, failure = shown_error(error)
        finally:  # memory first, which does not fail
            message, note = self._end_answer(request, answer, message, state, failure)
            if note:
                self._report(RequestAdapted(note=note))
            was_cut = message.stats is not None and message.stats.is_cut
            may_be_told = (was_cut or state is AnswerState.STOPPED) and not answer.is_stuck
            if may_be_told and (repetition := watch.at_end()):
                self._report(RequestAdapted(note=repetition.words))
            await session.finish(self._save_answer(request.target, answer, message))
        return message

    def _report_repetition(
        self, repetition: Repetition, request: AnswerRequest, answer: StreamedAnswer
    ) -> None:
        if request.settings.stuck == "act":
            answer.is_stuck = True
            ends_thought = repetition.is_thought and self.can_answer_now
            if ends_thought:
                self.answer_now()
            else:
                self.stop()
            repetition = repetition.acted_on(ends_thought=ends_thought)
        self._report(repetition)

    def _end_answer(
        self,
        request: AnswerRequest,
        answer: StreamedAnswer,
        message: ChatMessage,
        state: AnswerState,
        failure: Failure | None,
    ) -> tuple[ChatMessage, str]:
        """Return the final message, and a note if the server has cut the prompt."""
        answer.end(state)
        message = replace(answer.so_far(message), state=state, failure=failure)
        note = ""
        try:
            stats, note = request.ended(answer.stats)
            if state is AnswerState.COMPLETE and not message.tool_calls:
                stats = replace(stats, call_as_text=request.call_in(message.text))
            message = replace(message, stats=stats)
        except Exception:  # the text of the answer must be saved in any case
            _logger.exception("the stats of an answer could not be made")
        self.message = message
        if self.is_summary:
            self.summary = self.summary.replaced(message)
        else:
            self._session.end_answer(message)
        return message, note

    async def _save_answer(
        self, target: Target, answer: StreamedAnswer, message: ChatMessage
    ) -> None:
        """`run` saves the text of a summary."""
        save_queue = self._save_queue
        if not self.is_summary:
            await save_queue.save(self._session.header, message, choices=answer.tokens)
        await save_queue.stats_store.add(
            message.message_id,
            endpoint=target.server_id,
            model=message.model,
            quantization=target.model.quantization if target.model else "",
            state=message.state,
            # `message.stats` includes the answer that this one continues
            stats=answer.stats.saved(),
            stalls=answer.stats.stalls,
        )

    # A round of calls

    async def _run_calls(
        self,
        rounds: ToolRounds,
        target: Target,
        calls: Sequence[ToolCallPart],
        copied: Sequence[ChatMessage],
        version: int,
    ) -> None:
        """Run calls side by side; each is on the disk before it runs, and when it has ended.

        `version` is that of the first call. A repeated call begins a branch with copies of
        `copied`, the other calls of its answer.
        """
        session, save_queue = self._session, self._save_queue
        answer_stats = session.messages[-1].stats
        is_cut = answer_stats is not None and answer_stats.is_cut
        self.stats = stats = LiveStats(
            model=target.model_id,
            started_s=self._clock(),
            stage=Stage.TOOLS,
            steps=rounds.steps,
        )
        running: dict[str, ChatMessage] = {}  # without a result, by message id
        try:
            # not started yet if the turn repeats a call
            await rounds.toolbox.host.start_servers()
            for call in calls:
                named = replace(call, name=rounds.full_name(call.name))  # `SERVER/TOOL`
                message = streaming_message(Role.TOOL, (named,), session.messages, target, version)
                session.add(message)
                version = 1  # calls after the first have no other version
                running[message.message_id] = message
                self._report(MessageAdded(message))
                # as for an answer, before the call runs
                await save_queue.begin_answer(session.header, message)
            for ended in copied:
                copy = replace(
                    ended,
                    message_id=new_id(),
                    parent_id=session.messages.leaf_id,
                    version=1,
                    versions=1,
                )
                session.add(copy)
                self._report(MessageAdded(copy))
                await save_queue.save(session.header, copy)
            on_end = partial(self._end_call, running)
            await rounds.run(tuple(running.values()), self._ask, on_end, is_cut=is_cut)
        except BaseException:  # a stop, which is a cancellation, or an error
            # no next answer comes, whose stats would replace these
            stats.end(AnswerState.STOPPED, self._clock())
            stopped = [replace(call, state=AnswerState.STOPPED) for call in running.values()]
            for message in stopped:
                session.replace(message)
            await session.finish(save_queue.save(session.header, *stopped))
            raise

    async def _ask(self, question: ToolQuestion) -> Decision:
        self.question = question
        try:
            return await self._reporter.ask(self._session, question)
        finally:
            self.question = None

    async def _end_call(self, running: dict[str, ChatMessage], call: ChatMessage) -> None:
        del running[call.message_id]  # else a stop would mark it as stopped
        self._session.replace(call)
        # to its end: a stop may cancel this task, and the result must not be lost
        await self._session.finish(self._save_queue.save(self._session.header, call))
        self._report(MessageEnded(call))

    def _report(self, event: ChatEvent) -> None:
        """Let `PathChanged` wait for an event whose message is on the new path.

        So the front end removes the old messages and shows the new one at once.
        """
        if self._must_report_cut:
            self._must_report_cut = False
            self._reporter.report(self._session, PathChanged())
        self._reporter.report(self._session, event)


def streaming_message(
    role: Role, parts: tuple[Part, ...], path: MessagePath, target: Target, version: int
) -> ChatMessage:
    """Make a message below the end of a path, the newest of its versions."""
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


def shown_error(error: BaseException) -> tuple[LMChatError, Failure]:
    """Log an error; return what is shown and what is saved, with the id of the log entry."""
    if isinstance(error, LMChatError):
        shown, failure_id = error, new_error_id()
        _logger.warning("an answer ended in an error of kind %s, id %s", error.kind, failure_id)
    else:
        failure_id = log_bug(error)
        hint = "Try again. The log file has details under this id."
        shown = LMChatError(
            "lmchat had an internal error.", hint=hint, kind="bug", details=type(error).__name__
        )
    failure = Failure(
        kind=shown.kind,
        message=shown.message,
        hint=shown.hint,
        details=shown.details,
        failure_id=failure_id,
    )
    return shown, failure
