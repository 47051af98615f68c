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

from msgspec.structs import replace

from lmchat.base.errors import LMChatError, log_bug, new_error_id
from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.chat.answering import Asking, TurnServices, check_start, ended_stats
from lmchat.core.chat.events import (
    AnswerStarted,
    ChatEvent,
    MessageAdded,
    MessageEnded,
    PathChanged,
)
from lmchat.core.chat.followers import AnswerNow, RepetitionFollower
from lmchat.core.chat.session import OpenSession, TurnEnded, TurnState
from lmchat.core.chat.settings import TurnSettings
from lmchat.core.chat.tool_rounds import ToolRounds
from lmchat.core.chat.toolbox import Ask, ToolQuestion
from lmchat.core.chat.turn_starts import Prefill, TurnStart, streaming_message
from lmchat.core.servers.events import RequestAdapted
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState, ChatMessage, Failure, Role, ToolCallPart
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.sessions.session import MessagePath
from lmchat.core.tools.calls import Decision

_logger = logging.getLogger(__name__)


class Turn(TurnState):
    """One answer or, with tools, several and a round of calls between two."""

    def __init__(
        self,
        services: TurnServices,
        *,
        report: Callable[[ChatEvent], None],
        ask: Ask,
        pending: PendingPrompt | None,
    ) -> None:
        super().__init__(pending)
        self._services = services
        self._report_now = report
        self._ask = ask
        self._started_s = services.clock()
        self._must_report_cut = False  # messages have left the path since the last report
        self._rounds: ToolRounds | None = None  # None: the model gets no tools
        self._answer_error: LMChatError | None = None  # of the answer that started last

    def end(self, task: asyncio.Task[None], session: OpenSession) -> TurnEnded:
        self.task = self.pending = None
        state = AnswerState.FAILED
        error = self._error or self._answer_error
        answer = session.messages.find(self.message.message_id) if self.message else None
        if self._error is not None:
            pass  # the stop is only what follows
        elif task.cancelled():
            state = AnswerState.STOPPED
            # one that had ended before the stop, unless its calls were to run
            if answer and not (answer.state is AnswerState.COMPLETE and answer.tool_calls):
                state = answer.state
        elif (raised := task.exception()) is not None:
            error, _ = shown_error(raised)
        elif self.stats is not None:
            state = self.stats.state
        return TurnEnded(
            state=state,
            answer=answer,
            error=error,
            is_shown_in_answer=error is not None and error is self._answer_error,
            seconds=self._services.clock() - self._started_s,
        )

    async def run(
        self, session: OpenSession, start: TurnStart, settings: TurnSettings
    ) -> ChatMessage:
        """Return the last answer. A turn that repeats a call starts with the round.

        Raises as `check_start` does; nothing is shown, saved or sent then.
        """
        check_start(start, settings, self._services.estimator)
        if settings.toolbox is not None:
            self._rounds = ToolRounds(
                settings.toolbox,
                session,
                report=self._report,
                ask=self._ask_user,
                store=self._services.store,
            )
            self.may_call_tools = True
            self.told = self._rounds.told
        rounds = self._rounds
        # those behind `start.path` leave the path, but stay in the tree
        self._must_report_cut = len(session.messages) > len(start.path)
        session.start(start)
        await self._save_prompts(session, start)
        path = start.sent_path
        prefill = start.prefill
        version = start.version
        calls = start.calls
        copied = start.copied
        while True:
            if calls and rounds is not None:
                if rounds.count_round(calls):  # else the answer fails with the reason
                    await self._run_calls(rounds, calls, settings.target, copied, version)
                # an answer to new messages has no other version
                path, version = session.messages, 1
            answer = await self._answer(session, path, settings, prefill, version)
            calls = rounds.calls_of(answer) if rounds is not None else ()
            if not calls:
                return answer
            self._report(MessageEnded(answer))  # `TurnEnded` shows the last
            prefill = None
            copied = ()
            version = 1

    async def _ask_user(self, question: ToolQuestion) -> Decision:
        self.question = question
        try:
            return await self._ask(question)
        finally:
            self.question = None

    async def _save_prompts(self, session: OpenSession, start: TurnStart) -> None:
        for message in start.prompts:
            # first, as the disk may be locked for seconds
            self._report(MessageAdded(message, session.session_id))
        try:
            if start.prompts:
                self.saved_as = start.prompts[-1].message_id
                await session.finish(session.save(*start.prompts))
        finally:
            self.pending = None
            session.note_pending_change()

    async def _run_calls(
        self,
        rounds: ToolRounds,
        calls: Sequence[ToolCallPart],
        target: Target,
        copied: Sequence[ChatMessage],
        version: int,
    ) -> None:
        clock = self._services.clock
        self.stats = stats = LiveStats(
            model=target.model_id, started_s=clock(), stage=Stage.TOOLS, steps=rounds.steps
        )
        try:
            await rounds.run(calls, target, copied=copied, version=version)
        except BaseException:  # no next answer comes, whose stats would replace these
            stats.end(AnswerState.STOPPED, clock())
            raise

    # One answer

    async def _answer(
        self,
        session: OpenSession,
        path: MessagePath,
        settings: TurnSettings,
        prefill: Prefill | None,
        version: int,
    ) -> ChatMessage:
        """Return the ended answer, also a failed one; a stop is raised once it is saved."""
        services = self._services
        rounds = self._rounds
        target = settings.target
        parts = prefill.message.parts if prefill is not None else ()
        message = streaming_message(Role.ASSISTANT, parts, path, target, version)
        answer = StreamedAnswer(
            target,
            max_tokens=settings.sampling.max_tokens,
            prefill=message,
            prefill_tokens=prefill.choices if prefill is not None else (),
            clock=services.clock,
            steps=rounds.steps if rounds is not None else 0,
        )
        self.answer = answer
        self.message = message
        self.stats = answer.stats
        self._answer_now = AnswerNow(services.backend, target, answer, self._report)
        repetition = RepetitionFollower(
            settings.stuck, answer, self._answer_now, stop=self.stop, report=self._report
        )
        if rounds is not None and rounds.toolbox.must_start(target):
            self.stats.stage = Stage.STARTING
            self.stats.starting = rounds.toolbox.starting
        session.start_answer(path, message)
        asking = Asking(services, settings, path, message.message_id, prefill, rounds, session.news)
        state = AnswerState.STOPPED  # a cancellation, which only `finally` sees
        failure: Failure | None = None
        try:
            await session.save_started_answer(message)
            typed_text = message.text if prefill is not None and prefill.is_typed else ""
            self._report(AnswerStarted(message=message, prefill_text=typed_text))
            async with session.journal(message) as entries, aclosing(asking.events()) as events:
                entries.extend(answer.content.entries)  # the text that it continues
                async for event in events:
                    entries.extend(answer.add(event))
                    self._report(event)
                    for follower in (self._answer_now, repetition):
                        await follower.add(event)
            state = AnswerState.COMPLETE
        except Exception as error:  # noqa: BLE001 - any error is shown, the answer kept
            state = AnswerState.INTERRUPTED if answer.content.entries else AnswerState.FAILED
            self._answer_error, failure = shown_error(error)
        finally:  # memory first, which does not fail
            answer.end(state)
            message = replace(answer.so_far(message), state=state, failure=failure)
            message, note = self._end_answer(session, asking, answer.stats, message)
            if note:
                self._report(RequestAdapted(note=note))
            was_cut = message.stats is not None and message.stats.is_cut
            if was_cut and (told := repetition.at_cut_end()):
                self._report(RequestAdapted(note=told.text))
            await session.finish(self._save_answer(session, target, answer, message))
        return message

    def _end_answer(
        self, session: OpenSession, asking: Asking, live: LiveStats, message: ChatMessage
    ) -> tuple[ChatMessage, str]:
        """Return the final message, and a note if the server has cut the prompt."""
        note = ""
        try:
            stats, note = ended_stats(live, asking)
            is_whole = message.state is AnswerState.COMPLETE and not message.tool_calls
            has_tools = asking.request is not None and asking.request.tools
            if is_whole and has_tools and self._rounds is not None:
                stats = replace(stats, call_as_text=self._rounds.call_in(message.text))
            message = replace(message, stats=stats)
        except Exception:  # the text of the answer must be saved in any case
            _logger.exception("the stats of an answer could not be made")
        self.message = message
        session.end_answer(message)
        return message, note

    async def _save_answer(
        self, session: OpenSession, target: Target, answer: StreamedAnswer, message: ChatMessage
    ) -> None:
        await session.save(message, choices=answer.tokens)
        await self._services.stats_store.add(
            message.message_id,
            endpoint=target.server_id,
            model=message.model,
            state=message.state,
            # `message.stats` includes the answer that this one continues
            stats=answer.stats.saved(),
            stalls=answer.stats.stalls,
        )

    def _report(self, event: ChatEvent) -> None:
        """Let `PathChanged` wait for an event whose message is on the new path.

        So the front end removes the old messages and shows the new one at once.
        """
        if self._must_report_cut:
            self._must_report_cut = False
            self._report_now(PathChanged())
        self._report_now(event)


def shown_error(error: BaseException) -> tuple[LMChatError, Failure]:
    """Log an error; return what is shown and what is saved, with the id of the log entry."""
    if isinstance(error, LMChatError):
        shown = error
        failure_id = new_error_id()
        _logger.warning("an answer ended in an error of kind %s, id %s", error.kind, failure_id)
    else:
        failure_id = log_bug(error)
        shown = LMChatError(
            "lmchat had an internal error.",
            next_step="Try again. The log file has details under this id.",
            kind="bug",
            details=type(error).__name__,
        )
    failure = Failure(
        kind=shown.kind,
        message=shown.message,
        hint=shown.next_step,
        details=shown.details,
        failure_id=failure_id,
    )
    return shown, failure
