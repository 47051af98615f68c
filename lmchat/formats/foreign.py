"""Chats of other programs ("foreign" ones), and the sessions made of them.

The module of a program has `FORMATS`, a tuple of `JsonFormat`s, `RecordsFormat`s and
`DatabaseFormat`s. Its functions add messages to a `ForeignChat`, each with a key, which is the id
that it has in its program. The chat counts omissions, the parts that are left out. `finish` makes a
session of it.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct, field

from lmchat.errors import FileRefused
from lmchat.files.images import check_imported_image, image_type
from lmchat.formats.file_values import BAD_VALUE_ERRORS, Record, text_in, text_or_empty
from lmchat.formats.foreign_database import ForeignDatabase
from lmchat.formats.normalizing import hash_id, normalized, valid_stats, validated
from lmchat.formats.text_files import TextFile
from lmchat.sessions.message import (
    AnswerStats,
    ChatMessage,
    FilePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.sessions.session import MessagePath, Session, SessionHeader, Skipped, title_from
from lmchat.units import plural

MOST_NAMED = 1000  # omissions that are named before the next session; the others are counted
# Kinds of omissions, in the singular.
DAMAGED = "damaged message"
REPEATED = "repeated message"
_UNKNOWN = "unknown part"
_EMPTY: tuple[object, ...] = (None, "", [], {})  # values without content: nothing is left out
_SYSTEM = "system prompt"  # key of the message that is made of `ForeignChat.system`
# Reasoning at the start of an answer: `<think>It is 4.</think>`, or open to the end of the text.
_THOUGHT = re.compile(r"\s*<(think|thinking)>(.*?)(?:</\1>\s*|\Z)", re.DOTALL)
_MOST_KINDS = 10  # kinds of omissions that are named for a chat; the others are summed up
_LONGEST_NAME = 100  # characters of a kind, or of a title beside it


class ToolRun(Struct, frozen=True, kw_only=True):
    """Call of a tool with its result."""

    call: str | ToolCallPart
    """The call, or the id of one that an earlier message had."""
    result: Any
    """Text, or any other value of JSON."""


ForeignPart = str | Part | ToolRun
"""Part of a message as the module of a program gives it; a text may begin with `<think>`."""


class MessageMetadata(Struct, frozen=True, kw_only=True):
    """Time of a message; model and figures of an answer."""

    created_at: datetime | None = None
    model: str = ""
    stats: AnswerStats | None = None


NO_METADATA = MessageMetadata()


class ForeignMessage(Struct, frozen=True, kw_only=True):
    """Message of another program.

    One without parts keeps the tree connected: messages may name it as their parent. The session is
    made without it.
    """

    role: Role
    parts: list[Part]
    parent: str | None  # key of the message before it
    created_at: datetime | None = None
    model: str = ""
    stats: AnswerStats | None = None


class ForeignChat(Struct, kw_only=True):
    """Chat of another program, to which its messages are added one after the other."""

    key: str
    """Identifies the chat among those of its program; the session's id is a hash of it."""
    title: str | None = ""
    path_end: str | None = None
    """Key of the message at the end of the path that the program shows; None for the last one."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    system: str | None = ""
    model: str = ""
    is_archived: bool = False
    is_pinned: bool = False
    session_id: str = ""
    """Id of the session; if empty, a hash of the program and `key`."""
    omitted: Counter[str] = field(default_factory=Counter)
    """Numbers of omissions by kind, which is a word in the singular."""
    messages: dict[str, ForeignMessage] = {}
    """Messages by key, in the order in which they were added."""
    calls_by_id: dict[str, ToolCallPart] = {}
    files: dict[str, bytes] = {}
    """Content of images by digest."""

    @property
    def last_key(self) -> str | None:
        """Key of the message that was added last; None before the first."""
        return next(reversed(self.messages), None)

    def add(
        self,
        key: Any,
        role: Any,
        parts: Iterable[ForeignPart],
        *,
        parent: Any,
        metadata: MessageMetadata = NO_METADATA,
    ) -> None:
        """Add a message, with `parent` as the key of the message before it.

        Values of type `Any` come from a file and are checked. `parts` may be a generator that
        raises an error for a damaged message: that is counted, and added without parts. A message
        without a key, or with the key of another one, is counted and not added. An answer with tool
        results becomes several messages, of which the last one has `key`.
        """
        if not isinstance(key, str) or not key:
            self.omitted[DAMAGED] += 1
            return
        try:
            split_messages = self._split_at_results(parts, Role(role))
        except (*BAD_VALUE_ERRORS, msgspec.MsgspecError):
            self.omitted[DAMAGED] += 1
            split_messages = []
        if not split_messages:
            # an empty one, which messages below it refer to; its role does not matter
            split_messages = [(Role.USER, [])]

        model = text_or_empty(metadata.model)
        stats = valid_stats(metadata.stats)
        parent_key = parent if isinstance(parent, str) else None
        for number, (split_role, split_parts) in enumerate(split_messages, 1):
            is_last = number == len(split_messages)
            is_answer = split_role is Role.ASSISTANT
            message = ForeignMessage(
                role=split_role,
                parts=split_parts,
                parent=parent_key,
                created_at=metadata.created_at,
                model=model if is_answer else "",
                stats=stats if is_answer and is_last else None,
            )
            message_key = key if is_last else f"{key}.{number}"
            if message_key not in self.messages:
                self.messages[message_key] = message
            elif split_parts:  # nothing is lost with an empty one
                self.omitted[REPEATED] += 1
            parent_key = message_key

    @contextmanager
    def damage_counted(self) -> Iterator[None]:
        """Catch an error for a value of a wrong type in the block, and count a damaged message."""
        try:
            yield
        except BAD_VALUE_ERRORS:
            self.omitted[DAMAGED] += 1

    def omit(self, kind: object) -> None:
        """Count a part that is not imported; `kind` is the name that its program has for it."""
        self.omitted[text_or_empty(kind) or _UNKNOWN] += 1

    def read_text(self, value: object) -> str:
        """Return a text, or the joined texts of a list of parts like `{"text": "Hello"}`.

        Any other value that is not empty is counted as left out.
        """
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(map(self.read_text, value))
        if isinstance(value, dict) and "text" in value:
            return self.read_text(value["text"])
        if value not in _EMPTY:
            self.omit(text_in(value, "type"))
        return ""

    def add_image(self, value: object, name: str = "") -> FilePart | None:
        """Add an image to `files` and return its part; None for anything else.

        `value` should be bytes, base64 or a `data:` URL. A large image is scaled down; one that
        cannot be scaled is not added.
        """
        name = name or "image"
        try:
            data = _image_data(value)
            media_type = image_type(data)
            if not media_type:
                return None
            image = check_imported_image(name, data)
        except (ValueError, FileRefused):  # invalid base64; an image over the limits
            return None

        digest = sha256(image.data).hexdigest()
        self.files[digest] = image.data
        return FilePart(
            name=name,
            media_type=media_type,
            digest=digest,
            size=len(image.data),
            width=image.width,
            height=image.height,
            # without a measured size, there is no estimate
            tokens=image.tokens if image.width else 0,
        )

    def add_images(self, values: Iterable[object]) -> Iterator[FilePart]:
        """Add each value that is an image, and yield its part; count any other as a lost image.

        Nothing is added until the generator is read.
        """
        for value in values:
            image = self.add_image(value)
            if image is None:
                self.omitted["image"] += 1
            else:
                yield image

    def finish(self, moment: datetime, *, source: str = "") -> Iterator[Session | Skipped]:
        """Yield what was left out, if anything was, and then the session of the chat.

        `moment` is the time for a chat without any time; `source` becomes a tag of the session. To
        free memory, the messages are removed from this object. A chat without prompts and answers
        has no session. Raises `ValueError` for values of wrong types, and `FileRefused` for ids
        that are not unique.
        """
        tree, path = self._tree_and_path(moment)
        self.messages.clear()  # a chat may have a hundred thousand
        header = self._header(tree, path, moment, source)
        # readers may have added 0 to a kind
        left_out = {kind: count for kind, count in self.omitted.items() if count > 0}
        if left_out:
            where = f"“{header.title[:_LONGEST_NAME]}”"
            yield Skipped(where=where, reason=f"{_counts_text(left_out)} left out")

        if any(message.role is not Role.SYSTEM for message in tree.values()):
            session = Session(
                header=validated(header),
                messages=path,
                tree=tuple(tree.values()),
                files=self.files,
            )
            yield normalized(session, moment=moment)

    def _split_at_results(
        self, foreign_parts: Iterable[ForeignPart], role: Role
    ) -> list[tuple[Role, list[Part]]]:
        """Return the role and parts of each message that a message of the program becomes.

        Each tool result is a message of its own, and so are the parts before it and the parts after
        it, which are an answer. Empty parts are left out, so the list may be empty. Raises an error
        for values of wrong types.
        """
        messages: list[tuple[Role, list[Part]]] = []
        for foreign_part in foreign_parts:
            if isinstance(foreign_part, ToolRun):
                messages.append((Role.TOOL, self._tool_message_parts(foreign_part)))
                continue
            parts = self._convert(foreign_part, role)
            begins_message = not messages or messages[-1][0] is Role.TOOL
            if begins_message and parts:
                messages.append((Role.ASSISTANT if messages else role, parts))
            elif not begins_message:
                _, last_parts = messages[-1]
                last_parts += parts
        for _, parts in messages:
            msgspec.convert(msgspec.to_builtins(parts), list[Part])  # only checks the types
        return messages

    def _convert(self, foreign_part: str | Part, role: Role) -> list[Part]:
        """Return a text or part as parts, or an empty list for an empty one.

        In an answer, a text that begins with `<think>` becomes reasoning and the text after it. A
        tool call is also added to `calls_by_id`, where its result finds it.
        """
        match foreign_part:
            case str() as text:
                parts: list[Part] = []
                thought = _THOUGHT.match(text) if role is Role.ASSISTANT else None
                if thought is not None:
                    parts += self._convert(ReasoningPart(text=thought[2].strip()), role)
                    text = text[thought.end() :]
                if text.strip():
                    parts.append(TextPart(text=text))
                return parts
            case ToolCallPart():
                self.calls_by_id[foreign_part.call_id] = foreign_part
                return [foreign_part]
            case FilePart():
                return [foreign_part]
            case ReasoningPart() | TextPart() | RefusalPart():
                return [foreign_part] if foreign_part.text.strip() else []
            case _:
                raise TypeError(foreign_part)

    def _tool_message_parts(self, run: ToolRun) -> list[Part]:
        """Return the parts of a tool message: the call and its result.

        If no message had the call of this id, it is a call of "tool" without arguments.
        """
        call = run.call
        if isinstance(call, str):
            call = self.calls_by_id.get(call) or call_of(call, "tool", "")
        return [call, ToolResultPart(text=_result_text(run.result))]

    def _tree_and_path(self, moment: datetime) -> tuple[dict[str, ChatMessage], MessagePath]:
        """Return the messages that have parts, by key, and the path that the program shows.

        The system prompt of the chat is the first message. A message without a time gets that of
        the message before it; those before the first message with a time get the time of that one.
        Without any, they get that of the chat, or `moment`.
        """
        system_parts = self._convert(text_or_empty(self.system), Role.SYSTEM)
        system = ForeignMessage(role=Role.SYSTEM, parts=system_parts, parent=None)
        messages = {_SYSTEM: system, **self.messages}
        parents = _parents_with_parts(messages)

        known_times = filter(None, (message.created_at for message in messages.values()))
        time = next(known_times, self.created_at or self.updated_at or moment)
        tree: dict[str, ChatMessage] = {}
        for key, message in messages.items():
            time = message.created_at or time
            if message.parts:
                tree[key] = ChatMessage(
                    message_id=key,
                    role=message.role,
                    parts=tuple(message.parts),
                    created_at=time,
                    parent_id=parents[key],
                    model=message.model,
                    stats=message.stats,
                )

        path_end: str | None = text_or_empty(self.path_end)
        if path_end not in messages:  # it is not named, or its message is lost
            path_end = next(reversed(messages))
        if path_end not in tree:  # it has no parts
            path_end = parents[path_end]
        return tree, _path_to(path_end, tree)

    def _header(
        self, tree: Mapping[str, ChatMessage], path: MessagePath, moment: datetime, source: str
    ) -> SessionHeader:
        """Return the header of the session.

        `tree` has all messages, `path` those of the shown branch. Title, times and model are taken
        from them where the chat has none.
        """
        times = [message.created_at for message in tree.values()]
        prompts = (message.text for message in path if message.role is Role.USER)
        newest_models = (message.model for message in reversed(path) if message.model)
        return SessionHeader(
            session_id=self.session_id or hash_id(f"{source} {self.key}"),
            title=text_or_empty(self.title).strip() or title_from(next(prompts, "")),
            created_at=self.created_at or min(times, default=moment),
            updated_at=self.updated_at or max(times, default=moment),
            model=text_or_empty(self.model) or next(newest_models, ""),
            tags=(source,) if source else (),
            is_archived=self.is_archived,
            is_pinned=self.is_pinned,
        )


class JsonFormat(Struct, frozen=True, kw_only=True):
    """Format of a text file, in which each value of a list or line is a chat."""

    fits: Callable[[Record], bool]
    """Whether an object of a file is a chat of this format."""
    read: Callable[[Record, TextFile], Iterable[ForeignChat]]
    """Reads the chat of an object; the file gives access to those beside it."""


class RecordsFormat(Struct, frozen=True, kw_only=True):
    """Format of a text file whose objects have to be read together, as with a message in each."""

    fits: Callable[[Record], bool]
    """Whether an object of a file is of this format."""
    read: Callable[[list[Record], TextFile], Iterable[ForeignChat]]
    companions: tuple[str, ...] = ()
    """Names of files that `read` opens beside the one that is imported."""


ChatReaders = Iterator[Callable[[], Iterable[ForeignChat]]]
"""A function for each chat of a database, which reads it; if one fails, the others are read."""


class DatabaseFormat(Struct, frozen=True, kw_only=True):
    """Tables of an SQLite database."""

    tables: frozenset[str]
    """Tables that a database of this format has, among others."""
    read: Callable[[ForeignDatabase], ChatReaders]


def call_of(call_id: object, name: str, arguments: object) -> ToolCallPart:
    """Return a tool call.

    An id that is no text becomes text, and an empty one if none exists. Arguments that are no
    text are written in JSON.
    """
    return ToolCallPart(call_id=str(call_id or ""), name=name, arguments=_text_or_json(arguments))


def _text_or_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _result_text(value: Any) -> str:
    """Return the result of a tool as text: a list of texts as lines, any other value as JSON.

    Such a list is `[{"text": "Hello"}]`, perhaps in the field `content`.
    """
    parts = value.get("content") if isinstance(value, dict) else value
    if isinstance(parts, list) and parts and all(text_in(part, "text") for part in parts):
        return "\n".join(part["text"] for part in parts)
    return _text_or_json(value)


def _image_data(value: object) -> bytes:
    """Return bytes, base64 or a `data:` URL as bytes; raises `ValueError` for anything else."""
    if isinstance(value, str):
        return b64decode(value.rpartition(";base64,")[2])
    if isinstance(value, bytes):
        return value
    raise ValueError("not an image")


def _counts_text(counts_by_kind: Mapping[str, int]) -> str:
    """Return the numbers of omissions in words: `2 images, 1 damaged message`.

    The first ten kinds are named; the others are summed up as `7 other parts`.
    """
    counts = list(counts_by_kind.items())
    texts = [plural(count, kind[:_LONGEST_NAME]) for kind, count in counts[:_MOST_KINDS]]
    other_count = sum(count for _, count in counts[_MOST_KINDS:])
    if other_count:
        texts.append(plural(other_count, "other part"))
    return ", ".join(texts)


def _parents_with_parts(messages: Mapping[str, ForeignMessage]) -> dict[str, str | None]:
    """Return the parent of each message by its key: the key of the next message above with parts.

    Messages without parts are not imported, so they cannot be parents. If there is no message with
    parts above, or those above form a loop, the parent is the system prompt; without a system
    prompt, it is None. What was found for one message is used for those below it, so this takes
    linear time.
    """
    root = _SYSTEM if messages[_SYSTEM].parts else None
    parents: dict[str, str | None] = {_SYSTEM: None}
    for key, message in messages.items():
        walked = {key}  # this message and the empty ones above it, which all get the same parent
        above = message.parent or ""
        while _is_empty(messages.get(above)):
            is_known = above in parents
            is_loop = above in walked
            if is_known or is_loop:
                break
            walked.add(above)
            above = messages[above].parent or ""

        # The walk has ended at a message with parts, which is the parent, or at an empty one whose
        # parent is known. Otherwise `above` is empty, the key of a lost message, or in a loop.
        has_parts = above in messages and not _is_empty(messages[above])
        parent = above if has_parts else parents.get(above, root)
        parents |= dict.fromkeys(walked - {_SYSTEM}, parent)  # the system prompt keeps None
    return parents


def _is_empty(message: ForeignMessage | None) -> bool:
    """Return whether there is a message, and it has no parts."""
    return message is not None and not message.parts


def _path_to(end: str | None, tree: dict[str, ChatMessage]) -> MessagePath:
    """Return the messages from the root down to the one with the key `end`.

    Without `end`, the path leads to the last message of the tree. If the messages form a loop, it
    begins where a message would be in it twice.
    """
    key = end or next(reversed(tree), None)
    path: dict[str, ChatMessage] = {}
    while key is not None and key not in path:
        path[key] = tree[key]
        key = tree[key].parent_id
    return MessagePath(reversed(path.values()))
