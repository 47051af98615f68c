"""Reading back what `to_markdown` wrote: the frame tells what is whose, the texts are never interpreted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Failure,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
)
from lmchat.domain.message_path import MessagePath
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import FileRefused
from lmchat.formats.markdown import FORMAT

_FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_GAP = "\n\n"

Piece = tuple[dict[str, Any], str]
"""What a mark says, and the block that follows it."""


def from_markdown(text: str) -> Session:
    """Read an export: the same path, with the texts as the export shows them.

    Raises:
        FileRefused: it is no Markdown that lmchat exported.
    """
    text = text.replace("\r\n", "\n")
    try:
        front = _front_matter(text)
        created_at = datetime.fromisoformat(front["created"])
        header = SessionHeader(
            session_id=front["id"],
            title=front["title"],
            created_at=created_at,
            updated_at=created_at,
            model=front["model"],
            endpoint=front["endpoint"],
        )
        return Session(header=header, messages=MessagePath(_messages(_pieces(text, front["frame"]))))
    except (ValueError, TypeError, KeyError) as error:
        raise FileRefused(
            "This is no Markdown that lmchat exported.",
            hint="Import it as text instead.",
            details=repr(error),
        ) from error


def _front_matter(text: str) -> dict[str, Any]:
    match = _FRONT.match(text)
    if match is None:
        raise ValueError("no front matter")
    rows = dict(line.split(": ", 1) for line in match[1].split("\n"))
    front = {name: json.loads(value) for name, value in rows.items()}
    if front["lmchat"] != FORMAT:
        raise ValueError("another version of the format")
    return front


def _pieces(text: str, word: str) -> Iterator[Piece]:
    marks = list(re.finditer(rf"^<!-- {re.escape(word)} (\{{.*\}}) -->$", text, re.MULTILINE))
    ends = [mark.start() - len(_GAP) for mark in marks[1:]] + [len(text.removesuffix("\n"))]
    for mark, end in zip(marks, ends, strict=True):
        yield json.loads(mark[1]), text[mark.end() + len(_GAP) : end]


def _messages(pieces: Iterator[Piece]) -> Iterator[ChatMessage]:
    facts: dict[str, Any] = {}
    parts: list[Part] = []
    parent_id: str | None = None
    for piece, block in pieces:
        if "role" in piece:
            if facts:
                yield _message(facts, parts, parent_id)
                parent_id = facts["id"]
            _, gap, said = block.partition(_GAP)  # after the heading
            facts, parts = piece, [TextPart(text=said)] if gap else []
        else:
            parts += _part(piece, block)
    if facts:
        yield _message(facts, parts, parent_id)


def _part(piece: dict[str, Any], block: str) -> list[Part]:
    match piece["part"]:
        case "text":
            return [TextPart(text=block.removesuffix(piece.get("added", "")))]
        case "refusal":
            return [RefusalPart(text=block.removesuffix(piece.get("added", "")))]
        case "reasoning":
            lines = [line[2:] for line in block.split("\n")]
            return [ReasoningPart(text="\n".join(lines[2:]))]  # after the line that says for how long
        case "tool_call":
            arguments = "\n".join(block.split("\n")[3:-1])
            return [ToolCallPart(call_id=piece["call_id"], name=piece["name"], arguments=arguments)]
        case _:
            return []  # notes say again what the facts say


def _message(facts: dict[str, Any], parts: list[Part], parent_id: str | None) -> ChatMessage:
    failure = facts.get("failure")
    return ChatMessage(
        message_id=facts["id"],
        role=Role(facts["role"]),
        parts=tuple(parts),
        created_at=datetime.fromisoformat(facts["created"]),
        parent_id=parent_id,
        state=AnswerState(facts.get("state", AnswerState.COMPLETE)),
        model=facts.get("model", ""),
        endpoint=facts.get("endpoint", ""),
        failure=Failure(kind=failure["kind"], message=failure["message"]) if failure else None,
    )
