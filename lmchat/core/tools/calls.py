"""Tool servers and calls of their tools, as other packages see them.

A call that lmchat runs is a tool message, to which its result is added as a second part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.safe_text import safe_line
from lmchat.base.units import counted
from lmchat.core.servers.request import Tool
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    FilePart,
    Role,
    ToolCallPart,
    ToolResultPart,
    new_id,
    now,
)
from lmchat.core.tools.questions import AskUser

_NAMES_CHARS = 40


class ToolServerState(StrEnum):
    """State of a tool server."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class ToolServer(Struct, frozen=True, kw_only=True):
    """A server of tools, as it was last seen."""

    name: str
    state: ToolServerState = ToolServerState.STARTING  # also before its first start
    error: str = ""  # why it failed; while it is ready, why some of its tools are left out
    next_step: str = ""  # what to do about the error
    tools: tuple[Tool, ...] = ()  # as it listed them last; they stay after its end

    @property
    def problem(self) -> str:
        return f"{self.error} {self.next_step}".strip()

    @property
    def state_sentence(self) -> str:
        """Such as `ready, 3 tools.`, and its error."""
        tools = (
            f", {counted(len(self.tools), 'tool')}" if self.state is ToolServerState.READY else ""
        )
        return f"{self.state}{tools}. {self.error}".rstrip()


def names_of_starting(servers: Iterable[ToolServer]) -> str:
    """Return the names of the servers whose start has not ended, or ""."""
    names = (server.name for server in servers if server.state is ToolServerState.STARTING)
    return safe_line(", ".join(names), limit=_NAMES_CHARS)


class SentCall(Struct):
    """A call of a tool, in the context of its requests: several run at the same time."""

    has_no_session: bool = False  # whether the server has forgotten it, and done nothing
    is_last_try: bool = False  # in a new session

    @property
    def starts_session(self) -> bool:
        """Whether a new session comes before all else, such as a sign-in."""
        return self.has_no_session and not self.is_last_try


SENT_CALL: ContextVar[SentCall] = ContextVar("SENT_CALL")


class ToolResult(Struct, frozen=True, kw_only=True):
    """Result of a call, or the reason why none exists."""

    text: str
    is_error: bool = False
    images: Mapping[str, bytes] = {}  # by the names that the text has for them


Tell = Callable[[str], None]


class ToolHost(Protocol):
    """Tool servers, each of which starts at its first use and again after its end."""

    ask_user: AskUser | None  # for questions about servers; None says no to them all
    is_asking: asyncio.Lock  # held while a question is shown

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        """States as last reported, with the names of their tools in requests."""

    async def start_servers(self, *, restarts: bool = False) -> tuple[ToolServer, ...]:
        """Start all servers that do not run, and return them when each is ready or has failed.

        Servers that have failed are started again only with `restarts`.
        """

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float, tell: Tell
    ) -> ToolResult:
        """Run a tool; errors, crashes and timeouts are results. Cancelling cancels the call.

        `tell` gets what the tool says while it runs, each time with a new `timeout_s`.
        """

    async def aclose(self) -> None: ...


MAX_RESULT_CHARS = 32_000

Run = Callable[[], Awaitable[ToolResult]]  # has the arguments in it
Keep = Callable[[str, bytes], Awaitable[FilePart | None]]
"""Stores an image by its name; None if that fails."""


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


def cut_result(text: str, most_chars: int = MAX_RESULT_CHARS) -> str:
    if len(text) <= most_chars:
        return text
    note = f"[cut: {len(text)} characters, the first {most_chars} are here]"
    return f"{text[:most_chars]}\n{note}"


def call_message(call: ToolCallPart) -> ChatMessage:
    part = replace(call, others="")  # the answer has them
    return ChatMessage(message_id=new_id(), role=Role.TOOL, parts=(part,), created_at=now())


async def run_call(
    call: ChatMessage, run: Run | str | Decision, keep: Keep | None = None
) -> ChatMessage:
    """Return the message with its result, state and duration, and with the images that are kept.

    A text as `run` says why the call does not run, and a decision that the user has refused it. The
    model gets it like an error of the tool.
    """
    started_s = time.monotonic()
    state = AnswerState.FAILED
    if isinstance(run, Decision):
        reason = f" Reason: {run.reason}" if run.reason else ""
        state = AnswerState.STOPPED
        run = f"The user refused this call.{reason}"
    result = ToolResult(text=run, is_error=True) if isinstance(run, str) else await run()
    files = []
    if keep is not None:
        files = [await keep(name, image) for name, image in result.images.items()]
    return replace(
        call,
        parts=(
            *call.parts,
            ToolResultPart(text=result.text or "(no output)"),
            *filter(None, files),
        ),
        state=state if result.is_error else AnswerState.COMPLETE,
        stats=AnswerStats(elapsed_ms=(time.monotonic() - started_s) * 1e3),
    )
