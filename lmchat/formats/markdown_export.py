"""Export of a session as Markdown for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC

from lmchat.formats.text_export import (
    PLAIN,
    REFUSED,
    MessageEntry,
    WriteOptions,
    entries,
    is_tool_run,
)
from lmchat.markdown.commonmark import opening_fence
from lmchat.safe_text import safe_line, safe_text
from lmchat.sessions.attached_files import fence_for
from lmchat.sessions.message import (
    FilePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.sessions.session import Session

# Line of a text that would hide the messages below it, or look like the heading of another one:
# HTML that has to be closed, and `## You · 2026-11-20 08:00:00 UTC`.
_MISLEADING = re.compile(
    r"^ {0,3}(?=<(?:[!?]|(?:details|pre|script|style|textarea)\b)"
    r"|#{1,6}[ \t].* · \d{4}-\d\d-\d\d )",
    re.IGNORECASE,
)


def to_markdown(session: Session, options: WriteOptions = PLAIN) -> str:
    """Return a session as Markdown: the front matter, the path, then each branch."""
    blocks = [_front_matter(session)]
    for entry in entries(session, options.zone):
        if isinstance(entry, MessageEntry):
            blocks.append(f"## {entry.speaker} · {entry.time}")
            blocks += _body(entry, with_reasoning=options.with_reasoning)
        else:
            blocks.append(f"# {entry}")
    return "\n\n".join(blocks) + "\n"


def _front_matter(session: Session) -> str:
    """Return the lines from `---` to `---` with the header of a session."""
    header = session.header
    fields: dict[str, object] = {
        "title": safe_line(header.title),
        "id": safe_line(header.session_id),
        "model": safe_line(header.model),
        "endpoint": safe_line(header.endpoint),
    }
    if header.tags:
        fields["tags"] = [safe_line(tag) for tag in header.tags]
    fields["created"] = header.created_at.astimezone(UTC).isoformat(timespec="seconds")
    fields |= _token_fields(session)
    # A JSON value is a YAML value too, and needs no other quoting.
    lines = [
        f"{name}: {json.dumps(value, ensure_ascii=False)}"
        for name, value in fields.items()
        if value != ""
    ]
    return "\n".join(["---", *lines, "---"])


def _token_fields(session: Session) -> dict[str, object]:
    """Return the fields with the sum of the tokens of all answers on the path.

    No fields are returned if that sum is 0, or if no number of tokens is known.
    """
    stats_of_answers = [message.stats for message in session.messages if message.stats is not None]
    counted = [stats for stats in stats_of_answers if stats.completion_tokens is not None]
    total = sum(stats.completion_tokens or 0 for stats in counted)
    if not total:
        return {}
    is_estimated = any(stats.is_estimated for stats in counted)
    return {"tokens": total, "tokens_estimated": is_estimated}


def _body(entry: MessageEntry, *, with_reasoning: bool) -> Iterator[str]:
    """Yield the blocks below the heading of a message: its parts in their order, and its state."""
    message = entry.message
    shown_calls = message.tool_calls if is_tool_run(message) else entry.calls
    for part in message.parts:
        match part:
            case TextPart(text=text):
                if text.strip():
                    yield _kept_apart(text)
            case ReasoningPart(text=text):
                if with_reasoning:
                    yield _quoted(f"**{entry.thought_heading}**\n\n{safe_text(text)}")
            case RefusalPart(text=text):
                yield f"> **{REFUSED}.**"
                yield _kept_apart(text)
            case FilePart():
                yield f"Attached: {part.words}"
            case ToolCallPart(name=name, arguments=arguments):
                if part in shown_calls:
                    tool = safe_line(name).replace("`", "'")
                    yield f"Tool call `{tool}`:"
                    yield _fenced(arguments, "json")
            case ToolResultPart(text=text):
                yield "Result:"
                yield _fenced(text)
    if entry.state:
        yield f"> **{entry.state}.** {entry.reason}".rstrip()


def _kept_apart(text: str) -> str:
    """Return a text that neither hides the messages below it nor seems to begin another one.

    Outside of code, misleading lines get a backslash. A code fence that is left open is closed.
    """
    lines: list[str] = []
    fence = None
    for line in safe_text(text).strip("\n").split("\n"):
        if fence is None:
            fence = opening_fence(line)
            lines.append(_MISLEADING.sub(r"\g<0>\\", line))
        else:
            if fence.is_closed_by(line):
                fence = None
            lines.append(line)
    if fence is not None:
        lines.append(fence.marks)
    return "\n".join(lines)


def _fenced(text: str, language: str = "") -> str:
    safe = safe_text(text)
    fence = fence_for(safe)
    return f"{fence}{language}\n{safe}\n{fence}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))
