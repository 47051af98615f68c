"""Chats of other programs, and the sessions made of them.

Each format is one module. For JSON it has `fits(value)`, which recognises an object of a file, and
`read(value, source)`; for SQLite it has `fits(database)` and `read(database)`.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict

from lmchat.domain.message import (
    ChatMessage,
    FilePart,
    Part,
    ReasoningPart,
    Receipt,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.domain.session import MessagePath, Session, SessionHeader, Skipped, title_from
from lmchat.errors import FileRefused
from lmchat.files import image_type
from lmchat.formats.checks import WRONG, as_word, checked, checked_time, digest, sound, word
from lmchat.images import imported
from lmchat.text import plural

DAMAGED = "damaged message"
REPEATED = "repeated message"
_UNKNOWN = "unknown part"
_EMPTY: tuple[object, ...] = (None, "", [], {})
_SYSTEM = "system prompt"  # key of the message made of it
_THOUGHT = re.compile(r"\s*<(think|thinking)>(.*?)(?:</\1>\s*|\Z)", re.DOTALL)
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000
_LARGEST_FIGURE = 1e15  # of tokens or milliseconds; not a number is not smaller
_MOST_KINDS, _LONGEST = 10, 100  # of what is left out, and characters of a name
Step = str | Part | tuple[str | ToolCallPart, Any]
"""Text, another part, or a tool call, perhaps by its id, with its result."""


class ForeignMessage(Struct, frozen=True, kw_only=True):
    """Message as another program has it; without parts it is left out, and its parent takes its place."""

    role: Role
    parts: list[Part]
    parent: str | None
    created_at: datetime | None = None
    model: str = ""
    receipt: Receipt | None = None


class ForeignChat(Struct, kw_only=True):
    """Chat of another program, to which its messages are added."""

    source: str
    key: str
    title: str | None = ""
    current: str | None = (
        None  # key of the message at the end of the chosen path, by default the last one
    )
    created_at: datetime | None = None
    updated_at: datetime | None = None
    system: str | None = ""
    model: str = ""
    is_archived: bool = False
    is_pinned: bool = False
    session_id: str = ""  # by default a hash of source and key, so that a chat is imported once
    omitted: Counter[str] = field(
        default_factory=Counter
    )  # numbers of what is not imported, by its name
    rows: dict[str, ForeignMessage] = {}
    calls: dict[str, ToolCallPart] = {}
    files: dict[str, bytes] = {}

    @property
    def last(self) -> str | None:
        """Key of the message that was added last."""
        return next(reversed(self.rows), None)

    def add(
        self,
        key: Any,
        role: Any,
        steps: Iterable[Step],
        *,
        parent: str | None,
        created_at: datetime | None = None,
        model: str = "",
        receipt: Receipt | None = None,
    ) -> None:
        """Add a message; one that is damaged or has a known key is counted and left out.

        An answer with tool results becomes a message up to them, one for each result, and one for the rest,
        which has the key.
        """
        if not isinstance(key, str) or not key:
            self.omitted[DAMAGED] += 1
            return
        groups: list[tuple[Role, list[Part]]] = []
        try:
            author = Role(role)
            for step in steps:
                parts = list(self._parts(step, author))
                if isinstance(step, tuple):
                    groups.append((Role.TOOL, parts))
                elif groups and groups[-1][0] is not Role.TOOL:
                    groups[-1][1].extend(parts)
                elif parts:
                    groups.append((Role.ASSISTANT if groups else author, parts))
            for _, parts in groups:
                msgspec.convert(msgspec.to_builtins(parts), list[Part])
        except (*WRONG, msgspec.MsgspecError):
            self.omitted[DAMAGED] += 1
            groups = []
        groups = groups or [(Role.USER, [])]
        for number, (author, parts) in enumerate(groups, 1):
            is_answer, is_last = author is Role.ASSISTANT, number == len(groups)
            own = key if is_last else f"{key}.{number}"
            row = ForeignMessage(
                role=author,
                parts=parts,
                parent=parent if isinstance(parent, str) else None,
                created_at=created_at,
                model=as_word(model) if is_answer else "",
                receipt=_sound_receipt(receipt) if is_answer and is_last else None,
            )
            if own not in self.rows:
                self.rows[own] = row
            elif parts:
                self.omitted[REPEATED] += 1
            parent = own

    @contextmanager
    def damage_counted(self) -> Iterator[None]:
        """Count a message whose values are wrong, instead of losing the chat."""
        try:
            yield
        except WRONG:
            self.omitted[DAMAGED] += 1

    def omit(self, kind: object) -> None:
        """Count a part that is not imported, by the name that its program has for it."""
        self.omitted[as_word(kind) or _UNKNOWN] += 1

    def text(self, value: object) -> str:
        """Return a text, or those of a list of parts; count all else that is not empty."""
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(map(self.text, value))
        if isinstance(value, dict) and "text" in value:
            return self.text(value["text"])
        if value not in _EMPTY:
            self.omit(word(value, "type"))
        return ""

    def known(self, parent: object) -> str | None:
        """Return the parent of a message; that of one whose parent is lost is the message before it."""
        if not isinstance(parent, str) or parent in self.rows:
            return as_word(parent) or None
        return self.last

    def _parts(self, step: Step, author: Role) -> Iterator[Part]:
        """Yield what a step has; only in an answer `<think>` marks reasoning."""
        match step:
            case str():
                if author is Role.ASSISTANT and (found := _THOUGHT.match(step)):
                    yield from self._parts(ReasoningPart(text=found[2].strip()), author)
                    step = step[found.end() :]
                if step.strip():
                    yield TextPart(text=step)
            case (call, result):
                if isinstance(call, str):
                    call = self.calls.get(call) or call_of(call, "tool", "")
                yield call
                yield ToolResultPart(text=_result_text(result))
            case ToolCallPart():
                self.calls[step.call_id] = step
                yield step
            case FilePart():
                yield step
            case ReasoningPart() | TextPart() | RefusalPart():
                if step.text.strip():
                    yield step
            case _:
                raise TypeError

    def image(self, value: object, name: str = "") -> FilePart | None:
        """Take an image: bytes, base64, or a `data:` URL; None for all else."""
        name = name or "image"
        with suppress(ValueError, FileRefused):
            data = b64decode(value.rpartition(";base64,")[2]) if isinstance(value, str) else value
            if not isinstance(data, bytes) or not (media_type := image_type(data)):
                return None
            image = imported(name, data)
            key = sha256(image.data).hexdigest()
            self.files[key] = image.data
            return FilePart(
                name=name,
                media_type=media_type,
                digest=key,
                size=len(image.data),
                width=image.width,
                height=image.height,
                tokens=image.tokens if image.width else 0,
            )
        return None

    def images(self, values: Iterable[object]) -> Iterator[FilePart]:
        """Yield what is an image, and count all else as left out."""
        for value in values:
            if image := self.image(value):
                yield image
            else:
                self.omitted["image"] += 1

    def finished(self, moment: datetime) -> Iterator[Session | Skipped]:
        """Yield what was left out, and the session; raises `ValueError` for values of wrong types.

        Messages without a time get that of the one before them.
        """
        tree, messages = self._tree(moment)
        self.rows.clear()  # a chat may have a hundred thousand
        times = [message.created_at for message in tree.values()]
        prompt = next((message.text for message in messages if message.role is Role.USER), "")
        header = SessionHeader(
            session_id=self.session_id or digest(f"{self.source} {self.key}"),
            title=as_word(self.title).strip() or title_from(prompt),
            created_at=self.created_at or min(times, default=moment),
            updated_at=self.updated_at or max(times, default=moment),
            model=as_word(self.model)
            or next((one.model for one in reversed(messages) if one.model), ""),
            tags=(self.source,) if self.source else (),
            is_archived=self.is_archived,
            is_pinned=self.is_pinned,
        )
        if kinds := +self.omitted:  # without zeros
            yield Skipped(where=f"“{header.title[:_LONGEST]}”", reason=f"{_counts(kinds)} left out")
        if any(message.role is not Role.SYSTEM for message in tree.values()):
            every_one = tuple(tree.values())
            session = Session(
                header=checked(header), messages=messages, tree=every_one, files=self.files
            )
            yield sound(session, moment=moment)

    def _tree(self, moment: datetime) -> tuple[dict[str, ChatMessage], MessagePath]:
        """Return the messages by their keys, and the path that the program shows."""
        parts = [*self._parts(as_word(self.system), Role.SYSTEM)]
        system = ForeignMessage(role=Role.SYSTEM, parts=parts, parent=None)
        every = {_SYSTEM: system, **self.rows}
        above = _kept_above(every)
        known = (row.created_at for row in self.rows.values() if row.created_at is not None)
        time = next(known, self.created_at or self.updated_at or moment)
        tree: dict[str, ChatMessage] = {}
        for key, row in every.items():
            time = row.created_at or time
            if row.parts:
                message = ChatMessage(
                    message_id=key,
                    role=row.role,
                    parts=tuple(row.parts),
                    created_at=time,
                    parent_id=above[key],
                    model=row.model,
                    receipt=row.receipt,
                )
                tree[key] = message
        path: dict[str, ChatMessage] = {}
        current = as_word(self.current)
        end = current if current in every else next(reversed(every))
        at = end if every[end].parts else above[end]
        if at is None:  # the end is damaged
            at = next(reversed(tree), None)
        while at is not None and at not in path:
            path[at] = tree[at]
            at = above[at]
        return tree, MessagePath(reversed(path.values()))


Chats = Iterator[Callable[[], Iterator[ForeignChat]]]
"""Functions that read the chats of a database; one that fails costs its chat only."""


def _sound_receipt(receipt: Receipt | None) -> Receipt | None:
    """Return figures without those of wrong types, which cost only themselves."""
    if receipt is None:
        return None
    kept: dict[str, Any] = {}
    for name, value in asdict(receipt).items():
        is_figure = isinstance(value, int | float)
        with suppress(msgspec.ValidationError):
            if not is_figure or abs(value) < _LARGEST_FIGURE:
                kept[name] = getattr(msgspec.convert({name: value}, Receipt), name)
    return Receipt(**kept)


def _counts(kinds: Mapping[str, int]) -> str:
    named = [plural(count, kind[:_LONGEST]) for kind, count in list(kinds.items())[:_MOST_KINDS]]
    others = sum(list(kinds.values())[_MOST_KINDS:])
    return ", ".join([*named, plural(others, "other part")] if others else named)


def call_of(call_id: object, name: str, arguments: object) -> ToolCallPart:
    """Return a tool call."""
    return ToolCallPart(call_id=str(call_id or ""), name=name, arguments=as_text(arguments))


def as_text(value: Any) -> str:
    """Return a text as it is, and all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _result_text(value: Any) -> str:
    """Return the result of a tool, which may be a list of parts with texts."""
    parts = value.get("content") if isinstance(value, dict) else value
    if isinstance(parts, list) and parts and all(word(part, "text") for part in parts):
        return "\n".join(part["text"] for part in parts)
    return as_text(value)


def time_of(value: object) -> datetime | None:
    """Read seconds, milliseconds or ISO 8601, UTC by default; None for any other value."""
    with suppress(*WRONG, OSError):
        if isinstance(value, str):
            return checked_time(datetime.fromisoformat(value))
        if isinstance(value, int | float):
            return checked_time(
                datetime.fromtimestamp(value / 1000 if value > _FIRST_MS else value, UTC)
            )
    return None


def _kept_above(every: Mapping[str, ForeignMessage]) -> dict[str, str | None]:
    """Return the nearest message above each that is not left out; the system prompt is above all others."""
    root = _SYSTEM if every[_SYSTEM].parts else None
    kept: dict[str, str | None] = {_SYSTEM: None}
    for key in every:
        at, passed = every[key].parent or "", {key}
        while at in every and not every[at].parts and at not in kept and at not in passed:
            passed.add(at)
            at = every[at].parent or ""
        is_kept = at in every and bool(every[at].parts)
        kept |= dict.fromkeys(passed - {_SYSTEM}, at if is_kept else kept.get(at, root))
    return kept
