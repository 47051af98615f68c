"""Loop of a turn with tools: the calls of an answer are approved, and run side by side.

Whatever goes wrong with a call becomes its result, which the model gets, and the turn goes on.
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
    arguments_of,
    call_words,
    run_call,
)
from lmchat.errors import LMChatError
from lmchat.services.tools import Toolbox
from lmchat.text import safe_line

_MOST_REPEATS = 3


class ApprovalAsked(Struct, frozen=True, kw_only=True):
    """A call of `SERVER/TOOL` waits until the user decides: until `decision` has a result."""

    message: ChatMessage
    name: str
    decision: asyncio.Future[Decision]
    fingerprint: str = ""  # to save for `always`; empty where config.toml asks each time
    note: str = ""  # why it is asked again about a tool that was always allowed


class MessageEnded(Struct, frozen=True, kw_only=True):
    """A call has a result, or the reason why there is none; or an answer ended whose calls run next."""

    message: ChatMessage


ToolEvent = ApprovalAsked | MessageEnded


def streamed_calls(
    path: Sequence[ChatMessage], answer: ChatMessage | None
) -> tuple[ToolCallPart, ...]:
    """Return the calls of an answer that a turn has streamed to its end; none if another path is shown now.

    No other calls of a path may run: they may have come with an imported file.
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
        """Messages of calls that were stopped, whose functions may go on."""
        self._session_id = session_id
        self._last: tuple[str, Any] | None = None
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
        """Return what to tell of the tool host, after the tools were listed."""
        was_silent = any(server.error == HOST_SILENT for server in self.toolbox.host.servers)
        return [HOST_SILENT] if was_silent else []

    def may_run(self, calls: Sequence[ToolCallPart]) -> bool:
        """Count a round and return whether it may run; else the turn ends with the reason."""
        if self.steps >= self.toolbox.settings.max_steps:
            self._end(f"The model called tools {self.steps} times without an answer.")
            return False
        self.steps += 1
        for call in calls:
            same = (call.name, arguments_of(call.arguments) or call.arguments)
            self._repeats = self._repeats + 1 if same == self._last else 1
            self._last = same
            if self._repeats >= _MOST_REPEATS:
                shown = safe_line(call_words(self.name(call.name), call.arguments), limit=120)
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
        unstoppable: set[str] = set()
        for message in messages:
            call = message.tool_calls[0]
            if (tool := self.toolbox.find(call.name)) is None:
                runs.append(None)
                continue
            run: Run = partial(self.toolbox.call, tool)
            if not self.toolbox.is_on(self._session_id, tool):
                run = partial(_refuse, "This tool is switched off, or not allowed to run.")
            elif (
                self.toolbox.approval(self._session_id, tool) is not Approval.ALWAYS
                and arguments_of(call.arguments) is not None
            ):
                asked: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
                yield ApprovalAsked(
                    message=message,
                    name=tool.full_name,
                    decision=asked,
                    fingerprint=self.toolbox.fingerprint_to_save(tool),
                    note=self.toolbox.why_asked_again(tool),
                )
                decision = await asked
                self.toolbox.decide(self._session_id, tool, decision.choice)
                if decision.choice is Choice.NO:
                    reason = f" Reason: {decision.reason}" if decision.reason else ""
                    run = partial(_refuse, f"The user refused this call.{reason}")
            runs.append(run)
            if tool.outlives_stop:
                unstoppable.add(message.message_id)
        tasks = [asyncio.create_task(run_call(*one)) for one in zip(messages, runs, strict=True)]
        try:
            for ended in asyncio.as_completed(tasks):
                yield MessageEnded(message=await ended)
        finally:
            running = {
                message.message_id
                for message, task in zip(messages, tasks, strict=True)
                if not task.done()
            }
            self.still_running = frozenset(unstoppable & running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _refuse(reason: str, _: Mapping[str, Any]) -> ToolResult:
    return ToolResult(text=reason, is_error=True)
