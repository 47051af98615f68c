"""Chats of other programs ("foreign" ones), and the sound sessions that are made of them.

The module of a program reads records and adds messages to a `ForeignChat`, each with a key, which
is the id that it has in its program. The chat counts omissions, the parts that are left out.
`finish` makes a session of it, in which tool calls and their results are quoted text: nothing of a
file may run.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from lmchat.errors import FileRefused
from lmchat.files.images import MAX_IMAGE_BYTES, image_type
from lmchat.formats.sources import Source
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    FilePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    call_text,
    interrupted,
)
from lmchat.sessions.session import (
    MessagePath,
    Session,
    SessionHeader,
    Skipped,
    tags_from,
    title_from,
)
from lmchat.units import counted

# Errors of code that reads values of wrong types without checking each type.
BAD_VALUE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    msgspec.MsgspecError,
)
Record = dict[str, Any]  # JSON object, or row of a database
# Kinds of omissions, in the singular.
_DAMAGED = "damaged message"
_REPEATED = "repeated message"
_UNKNOWN = "unknown part"
_EMPTY: tuple[object, ...] = (None, "", [], {})  # values without content: nothing is left out
_SYSTEM = "system prompt"  # key of the message that is made of `ForeignChat.system`
# Reasoning at the start of an answer: `<think>It is 4.</think>`, or open to the end of the text.
_THOUGHT = re.compile(
    r"\s*<(?P<tag>think|thinking)>(?P<reasoning>.*?)(?:</(?P=tag)>\s*|\Z)", re.DOTALL
)
_MOST_KINDS = 10  # kinds of omissions that are named for a chat
# Other times cannot be shown in every time zone, or not together with the time of a long answer.
_SHOWABLE_YEARS = range(1970, 9000)
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000
_OWN_ID = re.compile(r"[0-9a-f]{16}")  # like `1f2e3d4c5b6a7980`
_ID_CHARS = 16
_LONGEST_TITLE = 1000  # characters; lists read titles whole
_LARGEST_FIGURE = 1e13  # of milliseconds (300 years), tokens, bytes or pixels


# Values of imported files, which may have any type


def text_in(record: Any, name: str) -> str:
    """Return the text in a field; empty if there is no record, no such field, or no text."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, str) else ""


def record_in(record: Any, name: str) -> Record:
    """Return the record in a field; empty if there is no record, no such field, or none in it."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def number_in(record: Any, name: str) -> float:
    """Return the number in a field; 0 if there is no record, no such field, or no number."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, int | float) else 0


def time_of(value: object) -> datetime | None:
    """Return the time of seconds or milliseconds since 1970 or of a text in ISO 8601.

    A time without a zone is in UTC. Return None for any other value.
    """
    # `OSError` is raised for a number that the system cannot take.
    with suppress(*BAD_VALUE_ERRORS, OSError):
        if isinstance(value, str):
            return checked_time(datetime.fromisoformat(value))
        if isinstance(value, int | float):
            seconds = value / 1000 if value > _FIRST_MS else value
            return checked_time(datetime.fromtimestamp(seconds, UTC))
    return None


def checked_time(time: datetime) -> datetime:
    """Return a time with a zone, UTC by default; raises `ValueError` for a year out of range."""
    if time.year not in _SHOWABLE_YEARS:
        raise ValueError("a time out of range")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


# Formats


class ReadSession(Struct, frozen=True, kw_only=True):
    """Session that was read from a file."""

    session: Session
    skipped: tuple[Skipped, ...] = ()  # parts of it that are left out


class FileChat(Protocol):
    """Chat of a file."""

    def finish(self, moment: datetime, *, source: str) -> ReadSession:
        """Return its session; `moment` is the time if it has none, `source` its program.

        Raises `ValueError` for values of wrong types, and `FileRefused` for messages that form a
        loop or have the same id.
        """
        ...


class JsonFormat(Struct, frozen=True, kw_only=True):
    """Format of a JSON file: an object, a list of objects, or one in each line."""

    fits: Callable[[Record], bool]  # whether an object of a file is of this format
    read: Callable[[Sequence[Record], Source], FileChat]  # reads the chat of some objects
    # Whether an object begins another chat, after the objects of a chat.
    begins_chat: Callable[[Record, Sequence[Record]], bool] = lambda _record, _chat: True
    # Names of files beside a chat that are read with it, and are no chats.
    companions: tuple[str, ...] = ()


class DatabaseFormat(Struct, frozen=True, kw_only=True):
    """Format of an SQLite database."""

    versions: str  # what writes such a database, for people: `llm 0.36 and later`
    fits: Callable[[Path], bool]  # whether a database is of this format; raises `sqlite3.Error`
    # Yields a function for each chat, which reads it; if one fails, the others are read. Raises
    # `sqlite3.Error`.
    read: Callable[[Path], Iterator[Callable[[], FileChat]]]


# Chats


class ToolQuote(Struct, frozen=True, kw_only=True):
    """Quoted text of a tool call or its result."""

    text: str


# Part of a message as the module of a program gives it; a text may begin with `<think>`.
ForeignPart = str | FilePart | ReasoningPart | RefusalPart | ToolQuote


class _Message(Struct, kw_only=True):
    """Message of a foreign chat.

    One without parts keeps the tree connected: messages may name it as their parent. The session is
    made without it.
    """

    role: Role
    parts: list[Part]
    parent: str | None  # key of the message before it
    is_step: bool  # whether it is only a step to the answer after it: a tool call or a thought
    answer: str | None = None  # key of the answer of which a step has become a part
    created_at: datetime | None = None
    model: str = ""


class ForeignChat(Struct, kw_only=True):
    """Chat of another program, to which its messages are added one after the other."""

    key: str  # identifies the chat among those of its program; the session's id is a hash of it
    title: str = ""
    # Key of the message at the end of the path that the program shows; None for the last one.
    path_end: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    system: str = ""
    model: str = ""
    # Numbers of omissions by kind, which is a word in the singular.
    omitted: Counter[str] = field(default_factory=Counter)
    # Messages by key, in the order in which they were added.
    messages: dict[str, _Message] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # content of images by digest

    @property
    def last_key(self) -> str | None:
        """Key of the message that was added last; None without one."""
        return next(reversed(self.messages), None)

    def add(
        self,
        key: Any,
        role: Any,
        parts: Iterable[ForeignPart],
        *,
        parent: Any,
        created_at: datetime | None = None,
        model: Any = "",
    ) -> None:
        """Add a message, with `parent` as the key of the message before it.

        Values of type `Any` come from a file and are checked. `parts` may be a generator that
        raises an error for a damaged message: that is counted as left out, and added without parts,
        since other messages may name it as their parent. A message without a key, or with the key
        of another one, is counted and not added.
        """
        message_parts: list[Part] = []
        has_tool_quote = False
        try:
            # the result of a tool is quoted in the answer that asked for it
            is_answer = Role(role) in (Role.ASSISTANT, Role.TOOL)
            message_role = Role.ASSISTANT if is_answer else Role(role)
            for part in parts:
                has_tool_quote = has_tool_quote or isinstance(part, ToolQuote)
                message_parts += _converted(part, is_answer=is_answer)
        except BAD_VALUE_ERRORS:
            self.count_damaged_message()
            message_role, message_parts = Role.SYSTEM, []  # without parts, any role will do
        has_key = isinstance(key, str) and bool(key)
        if not has_key or key in self.messages:
            if message_parts:  # else nothing is lost, or the message is counted already
                self.omitted[_REPEATED if has_key else _DAMAGED] += 1
            return
        has_only_thoughts = all(isinstance(part, ReasoningPart) for part in message_parts)
        is_of_model = message_role is Role.ASSISTANT
        self.messages[key] = _Message(
            role=message_role,
            parts=message_parts,
            parent=parent if isinstance(parent, str) else None,
            # `finish` makes a step a part of the answer after it
            is_step=is_of_model and (has_tool_quote or has_only_thoughts),
            created_at=created_at,
            model=model if is_of_model and isinstance(model, str) else "",
        )

    def omit(self, kind: object, count: int = 1) -> None:
        """Count parts that are not imported; `kind` is the name that their program has for them."""
        self.omitted[kind if isinstance(kind, str) and kind else _UNKNOWN] += count

    def count_damaged_message(self) -> None:
        """Count a message of which nothing can be read."""
        self.omitted[_DAMAGED] += 1

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

    def image(
        self, value: object, name: str = "", *, omitted_as: str = "image"
    ) -> Iterator[FilePart]:
        """Yield the part of an image, or nothing.

        Any other value, and an image over the limit of bytes, is counted as left out. `value`
        should be bytes, base64 or a `data:` URL, and is not decoded as an image. `name` is that of
        its file, and `omitted_as` the kind under which it is counted if it is left out.
        """
        data = value
        if isinstance(value, str):
            with suppress(ValueError):  # invalid base64: the text stays, which is no image
                data = b64decode(value.rpartition(";base64,")[2])
        media_type = image_type(data) if isinstance(data, bytes) else ""
        if not isinstance(data, bytes) or not media_type or len(data) > MAX_IMAGE_BYTES:
            self.omit(omitted_as)
            return
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        name = name or "image"
        yield FilePart(name=name, media_type=media_type, digest=digest, size=len(data))

    def finish(self, moment: datetime, *, source: str) -> ReadSession:
        """Return the session of the chat, and what was left out; `source` becomes a tag, if any.

        A chat without prompts and answers has a session without messages. A title that is missing
        is made of the first prompt of the path, and a missing model is that of its last answer.
        """
        system = _Message(
            role=Role.SYSTEM,
            parts=list(_converted(self.system, is_answer=False)),
            parent=None,
            is_step=False,
        )
        messages = {_SYSTEM: system, **self.messages}
        tree = _tree(messages, self.created_at or self.updated_at or moment)
        end = self.path_end
        while end in messages and end not in tree:  # it has no parts, or is a part of an answer
            end = messages[end].answer or messages[end].parent
        if all(message.role is Role.SYSTEM for message in tree.values()):
            tree = {}  # system prompts alone are no chat
        times = [message.created_at for message in tree.values()]
        header = SessionHeader(
            session_id=_own_id(f"{source} {self.key}"),
            title=self.title.strip(),
            created_at=self.created_at or min(times, default=moment),
            updated_at=self.updated_at or max(times, default=moment),
            model=self.model,
            tags=(source,) if source else (),
        )
        session = sound_session(header, tree.values(), end, self.files, moment)
        prompts = (message.text for message in session.messages if message.role is Role.USER)
        newest_models = (message.model for message in reversed(session.messages) if message.model)
        header = replace(
            session.header,
            title=session.header.title or title_from(next(prompts, "")),
            model=session.header.model or next(newest_models, ""),
        )
        return ReadSession(
            session=replace(session, header=header), skipped=omissions(header.title, self.omitted)
        )


def omissions(title: str, counts_by_kind: Mapping[str, int]) -> tuple[Skipped, ...]:
    """Return what is left out of a chat: `2 images, 1 damaged message left out`, or nothing."""
    # readers may have added 0 to a kind; kinds and titles are cut, as a file may have any text
    words = [counted(count, kind[:100]) for kind, count in counts_by_kind.items() if count > 0]
    if not words:
        return ()
    reason = f"{', '.join(words[:_MOST_KINDS])} left out"
    return (Skipped(where=f"“{title[:100]}”", reason=reason),)


def quoted_call(name: str, arguments: object) -> ToolQuote:
    """Return a tool call as a Markdown quotation: `> Tool call: add(a=1, b=2)`."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return _quoted(f"Tool call: {call_text(name, text)}")


def quoted_result(value: Any) -> ToolQuote:
    """Return the result of a tool as a Markdown quotation.

    A list of texts like `[{"text": "Hello"}]`, perhaps in the field `content`, becomes lines; any
    other value that is no text is written in JSON.
    """
    parts = value.get("content") if isinstance(value, dict) else value
    if isinstance(parts, list) and parts and all(text_in(part, "text") for part in parts):
        text = "\n".join(part["text"] for part in parts)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _quoted(f"Result: {text}")


def _quoted(text: str) -> ToolQuote:
    return ToolQuote(text="\n".join(f"> {line}".rstrip() for line in text.split("\n")))


def _converted(part: ForeignPart, *, is_answer: bool) -> Iterator[Part]:
    """Yield the parts of a foreign part; nothing for an empty one.

    In an answer, a text that begins with `<think>` becomes reasoning and the text after it. Raises
    `TypeError` for a value of a wrong type: a file may have anything where a text belongs.
    """
    match part:
        case str(text):
            thought = _THOUGHT.match(text) if is_answer else None
            if thought is not None:
                reasoning = thought["reasoning"].strip()
                if reasoning:
                    yield ReasoningPart(text=reasoning)
                text = text[thought.end() :]
            if text.strip():
                yield TextPart(text=text)
        case ReasoningPart(text=str(text)) | RefusalPart(text=str(text)):
            if text.strip():
                yield part
        case FilePart():
            yield part
        case ToolQuote(text=text):
            yield TextPart(text=text)
        case _:
            raise TypeError(part)


def _tree(messages: Mapping[str, _Message], default_time: datetime) -> dict[str, ChatMessage]:
    """Return the messages that have parts, by key, each after its parent.

    The parent is the next message above that has parts, or else the system prompt. A step (a tool
    call, its result, or thoughts alone) whose only child is an answer becomes a part of that: they
    are one message. A message without a time gets that of the message before it, the first ones
    that of the first message with a time, or `default_time`. `messages` are changed. Raises
    `FileRefused` if they form a loop.
    """
    # each message gets a time and, unless it is the system prompt, a parent
    known_times = (message.created_at for message in messages.values() if message.created_at)
    time = next(known_times, default_time)
    times: dict[str, datetime] = {}
    for key, message in messages.items():
        time = times[key] = message.created_at or time
        if message.parent not in messages and key != _SYSTEM:
            message.parent = _SYSTEM  # it is a root, or its parent is lost

    # messages without parts are passed over
    order = _parents_first({key: message.parent for key, message in messages.items()})
    for key in order:
        parent = messages[key].parent
        if parent is not None and not messages[parent].parts:
            # `parent` came before in `order`: what is above it now has parts, or is None
            messages[key].parent = messages[parent].parent

    # steps become parts of the answer after them
    child_counts = Counter(message.parent for message in messages.values() if message.parts)
    kept: dict[str, _Message] = {}
    for key in order:
        message = messages[key]
        if not message.parts:
            continue
        parent_key = message.parent or ""  # the system prompt has no parent, and no key is empty
        step = kept.get(parent_key)
        is_only_child = child_counts[message.parent] == 1
        is_answer = message.role is Role.ASSISTANT
        if step is not None and step.is_step and is_answer and is_only_child:
            del kept[parent_key]
            step.answer = key  # for a `path_end` that is this step
            step.parts += message.parts  # the same list grows, as there may be thousands of steps
            message.parts = step.parts
            message.parent = step.parent
        kept[key] = message

    return {
        key: ChatMessage(
            message_id=key,
            role=message.role,
            parts=_joined(message.parts),
            created_at=times[key],
            parent_id=message.parent,
            model=message.model,
        )
        for key, message in kept.items()
    }


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the parts of a message and its steps, with one for all thoughts and one for all texts.

    Blank lines are between what is joined.
    """
    thoughts = [part.text for part in parts if isinstance(part, ReasoningPart)]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    joined: list[Part] = [ReasoningPart(text="\n\n".join(thoughts))] if thoughts else []
    joined += [part for part in parts if isinstance(part, FilePart)]
    if texts:
        joined.append(TextPart(text="\n\n".join(texts)))
    joined += [part for part in parts if isinstance(part, RefusalPart)]
    return tuple(joined)


def _parents_first(parents: Mapping[str, str | None]) -> list[str]:
    """Return the keys of `parents` in an order in which each parent is before its children.

    Apart from that, their order stays. Raises `FileRefused` if they form a loop.
    """
    order: dict[str, None] = {}
    for key in parents:
        chain: dict[str, None] = {}  # the message and those above it that are not in the order yet
        above: str | None = key
        while above is not None and above in parents and above not in order:
            if above in chain:
                raise FileRefused("Its messages form a loop.", hint="Export it again.")
            chain[above] = None
            above = parents[above]
        order |= dict.fromkeys(reversed(chain))
    return list(order)


# Sound sessions


def sound_session(
    header: SessionHeader,
    tree: Collection[ChatMessage],
    end: str | None,
    files: dict[str, bytes],
    moment: datetime,
) -> Session:
    """Return a session as lmchat stores it; its path leads to `end`, or else to the last message.

    Ids of another form are replaced by hashes of them, so the same file gives the same ids. In the
    tree of the session, parents are before their children. A running answer becomes an interrupted
    one, and a deleted session is not deleted any more. A long title is cut, and absurd figures are
    left out. The time of the last change is at most `moment`, the current time. Raises
    `FileRefused` if ids are not unique or messages form a loop.
    """
    session_id = _own_id(header.session_id)
    ids = {message.message_id: _own_id(message.message_id, session_id) for message in tree}
    if len(ids) < len(tree):
        raise FileRefused("Two of its messages have the same id.", hint="Export it again.")

    # both by the ids in the file
    messages = {message.message_id: message for message in tree}
    sound_by_id: dict[str, ChatMessage] = {}
    for key in _parents_first({message.message_id: message.parent_id for message in tree}):
        message = messages[key]
        if message.state is AnswerState.STREAMING:
            message = interrupted(message, "The session was exported")
        sound_by_id[key] = replace(
            message,
            message_id=ids[key],
            parent_id=ids.get(message.parent_id or ""),
            parts=tuple(map(_sound_part, message.parts)),
            stats=_sound_stats(message.stats),
        )

    path: list[ChatMessage] = []
    above = end if end in sound_by_id else next(reversed(sound_by_id), None)
    while above is not None and above in sound_by_id:
        path.append(sound_by_id[above])
        above = messages[above].parent_id

    header = replace(
        header,
        session_id=session_id,
        title=header.title[:_LONGEST_TITLE],
        tags=tags_from(" ".join(header.tags)),
        # A time in the future would keep it on top of the list.
        updated_at=min(header.updated_at, moment),
        deleted_at=None,
        parent_id=None if header.parent_id is None else _own_id(header.parent_id),
        message_count=len(sound_by_id),
    )
    return Session(
        header=header,
        messages=MessagePath(reversed(path)),
        # a tree is only needed if the path lacks messages of it
        tree=tuple(sound_by_id.values()) if len(path) < len(sound_by_id) else (),
        files=files,
    )


def _own_id(file_id: str, session_id: str = "") -> str:
    """Return an id of lmchat's form, 16 hexadecimal digits, unchanged; any other id as a hash.

    `session_id` goes into the hash of a message's id, since two chats may have the same ids. Hashes
    must stay the same in all versions: otherwise files would be imported twice.
    """
    if _OWN_ID.fullmatch(file_id):
        return file_id
    text = f"{session_id} {file_id}" if session_id else file_id
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_ID_CHARS]


def _sound_part(part: Part) -> Part:
    """Return a part; the figures of a file become 0 if one is absurdly large."""
    if isinstance(part, FilePart):
        figures = (part.size, part.width, part.height, part.tokens)
        if not all(map(_is_usual, figures)):
            return replace(part, size=0, width=0, height=0, tokens=0)
    return part


def _sound_stats(stats: AnswerStats | None) -> AnswerStats | None:
    """Return stats; None if any figure is absurdly large."""
    values = asdict(stats).values() if stats is not None else ()
    figures = (value for value in values if isinstance(value, int | float))
    return stats if all(map(_is_usual, figures)) else None


def _is_usual(figure: float) -> bool:
    """Return whether a figure can be shown; NaN cannot, as it is not smaller than any number."""
    return abs(figure) < _LARGEST_FIGURE
