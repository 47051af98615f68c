"""Loop of a turn with tools: the calls of an answer are approved, and run side by side.

Whatever goes wrong with a call becomes its result, which the model gets, and the turn continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from lmchat.config.settings import Approval
from lmchat.domain.message import AnswerState, ChatMessage, ToolCallPart
from lmchat.domain.server import Target
from lmchat.domain.tool import (
    HOST_SILENT,
    Choice,
    Decision,
    Run,
    Tool,
    ToolResult,
    call_text,
    parse_arguments,
    run_call,
)
from lmchat.errors import LMChatError
from lmchat.services.tools import Toolbox
from lmchat.text import safe_line

_MAX_REPEATS = 3  # same calls in a row after which the turn ends


class ApprovalAsked(Struct, frozen=True, kw_only=True):
    """A call of `SERVER/TOOL` waits until the user decides: until `decision` has a result."""

    message: ChatMessage
    name: str
    decision: asyncio.Future[Decision]
    fingerprint: str = ""  # to save for `always`; empty where config.toml asks each time
    note: str = ""  # why it is asked again about a tool that was always allowed


class MessageEnded(Struct, frozen=True, kw_only=True):
    """A call has ended, or an answer whose calls run next."""

    message: ChatMessage


ToolEvent = ApprovalAsked | MessageEnded


def streamed_calls(
    path: Sequence[ChatMessage], answer: ChatMessage | None
) -> tuple[ToolCallPart, ...]:
    """Return the calls of an answer that a turn has streamed to its end.

    There are none if another path is shown by now. No other calls of a path may run: they may have
    come with an imported file.
    """
    if answer is None or answer.state is not AnswerState.COMPLETE:
        return ()
    is_last = bool(path) and path[-1].message_id == answer.message_id
    return answer.tool_calls if is_last else ()


class ToolLoop:
    """The rounds of one turn."""

    def __init__(self, toolbox: Toolbox, session_id: str) -> None:
        self.toolbox = toolbox
        self.steps = 0  # rounds of calls so far
        self.still_running: frozenset[str] = frozenset()
        """Ids of stopped calls whose functions may still run."""
        self._session_id = session_id
        self._last_call: tuple[str, Any] | None = None
        self._repeats = 0
        self._limit: LMChatError | None = None

    @property
    def must_call(self) -> bool:
        """Whether the next answer has to call a tool."""
        return not self.steps and self.toolbox.settings.choice == "required"

    async def offered(self, target: Target) -> tuple[Tool, ...]:
        """Return the tools to offer; raises why there is no next round."""
        if self._limit is not None:
            raise self._limit
        return await self.toolbox.offered(target, self._session_id)

    def host_notes(self) -> list[str]:
        """Return notes about the tool host, after the tools were listed."""
        was_silent = any(server.error == HOST_SILENT for server in self.toolbox.host.servers)
        return [HOST_SILENT] if was_silent else []

    def may_run(self, calls: Sequence[ToolCallPart]) -> bool:
        """Count a round and return whether it may run; else the turn ends with the reason."""
        if self.steps >= self.toolbox.settings.max_steps:
            self._end(f"The model called tools {self.steps} times without an answer.")
            return False
        self.steps += 1
        for call in calls:
            facts = (call.name, parse_arguments(call.arguments) or call.arguments)
            if facts != self._last_call:
                self._repeats = 0
            self._last_call = facts
            self._repeats += 1
            if self._repeats >= _MAX_REPEATS:
                shown = safe_line(call_text(self.name(call.name), call.arguments), limit=120)
                self._end(f"The model made the same call {self._repeats} times in a row: {shown}.")
        return self._limit is None

    def _end(self, words: str) -> None:
        hint = "Change the prompt, or raise max_steps under [tools]."
        self._limit = LMChatError(words, kind="tool_limit", hint=hint)

    def name(self, wire_name: str) -> str:
        """Return `SERVER/TOOL`; an unknown name as the model wrote it."""
        tool = self.toolbox.find(wire_name)
        return tool.full_name if tool else wire_name

    async def run(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ToolEvent, None]:
        """Run the calls of tool messages side by side, after the user has decided about each."""
        runs: list[Run | None] = []
        for message in messages:
            question = self._question(message)
            if question is not None:
                yield question
            runs.append(await self._approved(message, question))
        outliving = {message.message_id for message in messages if self._outlives_stop(message)}
        tasks = {
            message.message_id: asyncio.create_task(run_call(message, run))
            for message, run in zip(messages, runs, strict=True)
        }
        try:
            for ended in asyncio.as_completed(tasks.values()):
                yield MessageEnded(message=await ended)
        finally:
            running = {message_id for message_id, task in tasks.items() if not task.done()}
            self.still_running = frozenset(outliving & running)
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _question(self, message: ChatMessage) -> ApprovalAsked | None:
        """Return the question about a call, if the user has to decide."""
        call = message.tool_calls[0]
        tool = self.toolbox.find(call.name)
        if tool is None or parse_arguments(call.arguments) is None:
            return None
        if self.toolbox.approval(self._session_id, tool) is not Approval.ASK:
            return None
        return ApprovalAsked(
            message=message,
            name=tool.full_name,
            decision=asyncio.get_running_loop().create_future(),
            fingerprint=self.toolbox.fingerprint_to_save(tool),
            note=self.toolbox.why_asked_again(tool),
        )

    async def _approved(self, message: ChatMessage, question: ApprovalAsked | None) -> Run | None:
        """Return what runs a call, after the user's decision; None for an unknown tool."""
        tool = self.toolbox.find(message.tool_calls[0].name)
        if tool is None:
            return None
        if not self.toolbox.is_on(self._session_id, tool):
            return partial(_refuse, "This tool is switched off, or not allowed to run.")
        if question is not None:
            decision = await question.decision
            self.toolbox.decide(self._session_id, tool, decision.choice)
            if decision.choice is Choice.NO:
                reason = f" Reason: {decision.reason}" if decision.reason else ""
                return partial(_refuse, f"The user refused this call.{reason}")
        return partial(self.toolbox.call, tool)

    def _outlives_stop(self, message: ChatMessage) -> bool:
        tool = self.toolbox.find(message.tool_calls[0].name)
        return tool is not None and tool.outlives_stop


async def _refuse(reason: str, _: Mapping[str, Any]) -> ToolResult:
    return ToolResult(text=reason, is_error=True)
