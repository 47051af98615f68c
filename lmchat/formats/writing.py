"""Which formats there are, and how a session gets into one; a format is imported when first used."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from importlib import import_module
from typing import Any

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.session import Session
from lmchat.errors import WrongUse
from lmchat.text import safe_line, safe_text

_MODULES = {
    "md": ("lmchat.formats.markdown_write", "to_markdown"),
    "json": ("lmchat.formats.json_format", "to_json"),
    "html": ("lmchat.formats.html_page", "to_html"),
    "txt": ("lmchat.formats.writing", "to_text"),
}
"""By the ending of a file's name: markdown-it, for HTML, costs more than all of the others."""
FORMATS = tuple(_MODULES)
"""Names of the formats, which are also the endings of files."""
_LONGEST_NAME = 50


def render(
    session: Session, *, form: str = "md", with_reasoning: bool = False, zone: tzinfo | None = UTC
) -> str:
    """Return a session in a format; JSON always holds everything.

    Raises:
        WrongUse: there is no such format.
    """
    if form not in _MODULES:
        raise WrongUse(f"There is no format “{safe_line(form)}”.", hint=f"There are {', '.join(FORMATS)}.")
    module, name = _MODULES[form]
    function: Callable[..., Any] = getattr(import_module(module), name)
    if form == "json":
        return str(function(session))
    return str(function(session, with_reasoning=with_reasoning, zone=zone))


def export_name(session: Session, *, form: str = "md", id_length: int = 8) -> str:
    """Propose a file name: words of the title, told apart by the id, valid on every system."""
    plain = unicodedata.normalize("NFC", safe_line(session.header.title))
    words = re.findall(r"\w+", plain.replace("\ufffd", " "))
    name = "-".join(words)[:_LONGEST_NAME].strip("-_") or "session"
    identity = re.sub(r"[^0-9A-Za-z]", "", session.header.session_id)[:id_length]
    return f"{name}-{identity}.{form}"


_NAMES = {Role.USER: "You", Role.SYSTEM: "System", Role.TOOL: "Tool", Role.ASSISTANT: "Assistant"}
_STATES = {
    AnswerState.STREAMING: "Still arriving",
    AnswerState.STOPPED: "Stopped",
    AnswerState.INTERRUPTED: "Interrupted",
    AnswerState.FAILED: "Failed",
}

REFUSED = "Refused"
"""The head above the words in which a model refuses to answer."""


def speaker(message: ChatMessage) -> str:
    """Return who speaks: the model by its name."""
    if message.role is Role.ASSISTANT and message.model:
        return safe_line(message.model)
    return _NAMES[message.role]


def moment(time: datetime, zone: tzinfo | None) -> str:
    """Return a time as `2026-11-20 14:02:05 UTC`; no zone means that of this machine."""
    local = time.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


def ending(message: ChatMessage) -> tuple[str, str] | None:
    """Return how an unfinished answer ended and why, None for a complete message."""
    if message.state is AnswerState.COMPLETE:
        return None
    failure = message.failure
    why = "" if failure is None else safe_line(f"{failure.message} {failure.hint}")
    return _STATES[message.state], why


def thought(message: ChatMessage) -> str:
    """Return the head above what a model thought."""
    thought_ms = message.receipt.whole.reasoning_ms if message.receipt else None
    return "Thought" if thought_ms is None else f"Thought for {thought_ms / 1e3:.1f} s"


def answer_tokens(session: Session) -> tuple[int, bool]:
    """Return the tokens of all answers, and whether any of them is an estimate."""
    receipts = [message.receipt.whole for message in session.messages if message.receipt is not None]
    counted = [receipt for receipt in receipts if receipt.completion_tokens is not None]
    total = sum(receipt.completion_tokens or 0 for receipt in counted)
    return total, any(receipt.is_estimated for receipt in counted)


_WORDS = 60
"""Characters of the message that a branch leaves."""


class Branch(Struct, frozen=True, kw_only=True):
    """Messages that follow each other, none of which is on the path or in an earlier branch."""

    parent: ChatMessage | None
    """The message that they follow; None where they begin the session anew."""
    messages: tuple[ChatMessage, ...]
    """At least one."""
    name: str = ""
    """What people call it."""

    @property
    def heading(self) -> str:
        """What stands above it, for people."""
        if self.parent is None:
            return f"Another beginning{self._named}"
        return f"Another branch{self._named}, after “{safe_line(self.parent.text, limit=_WORDS)}”"

    @property
    def _named(self) -> str:
        return f" “{safe_line(self.name, limit=_WORDS)}”" if self.name else ""


def branches(session: Session) -> Iterator[Branch]:
    """Yield what is beside the path, oldest first."""
    known = {message.message_id: message for message in session.tree}
    children: dict[str | None, list[ChatMessage]] = {}
    waiting = {message.message_id: message for message in session.branches}
    for one in waiting.values():
        children.setdefault(one.parent_id, []).append(one)
    while waiting:
        following, run = [next(iter(waiting.values()))], list[ChatMessage]()
        while fresh := next((one for one in following if one.message_id in waiting), None):
            run.append(waiting.pop(fresh.message_id))
            following = children.get(fresh.message_id, [])
        name = session.branch_names.get(run[0].message_id, "")
        yield Branch(parent=known.get(run[0].parent_id or ""), messages=tuple(run), name=name)


def places(session: Session) -> dict[str, int]:
    """Return where each message stands in time, by id; nothing where there is only the path."""
    if not session.branches:
        return {}
    return {message.message_id: place for place, message in enumerate(session.tree)}


def to_text(session: Session, *, with_reasoning: bool = False, zone: tzinfo | None = UTC) -> str:
    """Return the chosen path as text without any marks."""
    title = safe_line(session.header.title)
    blocks = [f"{title}\n{'=' * len(title)}"]
    for message in session.messages:
        blocks += _entry(message, zone=zone, with_reasoning=with_reasoning)
    for branch in branches(session):
        blocks.append(f"{branch.heading}\n{'-' * len(branch.heading)}")
        for message in branch.messages:
            blocks += _entry(message, zone=zone, with_reasoning=with_reasoning)
    return "\n\n".join(blocks) + "\n"


def _entry(message: ChatMessage, *, zone: tzinfo | None, with_reasoning: bool) -> Iterator[str]:
    yield f"{speaker(message)} ({moment(message.created_at, zone)})"
    if with_reasoning and message.reasoning:
        yield f"[{thought(message)}]\n{safe_text(message.reasoning)}"
    if message.refusal:
        yield f"[{REFUSED}.]"
    if message.text:
        yield safe_text(message.text)
    for call in message.tool_calls:
        yield f"[Tool call {safe_line(call.name)}]\n{safe_text(call.arguments)}"
    end = ending(message)
    if end is not None:
        yield f"[{end[0]}. {end[1]}".rstrip() + "]"
