"""Builder of sessions from the chats of other programs.

Each format is one module. For JSON it has `fits(content)` and `read(content)`; `content.value` is one chat:
an object, or the list of the values of a JSON Lines file. For SQLite it has `fits(tables)` and
`read(connection, moment)`, and fetches each query whole, since an open one locks the database for its owner.
`read` yields what is left out of a chat, then the chat.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import (
    ChatMessage,
    FilePart,
    Part,
    ReasoningPart,
    Receipt,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.domain.session import MessagePath, Session, SessionHeader, Skipped, title_from
from lmchat.files import MAX_BYTES
from lmchat.formats.checks import WRONG, checked, checked_time, digest

T = TypeVar("T")

_SYSTEM = "system prompt"  # key of the message made of it
_THOUGHT = re.compile(r"\s*<(think|thinking)>(.*?)(?:</\1>\s*|\Z)", re.DOTALL)
_IMAGE = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,(.*)", re.DOTALL)
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000


class Picture(Struct, frozen=True, kw_only=True):
    """Image with its bytes."""

    name: str
    media_type: str
    data: bytes


class ForeignMessage(Struct, frozen=True, kw_only=True):
    """Message as another program has it."""

    key: str
    role: Role
    parts: tuple[Part | Picture, ...]
    """If empty, the message is left out, and those below it follow its parent.

    The call of a tool message needs only its id if an answer has it whole.
    """
    parent: str | None = None
    created_at: datetime | None = None
    model: str = ""
    receipt: Receipt | None = None


Rows = Mapping[str, ForeignMessage]
Step = Part | Picture | tuple[ToolCallPart, ToolResultPart]


class ForeignChat(Struct, frozen=True, kw_only=True):
    """Facts of a chat as another program has them."""

    source: str
    key: str
    title: str
    current: str | None = None
    """Key of the message at the end of the chosen path, by default the last one."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    system: str = ""
    model: str = ""
    is_archived: bool = False
    is_pinned: bool = False


def foreign_session(chat: ForeignChat, rows: Iterable[ForeignMessage], *, moment: datetime) -> Session:
    """Return a chat as a session; raises `ValueError` for values of wrong types.

    The id is a hash of source and key, so a chat is imported once. Messages without a time get that of the
    one before them. Parents that are missing are skipped over.
    """
    root = ForeignMessage(key=_SYSTEM, role=Role.SYSTEM, parts=spoken(chat.system))
    every = {_SYSTEM: root}
    for row in rows:
        every.setdefault(row.key, row)
    parts = (part for row in every.values() for part in row.parts)
    calls = {part.call_id: part for part in parts if isinstance(part, ToolCallPart) and part.name}
    session_id = digest(f"{chat.source} {chat.key}")
    above = {key: _kept_above(row, every) for key, row in every.items()}
    known = (row.created_at for row in every.values() if row.created_at is not None)
    time = next(known, chat.created_at or chat.updated_at or moment)
    tree: dict[str, ChatMessage] = {}
    files: dict[str, bytes] = {}
    for key, row in every.items():
        time = row.created_at or time
        if row.parts:
            message = ChatMessage(
                message_id=digest(f"{session_id} {key}"),
                role=row.role,
                parts=tuple(_stored(part, calls, files) for part in row.parts),
                created_at=time,
                parent_id=above[key] and digest(f"{session_id} {above[key]}"),
                model=row.model if row.role is Role.ASSISTANT else "",
                receipt=row.receipt,
            )
            tree[key] = checked(message)
    path: dict[str, ChatMessage] = {}
    end = chat.current if chat.current in every else next(reversed(every))
    leaf = end if every[end].parts else above[end]
    while leaf is not None and leaf not in path:
        path[leaf] = tree[leaf]
        leaf = above[leaf]
    times = [message.created_at for message in tree.values()]
    messages = MessagePath(reversed(path.values()))
    prompt = next((message.text for message in messages if message.role is Role.USER), "")
    header = SessionHeader(
        session_id=session_id,
        title=chat.title.strip() or title_from(prompt),
        created_at=chat.created_at or min(times, default=moment),
        updated_at=chat.updated_at or max(times, default=moment),
        model=chat.model or next((one.model for one in path.values() if one.model), ""),
        tags=(chat.source,),
        is_archived=chat.is_archived,
        is_pinned=chat.is_pinned,
    )
    return Session(header=checked(header), messages=messages, tree=tuple(tree.values()), files=files)


def spoken(text: str, *, thought: str = "") -> tuple[Part, ...]:
    """Return the parts of a text; `<think>` at its beginning marks reasoning."""
    if not thought and (found := _THOUGHT.match(text)):
        thought, text = found[2].strip(), text[found.end() :]
    parts: list[Part] = [ReasoningPart(text=thought)] if thought.strip() else []
    return (*parts, TextPart(text=text)) if text.strip() else tuple(parts)


def message_rows(
    key: str,
    parent: str | None,
    role: Any,
    steps: Callable[[Role], Iterable[Step]],
    others: Counter[str],
    **facts: Any,
) -> list[ForeignMessage]:
    """Return a message as rows, whose last one has its key; a damaged one is counted and left out.

    An answer with tool calls is one row up to their results, a row for each result, and one for the rest.
    """
    try:
        known = Role(role)
        found = list(steps(known))
    except WRONG:
        others["damaged message"] += 1
        return [ForeignMessage(key=key, parent=parent, role=Role.USER, parts=())]
    groups: list[tuple[Role, tuple[Part | Picture, ...]]] = []
    for step in found:
        if isinstance(step, tuple):
            groups.append((Role.TOOL, step))
        elif groups and groups[-1][0] is not Role.TOOL:
            groups[-1] = groups[-1][0], (*groups[-1][1], step)
        else:
            groups.append((Role.ASSISTANT if groups else known, (step,)))
    rows: list[ForeignMessage] = []
    for number, (author, parts) in enumerate(groups or [(known, ())]):
        own = key if number == max(len(groups) - 1, 0) else f"{key}.{number}"
        above = rows[-1].key if rows else parent
        rows.append(ForeignMessage(key=own, parent=above, role=author, parts=parts, **facts))
    return rows


def said(text: str, role: Role, *, thought: str = "") -> tuple[Part, ...]:
    """Return the parts of a text; only in an answer `<think>` marks reasoning."""
    if role is Role.ASSISTANT:
        return spoken(text, thought=thought)
    return (TextPart(text=text),) if text.strip() else ()


def picture(url: object, name: str) -> Picture | None:
    """Read an image of a `data:` URL; None for all else."""
    found = _IMAGE.match(url) if isinstance(url, str) else None
    with suppress(ValueError):
        if found and 0 < len(data := b64decode(found[2])) <= MAX_BYTES:
            return Picture(name=name or "image", media_type=found[1], data=data)
    return None


def left_out(title: str, kinds: Counter[str]) -> Iterator[Skipped]:
    """Tell what a chat has that is not imported: `Counter(image=2)`."""
    if kinds := +kinds:  # without zeros
        counts = (f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items())
        yield Skipped(where=f"“{title}”", reason=f"{', '.join(counts)} left out")


def each_chat(
    rows: Iterable[T], read: Callable[[T], Iterator[Session | Skipped]]
) -> Iterator[Session | Skipped]:
    """Read each chat of a database; one in which that fails is skipped."""
    for number, row in enumerate(rows, 1):
        try:
            yield from read(row)
        except WRONG:
            yield Skipped(where=f"chat {number}", reason="it is damaged")


def time_of(value: object) -> datetime | None:
    """Read seconds, milliseconds or ISO 8601, UTC by default; None for any other value."""
    with suppress(*WRONG, OSError):
        if isinstance(value, str):
            return checked_time(datetime.fromisoformat(value))
        if isinstance(value, int | float):
            return checked_time(datetime.fromtimestamp(value / 1000 if value > _FIRST_MS else value, UTC))
    return None


def _kept_above(row: ForeignMessage, every: Rows) -> str | None:
    """Return the nearest message above that is not left out; the system prompt is above all others."""
    seen = {row.key}
    above = every.get(row.parent or "")
    while above is not None and not above.parts and above.key not in seen:
        seen.add(above.key)
        above = every.get(above.parent or "")
    if above is not None and above.parts:
        return above.key
    return _SYSTEM if every[_SYSTEM].parts and row.key != _SYSTEM else None


def _stored(part: Part | Picture, calls: Mapping[str, ToolCallPart], files: dict[str, bytes]) -> Part:
    if isinstance(part, ToolCallPart) and not part.name:
        return calls.get(part.call_id) or replace(part, name="tool")
    if isinstance(part, Picture):
        key = sha256(part.data).hexdigest()
        files[key] = part.data
        return FilePart(name=part.name, media_type=part.media_type, digest=key, size=len(part.data))
    return part
