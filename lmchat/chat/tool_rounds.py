"""Rounds of tool calls of a turn: the calls of an answer are approved, and run at the same time.

An error of a call becomes its result, which the model gets, and the turn continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from lmchat.chat.tools import Toolbox
from lmchat.config.settings import Approval
from lmchat.errors import LMChatError
from lmchat.safe_text import safe_line
from lmchat.servers.model import Target
from lmchat.servers.request import Tool
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    ToolCallPart,
    call_text,
    parse_arguments,
)
from lmchat.tools.tool import Choice, Decision, Run, ToolResult, run_call

_MAX_SAME_CALLS = 3  # same calls in a row after which the turn ends


class ToolQuestion(Struct, frozen=True, kw_only=True):
    """A call that waits until the user decides."""

    message: ChatMessage  # of this call alone
    name: str  # `SERVER/TOOL`
    fingerprint: str = ""  # to save for "always"; empty if config.toml has a rule for the tool
    note: str = ""  # why it is asked again about a tool that was always allowed


Ask = Callable[[ToolQuestion], Awaitable[Decision]]


def streamed_calls(
    path: Sequence[ChatMessage], answer: ChatMessage | None
) -> tuple[ToolCallPart, ...]:
    """Return the tool calls of `answer`, which this turn has streamed.

    Return none if the answer is not complete, or if it is not the last message of `path`, because
    another branch is shown by now. The caller runs no other calls: those of older messages may have
    come with an imported file.
    """
    if answer is None or answer.state is not AnswerState.COMPLETE:
        return ()
    is_last = bool(path) and path[-1].message_id == answer.message_id
    return answer.tool_calls if is_last else ()


class ToolRounds:
    """The rounds of one turn: in each, the model calls tools and gets their results."""

    def __init__(self, toolbox: Toolbox, session_id: str) -> None:
        self.toolbox = toolbox
        self.steps = 0  # rounds of calls so far
        self._session_id = session_id
        self._last_call: tuple[str, Any] | None = None  # name and arguments
        self._same_calls = 0  # how often the last call was made in a row
        self._limit: LMChatError | None = None  # reason why there is no further round

    @property
    def must_call(self) -> bool:
        """Whether the next answer has to call a tool."""
        return not self.steps and self.toolbox.settings.choice == "required"

    async def offered(self, target: Target) -> tuple[Tool, ...]:
        """Return the tools to offer for the next answer.

        Raises the error that `count_round` has noted, if that has not allowed a round.
        """
        if self._limit is not None:
            raise self._limit
        return await self.toolbox.offered(target, self._session_id)

    def count_round(self, calls: Sequence[ToolCallPart]) -> bool:
        """Count a round with these calls, and return whether it may run.

        It may not if the number of rounds has reached `max_steps`, or if the same call was made too
        often in a row. Then the next call of `offered` raises the reason, which ends the turn.
        """
        if self.steps >= self.toolbox.settings.max_steps:
            problem = f"The model called tools {self.steps} times without an answer."
            hint = "Change the prompt, or raise max_steps under [tools]."
            self._limit = LMChatError(problem, kind="tool_limit", hint=hint)
            return False
        self.steps += 1
        for call in calls:
            self._count_same_call(call)
        return self._limit is None

    def _count_same_call(self, call: ToolCallPart) -> None:
        """Compare a call with the one before it; after three same ones in a row, set the limit."""
        # parsed, so that the same arguments in another order or with other blanks are the same
        name_and_arguments = (call.name, parse_arguments(call.arguments) or call.arguments)
        if name_and_arguments != self._last_call:
            self._same_calls = 0
        self._last_call = name_and_arguments
        self._same_calls += 1
        if self._same_calls >= _MAX_SAME_CALLS:
            shown_call = safe_line(call_text(self.full_name(call.name), call.arguments), limit=120)
            problem = (
                f"The model made the same call {self._same_calls} times in a row: {shown_call}."
            )
            hint = "Change the prompt: the model cannot use the result of this call."
            self._limit = LMChatError(problem, kind="tool_limit", hint=hint)

    def full_name(self, wire_name: str) -> str:
        """Return `SERVER/TOOL` for the name of a tool in requests; an unknown name as it is."""
        tool = self.toolbox.find(wire_name)
        return tool.full_name if tool else wire_name

    async def run(
        self,
        messages: Sequence[ChatMessage],
        ask: Ask,
        on_end: Callable[[ChatMessage], Awaitable[None]],
    ) -> None:
        """Ask about one call after the other, then run all at the same time.

        `on_end` gets each tool message as it ends. If this is cancelled, running calls are, too.
        """
        runs = [await self._make_run(message, ask) for message in messages]
        tasks = [
            asyncio.create_task(run_call(message, run))
            for message, run in zip(messages, runs, strict=True)
        ]
        try:
            for ended in asyncio.as_completed(tasks):
                await on_end(await ended)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _make_question(self, message: ChatMessage) -> ToolQuestion | None:
        """Return the question to the user about a call; None if the user need not decide.

        The user need not decide about a tool that always or never runs, or about a call that cannot
        run, because its tool is unknown or its arguments are no JSON object.
        """
        call = message.tool_calls[0]
        tool = self.toolbox.find(call.name)
        if tool is None or parse_arguments(call.arguments) is None:
            return None
        if self.toolbox.approval(self._session_id, tool) is not Approval.ASK:
            return None
        return ToolQuestion(
            message=message,
            name=tool.full_name,
            fingerprint=self.toolbox.fingerprint_to_save(tool),
            note=self.toolbox.why_asked_again(tool),
        )

    async def _make_run(self, message: ChatMessage, ask: Ask) -> Run | None:
        """Return the function that gives the result of a call; None for an unknown tool.

        If the user has to decide, ask, and note the decision for later calls. The function of a
        call that is not allowed does not run the tool: its result is the reason.
        """
        question = self._make_question(message)
        decision = await ask(question) if question is not None else None
        tool = self.toolbox.find(message.tool_calls[0].name)
        if tool is None:
            return None
        if not self.toolbox.is_offered(self._session_id, tool):
            return partial(_refuse, "This tool is switched off, or not allowed to run.")
        if decision is not None:
            self.toolbox.decide(self._session_id, tool, decision.choice)
            if decision.choice is Choice.NO:
                reason = f" Reason: {decision.reason}" if decision.reason else ""
                return partial(_refuse, f"The user refused this call.{reason}")
        return partial(self.toolbox.call, tool)


async def _refuse(reason: str, _: Mapping[str, Any]) -> ToolResult:
    return ToolResult(text=reason, is_error=True)
