"""Tools that a model can call: their servers, results and approvals."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from itertools import chain, count
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Receipt,
    Role,
    ToolCallPart,
    ToolResultPart,
    new_id,
    now,
)

MAX_RESULT_CHARS = 32_000
MAY_STILL_RUN = "It may still run until lmchat ends: a Python function cannot be forced to stop."
HOST_SILENT = (
    "The tool host did not answer in time and was ended. It starts again when a tool is used."
)
MAX_TOOLS = 128  # most servers refuse more in one request
_WIRE_CHARS = 64
_NOT_WIRE = r"[^A-Za-z0-9_-]+"


class Tool(Struct, frozen=True, kw_only=True):
    """A tool of a server."""

    server: str
    name: str
    wire_name: str = ""  # unique name in requests, at most 64 characters of `A-Za-z0-9_-`
    description: str = ""
    schema: dict[str, Any] = field(default_factory=dict)  # JSON schema of its arguments
    is_read_only: bool = False  # as its server says; it is not trusted for that
    outlives_stop: bool = False  # a Python function, which cannot be forced to stop

    @property
    def full_name(self) -> str:
        return f"{self.server}/{self.name}"


class ServerState(StrEnum):
    """State of a tool server."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class ToolServer(Struct, frozen=True, kw_only=True):
    """A server of tools, as the tool host reports it."""

    name: str
    state: ServerState = ServerState.STARTING
    error: str = ""  # why it failed; while it is ready, why some of its tools are left out
    tools: tuple[Tool, ...] = ()


class ToolResult(Struct, frozen=True, kw_only=True):
    """Result of a call, or the reason why there is none."""

    text: str
    is_error: bool = False


Run = Callable[[dict[str, Any]], Awaitable[ToolResult | str]]
"""Runs a tool with its arguments; a text is a result without an error, which may be too long."""


class Choice(StrEnum):
    """Decision about a call, as the question words it."""

    ONCE = "once"
    SESSION = "this session"
    ALWAYS = "always"
    NO = "no"


CHOICES = {"y": Choice.ONCE, "s": Choice.SESSION, "a": Choice.ALWAYS, "n": Choice.NO}
"""Decisions by their key."""


class Decision(Struct, frozen=True, kw_only=True):
    """Decision about a call, with a reason for a refusal, which the model gets."""

    choice: Choice
    reason: str = ""


def with_wire_names(servers: Iterable[ToolServer]) -> tuple[ToolServer, ...]:
    """Give each tool its name in requests: `SERVER__TOOL`, cut, and numbered if not unique."""
    taken: set[str] = set()

    def named(tool: Tool) -> Tool:
        plain = re.sub(_NOT_WIRE, "_", f"{tool.server}__{tool.name}")[:_WIRE_CHARS]
        numbered = (f"{plain[: _WIRE_CHARS - 5]}_{number}" for number in count(2))
        name = next(name for name in chain([plain], numbered) if name not in taken)
        taken.add(name)
        return replace(tool, wire_name=name)

    return tuple(replace(server, tools=tuple(map(named, server.tools))) for server in servers)


def cut_result(text: str) -> str:
    """Return a result that is short enough, with a notice where it was cut."""
    if len(text) <= MAX_RESULT_CHARS:
        return text
    note = f"[cut: {len(text)} characters, the first {MAX_RESULT_CHARS} are here]"
    return f"{text[:MAX_RESULT_CHARS]}\n{note}"


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call as an object, or None; no text is an empty object."""
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def call_text(name: str, arguments: str) -> str:
    """Return a call for a reader: `files/read_text("notes.md")`; not safe for a terminal."""
    found = parse_arguments(arguments)
    if found is None:
        return f"{name}({arguments})"
    shown = {key: json.dumps(value, ensure_ascii=False) for key, value in found.items()}
    if len(shown) == 1:
        return f"{name}({next(iter(shown.values()))})"
    return f"{name}({', '.join(f'{key}={value}' for key, value in shown.items())})"


def tool_calls_text(message: ChatMessage) -> str:
    """Return the tool calls of a message for a reader; not safe for a terminal."""
    return ", ".join(call_text(call.name, call.arguments) for call in message.tool_calls)


def call_message(call: ToolCallPart) -> ChatMessage:
    """Return a tool message whose call has not run yet."""
    return ChatMessage(message_id=new_id(), role=Role.TOOL, parts=(call,), created_at=now())


def stopped_call(call: ChatMessage, *, may_still_run: bool) -> ChatMessage:
    """Return a tool message whose call was stopped."""
    parts = call.parts
    if may_still_run:
        parts = (*parts, ToolResultPart(text=MAY_STILL_RUN))
    return replace(call, parts=parts, state=AnswerState.STOPPED)


async def run_call(call: ChatMessage, run: Run | None) -> ChatMessage:
    """Return a tool message with the result of its call; without `run` the tool is unknown."""
    started_s = time.monotonic()
    arguments = parse_arguments(call.tool_calls[0].arguments)
    if run is None:
        result = ToolResult(text="There is no tool of this name.", is_error=True)
    elif arguments is None:
        result = ToolResult(text="The arguments are not a JSON object.", is_error=True)
    else:
        try:
            found = await run(arguments)
            result = ToolResult(text=cut_result(found)) if isinstance(found, str) else found
        except Exception as error:  # noqa: BLE001 - of a function; the model may try again
            result = ToolResult(text=f"{type(error).__name__}: {error}", is_error=True)
    return replace(
        call,
        parts=(*call.parts, ToolResultPart(text=result.text or "(no output)")),
        state=AnswerState.FAILED if result.is_error else AnswerState.COMPLETE,
        receipt=Receipt(elapsed_ms=(time.monotonic() - started_s) * 1e3),
    )


def tool_in_request(tool: Tool) -> Mapping[str, Any]:
    """Return a tool as it is offered in a request."""
    schema = tool.schema or {"type": "object", "properties": {}}
    function = {"name": tool.wire_name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}
