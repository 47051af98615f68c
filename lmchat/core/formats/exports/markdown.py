"""Export of a session as Markdown for people."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lmchat.base.markdown.fences import lines_and_fences
from lmchat.base.safe_text import line_without_controls, without_controls
from lmchat.core.formats.exports.entries import (
    PLAIN,
    REFUSED,
    MessageEntry,
    WriteOptions,
    entries,
    is_tool_run,
)
from lmchat.core.sessions.message import (
    FilePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.core.sessions.prompts import fence_for
from lmchat.core.sessions.session import Session

# Indent of a misleading line. HTML that has to be closed would hide the messages below it; `## You
# · 2026-11-20 08:00` would look like the heading of another.
_MISLEADING = re.compile(
    r"^ {0,3}(?=<(?:[!?]|(?:details|pre|script|style|textarea)\b)"
    r"|#{1,6}[ \t].* · \d{4}-\d\d-\d\d )",
    re.IGNORECASE,
)


def to_markdown(session: Session, options: WriteOptions = PLAIN) -> str:
    blocks = [_heading("#", session.header.title or "Untitled")]
    for entry in entries(session):
        if isinstance(entry, MessageEntry):
            blocks.append(_heading("##", f"{entry.speaker} · {entry.time}"))
            blocks += _body(entry, with_reasoning=options.with_reasoning)
        else:  # of a branch
            blocks.append(_heading("#", entry))
    return "\n\n".join(blocks) + "\n"


def _heading(marks: str, text: str) -> str:
    """Escape HTML in a heading."""
    return f"{marks} {line_without_controls(text)}".replace("<", r"\<")


def _body(entry: MessageEntry, *, with_reasoning: bool) -> Iterator[str]:
    message = entry.message
    # a tool message shows its call above the result, so an answer shows only its others
    shown_calls = message.tool_calls if is_tool_run(message) else entry.calls
    for part in message.parts:
        match part:
            case TextPart(text=text):
                if text.strip():
                    yield _self_contained(text)
            case ReasoningPart(text=text):
                if with_reasoning:
                    yield _quoted(f"**{entry.thought_heading}**\n\n{without_controls(text)}")
            case RefusalPart(text=text):
                yield f"> **{REFUSED}.**"
                yield _self_contained(text)
            case FilePart():
                yield f"Attached: {part.label}"
            case ToolCallPart(name=name, arguments=arguments):
                if part in shown_calls:
                    tool = line_without_controls(name).replace("`", "'")
                    yield f"Tool call `{tool}`:"
                    yield _fenced(arguments, "json")
            case ToolResultPart(text=text):
                yield "Result:"
                yield _fenced(text)
    if entry.state:
        yield f"> **{entry.state}.** {entry.reason}".rstrip()


def _self_contained(text: str) -> str:
    """Make a text neither hide the messages below it nor seem to start another.

    Outside of code, misleading lines get a backslash. An open code fence is closed.
    """
    lines: list[str] = []
    open_fence = None
    for line, open_fence in lines_and_fences(without_controls(text).strip("\n")):
        if open_fence is not None:
            lines.append(line)
        else:  # also the line that closes a fence: it is never misleading
            lines.append(_MISLEADING.sub(r"\g<0>\\", line))  # the match is the indent
    if open_fence is not None:
        lines.append(open_fence.marks)
    return "\n".join(lines)


def _fenced(text: str, language: str = "") -> str:
    """Write a code block that no fence in the text can close."""
    shown = without_controls(text)
    fence = fence_for(shown)
    return f"{fence}{language}\n{shown}\n{fence}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))
