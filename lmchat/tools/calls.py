"""Calls of tools: the servers that run them, their results and approvals.

A call that lmchat runs is a tool message, to which its result is added as a second part.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from lmchat.servers.request import Tool
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Role,
    ToolCallPart,
    ToolResultPart,
    new_id,
    now,
    parse_arguments,
)
from lmchat.units import counted

MAX_RESULT_CHARS = 32_000
_MAX_WIRE_CHARS = 64
_NOT_IN_WIRE_NAMES = r"[^A-Za-z0-9_-]+"
_NUMBER_CHARS = 5  # room for a number behind a name, `_2` to `_9999`


class ServerState(StrEnum):
    """State of a tool server."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class ToolServer(Struct, frozen=True, kw_only=True):
    """A server of tools, as it was last seen."""

    name: str
    state: ServerState = ServerState.STARTING
    error: str = ""  # why it failed; while it is ready, why some of its tools are left out
    tools: tuple[Tool, ...] = ()

    @property
    def state_sentence(self) -> str:
        """Its state, such as `ready, 3 tools.`, and its error, if any."""
        tools = f", {counted(len(self.tools), 'tool')}" if self.state is ServerState.READY else ""
        return f"{self.state}{tools}. {self.error}".rstrip()


class ToolResult(Struct, frozen=True, kw_only=True):
    """Result of a call, or the reason why none exists."""

    text: str
    is_error: bool = False


class ToolHost(Protocol):
    """Tool servers, each of which starts at its first use and again after its end."""

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        """The servers as last reported, with the names of their tools in requests."""

    async def start_servers(self, *, restarts: bool = False) -> tuple[ToolServer, ...]:
        """Start all servers that do not run, and return them when each is ready or has failed.

        Servers that have failed are started again only with `restarts`.
        """

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float
    ) -> ToolResult:
        """Run a tool; errors, crashes and timeouts are results. Cancelling cancels the call."""

    async def aclose(self) -> None: ...


Run = Callable[[dict[str, Any]], Awaitable[ToolResult]]
"""Function that runs a tool with its arguments."""


class Choice(StrEnum):
    """Choice of the user about a call: for how long its tool is allowed, or that it is not."""

    ONCE = "once"
    SESSION = "this session"
    ALWAYS = "always"
    NO = "no"


CHOICES = {"y": Choice.ONCE, "s": Choice.SESSION, "a": Choice.ALWAYS, "n": Choice.NO}
"""Choices by their key."""


class Decision(Struct, frozen=True, kw_only=True):
    """The user's choice about one call, with a reason for a refusal, which the model gets."""

    choice: Choice
    reason: str = ""


def with_wire_names(servers: Iterable[ToolServer]) -> tuple[ToolServer, ...]:
    """Return the servers, with a `wire_name` for each tool: its name in requests.

    The name is `SERVER__TOOL`, cut to the allowed length, with a number if it is not unique.
    """
    used_names: set[str] = set()
    named_servers: list[ToolServer] = []
    for server in servers:
        named_tools: list[Tool] = []
        for tool in server.tools:
            full_name = re.sub(_NOT_IN_WIRE_NAMES, "_", f"{tool.server}__{tool.name}")
            wire_name = full_name[:_MAX_WIRE_CHARS]
            number = 1
            while wire_name in used_names:
                number += 1
                wire_name = f"{full_name[: _MAX_WIRE_CHARS - _NUMBER_CHARS]}_{number}"
            used_names.add(wire_name)
            named_tools.append(replace(tool, wire_name=wire_name))
        named_servers.append(replace(server, tools=tuple(named_tools)))
    return tuple(named_servers)


def cut_result(text: str) -> str:
    """Return a result, cut to `MAX_RESULT_CHARS` with a notice behind it if it is longer."""
    if len(text) <= MAX_RESULT_CHARS:
        return text
    note = f"[cut: {len(text)} characters, the first {MAX_RESULT_CHARS} are here]"
    return f"{text[:MAX_RESULT_CHARS]}\n{note}"


def call_message(call: ToolCallPart) -> ChatMessage:
    """Return a tool message whose call has not run yet."""
    return ChatMessage(message_id=new_id(), role=Role.TOOL, parts=(call,), created_at=now())


async def run_call(call: ChatMessage, run: Run | str) -> ChatMessage:
    """Run the call of a tool message; return the message with its result, state and duration.

    `run` may be a text instead: the reason why the call does not run, such as a refusal by the
    user. The model gets this text as the result, like an error of the tool.
    """
    started_s = time.monotonic()
    if isinstance(run, str):
        result = ToolResult(text=run, is_error=True)
    else:
        # If the arguments are no JSON object, `run` is a text that says so. So `{}` is never used,
        # but mypy needs it.
        result = await run(parse_arguments(call.tool_calls[0].arguments) or {})
    return replace(
        call,
        parts=(*call.parts, ToolResultPart(text=result.text or "(no output)")),
        state=AnswerState.FAILED if result.is_error else AnswerState.COMPLETE,
        stats=AnswerStats(elapsed_ms=(time.monotonic() - started_s) * 1e3),
    )
