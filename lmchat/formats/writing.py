"""Export as text: the table of formats, common words, and plain text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from importlib import import_module
from textwrap import indent

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, Role, ToolCallPart
from lmchat.domain.session import Session, branches
from lmchat.domain.tool import tool_calls_text
from lmchat.errors import WrongUse
from lmchat.text import safe_line, safe_text

_WRITERS = {
    "md": ("lmchat.formats.markdown_write", "to_markdown"),
    "json": ("lmchat.formats.json_format", "to_json"),
    "html": ("lmchat.formats.html_page", "to_html"),
    "txt": ("lmchat.formats.writing", "to_text"),
}
"""By file extension; imported on use."""
FORMATS = tuple(_WRITERS)
REFUSED = "Refused"
_LONGEST_NAME = 50  # characters of the title in a file name
_ID_CHARS = 8  # of the id in a file name
_QUOTED_CHARS = 60  # of a message or name in a heading
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
    """Contents and words of an export; JSON is always complete."""

    with_reasoning: bool = False
    zone: tzinfo | None = UTC
    """Time zone; None is local time."""
    pages: Mapping[str, str] = {}
    """HTML of messages by their ids; in HTML, the text of any other message is shown as it is."""


PLAIN = WriteOptions()


class MessageEntry(Struct, frozen=True, kw_only=True):
    """Message to write."""

    message: ChatMessage
    calls: tuple[ToolCallPart, ...]  # those of an answer that no tool message repeats


def render(session: Session, form: str, options: WriteOptions = PLAIN) -> str:
    """Return a session in a format; raises `WrongUse` for an unknown one."""
    if form not in _WRITERS:
        message = f"Unknown format “{safe_line(form)}”."
        raise WrongUse(message, hint=f"The formats are {', '.join(FORMATS)}.")
    module, name = _WRITERS[form]
    write: Callable[[Session, WriteOptions], str] = getattr(import_module(module), name)
    return write(session, options)


def export_name(session: Session, *, form: str = "md") -> str:
    """Return a file name of title and id that is valid on every system."""
    plain = unicodedata.normalize("NFC", safe_line(session.header.title))
    words = re.findall(r"\w+", plain.replace("\ufffd", " "))
    name = "-".join(words)[:_LONGEST_NAME].strip("-_") or "session"
    short_id = re.sub(r"[^0-9A-Za-z]", "", session.header.session_id)[:_ID_CHARS]
    return f"{name}-{short_id}.{form}"


def to_text(session: Session, options: WriteOptions = PLAIN) -> str:
    """Return the path and the branches as plain text."""
    title = safe_line(session.header.title)
    blocks = [f"{title}\n{'=' * len(title)}"]
    for entry in entries(session):
        if isinstance(entry, MessageEntry):
            blocks += _blocks(entry, options)
        else:
            blocks.append(f"{entry}\n{'-' * len(entry)}")
    return "\n\n".join(blocks) + "\n"


def entries(session: Session) -> Iterator[MessageEntry | str]:
    """Yield the messages of the path, then those of each branch after its heading."""
    repeated: set[str | None] = set()  # ids of tool messages and of the answers before them
    for message in (*session.messages, *session.branches):
        if is_tool_run(message):
            repeated |= {message.message_id, message.parent_id}

    def entry(message: ChatMessage) -> MessageEntry:
        calls = () if message.message_id in repeated else message.tool_calls
        return MessageEntry(message=message, calls=calls)

    yield from map(entry, session.messages)
    known = {message.message_id: message for message in session.tree}
    for branch in branches(session.branches):
        parent = known.get(branch.messages[0].parent_id or "")
        yield _heading(parent, session.branch_names.get(branch.branch_id, ""))
        yield from map(entry, branch.messages)


def is_tool_run(message: ChatMessage) -> bool:
    """Return whether a message shows a call and its result."""
    return message.role is Role.TOOL and bool(message.tool_calls)


def speaker(message: ChatMessage) -> str:
    """Return the name above a message."""
    if message.role is Role.ASSISTANT and message.model:
        return safe_line(message.model)
    return _SPEAKERS[message.role]


def time_words(time: datetime, zone: tzinfo | None) -> str:
    """Return a time as `2026-11-20 14:02:05 UTC`; zone None is local time."""
    local = time.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


def ending(message: ChatMessage) -> tuple[str, str] | None:
    """Return state and reason of an unfinished answer, None for a complete message."""
    if message.state is AnswerState.COMPLETE:
        return None
    failure = message.failure
    reason = "" if failure is None else safe_line(f"{failure.message} {failure.hint}")
    return _STATES[message.state], reason


def thought_heading(message: ChatMessage) -> str:
    """Return the heading above the reasoning."""
    thought_ms = message.receipt.reasoning_ms if message.receipt else None
    return "Thought" if thought_ms is None else f"Thought for {thought_ms / 1e3:.1f} s"


def write_order(session: Session) -> dict[str, int]:
    """Return each message's number in the order of writing, by id; empty without branches."""
    if not session.branches:
        return {}
    return {message.message_id: place for place, message in enumerate(session.tree)}


def _heading(parent: ChatMessage | None, name: str) -> str:
    named = f" “{safe_line(name, limit=_QUOTED_CHARS)}”" if name else ""
    if parent is None:
        return f"Another beginning{named}"
    words = safe_line(parent.text or tool_calls_text(parent), limit=_QUOTED_CHARS)
    return f"Another branch{named}, after “{words}”"


def _blocks(entry: MessageEntry, options: WriteOptions) -> Iterator[str]:
    message = entry.message
    yield f"{speaker(message)} ({time_words(message.created_at, options.zone)})"
    if options.with_reasoning and message.reasoning:
        yield f"[{thought_heading(message)}]\n{safe_text(message.reasoning)}"
    for part in message.files:
        yield f"[Attached: {part.words}]"
    if message.refusal:
        yield f"[{REFUSED}.]"
    if message.text:
        yield safe_text(message.text)
    if is_tool_run(message):
        result = indent(safe_text(message.tool_result), "    ")
        yield f"[{safe_line(tool_calls_text(message))}]\n{result}".rstrip()
    for call in entry.calls:
        yield f"[Tool call {safe_line(call.name)}]\n{safe_text(call.arguments)}"
    if end := ending(message):
        state, reason = end
        yield f"[{state}. {reason}".rstrip() + "]"
