"""Export of a session as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent

from lmchat.base.safe_text import line_without_controls, without_controls
from lmchat.core.formats.exports.entries import (
    PLAIN,
    REFUSED,
    MessageEntry,
    WriteOptions,
    entries,
    is_tool_run,
)
from lmchat.core.sessions.message import tool_calls_text
from lmchat.core.sessions.session import Session


def to_text(session: Session, options: WriteOptions = PLAIN) -> str:
    title = line_without_controls(session.header.title)
    blocks = [f"{title}\n{'=' * len(title)}"]
    for entry in entries(session):
        if isinstance(entry, MessageEntry):
            blocks += _text_blocks(entry, with_reasoning=options.with_reasoning)
        else:  # of a branch
            blocks.append(f"{entry}\n{'-' * len(entry)}")
    return "\n\n".join(blocks) + "\n"


def _text_blocks(entry: MessageEntry, *, with_reasoning: bool) -> Iterator[str]:
    message = entry.message
    yield f"{entry.speaker} ({entry.time})"
    if with_reasoning and message.reasoning:
        yield f"[{entry.thought_heading}]\n{without_controls(message.reasoning)}"
    for part in message.files:
        yield f"[Attached: {part.label}]"
    if message.refusal:
        yield f"[{REFUSED}.]"
    if message.text:
        yield without_controls(message.text).lstrip("\n")
    if is_tool_run(message):
        result = indent(without_controls(message.tool_result), "    ")
        yield f"[{line_without_controls(tool_calls_text(message))}]\n{result}".rstrip()
    for call in entry.calls:  # without a result below the message
        yield f"[Tool call {line_without_controls(call.name)}]\n{without_controls(call.arguments)}"
    if entry.state:
        yield f"[{entry.state}. {entry.reason}".rstrip() + "]"
