"""The loop of a turn with tools: the calls of an answer are approved, run side by side, and answered.

`Conversation` asks the model, `ToolLoop` runs what it called, and so on until the model answers without a
call. Every call is a tool message in the session; whatever goes wrong becomes its result, which the model
gets, and the turn goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, Role, ToolCallPart
from lmchat.domain.server import Target
from lmchat.domain.tool import (
    NO_ARGUMENTS,
    UNKNOWN_TOOL,
    Approval,
    Choice,
    Decision,
    Tool,
    ToolResult,
    arguments_of,
    call_words,
    with_result,
)
from lmchat.errors import LMChatError
from lmchat.services.tools import Toolbox
from lmchat.text import safe_line

log = logging.getLogger(__name__)

_MOST_REPEATS = 3
_NEXT = "Change the prompt, or raise max_steps under [tools]."


class ToolBegun(Struct, frozen=True, kw_only=True):
    """A call waits for approval, or runs."""

    message: ChatMessage


class ApprovalAsked(Struct, frozen=True, kw_only=True):
    """A call waits until the user decides: until `decision` has a result."""

    message: ChatMessage
    tool: Tool
    decision: Any
    """`asyncio.Future[Decision]`."""


class ToolEnded(Struct, frozen=True, kw_only=True):
    """A call has a result, or the reason why there is none."""

    message: ChatMessage


ToolEvent = ToolBegun | ApprovalAsked | ToolEnded


def pending_calls(path: Sequence[ChatMessage]) -> tuple[ToolCallPart, ...]:
    """Return the calls of the last answer that have no tool message yet; none if that answer is not whole."""
    answered: set[str] = set()
    for message in reversed(path):
        if message.role is not Role.TOOL:
            is_whole = message.role is Role.ASSISTANT and message.state is AnswerState.COMPLETE
            calls = message.tool_calls if is_whole else ()
            return tuple(call for call in calls if call.call_id not in answered)
        answered |= {call.call_id for call in message.tool_calls}
    return ()


class ToolLoop:
    """The rounds of one turn."""

    def __init__(self, toolbox: Toolbox, session_id: str) -> None:
        self.toolbox = toolbox
        self.steps = 0
        """Rounds of calls so far."""
        self._session_id = session_id
        self._last: tuple[str, Any] | None = None
        self._repeats = 0

    @property
    def must_call(self) -> bool:
        """Whether the model must call a tool now: at the beginning of a turn, if it is configured so."""
        return not self.steps and self.toolbox.settings.choice == "required"

    async def offered(self, target: Target) -> tuple[Tool, ...]:
        return await self.toolbox.offered(target, self._session_id)

    def limit(self, calls: Sequence[ToolCallPart]) -> LMChatError | None:
        """Count a round; return why it must not run."""
        if self.steps >= self.toolbox.settings.max_steps:
            words = f"The model called tools {self.steps} times without an answer."
            return LMChatError(words, kind="tool_limit", hint=_NEXT)
        self.steps += 1
        for call in calls:
            same = (call.name, arguments_of(call.arguments) or call.arguments)
            self._repeats = self._repeats + 1 if same == self._last else 1
            self._last = same
            if self._repeats >= _MOST_REPEATS:
                shown = safe_line(call_words(self.name(call.name), call.arguments), limit=120)
                words = f"The model made the same call {self._repeats} times in a row: {shown}."
                return LMChatError(words, kind="tool_limit", hint=_NEXT)
        return None

    def name(self, wire_name: str) -> str:
        """Return `SERVER/TOOL`; an unknown name as the model wrote it."""
        tool = self._tool(wire_name)
        return tool.full_name if tool else wire_name

    async def run(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ToolEvent, None]:
        """Run the calls of tool messages, and yield what happens to them. Cancelling stops all of them."""
        events: asyncio.Queue[ToolEvent | None] = asyncio.Queue()
        work = asyncio.create_task(self._run_all(messages, events.put_nowait), name="tool calls")
        work.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _run_all(self, messages: Sequence[ChatMessage], tell: Callable[[ToolEvent], None]) -> None:
        async with asyncio.TaskGroup() as group:
            for message in messages:
                tool = self._tool(message.tool_calls[0].name)
                refusal = UNKNOWN_TOOL if tool is None else await self._refusal(message, tool, tell)
                group.create_task(self._run(message, tool, refusal, tell))

    async def _refusal(
        self, message: ChatMessage, tool: Tool, tell: Callable[[ToolEvent], None]
    ) -> ToolResult | None:
        """Return why a call must not run, after asking the user where that is needed."""
        if arguments_of(message.tool_calls[0].arguments) is None:
            return NO_ARGUMENTS
        if not self.toolbox.is_on(self._session_id, tool):
            return ToolResult(text="This tool is switched off, or not allowed to run.", is_error=True)
        if self.toolbox.approval(self._session_id, tool) is Approval.ALWAYS:
            return None
        asked: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        tell(ApprovalAsked(message=message, tool=tool, decision=asked))
        decision = await asked
        await self.toolbox.decide(self._session_id, tool, decision)
        if decision.choice is not Choice.NO:
            return None
        reason = f" Reason: {decision.reason}" if decision.reason else ""
        return ToolResult(text=f"The user refused this call.{reason}", is_error=True)

    async def _run(
        self,
        message: ChatMessage,
        tool: Tool | None,
        result: ToolResult | None,
        tell: Callable[[ToolEvent], None],
    ) -> None:
        """Run a call unless it has a result already."""
        started_s = time.monotonic()
        if tool is not None and result is None:
            try:
                result = await self.toolbox.call(tool, arguments_of(message.tool_calls[0].arguments) or {})
            except Exception as error:
                log.exception("a tool call failed")
                words = f"lmchat had an internal error: {type(error).__name__}."
                result = ToolResult(text=words, is_error=True)
        tell(ToolEnded(message=with_result(message, result or UNKNOWN_TOOL, started_s)))

    def _tool(self, name: str) -> Tool | None:
        tools = (tool for server in self.toolbox.servers for tool in server.tools)
        return next((tool for tool in tools if name in (tool.wire_name, tool.full_name)), None)
