"""Import of a Markdown export by its frame; the texts are not interpreted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, Part, ReasoningPart, RefusalPart, TextPart, ToolCallPart
from lmchat.domain.path import MessagePath
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import FileRefused
from lmchat.formats.checks import WRONG, Content, Reading, checked, unchanged
from lmchat.formats.markdown_write import FORMAT, FORMAT_WITH_BRANCHES, unescape

_FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_GAP = "\n\n"


class Piece(NamedTuple):
    """Mark and the block after it."""

    facts: dict[str, Any]
    block: str
    line: int  # line of the mark, counted from 1


class ReadMessage(NamedTuple):
    """Message and its place in the tree."""

    message: ChatMessage  # its parent is the previous message in the file, unless the mark names another
    is_first_of_branch: bool
    place: int  # in the order of writing
    branch_name: str


def is_markdown(content: Content) -> bool:
    """Return whether a file may be a Markdown export."""
    return content.text.startswith("-")


def from_markdown(content: Content) -> Reading:
    """Read an export with its branches; raises `FileRefused` if it is not ours, or broken."""
    text = content.text.replace("\r\n", "\n")
    try:
        front = _front_matter(text)
        header = checked(
            SessionHeader(
                session_id=front["id"],
                title=front["title"],
                created_at=front["created"],
                updated_at=front["created"],
                model=front["model"],
                endpoint=front["endpoint"],
                tags=tuple(front.get("tags", ())),
            )
        )
        word = re.escape(front["frame"])
        promised = int(front["messages"]) if "messages" in front else None
    except WRONG as error:
        raise FileRefused(
            "This is no Markdown that lmchat exported.",
            hint="It begins with the lines from `---` to `---` that an export has.",
            details=repr(error),
        ) from error
    entries = list(_entries(_pieces(text, word)))
    if promised not in (None, len(entries)):
        raise FileRefused(
            f"It has {len(entries)} of {promised} messages: it was cut off, or changed by hand.",
            hint=f"With `messages: {len(entries)}` in its first lines it is imported as it is.",
        )
    return Reading(sessions=(_session(header, entries),))


def _front_matter(text: str) -> dict[str, Any]:
    match = _FRONT.match(text)
    if match is None:
        raise ValueError("no front matter")
    rows = dict(line.split(": ", 1) for line in match[1].split("\n"))
    front = {name: json.loads(value) for name, value in rows.items()}
    if front["lmchat"] not in (FORMAT, FORMAT_WITH_BRANCHES):
        raise ValueError("another version of the format")
    return front


def _session(header: SessionHeader, entries: list[ReadMessage]) -> Session:
    end = next((at for at, entry in enumerate(entries) if entry.is_first_of_branch), len(entries))
    path = [entry.message for entry in entries[:end]]
    updated_at = max(header.created_at, *(one.created_at for one in path)) if path else header.created_at
    tree = sorted(entries, key=lambda entry: entry.place) if end < len(entries) else []
    return Session(
        header=replace(header, updated_at=updated_at),
        messages=MessagePath(path),
        tree=tuple(entry.message for entry in tree),
        branch_names={entry.message.message_id: entry.branch_name for entry in entries if entry.branch_name},
    )


def _pieces(text: str, word: str) -> Iterator[Piece]:
    marks = list(re.finditer(rf"^<!-- {word} (\{{.*\}}) -->$", text, re.MULTILINE))
    starts = [mark.start() - len(_GAP) for mark in marks] + [len(text.removesuffix("\n"))]
    line, counted = 1, 0
    for mark, end in zip(marks, starts[1:], strict=True):
        line, counted = line + text.count("\n", counted, mark.start()), mark.start()
        with _at(line):
            yield Piece(dict(json.loads(mark[1])), text[mark.end() + len(_GAP) : end], line)


def _entries(pieces: Iterable[Piece]) -> Iterator[ReadMessage]:
    head: Piece | None = None
    parts: list[Part] = []
    last_id: str | None = None
    for piece in pieces:
        if "role" not in piece.facts:
            with _at(piece.line):
                parts += _part(piece.facts, piece.block)
            continue
        if head is not None:
            yield _entry(head, parts, last_id)
            last_id = head.facts["id"]
        _, gap, said = piece.block.partition(_GAP)  # after the heading
        head, parts = piece, [TextPart(text=said)] if gap else []
    if head is not None:
        yield _entry(head, parts, last_id)


def _part(facts: dict[str, Any], block: str) -> list[Part]:
    name = facts["part"]
    if name == "reasoning":
        lines = [line[2:] for line in block.split("\n")]
        return [ReasoningPart(text="\n".join(lines[2:]))]  # after the line that says for how long
    text = "\n".join(block.split("\n")[3:-1]) if name == "tool_call" else block
    text = text.removesuffix(facts.get("added", ""))
    if facts.get("escaped"):
        text = unescape(text)
    match name:
        case "text":
            return [TextPart(text=text)]
        case "refusal":
            return [RefusalPart(text=text)]
        case "tool_call":
            return [ToolCallPart(call_id=facts["call_id"], name=facts["name"], arguments=text)]
        case _:
            return []  # a note repeats for people what the facts hold


def _entry(head: Piece, parts: list[Part], last_id: str | None) -> ReadMessage:
    facts = head.facts
    with _at(head.line):
        message = ChatMessage(
            message_id=facts["id"],
            role=facts["role"],
            parts=tuple(parts),
            created_at=facts["created"],
            parent_id=facts.get("parent", last_id),
            state=facts.get("state", "complete"),
            model=facts.get("model", ""),
            endpoint=facts.get("endpoint", ""),
            failure=facts.get("failure"),
        )
        place, name = int(facts.get("place", 0)), str(facts.get("branch", ""))
        return ReadMessage(checked(message), "parent" in facts, place, name)


def _at(line: int) -> AbstractContextManager[None]:
    return unchanged(f"Line {line} is not as lmchat wrote it.")
