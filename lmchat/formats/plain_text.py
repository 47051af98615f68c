"""A session as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, tzinfo

from lmchat.domain.message import ChatMessage
from lmchat.domain.session import Session
from lmchat.formats.branches import branches
from lmchat.formats.wording import REFUSED, ending, moment, speaker, thought
from lmchat.text import safe_line, safe_text


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
