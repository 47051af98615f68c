"""A session as Markdown that people read, and that can be read back without guessing.

Every entry and every part begins with a comment line that renders as nothing:

    <!-- 3f9a12bc {"role": "user", …} -->

Its word, told in the front matter, occurs in no text of the session, so that nothing which a text holds
(headings, fences, front matter, the export of another session) is taken for the frame. Texts stand between
exactly one blank line before and one after, as they are but for the filter of `safe_text`.

The path comes first. Where branches are wanted, each stands behind it under a heading, and the mark of its
first message tells the parent; `place` tells the order in which all of them were written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from itertools import count

from lmchat.domain.message import (
    ChatMessage,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    fence_for,
)
from lmchat.domain.session import Session
from lmchat.formats.writing import REFUSED, answer_tokens, branches, ending, moment, places, speaker, thought
from lmchat.text import open_fence, safe_line, safe_text

FORMAT = 1
"""Version of this scheme, in the front matter."""
FORMAT_WITH_BRANCHES = 2
"""Its version where branches follow the path: who knows only the first would take them for a part of it."""
_WORD = re.compile(r"<!-- ([0-9a-f]{8}) ")


def to_markdown(session: Session, *, with_reasoning: bool = False, zone: tzinfo | None = UTC) -> str:
    """Return the chosen path as Markdown, and behind it the branches that the session comes with."""
    word, order = _boundary(session), places(session)
    blocks = [_front_matter(session, word)]

    def add(message: ChatMessage, more: dict[str, object]) -> None:
        facts = _facts(message) | more
        if message.message_id in order:
            facts["place"] = order[message.message_id]
        if message.message_id in session.branch_names:
            facts["branch"] = session.branch_names[message.message_id]
        blocks.extend(_entry(message, facts, word, zone=zone, with_reasoning=with_reasoning))

    for message in session.messages:
        add(message, {})
    for branch in branches(session):
        blocks += [_mark(word, {"part": "note"}), f"# {branch.heading}"]
        first, *others = branch.messages
        add(first, {"parent": branch.parent.message_id if branch.parent else None})
        for message in others:
            add(message, {})
    return "\n\n".join(blocks) + "\n"


def _front_matter(session: Session, word: str) -> str:
    header = session.header
    tokens, is_estimated = answer_tokens(session)
    rows: dict[str, object] = {
        "title": safe_line(header.title),
        "id": safe_line(header.session_id),
        "model": safe_line(header.model),
        "endpoint": safe_line(header.endpoint),
        **({"tags": [safe_line(tag) for tag in header.tags]} if header.tags else {}),
        "created": header.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        "messages": len(session.messages) + len(session.branches),
        **({"tokens": tokens, "tokens_estimated": is_estimated} if tokens else {}),
        "lmchat": FORMAT_WITH_BRANCHES if session.branches else FORMAT,
        "frame": word,
    }
    # A JSON value is a YAML value too, and needs no other quoting.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in rows.items()]
    return "\n".join(["---", *lines, "---"])


def _entry(
    message: ChatMessage,
    facts: Mapping[str, object],
    word: str,
    *,
    zone: tzinfo | None,
    with_reasoning: bool,
) -> Iterator[str]:
    yield _mark(word, facts)
    yield f"## {speaker(message)} · {moment(message.created_at, zone)}"
    for index, part in enumerate(message.parts):
        match part:
            case TextPart(text=text):
                yield from _text(safe_text(text), word, is_first=index == 0)
            case RefusalPart(text=text):
                yield _mark(word, {"part": "note"})
                yield _quoted(f"**{REFUSED}.**")
                yield from _text(safe_text(text), word, name="refusal")
            case ReasoningPart(text=text) if with_reasoning:
                yield _mark(word, {"part": "reasoning"})
                yield _quoted(f"**{thought(message)}**\n\n{safe_text(text)}")
            case ToolCallPart():
                yield _mark(word, {"part": "tool_call", "call_id": part.call_id, "name": part.name})
                yield _call(part)
            case _:
                pass
    end = ending(message)
    if end is not None:
        yield _mark(word, {"part": "note"})
        yield _quoted(f"**{end[0]}.** {end[1]}".rstrip())


def _text(text: str, word: str, *, name: str = "text", is_first: bool = False) -> Iterator[str]:
    """Yield a text; a fence that it leaves open is closed, and the mark tells what was added for that."""
    fence = open_fence(text)
    added = "" if fence is None else fence.marks if text.endswith("\n") else f"\n{fence.marks}"
    if not is_first or added:
        yield _mark(word, {"part": name, "added": added} if added else {"part": name})
    yield text + added


def _facts(message: ChatMessage) -> dict[str, object]:
    facts: dict[str, object] = {
        "role": str(message.role),
        "id": message.message_id,
        "created": message.created_at.astimezone(UTC).isoformat(),
    }
    if message.role is Role.ASSISTANT:
        facts |= {"model": message.model, "endpoint": message.endpoint, "state": str(message.state)}
    if message.failure is not None:
        facts |= {"failure": {"kind": message.failure.kind, "message": message.failure.message}}
    return facts


def _mark(word: str, facts: Mapping[str, object]) -> str:
    # Only ASCII, and no end of a comment within; reading JSON undoes both.
    text = json.dumps(facts).replace(">", r"\u003e").replace("--", r"-\u002d")
    return f"<!-- {word} {text} -->"


def _call(part: ToolCallPart) -> str:
    arguments = safe_text(part.arguments)
    fence = fence_for(arguments)
    name = safe_line(part.name).replace("`", "'")
    return f"Tool call `{name}`\n\n{fence}json\n{arguments}\n{fence}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _texts(parts: tuple[Part, ...]) -> Iterator[str]:
    for part in parts:
        match part:
            case TextPart(text=text) | ReasoningPart(text=text) | RefusalPart(text=text):
                yield text
            case ToolCallPart(name=name, arguments=arguments):
                yield name
                yield arguments


def _boundary(session: Session) -> str:
    """Return a word that is in no text: the same for the same session, so that exports can be compared."""
    said = (*session.messages, *session.branches)
    texts = (text for message in said for text in _texts(message.parts))
    taken = {found for text in texts for found in _WORD.findall(text)}
    own = session.header.session_id
    # Counted, for words that are made of each other would come round again one day.
    words = (_word(own if number == 0 else f"{number} {own}") for number in count())
    return next(word for word in words if word not in taken)


def _word(seed: str) -> str:
    return hashlib.sha256(seed.encode(errors="replace")).hexdigest()[:8]
