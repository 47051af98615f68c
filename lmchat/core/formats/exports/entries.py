"""Options of an export, and the parts of a message that all its formats show."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from msgspec import Struct

from lmchat.base.errors import with_next_step
from lmchat.base.safe_text import line_without_controls
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Role,
    ToolCallPart,
    tool_calls_text,
)
from lmchat.core.sessions.session import Session, branches

REFUSED = "Refused"
_QUOTED_CHARS = 60  # of a message in a heading
_SPEAKERS = {
    Role.USER: "You",
    Role.SYSTEM: "System",
    Role.TOOL: "Tool",
    Role.ASSISTANT: "Assistant",
}
_STATES = {
    AnswerState.STREAMING: "Still streaming",
    AnswerState.STOPPED: "Stopped",
    AnswerState.INTERRUPTED: "Interrupted",
    AnswerState.FAILED: "Failed",
}


class WriteOptions(Struct, frozen=True, kw_only=True):
    """Options of an export; JSON is always complete, with times in UTC."""

    with_reasoning: bool = False
    # by ids of messages, for an HTML page; others are plain text
    html_by_id: Mapping[str, str] = {}


PLAIN = WriteOptions()


class MessageEntry(Struct, frozen=True, kw_only=True):
    """Message to write, and what all formats show of it."""

    message: ChatMessage
    # `You`, or the model; `You (edited)`
    speaker: str
    time: str  # local: `2026-11-20 14:02`
    # without those that a tool message below shows with their results
    calls: tuple[ToolCallPart, ...]
    thought_heading: str  # `Thought for 2.0 s`
    state: str  # `Stopped`, `Prompt cut` or `Cut short`
    reason: str  # of a failed or cut answer, or a cut prompt


def entries(session: Session) -> Iterator[MessageEntry | str]:
    """Yield an entry for each message of the path, then the heading and entries of each branch.

    A heading, such as `Another branch, after “Hello”`, is a text.
    """
    # a tool message shows its call with the result, so the answer does not
    tool_runs = filter(is_tool_run, (*session.messages, *session.branch_messages))
    ids_with_results = {message.parent_id for message in tool_runs}
    for message in session.messages:
        yield _entry(message, ids_with_results)
    messages_by_id = {message.message_id: message for message in session.tree}
    for branch in branches(session.branch_messages):
        parent = messages_by_id.get(branch.messages[0].parent_id or "")
        if parent is None:
            yield "Another beginning"
        else:
            above = line_without_controls(
                parent.text or tool_calls_text(parent), limit=_QUOTED_CHARS
            )
            yield f"Another branch, after “{above}”"
        for message in branch.messages:
            yield _entry(message, ids_with_results)


def _entry(message: ChatMessage, ids_with_results: Container[str | None]) -> MessageEntry:
    """`ids_with_results` are from `entries`."""
    speaker = _SPEAKERS[message.role]
    stats = message.stats or AnswerStats()
    if message.role is Role.ASSISTANT and message.model:
        speaker = line_without_controls(message.model)
    if stats.is_edited:
        speaker = f"{speaker} (edited)"
    time = message.created_at.astimezone()
    thought_heading = "Thought"
    if stats.reasoning_ms is not None:
        thought_heading = f"Thought for {stats.reasoning_ms / 1e3:.1f} s"
    failure = message.failure
    state, reason = _STATES.get(message.state, ""), ""  # empty for a complete message
    if failure is not None:
        reason = line_without_controls(with_next_step(failure.message, failure.hint))
    elif not state and stats.is_prompt_cut:
        state, reason = "Prompt cut", "The server has left out a part of the prompt."
    elif not state and stats.is_cut:
        limit = stats.limit or "token limit of the server reached"
        state, reason = "Cut short", f"{limit.capitalize()}."
    has_shown_calls = is_tool_run(message) or message.message_id in ids_with_results
    return MessageEntry(
        message=message,
        speaker=speaker,
        time=f"{time:%Y-%m-%d %H:%M}",
        calls=() if has_shown_calls else message.tool_calls,
        thought_heading=thought_heading,
        state=state,
        reason=reason,
    )


def is_tool_run(message: ChatMessage) -> bool:
    """Whether it is of a tool, with a call and its result."""
    return message.role is Role.TOOL and bool(message.tool_calls)
