"""Export as text: the table of formats, common words, and plain text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from functools import partial
from importlib import import_module
from textwrap import indent

from lmchat.domain.message import AnswerState, ChatMessage, Role, ToolCallPart
from lmchat.domain.session import Session, branches
from lmchat.domain.tool import called
from lmchat.errors import WrongUse
from lmchat.text import safe_line, safe_text

Calls = tuple[ToolCallPart, ...]
_WRITERS = {
    "md": ("lmchat.formats.markdown_write", "to_markdown"),
    "json": ("lmchat.formats.json_format", "to_json"),
    "html": ("lmchat.formats.html_page", "to_html"),
    "txt": ("lmchat.formats.writing", "to_text"),
}
"""By file extension; imported on use, since HTML needs markdown-it."""
FORMATS = tuple(_WRITERS)
REFUSED = "Refused"
_LONGEST_NAME, _ID_CHARS = 50, 8
_QUOTED_CHARS = 60
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


def render(
    session: Session,
    *,
    form: str = "md",
    with_reasoning: bool = False,
    zone: tzinfo | None = UTC,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return a session in a format; JSON is always complete. Raises `WrongUse` for an unknown format.

    `pages` has the HTML of messages by their ids, for the format `html`.
    """
    if form not in _WRITERS:
        raise WrongUse(
            f"Unknown format “{safe_line(form)}”.", hint=f"The formats are {', '.join(FORMATS)}."
        )
    module, name = _WRITERS[form]
    write: Callable[..., str] = getattr(import_module(module), name)
    if form == "json":
        return write(session)
    if form == "html":
        return write(session, with_reasoning=with_reasoning, zone=zone, pages=pages)
    return write(session, with_reasoning=with_reasoning, zone=zone)


def export_name(session: Session, *, form: str = "md") -> str:
    """Return a file name of title and id that is valid on every system."""
    plain = unicodedata.normalize("NFC", safe_line(session.header.title))
    words = re.findall(r"\w+", plain.replace("\ufffd", " "))
    name = "-".join(words)[:_LONGEST_NAME].strip("-_") or "session"
    identity = re.sub(r"[^0-9A-Za-z]", "", session.header.session_id)[:_ID_CHARS]
    return f"{name}-{identity}.{form}"


def to_text(session: Session, *, with_reasoning: bool = False, zone: tzinfo | None = UTC) -> str:
    """Return the path and the branches as plain text."""
    title = safe_line(session.header.title)
    entry = partial(_entry, zone=zone, with_reasoning=with_reasoning)
    blocks = with_branches(session, entry, lambda heading: f"{heading}\n{'-' * len(heading)}")
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *blocks]) + "\n"


def with_branches(
    session: Session,
    entry: Callable[[ChatMessage, Calls], Iterable[str]],
    headed: Callable[[str], str],
) -> Iterator[str]:
    """Yield the blocks of the path, then those of each branch under its heading.

    `entry` gets a message and the calls of an answer that no tool message repeats.
    """
    runs = [one for one in (*session.messages, *session.branches) if is_tool_run(one)]
    told = {told_id for one in runs for told_id in (one.message_id, one.parent_id)}
    known = {message.message_id: message for message in session.tree}

    def shown(messages: Iterable[ChatMessage]) -> Iterator[str]:
        for message in messages:
            yield from entry(message, () if message.message_id in told else message.tool_calls)

    yield from shown(session.messages)
    for branch in branches(session.branches):
        name = session.branch_names.get(branch.branch_id, "")
        yield headed(_heading(known.get(branch.messages[0].parent_id or ""), name))
        yield from shown(branch.messages)


def is_tool_run(message: ChatMessage) -> bool:
    """Return whether a message shows a call and its result; earlier imports had the result as text."""
    return message.role is Role.TOOL and bool(message.tool_calls)


def speaker(message: ChatMessage) -> str:
    """Return the name above a message."""
    if message.role is Role.ASSISTANT and message.model:
        return safe_line(message.model)
    return _SPEAKERS[message.role]


def moment(time: datetime, zone: tzinfo | None) -> str:
    """Return a time as `2026-11-20 14:02:05 UTC`; zone None is local time."""
    local = time.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


def ending(message: ChatMessage) -> tuple[str, str] | None:
    """Return state and reason of an unfinished answer, None for a complete message."""
    if message.state is AnswerState.COMPLETE:
        return None
    failure = message.failure
    why = "" if failure is None else safe_line(f"{failure.message} {failure.hint}")
    return _STATES[message.state], why


def thought(message: ChatMessage) -> str:
    """Return the heading above the reasoning."""
    thought_ms = message.receipt.reasoning_ms if message.receipt else None
    return "Thought" if thought_ms is None else f"Thought for {thought_ms / 1e3:.1f} s"


def places(session: Session) -> dict[str, int]:
    """Return each message's number in the order of writing, by id; empty without branches."""
    if not session.branches:
        return {}
    return {message.message_id: place for place, message in enumerate(session.tree)}


def _heading(parent: ChatMessage | None, name: str) -> str:
    named = f" “{safe_line(name, limit=_QUOTED_CHARS)}”" if name else ""
    if parent is None:
        return f"Another beginning{named}"
    words = safe_line(parent.text or called(parent), limit=_QUOTED_CHARS)
    return f"Another branch{named}, after “{words}”"


def _entry(
    message: ChatMessage, calls: Calls, *, zone: tzinfo | None, with_reasoning: bool
) -> Iterator[str]:
    yield f"{speaker(message)} ({moment(message.created_at, zone)})"
    if with_reasoning and message.reasoning:
        yield f"[{thought(message)}]\n{safe_text(message.reasoning)}"
    yield from (f"[Attached: {part.words}]" for part in message.files)
    if message.refusal:
        yield f"[{REFUSED}.]"
    if message.text:
        yield safe_text(message.text)
    if is_tool_run(message):
        result = indent(safe_text(message.tool_result), "    ")
        yield f"[{safe_line(called(message))}]\n{result}".rstrip()
    for call in calls:
        yield f"[Tool call {safe_line(call.name)}]\n{safe_text(call.arguments)}"
    if end := ending(message):
        yield f"[{end[0]}. {end[1]}".rstrip() + "]"
