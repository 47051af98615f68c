"""Printer of a turn, for `ask`, `compare` and the plain chat; `decide` shows only its stages.

A piece is what one event adds to an answer. A step is an ended tool call.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any

from lmchat.api import Show
from lmchat.app.terminal.output import Output, SafeStream, TextStream, is_terminal
from lmchat.base.processes.background import background_task
from lmchat.base.safe_text import safe_line
from lmchat.base.units import elapsed, rounded
from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.answers.repetition import Repetition
from lmchat.core.chat.events import AnswerStarted, ChatEvent, MessageEnded
from lmchat.core.servers.events import (
    ModelLoading,
    ModelNamed,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    RetryScheduled,
    StreamEvent,
    StreamStalled,
    TextDelta,
)
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Role,
    answer_note,
    is_whole_end,
    parse_arguments,
    tool_calls_text,
)

_MAX_CHARS = 200  # of a call, or of a reason, in a note
_SHORT_WAIT_S = 2.0  # a shorter wait needs no words
# that a note on their event tells
_STAGES_OF_EVENTS = (Stage.RETRYING, Stage.THINKING, Stage.STALLED)


class TurnPrinter:
    """Printer of the events of one turn.

    The answer goes to stdout while it arrives, or one JSON object for each piece; for one JSON
    document, only the steps are kept. Notes go to stderr.
    """

    def __init__(
        self,
        output: Output,
        *,
        asked_model: str = "",
        prints_text: bool = True,
        stream: TextStream | None = None,
    ) -> None:
        """Without `prints_text`, plain text is left to the caller.

        `stream` prints the text of the answer, by default as it is. `asked_model` is that of the
        request: a note says if another one answers. `AnswerStarted` names it, too; `compare` has no
        such event.
        """
        self.steps: list[dict[str, Any]] = []  # ended tool calls, as JSON
        self.request_notes: list[str] = []
        self.output = output
        self._asked_model = asked_model
        self._stream = stream or SafeStream()
        # False for JSON lines, too
        self._prints_text = prints_text and not output.is_json
        self._is_stall_noted = False
        self._is_wait_noted = False  # that the server loads

    def stages_shown(
        self, current_stats: Callable[[], LiveStats | None]
    ) -> AbstractAsyncContextManager[None]:
        """Show the stage on a terminal after 2 s without a word, within the block.

        Where no progress can be shown, as for a screen reader, each stage is noted once.
        """
        return background_task(self._show_stages(current_stats))

    @asynccontextmanager
    async def events_shown(self, show: Show) -> AsyncIterator[Show]:
        """Show the stages of an answer whose events the block passes on; `show` gets them, too."""
        live = LiveStats(model="", started_s=monotonic())

        def follow(event: StreamEvent | Repetition) -> None:
            if not isinstance(event, Repetition):
                live.apply(event, monotonic())
            show(event)

        async with self.stages_shown(lambda: live):
            yield follow

    async def _show_stages(self, current_stats: Callable[[], LiveStats | None]) -> None:
        await asyncio.sleep(_SHORT_WAIT_S)
        noted = {*_STAGES_OF_EVENTS}
        while is_terminal(sys.stderr):
            stats = current_stats()
            text = ""
            # progress would overwrite a line of text that has started
            if stats and self._stream.is_at_line_start and self._is_quiet(stats):
                now_s = monotonic()
                waited_s = stats.elapsed_s(now_s)
                stage = f"lmchat: {stats.stage_label(now_s)} …"
                text = f"{stage} {elapsed(waited_s)}"
                # the next answer after a tool call has not waited yet
                is_due = waited_s > _SHORT_WAIT_S / 2 and not self.output.has_progress
                if is_due and stats.stage not in noted:
                    noted.add(stats.stage)
                    self.output.note(stage)
            self.output.show_progress(text)
            await asyncio.sleep(1)

    def _is_quiet(self, stats: LiveStats) -> bool:
        """Whether no text is being printed: before the first word, or while a block waits."""
        is_answering = stats.stage is Stage.ANSWERING
        return stats.may_be_thinking or (is_answering and self._stream.is_waiting)

    def print_event(self, event: ChatEvent) -> None:
        """Print an event.

        Notes say once a turn that no data comes for a while, and that another model answers than
        was asked.
        """
        output = self.output
        match event:
            case TextDelta() | RefusalDelta():
                self._print(event.text)
            case AnswerStarted():
                self._asked_model = event.message.model
                # of the user, as with `ask --start`
                self._print(event.prefill_text)
            case Rethought() if output.is_json_lines:
                output.print_json({"rethought": True})
            case Rethought() if self._prints_text:
                self._stream.end()
                self._stream.write("\n")  # an empty line before the answer
                text = "the text so far was the model's reasoning; the answer follows."
                output.note(f"lmchat: {text}")
            case MessageEnded():
                self._stream.end()
                if event.message.role is Role.TOOL:
                    step = step_json(event.message)
                    self.steps.append(step)
                    if output.is_json_lines:
                        output.print_json({"tool": step})
                    text = _calls_text(event.message)
                    if event.message.state is not AnswerState.COMPLETE:
                        reason = safe_line(event.message.tool_result, limit=_MAX_CHARS)
                        text += f" {event.message.state}: {reason}".rstrip(": ")
                    output.note(f"lmchat: {text}")
            case RetryScheduled():
                attempt = f"{event.attempt} of {event.attempts} in {event.wait_s:.1f} s"
                output.note(f"lmchat: retry {attempt}: {event.reason}")
            case ModelLoading() if (event.wait_s or 0) >= _SHORT_WAIT_S and not self._is_wait_noted:
                self._is_wait_noted = True
                text = f"the server loads the model; asked again in {event.wait_s:.1f} s"
                output.note(f"lmchat: {text}.")
            case Repetition():
                self.note(event.text if event.way_out else f"{event.text} Ctrl+C stops it.")
            case RequestAdapted():
                self.request_notes.append(event.note)
                self.note(event.note)
            case StreamStalled() if not self._is_stall_noted:
                self._is_stall_noted = True
                text = f"no data from the server for {event.silent_s:.0f} s"
                self.note(f"{text}; press Ctrl+C to stop waiting.")
            case ModelNamed() if event.is_other:
                output.note(f"lmchat: {event.model} answers instead of {self._asked_model}.")
            case _:
                pass

    def note(self, text: str) -> None:
        """Print a note on a line of its own.

        An empty line on stderr ends the line of the answer on a terminal. Stdout, which may be a
        file, does not get it: the answer may continue in the line.
        """
        line_end = [] if self._stream.is_at_line_start else [""]
        self.output.note(*line_end, f"lmchat: {text}")

    def _print(self, text: str) -> None:
        """Print nothing if the caller prints the text, or one JSON document, at the end."""
        if not self._stream.is_waiting:
            self.output.show_progress("")  # the stage would stay before the text
        if text and self.output.is_json_lines:
            self.output.print_json({"chunk": text})
        elif self._prints_text:
            self._stream.write(text)

    def end(self) -> None:
        self._stream.end()

    def print_notes_on(self, answer: ChatMessage) -> None:
        """Print notes on what the text of the last answer does not show.

        Its tool calls did not run: after calls that ran, another answer would follow.
        """
        note = self.output.note
        if answer.refusal:
            note("lmchat: the model refused to answer.")
        if answer.tool_calls:
            note(f"lmchat: the model called a tool (not run): {_calls_text(answer)}")
        stats = answer.stats or AnswerStats()
        if unusual := answer_note(answer):
            note(f"lmchat: {unusual}.")
        elif stats.is_cut:
            limit = stats.limit or "the server's token limit"
            note(f"lmchat: the answer was cut short: {limit}.")
        elif stats.finish_reason == "content_filter":
            note("lmchat: the server filtered the answer.")
        elif not (answer.text.strip() or answer.refusal or answer.tool_calls):
            note("lmchat: the answer is empty.")
        elif answer.stats is not None and not stats.finish_reason:
            note("lmchat: the server named no reason for the end; the answer may be cut.")
        elif stats.ending and not is_whole_end(stats.finish_reason):
            reason = safe_line(stats.finish_reason, limit=_MAX_CHARS)
            note(f"lmchat: the answer ended for the reason {reason}; it may be cut.")


def _calls_text(message: ChatMessage) -> str:
    return safe_line(tool_calls_text(message), limit=_MAX_CHARS)


def step_json(message: ChatMessage) -> dict[str, Any]:
    """Return an ended call for `steps`; arguments that are no JSON object are text."""
    call = message.tool_calls[0]
    arguments = parse_arguments(call.arguments)
    return {
        "tool": call.name,
        "arguments": call.arguments if arguments is None else arguments,
        "result": message.tool_result,
        "state": message.state,
        "elapsed_ms": rounded(message.stats.elapsed_ms if message.stats else None),
    }


def usage_json(stats: AnswerStats, estimated_prompt_tokens: int | None = None) -> dict[str, Any]:
    """`estimated_prompt_tokens` takes the place of a count that the server did not report."""
    completion_tokens = stats.completion_tokens or 0
    is_counted = stats.prompt_tokens is not None
    prompt_tokens = stats.prompt_tokens if is_counted else estimated_prompt_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": (prompt_tokens or 0) + completion_tokens,
        "estimated": stats.is_estimated or not is_counted,
    }
