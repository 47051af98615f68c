r"""Export of a session as Markdown that can be read back without guessing.

Every entry and every part begins with a comment line that renders as nothing:

    <!-- 3f9a12bc {"role": "user", …} -->

Its word is in the front matter and in no text of the session, so that no text can be taken for the frame.
Texts stand between exactly one blank line before and one after. Beyond the filter of `safe_text`, two things
in them are changed, and their comment says so: a code fence that is left open is closed (`added`), and a line
that people would take for the heading of a turn gets a backslash (`escaped`):

    \## You · 2026-11-20 08:00:00 UTC

The path comes first, then each branch under a heading; the comment of its first message names the parent.
`place` is the number of a message in the order of writing.

A tool message is a folded block of a call and its result, each in a code block. A call in an answer that a
tool message repeats is not shown: its comment holds the arguments.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from html import escape
from itertools import count

from msgspec.structs import asdict

from lmchat.domain.message import (
    ChatMessage,
    FilePart,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    fence_for,
)
from lmchat.domain.session import Session
from lmchat.domain.tool import called
from lmchat.formats.writing import (
    REFUSED,
    Calls,
    ending,
    is_tool_run,
    moment,
    places,
    speaker,
    thought,
    with_branches,
)
from lmchat.text import open_fence, safe_line, safe_text

FORMAT = 1  # in the front matter
FORMAT_WITH_BRANCHES = 2  # a reader of version 1 would append branches to the path
_WORD = re.compile(r"<!-- ([0-9a-f]{8}) ")
_TURN = r"[^\n]* · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^\n]{1,40}"
_HEADING = (
    rf"^(?:( {{0,3}})%s(\\*#{{1,6}}[ \t])(?={_TURN}$)|({_TURN}\n {{0,3}})%s(\\*-+)(?=[ \t]*$))"
)
"""Markdown headings with `##`, or underlined."""
_TO_ESCAPE = re.compile(_HEADING % ("", ""), re.MULTILINE)
_ESCAPED = re.compile(_HEADING % (r"\\", r"\\"), re.MULTILINE)


def to_markdown(
    session: Session, *, with_reasoning: bool = False, zone: tzinfo | None = UTC
) -> str:
    """Return the path as Markdown, then the branches."""
    word, order = _boundary(session), places(session)
    path = {message.message_id for message in session.messages}

    def entry(message: ChatMessage, calls: Calls) -> Iterator[str]:
        facts = _facts(message)
        if message.message_id not in path:
            facts["parent"] = message.parent_id
        if message.message_id in order:
            facts["place"] = order[message.message_id]
        if message.message_id in session.branch_names:
            facts["branch"] = session.branch_names[message.message_id]
        yield _mark(word, facts)
        yield f"## {speaker(message)} · {moment(message.created_at, zone)}"
        yield from _body(message, calls, word, with_reasoning=with_reasoning)

    blocks = with_branches(session, entry, lambda heading: _note(word, f"# {heading}"))
    return "\n\n".join([_front_matter(session, word), *blocks]) + "\n"


def unescape(text: str) -> str:
    """Remove the backslashes before lines that look like headings."""
    return _ESCAPED.sub(r"\1\2\3\4", text)


def _front_matter(session: Session, word: str) -> str:
    header = session.header
    rows: dict[str, object] = {
        "title": safe_line(header.title),
        "id": safe_line(header.session_id),
        "model": safe_line(header.model),
        "endpoint": safe_line(header.endpoint),
        **({"tags": [safe_line(tag) for tag in header.tags]} if header.tags else {}),
        "created": header.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        "messages": len(session.messages) + len(session.branches),
        **_tokens(session),
        "lmchat": FORMAT_WITH_BRANCHES if session.branches else FORMAT,
        "frame": word,
    }
    # A JSON value is a YAML value too, and needs no other quoting.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in rows.items()]
    return "\n".join(["---", *lines, "---"])


def _tokens(session: Session) -> dict[str, object]:
    receipts = [message.receipt for message in session.messages if message.receipt is not None]
    counted = [receipt for receipt in receipts if receipt.completion_tokens is not None]
    total = sum(receipt.completion_tokens or 0 for receipt in counted)
    is_estimated = any(receipt.is_estimated for receipt in counted)
    return {"tokens": total, "tokens_estimated": is_estimated} if total else {}


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
        facts |= {"failure": {"kind": message.failure.kind, "message": message.failure.message}}
    return facts


def _body(message: ChatMessage, calls: Calls, word: str, *, with_reasoning: bool) -> Iterator[str]:
    if is_tool_run(message):
        summary = escape(safe_line(called(message), limit=120))
        yield _note(word, f"<details>\n<summary>{summary}</summary>")
    for index, part in enumerate(message.parts):
        match part:
            case TextPart(text=text):
                yield from _text(
                    text, word, "text", is_first=index == 0 and not is_tool_run(message)
                )
            case RefusalPart(text=text):
                yield _note(word, _quoted(f"**{REFUSED}.**"))
                yield from _text(text, word, "refusal")
            case FilePart():
                yield f"{_mark(word, {'part': 'file', **asdict(part)})}\n\nAttached: {part.words}"
            case ReasoningPart(text=text) if with_reasoning:
                yield _mark(word, {"part": "reasoning"})
                yield _quoted(f"**{thought(message)}**\n\n{safe_text(text)}")
            case ToolCallPart() if part not in calls and not is_tool_run(message):
                yield _mark(word, {"part": "tool_call", **asdict(part)})
            case ToolCallPart(call_id=call_id, name=name, arguments=arguments):
                title = f"Tool call `{safe_line(name).replace('`', chr(39))}`"
                yield from _fenced(
                    title, arguments, word, part="tool_call", call_id=call_id, name=name
                )
            case ToolResultPart(text=text):
                yield from _fenced("Result", text, word, part="tool_result")
            case _:
                pass
    if is_tool_run(message):
        yield _note(word, "</details>")
    if end := ending(message):
        yield _note(word, _quoted(f"**{end[0]}.** {end[1]}".rstrip()))


def _text(text: str, word: str, name: str, *, is_first: bool = False) -> Iterator[str]:
    """Yield a text after its mark; an unchanged first one needs no mark."""
    shown, changes = _escaped(safe_text(text))
    if fence := open_fence(shown):
        changes["added"] = fence.marks if shown.endswith("\n") else f"\n{fence.marks}"
    if changes or not is_first:
        yield _mark(word, {"part": name, **changes})
    yield shown + str(changes.get("added", ""))


def _fenced(title: str, text: str, word: str, **facts: object) -> Iterator[str]:
    shown, changes = _escaped(safe_text(text))
    fence = fence_for(shown)
    yield _mark(word, {**facts, **changes})
    yield f"{title}\n\n{fence}{'json' if facts['part'] == 'tool_call' else ''}\n{shown}\n{fence}"


def _escaped(text: str) -> tuple[str, dict[str, object]]:
    escaped, number = _TO_ESCAPE.subn(r"\1\3\\\2\4", text)
    return escaped, {"escaped": True} if number else {}


def _mark(word: str, facts: Mapping[str, object]) -> str:
    # Only ASCII, and no end of a comment within; reading JSON undoes both.
    text = json.dumps(facts).replace(">", r"\u003e").replace("--", r"-\u002d")
    return f"<!-- {word} {text} -->"


def _note(word: str, text: str) -> str:
    """Return what people read where the marks say it too."""
    return f"{_mark(word, {'part': 'note'})}\n\n{text}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _boundary(session: Session) -> str:
    """Return a word that is in no text; deterministic, to compare exports."""
    parts = (part for message in (*session.messages, *session.branches) for part in message.parts)
    taken = {
        found
        for part in parts
        for text in asdict(part).values()
        for found in _WORD.findall(str(text))
    }
    own = session.header.session_id
    # Numbered: words that are hashes of each other would repeat after some ten thousand.
    seeds = (own if number == 0 else f"{number} {own}" for number in count())
    words = (hashlib.sha256(seed.encode(errors="replace")).hexdigest()[:8] for seed in seeds)
    return next(word for word in words if word not in taken)
