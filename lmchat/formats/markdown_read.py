"""Reading back what `to_markdown` wrote: the frame tells what is whose, the texts are never interpreted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec.structs import replace

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
from lmchat.domain.path import MessagePath
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import FileRefused
from lmchat.formats.checks import checked, checked_header, moment_of
from lmchat.formats.markdown_write import FORMAT, FORMAT_WITH_BRANCHES

_FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_GAP = "\n\n"
_WRONG = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What comes of values that are not what they should be."""


class Piece(NamedTuple):
    """What a mark says, and the block that follows it."""

    facts: dict[str, Any]
    """Of the mark."""
    block: str
    """As it stands."""
    line: int
    """Where the mark is, counted from 1."""


class Entry(NamedTuple):
    """A message, and what its mark says of its place."""

    message: ChatMessage
    """With the message before it in the file as its parent, unless the mark names another."""
    is_first_of_branch: bool
    """Whether the mark names its parent."""
    place: int
    """In the order in which all were written."""
    name: str
    """What people call the branch that begins with it; mostly nothing."""


def from_markdown(text: str) -> Session:
    """Read an export: the same path, with the texts as the export shows them, and the branches in it.

    Raises:
        FileRefused: it is no Markdown that lmchat exported, or a line of it is broken.
    """
    text = text.replace("\r\n", "\n")
    try:
        front = _front_matter(text)
        created_at = moment_of(front["created"])
        header = checked_header(
            SessionHeader(
                session_id=front["id"],
                title=front["title"],
                created_at=created_at,
                updated_at=created_at,
                model=front["model"],
                endpoint=front["endpoint"],
                tags=tuple(front.get("tags", ())),
            )
        )
        word = re.escape(front["frame"])
        told = int(front["messages"]) if "messages" in front else None
    except _WRONG as error:
        raise FileRefused(
            "This is no Markdown that lmchat exported.",
            hint="It begins with the lines from `---` to `---` that an export has.",
            details=repr(error),
        ) from error
    entries = list(_entries(_pieces(text, word)))
    if told not in (None, len(entries)):
        raise FileRefused(
            f"It has {len(entries)} of {told} messages: it was cut off, or changed by hand.",
            hint=f"With `messages: {len(entries)}` in its first lines it is imported as it is.",
        )
    return _session(header, entries)


def _session(header: SessionHeader, entries: list[Entry]) -> Session:
    end = next((at for at, entry in enumerate(entries) if entry.is_first_of_branch), len(entries))
    path = [entry.message for entry in entries[:end]]
    if path:
        header = replace(header, updated_at=max(header.created_at, *(one.created_at for one in path)))
    tree = sorted(entries, key=lambda entry: entry.place) if end < len(entries) else []
    return Session(
        header=header,
        messages=MessagePath(path),
        tree=tuple(entry.message for entry in tree),
        branch_names={entry.message.message_id: entry.name for entry in entries if entry.name},
    )


def _front_matter(text: str) -> dict[str, Any]:
    match = _FRONT.match(text)
    if match is None:
        raise ValueError("no front matter")
    rows = dict(line.split(": ", 1) for line in match[1].split("\n"))
    front = {name: json.loads(value) for name, value in rows.items()}
    if front["lmchat"] not in (FORMAT, FORMAT_WITH_BRANCHES):
        raise ValueError("another version of the format")
    return front


def _pieces(text: str, word: str) -> Iterator[Piece]:
    marks = list(re.finditer(rf"^<!-- {word} (\{{.*\}}) -->$", text, re.MULTILINE))
    starts = [mark.start() - len(_GAP) for mark in marks] + [len(text.removesuffix("\n"))]
    line, counted = 1, 0
    for mark, end in zip(marks, starts[1:], strict=True):
        line, counted = line + text.count("\n", counted, mark.start()), mark.start()
        with _told(line):
            yield Piece(dict(json.loads(mark[1])), text[mark.end() + len(_GAP) : end], line)


def _entries(pieces: Iterator[Piece]) -> Iterator[Entry]:
    head: Piece | None = None
    parts: list[Part] = []
    last_id: str | None = None
    for piece in pieces:
        with _told(piece.line):
            if "role" not in piece.facts:
                parts += _part(piece.facts, piece.block)
                continue
        if head is not None:
            yield _entry(head, parts, last_id)
            last_id = head.facts["id"]
        _, gap, said = piece.block.partition(_GAP)  # after the heading
        head, parts = piece, [TextPart(text=said)] if gap else []
    if head is not None:
        yield _entry(head, parts, last_id)


def _entry(head: Piece, parts: list[Part], last_id: str | None) -> Entry:
    facts = head.facts
    with _told(head.line):
        parent_id = facts.get("parent", last_id)
        return Entry(
            _message(facts, parts, parent_id),
            "parent" in facts,
            int(facts.get("place", 0)),
            str(facts.get("branch", "")),
        )


@contextmanager
def _told(line: int) -> Iterator[None]:
    """Refuse what cannot be read, and say where it stands."""
    try:
        yield
    except _WRONG as error:
        raise FileRefused(
            f"Line {line} is not as lmchat wrote it.",
            hint="Export the session once more, or undo what was changed there.",
            details=repr(error),
        ) from error


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
    message = ChatMessage(
        message_id=facts["id"],
        role=Role(facts["role"]),
        parts=tuple(parts),
        created_at=moment_of(facts["created"]),
        parent_id=parent_id,
        state=AnswerState(facts.get("state", AnswerState.COMPLETE)),
        model=facts.get("model", ""),
        endpoint=facts.get("endpoint", ""),
        failure=Failure(kind=failure["kind"], message=failure["message"]) if failure else None,
    )
    return checked(message)
