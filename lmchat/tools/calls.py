"""Calls of tools, their results, and what the user has decided about them.

A call that lmchat runs is a tool message, to which its result is added as a second part.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Role,
    ToolCallPart,
    ToolResultPart,
    new_id,
    now,
)
from lmchat.tools.protocols import ToolResult

MAX_RESULT_CHARS = 32_000

Run = Callable[[], Awaitable[ToolResult]]  # has the arguments in it


class ApprovalScope(StrEnum):
    """The user's answer about a call: for how long its tool is allowed, if at all."""

    ONCE = "once"
    SESSION = "this session"
    ALWAYS = "always"
    NO = "no"


APPROVAL_SCOPES = {
    "y": ApprovalScope.ONCE,
    "s": ApprovalScope.SESSION,
    "a": ApprovalScope.ALWAYS,
    "n": ApprovalScope.NO,
}
"""Choices by their key."""


class Decision(Struct, frozen=True, kw_only=True):
    """The user's choice about one call, with a reason for a refusal, which the model gets."""

    choice: ApprovalScope
    reason: str = ""


def cut_result(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARS:
        return text
    note = f"[cut: {len(text)} characters, the first {MAX_RESULT_CHARS} are here]"
    return f"{text[:MAX_RESULT_CHARS]}\n{note}"


def call_message(call: ToolCallPart) -> ChatMessage:
    return ChatMessage(message_id=new_id(), role=Role.TOOL, parts=(call,), created_at=now())


async def run_call(call: ChatMessage, run: Run | str) -> ChatMessage:
    """Return the message with its result, state and duration.

    A text as `run` says why the call does not run, such as a refusal by the user. The model gets
    it like an error of the tool.
    """
    started_s = time.monotonic()
    result = ToolResult(text=run, is_error=True) if isinstance(run, str) else await run()
    return replace(
        call,
        parts=(*call.parts, ToolResultPart(text=result.text or "(no output)")),
        state=AnswerState.FAILED if result.is_error else AnswerState.COMPLETE,
        stats=AnswerStats(elapsed_ms=(time.monotonic() - started_s) * 1e3),
    )
