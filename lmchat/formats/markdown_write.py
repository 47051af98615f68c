r"""Export of a session as Markdown that can be read back without guessing.

Every entry and every part begins with a comment line that renders as nothing:

    <!-- 3f9a12bc {"role": "user", …} -->

Its first word, the frame, is in the front matter and in no text of the session, so that no text can
be taken for such a mark. Exactly one blank line is before and after each text. Beyond the filter of
`safe_text`, two things in texts are changed, and their marks say so: a code fence that is left open
is closed (`added`), and a line that people would take for the heading of a turn gets a backslash
(`escaped`):

    \## You · 2026-11-20 08:00:00 UTC

The path comes first, then each branch under a heading; the mark of its first message names the
parent. `place` is the number of a message in the order of writing.

A tool message is a folded block of a call and its result, each in a code block. A call in an answer
that a tool message repeats is not shown: its mark holds the arguments.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from html import escape

from msgspec.structs import asdict

from lmchat.domain.attached_files import fence_for
from lmchat.domain.message import (
    ChatMessage,
    FilePart,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.domain.session import Session
from lmchat.domain.tool import tool_calls_text
from lmchat.formats.writing import (
    PLAIN,
    REFUSED,
    MessageEntry,
    WriteOptions,
    ending,
    entries,
    is_tool_run,
    speaker,
    thought_heading,
    time_words,
    write_order,
)
from lmchat.text import safe_line, safe_text, unclosed_fence

FORMAT = 1  # in the front matter
FORMAT_WITH_BRANCHES = 2  # a reader of version 1 would append branches to the path
_LONGEST_SUMMARY = 120  # characters of a tool call above its folded block
_FRAME_CHARS = 8
_FRAME = re.compile(r"<!-- ([0-9a-f]{8}) ")
_TURN = r"[^\n]* · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^\n]{1,40}"
_HEADING = (
    rf"^(?:( {{0,3}})%s(\\*#{{1,6}}[ \t])(?={_TURN}$)"
    rf"|({_TURN}\n {{0,3}})%s(\\*-+)(?=[ \t]*$))"
)
"""Markdown headings with `##`, or underlined."""
_TO_ESCAPE = re.compile(_HEADING % ("", ""), re.MULTILINE)
_ESCAPED = re.compile(_HEADING % (r"\\", r"\\"), re.MULTILINE)


def to_markdown(session: Session, options: WriteOptions = PLAIN) -> str:
    """Return the path as Markdown, then the branches."""
    frame = _unused_frame(session)
    order = write_order(session)
    path = {message.message_id for message in session.messages}
    blocks = [_front_matter(session, frame)]
    for entry in entries(session):
        if isinstance(entry, str):
            blocks.append(_note(frame, f"# {entry}"))
            continue
        message = entry.message
        facts = _facts(message)
        if message.message_id not in path:
            facts["parent"] = message.parent_id
        if message.message_id in order:
            facts["place"] = order[message.message_id]
        if message.message_id in session.branch_names:
            facts["branch"] = session.branch_names[message.message_id]
        blocks.append(_mark(frame, facts))
        blocks.append(f"## {speaker(message)} · {time_words(message.created_at, options.zone)}")
        blocks += _body(entry, frame, with_reasoning=options.with_reasoning)
    return "\n\n".join(blocks) + "\n"


def unescape(text: str) -> str:
    """Remove the backslashes before lines that look like headings."""
    return _ESCAPED.sub(r"\1\2\3\4", text)


def _front_matter(session: Session, frame: str) -> str:
    header = session.header
    rows: dict[str, object] = {
        "title": safe_line(header.title),
        "id": safe_line(header.session_id),
        "model": safe_line(header.model),
        "endpoint": safe_line(header.endpoint),
    }
    if header.tags:
        rows["tags"] = [safe_line(tag) for tag in header.tags]
    rows["created"] = header.created_at.astimezone(UTC).isoformat(timespec="seconds")
    rows["messages"] = len(session.messages) + len(session.branches)
    rows |= _tokens(session)
    rows["lmchat"] = FORMAT_WITH_BRANCHES if session.branches else FORMAT
    rows["frame"] = frame
    # A JSON value is a YAML value too, and needs no other quoting.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in rows.items()]
    return "\n".join(["---", *lines, "---"])


def _tokens(session: Session) -> dict[str, object]:
    receipts = [message.receipt for message in session.messages if message.receipt is not None]
    counted = [receipt for receipt in receipts if receipt.completion_tokens is not None]
    total = sum(receipt.completion_tokens or 0 for receipt in counted)
    if not total:
        return {}
    is_estimated = any(receipt.is_estimated for receipt in counted)
    return {"tokens": total, "tokens_estimated": is_estimated}


def _facts(message: ChatMessage) -> dict[str, object]:
    facts: dict[str, object] = {
        "role": str(message.role),
        "id": message.message_id,
        "created": message.created_at.astimezone(UTC).isoformat(),
    }
    if message.role is Role.ASSISTANT:
        facts |= {"model": message.model, "endpoint": message.endpoint}
    if message.role in (Role.ASSISTANT, Role.TOOL):
        facts["state"] = str(message.state)
    if message.failure is not None:
        facts["failure"] = {"kind": message.failure.kind, "message": message.failure.message}
    return facts


def _body(entry: MessageEntry, frame: str, *, with_reasoning: bool) -> Iterator[str]:
    message = entry.message
    if is_tool_run(message):
        summary = escape(safe_line(tool_calls_text(message), limit=_LONGEST_SUMMARY))
        yield _note(frame, f"<details>\n<summary>{summary}</summary>")
    for index, part in enumerate(message.parts):
        if isinstance(part, TextPart):
            needs_mark = index > 0 or is_tool_run(message)
            yield from _text(part.text, frame, "text", needs_mark=needs_mark)
        elif isinstance(part, ReasoningPart):
            if with_reasoning:
                yield _mark(frame, {"part": "reasoning"})
                yield _quoted(f"**{thought_heading(message)}**\n\n{safe_text(part.text)}")
        else:
            is_shown = is_tool_run(message) or part in entry.calls
            yield from _part_besides_text(part, frame, is_shown_call=is_shown)
    if is_tool_run(message):
        yield _note(frame, "</details>")
    if end := ending(message):
        state, reason = end
        yield _note(frame, _quoted(f"**{state}.** {reason}".rstrip()))


def _part_besides_text(
    part: RefusalPart | FilePart | ToolCallPart | ToolResultPart, frame: str, *, is_shown_call: bool
) -> Iterator[str]:
    """Yield the pieces of a part that is neither text nor thought."""
    match part:
        case RefusalPart(text=text):
            yield _note(frame, _quoted(f"**{REFUSED}.**"))
            yield from _text(text, frame, "refusal")
        case FilePart():
            yield _mark(frame, {"part": "file", **asdict(part)})
            yield f"Attached: {part.words}"
        case ToolCallPart(call_id=call_id, name=name, arguments=arguments) if is_shown_call:
            title = f"Tool call `{_without_backticks(safe_line(name))}`"
            facts = {"part": "tool_call", "call_id": call_id, "name": name}
            yield from _fenced(title, arguments, frame, facts, language="json")
        case ToolCallPart():
            yield _mark(frame, {"part": "tool_call", **asdict(part)})
        case ToolResultPart(text=text):
            yield from _fenced("Result", text, frame, {"part": "tool_result"})


def _text(text: str, frame: str, part: str, *, needs_mark: bool = True) -> Iterator[str]:
    """Yield a text after its mark; an unchanged first one needs no mark."""
    shown, changes = _escaped(safe_text(text))
    if fence := unclosed_fence(shown):
        added = fence.marks if shown.endswith("\n") else f"\n{fence.marks}"
        changes["added"] = added
        shown += added
    if changes or needs_mark:
        yield _mark(frame, {"part": part, **changes})
    yield shown


def _fenced(
    title: str, text: str, frame: str, facts: Mapping[str, object], *, language: str = ""
) -> Iterator[str]:
    shown, changes = _escaped(safe_text(text))
    fence = fence_for(shown)
    yield _mark(frame, {**facts, **changes})
    yield f"{title}\n\n{fence}{language}\n{shown}\n{fence}"


def _escaped(text: str) -> tuple[str, dict[str, object]]:
    """Return a text whose headings of turns are escaped, and what its mark says of it."""
    escaped, number = _TO_ESCAPE.subn(r"\1\3\\\2\4", text)
    return escaped, {"escaped": True} if number else {}


def _mark(frame: str, facts: Mapping[str, object]) -> str:
    # Only ASCII, and no end of a comment within; reading JSON undoes both.
    text = json.dumps(facts).replace(">", r"\u003e").replace("--", r"-\u002d")
    return f"<!-- {frame} {text} -->"


def _note(frame: str, text: str) -> str:
    """Return words for people that the marks say too."""
    return f"{_mark(frame, {'part': 'note'})}\n\n{text}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _unused_frame(session: Session) -> str:
    """Return a word that is in no text; deterministic, to compare exports."""
    used: set[str] = set()
    for message in (*session.messages, *session.branches):
        for part in message.parts:
            for text in asdict(part).values():
                used.update(_FRAME.findall(str(text)))
    session_id = session.header.session_id
    frame = _hashed_word(session_id)
    number = 0  # words that are hashes of each other would repeat after some ten thousand
    while frame in used:
        number += 1
        frame = _hashed_word(f"{number} {session_id}")
    return frame


def _hashed_word(seed: str) -> str:
    return hashlib.sha256(seed.encode(errors="replace")).hexdigest()[:_FRAME_CHARS]


def _without_backticks(name: str) -> str:
    return name.replace("`", "'")
