"""Import of a Markdown export by its frame; the texts are not interpreted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

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
from lmchat.formats.checks import WRONG, checked, unchanged
from lmchat.formats.markdown_write import FORMAT, FORMAT_WITH_BRANCHES, unescape

_FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_GAP = "\n\n"


class MarkedText(NamedTuple):
    """Mark, and the text after it."""

    facts: dict[str, Any]
    text: str
    line: int  # line of the mark, counted from 1


def from_markdown(text: str) -> Session:
    """Read an export with its branches; raises `FileRefused` if it is not ours, or broken."""
    text = text.replace("\r\n", "\n")
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
            "This is not a Markdown export of lmchat.",
            hint="An export begins with lines from `---` to `---`.",
            details=repr(error),
        ) from error
    entries = _entries(_marked_texts(text, word))
    if promised not in (None, len(entries)):
        raise FileRefused(
            f"It has {len(entries)} of {promised} messages: it was cut off or edited.",
            hint=f"To import it anyway, write `messages: {len(entries)}` in its first lines.",
        )
    end = next((at for at, (facts, _) in enumerate(entries) if "parent" in facts), len(entries))
    path = [message for _, message in entries[:end]]
    tree = sorted(entries, key=lambda entry: entry[0].get("place", 0)) if end < len(entries) else []
    updated_at = (
        max(header.created_at, *(one.created_at for one in path)) if path else header.created_at
    )
    return Session(
        header=replace(header, updated_at=updated_at),
        messages=MessagePath(path),
        tree=tuple(message for _, message in tree),
        branch_names={
            one.message_id: facts["branch"] for facts, one in entries if facts.get("branch")
        },
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


def _marked_texts(text: str, word: str) -> Iterator[MarkedText]:
    marks = list(re.finditer(rf"^<!-- {word} (\{{.*\}}) -->$", text, re.MULTILINE))
    starts = [mark.start() - len(_GAP) for mark in marks] + [len(text.removesuffix("\n"))]
    line, counted = 1, 0
    for mark, end in zip(marks, starts[1:], strict=True):
        line, counted = line + text.count("\n", counted, mark.start()), mark.start()
        with _at(line):
            yield MarkedText(dict(json.loads(mark[1])), text[mark.end() + len(_GAP) : end], line)


def _entries(marked: Iterable[MarkedText]) -> list[tuple[dict[str, Any], ChatMessage]]:
    """Return the messages with the facts of their marks, in the order of the file."""
    heads: list[tuple[MarkedText, list[Part]]] = []
    for one in marked:
        if "role" in one.facts:
            _, gap, said = one.text.partition(_GAP)  # after the heading
            heads.append((one, [TextPart(text=said)] if gap else []))
        elif heads:
            with _at(one.line):
                heads[-1][1].extend(_part(one.facts, one.text))
    entries: list[tuple[dict[str, Any], ChatMessage]] = []
    for head, parts in heads:
        with _at(head.line):
            facts = head.facts | {"place": int(head.facts.get("place", 0))}
            # the parent is the previous message in the file, unless the mark names another
            previous_id = entries[-1][1].message_id if entries else None
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
            entries.append((facts | {"branch": str(facts.get("branch", ""))}, checked(message)))
    return entries


def _part(facts: dict[str, Any], text: str) -> list[Part]:
    name = facts["part"]
    if name == "file":
        return [FilePart(**{field.name: facts[field.name] for field in fields(FilePart)})]
    if name == "reasoning":
        lines = [line[2:] for line in text.split("\n")]
        return [ReasoningPart(text="\n".join(lines[2:]))]  # after the line that says for how long
    if "arguments" in facts:  # of a call that a tool message repeats
        text = facts["arguments"]
    elif name in ("tool_call", "tool_result"):
        text = "\n".join(text.split("\n")[3:-1])  # the fence and what is around it
    text = text.removesuffix(facts.get("added", ""))
    if facts.get("escaped"):
        text = unescape(text)
    if name == "tool_call":
        return [ToolCallPart(call_id=facts["call_id"], name=facts["name"], arguments=text)]
    # a note repeats for people what the facts hold
    return [TEXT_PARTS[name](text=text)] if name in TEXT_PARTS else []


def _at(line: int) -> AbstractContextManager[None]:
    return unchanged(f"Line {line} was changed after the export.")
