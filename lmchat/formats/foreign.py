"""Chats of other programs, and the sessions made of them.

The module of a program has `FORMATS`, a tuple of its `JsonFormat`s and `DatabaseFormat`s.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
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
from lmchat.formats.file_values import BAD_VALUE_ERRORS, Record, text_in, text_or_empty
from lmchat.formats.foreign_database import ForeignDatabase
from lmchat.formats.normalizing import hash_id, normalized, validated
from lmchat.formats.text_files import TextFile
from lmchat.images import check_imported_image
from lmchat.text import plural

MOST_NAMED = 1000  # omissions that are named before the next session; the others are counted
DAMAGED = "damaged message"
REPEATED = "repeated message"
_UNKNOWN = "unknown part"
_EMPTY: tuple[object, ...] = (None, "", [], {})
_SYSTEM = "system prompt"  # key of the message made of it
_THOUGHT = re.compile(r"\s*<(think|thinking)>(.*?)(?:</\1>\s*|\Z)", re.DOTALL)
_LARGEST_FIGURE = 1e15  # of tokens or milliseconds; not a number is not smaller
_MOST_KINDS = 10  # of what is left out, that are named
_LONGEST_NAME = 100  # characters of a kind, or of a title beside it


class ToolRun(Struct, frozen=True, kw_only=True):
    """Call of a tool, perhaps by its id, with its result."""

    call: str | ToolCallPart
    result: Any


MessagePiece = str | Part | ToolRun
"""Text, another part, or a tool call with its result."""


class MessageFacts(Struct, frozen=True, kw_only=True):
    """Time of a message; model and figures of an answer."""

    created_at: datetime | None = None
    model: str = ""
    receipt: Receipt | None = None


NO_FACTS = MessageFacts()


class ForeignMessage(Struct, frozen=True, kw_only=True):
    """Message of another program; one without parts is left out, and its parent takes its place."""

    role: Role
    parts: list[Part]
    parent: str | None
    created_at: datetime | None = None
    model: str = ""
    receipt: Receipt | None = None


class ForeignChat(Struct, kw_only=True):
    """Chat of another program, to which its messages are added."""

    key: str
    title: str | None = ""
    current: str | None = None  # message at the end of the chosen path, by default the last one
    created_at: datetime | None = None
    updated_at: datetime | None = None
    system: str | None = ""
    model: str = ""
    is_archived: bool = False
    is_pinned: bool = False
    session_id: str = ""  # by default a hash, so that a chat is imported once
    omitted: Counter[str] = field(default_factory=Counter)  # numbers of what is left out, by name
    messages: dict[str, ForeignMessage] = {}
    calls: dict[str, ToolCallPart] = {}
    files: dict[str, bytes] = {}

    @property
    def last(self) -> str | None:
        """Key of the message that was added last."""
        return next(reversed(self.messages), None)

    def add(
        self,
        key: Any,
        role: Any,
        pieces: Iterable[MessagePiece],
        *,
        parent: Any,
        facts: MessageFacts = NO_FACTS,
    ) -> None:
        """Add a message; one that is damaged or has a known key is counted and left out.

        An answer with tool results becomes a message up to them, one for each result, and one for
        the rest, which has the key.
        """
        if not isinstance(key, str) or not key:
            self.omitted[DAMAGED] += 1
            return
        try:
            messages = self._split(pieces, Role(role))
        except (*BAD_VALUE_ERRORS, msgspec.MsgspecError):
            self.omitted[DAMAGED] += 1
            messages = []
        if not messages:
            messages = [(Role.USER, [])]  # keeps its place in the tree

        model = text_or_empty(facts.model)
        receipt = _sound_receipt(facts.receipt)
        above = parent if isinstance(parent, str) else None
        for number, (author, parts) in enumerate(messages, 1):
            is_last = number == len(messages)
            is_answer = author is Role.ASSISTANT
            message = ForeignMessage(
                role=author,
                parts=parts,
                parent=above,
                created_at=facts.created_at,
                model=model if is_answer else "",
                receipt=receipt if is_answer and is_last else None,
            )
            above = key if is_last else f"{key}.{number}"
            if above not in self.messages:
                self.messages[above] = message
            elif parts:
                self.omitted[REPEATED] += 1

    @contextmanager
    def damage_counted(self) -> Iterator[None]:
        """Count a message whose values are wrong, instead of losing the chat."""
        try:
            yield
        except BAD_VALUE_ERRORS:
            self.omitted[DAMAGED] += 1

    def omit(self, kind: object) -> None:
        """Count a part that is not imported, by the name that its program has for it."""
        self.omitted[text_or_empty(kind) or _UNKNOWN] += 1

    def text(self, value: object) -> str:
        """Return a text, or those of a list of parts; count all else that is not empty."""
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(map(self.text, value))
        if isinstance(value, dict) and "text" in value:
            return self.text(value["text"])
        if value not in _EMPTY:
            self.omit(text_in(value, "type"))
        return ""

    def image(self, value: object, name: str = "") -> FilePart | None:
        """Take an image: bytes, base64, or a `data:` URL; None for all else."""
        name = name or "image"
        with suppress(ValueError, FileRefused):  # no base64; an image over the limits
            data = b64decode(value.rpartition(";base64,")[2]) if isinstance(value, str) else value
            if not isinstance(data, bytes) or not (media_type := image_type(data)):
                return None
            image = check_imported_image(name, data)
            digest = sha256(image.data).hexdigest()
            self.files[digest] = image.data
            return FilePart(
                name=name,
                media_type=media_type,
                digest=digest,
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

    def finished(self, moment: datetime, *, source: str = "") -> Iterator[Session | Skipped]:
        """Yield what was left out, and the session; raises `ValueError` for values of wrong types.

        Messages without a time get that of the one before them.
        """
        tree, path = self._tree(moment)
        self.messages.clear()  # a chat may have a hundred thousand
        header = self._header(tree, path, moment, source)
        if kinds := +self.omitted:  # without zeros
            where = f"“{header.title[:_LONGEST_NAME]}”"
            yield Skipped(where=where, reason=f"{_counts(kinds)} left out")
        if any(message.role is not Role.SYSTEM for message in tree.values()):
            session = Session(
                header=validated(header),
                messages=path,
                tree=tuple(tree.values()),
                files=self.files,
            )
            yield normalized(session, moment=moment)

    def _split(self, pieces: Iterable[MessagePiece], author: Role) -> list[tuple[Role, list[Part]]]:
        """Return the messages of an answer; raises an error for values of wrong types."""
        messages: list[tuple[Role, list[Part]]] = []
        for piece in pieces:
            if isinstance(piece, ToolRun):
                messages.append((Role.TOOL, self._run_parts(piece)))
                continue
            parts = self._parts(piece, author)
            if messages and messages[-1][0] is not Role.TOOL:
                messages[-1][1].extend(parts)
            elif parts:
                messages.append((Role.ASSISTANT if messages else author, parts))
        for _, parts in messages:
            msgspec.convert(msgspec.to_builtins(parts), list[Part])
        return messages

    def _parts(self, piece: str | Part, author: Role) -> list[Part]:
        """Return what a piece has; only in an answer `<think>` marks reasoning."""
        match piece:
            case str():
                parts: list[Part] = []
                if author is Role.ASSISTANT and (found := _THOUGHT.match(piece)):
                    parts += self._parts(ReasoningPart(text=found[2].strip()), author)
                    piece = piece[found.end() :]
                if piece.strip():
                    parts.append(TextPart(text=piece))
                return parts
            case ToolCallPart():
                self.calls[piece.call_id] = piece
                return [piece]
            case FilePart():
                return [piece]
            case ReasoningPart() | TextPart() | RefusalPart():
                return [piece] if piece.text.strip() else []
            case _:
                raise TypeError(piece)

    def _run_parts(self, run: ToolRun) -> list[Part]:
        call = run.call
        if isinstance(call, str):
            call = self.calls.get(call) or call_of(call, "tool", "")
        return [call, ToolResultPart(text=_result_text(run.result))]

    def _tree(self, moment: datetime) -> tuple[dict[str, ChatMessage], MessagePath]:
        """Return the messages with parts by their keys, and the path that the program shows."""
        parts = self._parts(text_or_empty(self.system), Role.SYSTEM)
        system = ForeignMessage(role=Role.SYSTEM, parts=parts, parent=None)
        every = {_SYSTEM: system, **self.messages}
        parents = _kept_parents(every)
        times = filter(None, (message.created_at for message in every.values()))
        time = next(times, self.created_at or self.updated_at or moment)
        tree: dict[str, ChatMessage] = {}
        for key, message in every.items():
            time = message.created_at or time
            if message.parts:
                tree[key] = ChatMessage(
                    message_id=key,
                    role=message.role,
                    parts=tuple(message.parts),
                    created_at=time,
                    parent_id=parents[key],
                    model=message.model,
                    receipt=message.receipt,
                )
        current = text_or_empty(self.current)
        end = current if current in every else next(reversed(every))
        return tree, _path_to(end if end in tree else parents[end], tree)

    def _header(
        self, tree: Mapping[str, ChatMessage], path: MessagePath, moment: datetime, source: str
    ) -> SessionHeader:
        times = [message.created_at for message in tree.values()]
        prompts = (message.text for message in path if message.role is Role.USER)
        models = (message.model for message in reversed(path) if message.model)
        return SessionHeader(
            session_id=self.session_id or hash_id(f"{source} {self.key}"),
            title=text_or_empty(self.title).strip() or title_from(next(prompts, "")),
            created_at=self.created_at or min(times, default=moment),
            updated_at=self.updated_at or max(times, default=moment),
            model=text_or_empty(self.model) or next(models, ""),
            tags=(source,) if source else (),
            is_archived=self.is_archived,
            is_pinned=self.is_pinned,
        )


class JsonFormat(Struct, frozen=True, kw_only=True):
    """Format of a text file, in which each value of a list or line is a chat."""

    fits: Callable[[Record], bool]
    """Whether a value of a file is of this format."""
    read: Callable[[Record, TextFile], Iterable[ForeignChat]]


class RecordsFormat(Struct, frozen=True, kw_only=True):
    """Format of a text file whose values together are chats."""

    fits: Callable[[Record], bool]
    read: Callable[[list[Record], TextFile], Iterable[ForeignChat]]
    companions: tuple[str, ...] = ()
    """Names of files that are read with the one beside them."""


ChatReaders = Iterator[Callable[[], Iterable[ForeignChat]]]
"""Functions that read the chats of a database; one that fails costs its chat only."""


class DatabaseFormat(Struct, frozen=True, kw_only=True):
    """Tables of an SQLite database."""

    tables: Mapping[str, Sequence[str]]
    """Columns by table from which a database of this format is known."""
    read: Callable[[ForeignDatabase], ChatReaders]


def call_of(call_id: object, name: str, arguments: object) -> ToolCallPart:
    """Return a tool call."""
    return ToolCallPart(call_id=str(call_id or ""), name=name, arguments=as_text(arguments))


def as_text(value: Any) -> str:
    """Return a text as it is, and all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _result_text(value: Any) -> str:
    """Return the result of a tool, which may be a list of parts with texts."""
    parts = value.get("content") if isinstance(value, dict) else value
    if isinstance(parts, list) and parts and all(text_in(part, "text") for part in parts):
        return "\n".join(part["text"] for part in parts)
    return as_text(value)


def _sound_receipt(receipt: Receipt | None) -> Receipt | None:
    """Return figures without those of wrong types, which cost only themselves."""
    if receipt is None:
        return None
    kept: dict[str, Any] = {}
    for name, value in asdict(receipt).items():
        is_figure = isinstance(value, int | float)
        with suppress(msgspec.ValidationError):  # a text, or a fraction of tokens
            if not is_figure or abs(value) < _LARGEST_FIGURE:
                kept[name] = getattr(msgspec.convert({name: value}, Receipt), name)
    return Receipt(**kept)


def _counts(kinds: Mapping[str, int]) -> str:
    counts = list(kinds.items())
    named = [plural(count, kind[:_LONGEST_NAME]) for kind, count in counts[:_MOST_KINDS]]
    if others := sum(count for _, count in counts[_MOST_KINDS:]):
        named.append(plural(others, "other part"))
    return ", ".join(named)


def _kept_parents(every: Mapping[str, ForeignMessage]) -> dict[str, str | None]:
    """Return the nearest message above each that is not left out.

    The system prompt is above all others. Each message is passed once, so this takes linear time.
    """
    root = _SYSTEM if every[_SYSTEM].parts else None
    parents: dict[str, str | None] = {_SYSTEM: None}
    for key, message in every.items():
        passed = {key}
        above = message.parent or ""
        while above not in parents and above not in passed and _is_left_out(every.get(above)):
            passed.add(above)
            above = every[above].parent or ""
        is_kept = above in every and not _is_left_out(every[above])
        parent = above if is_kept else parents.get(above, root)
        parents |= dict.fromkeys(passed - {_SYSTEM}, parent)
    return parents


def _is_left_out(message: ForeignMessage | None) -> bool:
    return message is not None and not message.parts


def _path_to(end: str | None, tree: dict[str, ChatMessage]) -> MessagePath:
    """Return the messages from the root to an end, by default to the last message."""
    at = end or next(reversed(tree), None)
    path: dict[str, ChatMessage] = {}
    while at is not None and at not in path:
        path[at] = tree[at]
        at = tree[at].parent_id
    return MessagePath(reversed(path.values()))
