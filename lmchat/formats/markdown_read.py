"""Import of a Markdown export by its marks; the texts are not interpreted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from msgspec import Struct
from msgspec.structs import fields, replace

from lmchat.domain.message import (
    TEXT_PARTS,
    ChatMessage,
    FilePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)
from lmchat.domain.session import MessagePath, Session, SessionHeader
from lmchat.errors import FileRefused
from lmchat.formats.file_values import BAD_VALUE_ERRORS, Record
from lmchat.formats.markdown_write import FORMAT, FORMAT_WITH_BRANCHES, unescape
from lmchat.formats.normalizing import refusing_changes, validated

_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_GAP = "\n\n"


class MarkedText(Struct, frozen=True, kw_only=True):
    """Facts of a mark, and the text after it."""

    facts: Record
    text: str
    line: int  # line of the mark, counted from 1


class _ReadEntry(Struct, frozen=True, kw_only=True):
    """Message, and what its mark says of the tree."""

    message: ChatMessage
    begins_branch: bool
    place: int
    branch_name: str


def from_markdown(text: str) -> Session:
    """Read an export with its branches; raises `FileRefused` if it is not ours, or broken."""
    text = text.replace("\r\n", "\n")
    try:
        front = _front_matter(text)
        header = validated(
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
        frame = re.escape(front["frame"])
        promised = int(front["messages"]) if "messages" in front else None
    except BAD_VALUE_ERRORS as error:
        raise FileRefused(
            "This is not a Markdown export of lmchat.",
            hint="An export begins with lines from `---` to `---`.",
            details=repr(error),
        ) from error

    entries = _entries(_marked_texts(text, frame))
    if promised not in (None, len(entries)):
        raise FileRefused(
            f"It has {len(entries)} of {promised} messages: it was cut off or edited.",
            hint=f"To import it anyway, write `messages: {len(entries)}` in its first lines.",
        )
    return _session(header, entries)


def _session(header: SessionHeader, entries: list[_ReadEntry]) -> Session:
    branches = (at for at, entry in enumerate(entries) if entry.begins_branch)
    path_end = next(branches, len(entries))
    path = MessagePath(entry.message for entry in entries[:path_end])
    tree: list[_ReadEntry] = []
    if path_end < len(entries):
        tree = sorted(entries, key=lambda entry: entry.place)
    times = [header.created_at, *(message.created_at for message in path)]
    return Session(
        header=replace(header, updated_at=max(times)),
        messages=path,
        tree=tuple(entry.message for entry in tree),
        branch_names={
            entry.message.message_id: entry.branch_name for entry in entries if entry.branch_name
        },
    )


def _front_matter(text: str) -> Record:
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise ValueError("no front matter")
    rows = dict(line.split(": ", 1) for line in match[1].split("\n"))
    front = {name: json.loads(value) for name, value in rows.items()}
    if front["lmchat"] not in (FORMAT, FORMAT_WITH_BRANCHES):
        raise ValueError("another version of the format")
    return front


def _marked_texts(text: str, frame: str) -> Iterator[MarkedText]:
    marks = list(re.finditer(rf"^<!-- {frame} (\{{.*\}}) -->$", text, re.MULTILINE))
    ends = [mark.start() - len(_GAP) for mark in marks[1:]]
    ends.append(len(text.removesuffix("\n")))
    line = 1
    counted = 0  # offset up to which lines are counted
    for mark, end in zip(marks, ends, strict=False):
        line += text.count("\n", counted, mark.start())
        counted = mark.start()
        with _changes_refused(line):
            facts = dict(json.loads(mark[1]))
        yield MarkedText(facts=facts, text=text[mark.end() + len(_GAP) : end], line=line)


def _entries(marked: Iterable[MarkedText]) -> list[_ReadEntry]:
    """Return the messages with the facts of their marks, in the order of the file."""
    heads: list[tuple[MarkedText, list[Part]]] = []
    for found in marked:
        if "role" in found.facts:
            _, gap, text = found.text.partition(_GAP)  # after the heading
            heads.append((found, [TextPart(text=text)] if gap else []))
        elif heads:
            with _changes_refused(found.line):
                heads[-1][1].extend(_parts(found.facts, found.text))

    entries: list[_ReadEntry] = []
    for head, parts in heads:
        with _changes_refused(head.line):
            previous_id = entries[-1].message.message_id if entries else None
            entries.append(_entry(head.facts, parts, previous_id))
    return entries


def _entry(facts: Record, parts: Iterable[Part], previous_id: str | None) -> _ReadEntry:
    """Return a message; its parent is the one before it, unless its mark names another."""
    message = ChatMessage(
        message_id=facts["id"],
        role=facts["role"],
        parts=tuple(parts),
        created_at=facts["created"],
        parent_id=facts.get("parent", previous_id),
        state=facts.get("state", "complete"),
        model=facts.get("model", ""),
        endpoint=facts.get("endpoint", ""),
        failure=facts.get("failure"),
    )
    return _ReadEntry(
        message=validated(message),
        begins_branch="parent" in facts,
        place=int(facts.get("place", 0)),
        branch_name=str(facts.get("branch", "")),
    )


def _parts(facts: Record, text: str) -> list[Part]:
    """Return the part of a mark; a note, which repeats for people what marks hold, has none."""
    kind = facts["part"]
    if kind == "file":
        return [FilePart(**{field.name: facts[field.name] for field in fields(FilePart)})]
    if kind == "reasoning":
        lines = [line[2:] for line in text.split("\n")]
        return [ReasoningPart(text="\n".join(lines[2:]))]  # after the line that says for how long
    if kind == "tool_call":
        arguments = facts["arguments"] if "arguments" in facts else _fenced_text(text)
        arguments = _unchanged(arguments, facts)
        return [ToolCallPart(call_id=facts["call_id"], name=facts["name"], arguments=arguments)]
    if kind not in TEXT_PARTS:
        return []
    if kind == "tool_result":
        text = _fenced_text(text)
    return [TEXT_PARTS[kind](text=_unchanged(text, facts))]


def _fenced_text(text: str) -> str:
    """Return the text in the fence after a title."""
    return "\n".join(text.split("\n")[3:-1])


def _unchanged(text: str, facts: Record) -> str:
    """Undo what the mark says of a text."""
    text = text.removesuffix(facts.get("added", ""))
    return unescape(text) if facts.get("escaped") else text


def _changes_refused(line: int) -> AbstractContextManager[None]:
    return refusing_changes(f"Line {line} was changed after the export.")
