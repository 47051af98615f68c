"""One turn of a session, step by step. All kinds of turns run this code; a stop cancels the task.

1. The new prompts are shown, and the turn waits until the disk has them, or has failed.
2. For each answer, the file of the running answer is created, then the request is sent. Events go
   into memory, to the file a few times a second, and to the front end.
3. However the answer ends (complete, stopped, interrupted, failed), it becomes final in memory, and
   then on the disk. A turn that is cancelled also does this to the end.
4. The calls of an answer run, and the model is asked again with their results.

After a kill, the next start finds the file of the running answer without a lock, and saves its text
as an interrupted answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from msgspec.structs import replace

from lmchat.answers.answer_figures import AnswerFigures, Stage
from lmchat.chat.answer_request import AnswerRequest, refuse_unseen_images
from lmchat.chat.drafts import Drafts
from lmchat.chat.events import (
    AnswerBegun,
    ChatEvent,
    MessageAdded,
    MessageEnded,
    PathChanged,
)
from lmchat.chat.open_session import OpenSession
from lmchat.chat.planning.compacting import compacted_branch
from lmchat.chat.planning.meter import ContextMeter
from lmchat.chat.reporter import Reporter
from lmchat.chat.running_answer import RunningAnswer, streaming_message
from lmchat.chat.save_queue import SaveQueue, journal_writer
from lmchat.chat.tool_rounds import ToolRounds, streamed_calls
from lmchat.chat.turn_choices import TurnSettings
from lmchat.chat.turn_starts import TurnStart
from lmchat.errors import LMChatError, log_bug, new_error_id
from lmchat.servers.events import RequestAdapted
from lmchat.servers.protocols import AnswerSource
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Failure,
    Role,
    ToolCallPart,
    new_id,
)
from lmchat.sessions.statistics import AnswerRecord

_FIELDS_OF_STATS = [
    name for name in AnswerRecord.__struct_fields__ if name in AnswerStats.__struct_fields__
]
"""Fields of an answer record that are copied from the stats of the answer."""
_logger = logging.getLogger(__name__)


def log_failure(error: BaseException) -> Failure:
    """Log an error in which an answer ended, and return it as the failure of the message.

    The failure has the id of the log entry, with which the user finds the details in the log.
    """
    if isinstance(error, LMChatError):
        failure_id = new_error_id()
        _logger.warning("an answer ended in an error of kind %s, id %s", error.kind, failure_id)
        return Failure(
            kind=error.kind,
            message=error.message,
            hint=error.hint,
            details=error.details,
            failure_id=failure_id,
        )
    return Failure(
        kind="bug",
        message="lmchat had an internal error.",
        hint="Try again. The log file has details under this id.",
        details=type(error).__name__,
        failure_id=log_bug(error),
    )


def shown_error(error: BaseException, failure: Failure | None = None) -> LMChatError:
    """Return the error that the user is shown.

    An `LMChatError` is returned itself. Any other error is a fault of lmchat, for which the user
    gets the words of a `Failure`. `failure` is what `log_failure` has returned for the error; None
    if the error is to be logged here.
    """
    if isinstance(error, LMChatError):
        return error
    failure = failure or log_failure(error)
    return LMChatError(failure.message, hint=failure.hint, kind=failure.kind)


class TurnRunner:
    """One turn of a session, which `run` runs once.

    A turn with tools has several answers, with a round of calls between two of them. `request` is
    the request for the next answer; the preview of a request makes a turn only to see it.
    """

    def __init__(
        self,
        opened: OpenSession,
        start: TurnStart,
        settings: TurnSettings,
        *,
        backend: AnswerSource,
        save_queue: SaveQueue,
        meter: ContextMeter,
        drafts: Drafts,
        reporter: Reporter,
    ) -> None:
        """Plan the first request; nothing is shown, saved or sent.

        Raises `FileRefused` for an image that the model cannot see, and `RequestInvalid` as
        `AnswerRequest` does.
        """
        refuse_unseen_images(settings.target, start.prompts)
        self._opened = opened
        self._start = start
        self._target = settings.target
        self._save_queue = save_queue
        self._drafts = drafts
        self._reporter = reporter
        self._must_report_cut = False  # whether messages have left the path since the last report
        self._rounds: ToolRounds | None = None  # None if the model gets no tools
        if settings.toolbox is not None:
            self._rounds = ToolRounds(settings.toolbox, opened.session_id)
        self._make_answer_request = partial(
            AnswerRequest,
            settings,
            backend=backend,
            meter=meter,
            store=save_queue.store,
            rounds=self._rounds,
        )
        self.request = self._make_answer_request(start.sent_path, beginning=start.beginning)

    async def run(self) -> None:
        """Run the turn to its end: an answer, a round of its calls, the next answer, and so on.

        A turn that repeats a call begins with the round. When no further round is allowed, the next
        answer fails with the reason, as `ToolRounds` offers no tools for it.
        """
        opened, start, rounds = self._opened, self._start, self._rounds
        session_id = opened.session_id
        # the messages behind the end of `start.path` leave the path; they stay in the tree
        self._must_report_cut = len(opened.messages) > len(start.path)
        opened.apply_start(start, may_call_tools=rounds is not None)
        await self._save_prompts()
        if opened.session_id != session_id:  # it was purged: the new one has the prompts alone
            self.request = self._make_answer_request(opened.messages, beginning=start.beginning)
        if start.calls and rounds is not None:
            answer = await self._answer_after(rounds, start.calls, start.copied, start.version)
        else:
            answer = await self._answer(start.version)
        while rounds is not None and (calls := streamed_calls(opened.messages, answer)):
            self._report(MessageEnded(answer))  # `TurnEnded` shows the end of the last answer
            answer = await self._answer_after(rounds, calls)
        if start.summarised:
            branch = compacted_branch(start, answer)
            await self._save_queue.write_unsaved()  # the branch needs its session on the disk
            opened.replace_path(await self._save_queue.store.append_branch(opened.header, branch))

    async def _answer_after(
        self,
        rounds: ToolRounds,
        calls: Sequence[ToolCallPart],
        copied: Sequence[ChatMessage] = (),
        version: int = 1,
    ) -> ChatMessage:
        """Run a round of calls (`_run_calls`), and return the answer to their results."""
        if rounds.count_round(calls):  # else the answer fails with the reason
            await self._run_calls(rounds, calls, copied, version)
        self.request = self._make_answer_request(self._opened.messages)
        return await self._answer(version=1)  # an answer to new messages has no other version

    async def _save_prompts(self) -> None:
        """Report the new prompts at once, then wait until the save queue has tried to write them.

        The prompt of a summary is saved later, together with the summary.
        """
        opened, start = self._opened, self._start
        for message in start.prompts:
            self._report(MessageAdded(message))  # first, as the disk may be locked for seconds
        try:
            if start.prompts and not start.summarised:
                await self._shielded(self._save_queue.save(opened.header, *start.prompts))
        finally:
            # Until here, the draft on the disk begins with the prompt, in case lmchat is killed.
            opened.take_unsent()
            self._drafts.write_soon()

    async def _answer(self, version: int) -> ChatMessage:
        """Stream one answer to its end, which may be a stop or an error, and return it."""
        opened, request = self._opened, self.request
        # a summary has no row and no file while it streams: `run` writes it when it is complete
        is_summary = bool(self._start.summarised)
        answer = RunningAnswer(request, version, is_summary=is_summary, clock=opened.clock)
        message = answer.message
        opened.begin_answer(answer)
        state = AnswerState.STOPPED  # a stop is a cancellation, which only `finally` sees
        failure: Failure | None = None
        try:
            if not is_summary:
                await self._save_queue.begin_answer(opened.header, message)
            has_first_words = request.beginning is not None and request.beginning.is_first_words
            first_words = message.text if has_first_words else ""
            self._report(AnswerBegun(message=message, first_words=first_words))
            async with (
                journal_writer(self._save_queue, message.message_id) as entries,
                aclosing(request.events(opened.left_out_notes)) as events,
            ):
                if not is_summary:
                    entries.extend(answer.growing.entries)  # the text that it continues
                async for event in events:
                    new_entries = answer.add(event)
                    if not is_summary:
                        entries.extend(new_entries)
                    self._report(event)
            state = AnswerState.COMPLETE
        except Exception as error:  # noqa: BLE001 - any error is shown, the answer kept
            state = AnswerState.INTERRUPTED if answer.growing.entries else AnswerState.FAILED
            failure = log_failure(error)
            opened.turn.answer_error = shown_error(error, failure)
        finally:  # memory first: the screen never waits for the disk
            note = answer.end(state, failure)
            opened.end_answer(answer)
            if note:
                self._report(RequestAdapted(note=note))
            await self._shielded(self._save_answer(answer))
        return answer.message

    async def _save_answer(self, answer: RunningAnswer) -> None:
        """Save an ended answer and its figures.

        The text of a summary is not saved here: `run` saves it with its branch.
        """
        opened, save_queue = self._opened, self._save_queue
        message, figures = answer.message, answer.figures
        if not figures.is_summary:
            await save_queue.save(opened.header, message, choices=answer.tokens)
        target = answer.request.settings.target
        # not `message.stats`: these include the figures of an answer that this one continues
        stats = figures.stats(product=target.product)
        record = AnswerRecord(
            message_id=message.message_id,
            endpoint=target.server_id,
            model=message.model,
            quantization=target.model.quantization if target.model else "",
            state=message.state,
            stalls=figures.stalls,
            **{name: getattr(stats, name) for name in _FIELDS_OF_STATS},
        )
        await save_queue.add_answer_record(record)

    async def _run_calls(
        self,
        rounds: ToolRounds,
        calls: Sequence[ToolCallPart],
        copied: Sequence[ChatMessage],
        version: int,
    ) -> None:
        """Run calls side by side; each is on the disk before it runs, and when it has ended.

        Each call becomes a tool message on the path; `version` is the number of the first one among
        its versions. When the user repeats one call of an answer, a branch begins. `copied` then
        has the tool messages of the other calls of that answer, and the branch gets copies of them.
        If the turn is stopped, calls without a result become stopped messages.
        """
        opened, save_queue, target = self._opened, self._save_queue, self._target
        # in place of the figures of the answer before it
        opened.figures = figures = AnswerFigures(
            model=target.model_id,
            started_s=opened.clock(),
            stage=Stage.TOOLS,
            steps=rounds.steps,
        )
        running: dict[str, ChatMessage] = {}  # those without a result, by message id
        try:
            # a turn that repeats a call has asked for no tools yet: this starts their servers
            await rounds.toolbox.host.start_servers()
            for call in calls:
                named = replace(call, name=rounds.full_name(call.name))  # `SERVER/TOOL`
                message = streaming_message(Role.TOOL, (named,), opened.messages, target, version)
                opened.add(message)
                version = 1  # the calls after the first have no other version
                running[message.message_id] = message
                self._report(MessageAdded(message))
                # a call has a row and a file of its own, as an answer has, before it runs
                await save_queue.begin_answer(opened.header, message)
            for ended in copied:
                copy = replace(
                    ended,
                    message_id=new_id(),
                    parent_id=opened.leaf_id,
                    version=1,
                    versions=1,
                )
                opened.add(copy)
                self._report(MessageAdded(copy))
                await save_queue.save(opened.header, copy)
            end_call = partial(self._end_call, running)
            ask = partial(self._reporter.ask, opened)
            await rounds.run(tuple(running.values()), ask, end_call)
        except BaseException:  # a stop, which is a cancellation, or an error
            # no next answer comes, whose figures would replace these
            figures.end(AnswerState.STOPPED, opened.clock())
            stopped = [replace(call, state=AnswerState.STOPPED) for call in running.values()]
            for message in stopped:
                opened.replace(message)
            await self._shielded(save_queue.save(opened.header, *stopped))
            raise

    async def _end_call(self, running: dict[str, ChatMessage], call: ChatMessage) -> None:
        """Put a call with its result in its place on the path, save it, and show it."""
        del running[call.message_id]  # else a stop would mark it as stopped
        self._opened.replace(call)
        # shielded, as a stop may cancel this task, and the result must not be lost
        await self._shielded(self._save_queue.save(self._opened.header, call))
        self._report(MessageEnded(call))

    def _report(self, event: ChatEvent) -> None:
        """Report an event of the turn; if messages have left the path, first a `PathChanged`.

        `PathChanged` waits for this event, whose message is already on the new path. So the front
        end removes the old messages and shows the new one at once.
        """
        if self._must_report_cut:
            self._must_report_cut = False
            self._reporter.report(self._opened, PathChanged())
        self._reporter.report(self._opened, event)

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work to its end, also if the turn is cancelled; `wait_until_saved` waits for it."""
        saving = asyncio.create_task(work, name="save")
        self._opened.keep_save(saving)
        await asyncio.shield(saving)
