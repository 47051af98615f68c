"""Import of a Markdown export by its markers; the texts are not interpreted.

`markdown_write` describes the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import fields, replace

from lmchat.domain.message import (
    EDITED,
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
_GAP = "\n\n"  # between blocks


class MarkedText(Struct, frozen=True, kw_only=True):
    """JSON object of a marker, and the text after it."""

    marker: Record
    text: str
    line: int  # number of the marker's line, counted from 1


class _ReadEntry(Struct, frozen=True, kw_only=True):
    """Message, and what its marker says of the tree."""

    message: ChatMessage
    is_in_branch: bool  # else it is on the path
    place: int  # number of the message in the tree, counted from 0
    branch_name: str


def from_markdown(text: str) -> Session:
    """Return the session of a Markdown export, with its branches.

    Raises `FileRefused` for a text that is no export, and for one that was cut off or changed.
    """
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
        marker_word = re.escape(front["frame"])
        expected_count = int(front["messages"]) if "messages" in front else None
    except BAD_VALUE_ERRORS as error:
        raise FileRefused(
            "This is not a Markdown export of lmchat.",
            hint="An export begins with lines from `---` to `---`.",
            details=repr(error),
        ) from error

    entries = _entries(_marked_texts(text, marker_word))
    if expected_count not in (None, len(entries)):
        raise FileRefused(
            f"It has {len(entries)} of {expected_count} messages: it was cut off or edited.",
            hint=f"To import it anyway, write `messages: {len(entries)}` in its first lines.",
        )
    return _session(header, entries)


def _session(header: SessionHeader, entries: list[_ReadEntry]) -> Session:
    """Return the session of entries, which are in the order of the file: first those of the path.

    Its time of change is the newest time on the path, because the front matter has none. Without
    branches, its `tree` is empty.
    """
    path_entries = list(takewhile(lambda entry: not entry.is_in_branch, entries))
    path = MessagePath(entry.message for entry in path_entries)
    tree: list[_ReadEntry] = []
    if len(path_entries) < len(entries):
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
    """Return the values in the first lines of an export, by name.

    Raises one of `BAD_VALUE_ERRORS` for other lines, or for an export of another version.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise ValueError("no front matter")
    json_by_name = dict(line.split(": ", 1) for line in match[1].split("\n"))
    front = {name: json.loads(value) for name, value in json_by_name.items()}
    if front["lmchat"] not in (FORMAT, FORMAT_WITH_BRANCHES):
        raise ValueError("another version of the format")
    return front


def _marked_texts(text: str, marker_word: str) -> Iterator[MarkedText]:
    """Yield each marker with the text after it, up to the next marker.

    `marker_word` is the word at the beginning of all markers of this file, escaped for a regular
    expression. Raises `FileRefused` for a marker that is no JSON object.
    """
    # A line like `<!-- 3f9a12bc {"part": "text"} -->`.
    matches = list(re.finditer(rf"^<!-- {marker_word} (\{{.*\}}) -->$", text, re.MULTILINE))
    # Each text ends with the gap before the next marker, and the last one with the file.
    text_ends = [match.start() - len(_GAP) for match in matches[1:]]
    text_ends.append(len(text.removesuffix("\n")))
    line = 1
    counted_end = 0  # offset up to which lines are counted
    # not strict: a file without markers has no match, but one end
    for match, text_end in zip(matches, text_ends, strict=False):
        line += text.count("\n", counted_end, match.start())
        counted_end = match.start()
        with _refusing_changed_line(line):
            marker = dict(json.loads(match[1]))
        text_begin = match.end() + len(_GAP)
        yield MarkedText(marker=marker, text=text[text_begin:text_end], line=line)


def _entries(marked_texts: Iterable[MarkedText]) -> list[_ReadEntry]:
    """Return the messages in the order of the file; raises `FileRefused` for a changed one.

    A marker with a role begins a message. The text after it has the heading and, below that, the
    first part of the message if it is a text. The markers that follow, up to the next role, are of
    its other parts.
    """
    messages: list[tuple[MarkedText, list[Part]]] = []
    for marked in marked_texts:
        if "role" in marked.marker:
            _heading, gap, text = marked.text.partition(_GAP)
            messages.append((marked, [TextPart(text=text)] if gap else []))
        elif messages:
            with _refusing_changed_line(marked.line):
                last_parts = messages[-1][1]
                last_parts += _parts_of(marked.marker, marked.text)

    entries: list[_ReadEntry] = []
    for marked, parts in messages:
        with _refusing_changed_line(marked.line):
            previous_id = entries[-1].message.message_id if entries else None
            entries.append(_entry(marked.marker, parts, previous_id))
    return entries


def _entry(marker: Record, parts: Iterable[Part], previous_id: str | None) -> _ReadEntry:
    """Return the entry of a message with these parts.

    Its parent is the message with the id `previous_id`, unless its marker names one, as markers of
    branches do.
    """
    message = ChatMessage(
        message_id=marker["id"],
        role=marker["role"],
        parts=tuple(parts),
        created_at=marker["created"],
        parent_id=marker.get("parent", previous_id),
        state=marker.get("state", "complete"),
        model=marker.get("model", ""),
        endpoint=marker.get("endpoint", ""),
        receipt=EDITED if marker.get("edited") else None,
        failure=marker.get("failure"),
    )
    return _ReadEntry(
        message=validated(message),
        is_in_branch="parent" in marker,
        place=int(marker.get("place", 0)),
        branch_name=str(marker.get("branch", "")),
    )


def _parts_of(marker: Record, text: str) -> list[Part]:
    """Return the part of a marker and the text after it, in a list.

    The list is empty for a note, a text for people, which repeats what markers hold.
    """
    kind = marker["part"]
    if kind == "file":
        return [FilePart(**{field.name: marker[field.name] for field in fields(FilePart)})]
    if kind == "reasoning":
        lines = [line[len("> ") :] for line in text.split("\n")]
        # The first two lines are `**Thought for 2.0 s**` and an empty one.
        return [ReasoningPart(text="\n".join(lines[2:]))]
    if kind == "tool_call":
        arguments = marker["arguments"] if "arguments" in marker else _fenced_text(text)
        arguments = _without_changes(arguments, marker)
        return [ToolCallPart(call_id=marker["call_id"], name=marker["name"], arguments=arguments)]
    if kind not in TEXT_PARTS:
        return []
    if kind == "tool_result":
        text = _fenced_text(text)
    return [TEXT_PARTS[kind](text=_without_changes(text, marker))]


def _fenced_text(text: str) -> str:
    """Return the text in a code block; `text` is a title and this block."""
    lines = text.split("\n")
    # Before it are the title, an empty line and the opening fence; after it is the closing fence.
    return "\n".join(lines[3:-1])


def _without_changes(text: str, marker: Record) -> str:
    """Undo the changes of the export that the marker names: `added` and `escaped`."""
    text = text.removesuffix(marker.get("added", ""))
    return unescape(text) if marker.get("escaped") else text


def _refusing_changed_line(line: int) -> AbstractContextManager[None]:
    """Refuse the file if the block raises an error for a value of a wrong type."""
    return refusing_changes(f"Line {line} was changed after the export.")
