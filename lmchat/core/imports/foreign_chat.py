"""Chats of other programs ("foreign" ones), and the sessions that are made of them.

The module of a program adds the messages of a chat to a `ForeignChat`. The session has what the
program shows; other versions, and parts that are left out, are counted. Tool calls and their
results are quoted text, since nothing of a file may run.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from msgspec import Struct, field

from lmchat.base.files.images import MAX_IMAGE_BYTES, image_type
from lmchat.base.json_values import utf8_safe
from lmchat.core.formats.reading import (
    BAD_VALUE_ERRORS,
    EMPTY,
    LONGEST_TITLE,
    ToolQuote,
    at,
    local_id,
    omissions,
    quoted,
    text_at,
)
from lmchat.core.sessions.message import (
    AnswerState,
    ChatMessage,
    Failure,
    FilePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    value_text,
)
from lmchat.core.sessions.prompts import fence_for
from lmchat.core.sessions.session import (
    MessagePath,
    Session,
    SessionHeader,
    tags_from,
    title_from,
)

OTHER_VERSION = "message of other versions"
_SYSTEM = "system prompt"  # key of the message of `ForeignChat.system`


STOPPED = Failure(kind="interrupted", message="")  # of an answer that the user has stopped

# A text may start with `<think>`; texts and thoughts may be empty.
ForeignPart = str | FilePart | ReasoningPart | RefusalPart | ToolQuote | Failure


class _Message(Struct, kw_only=True):
    role: Role
    parts: list[Part]
    is_step: bool = False  # to the answer after it: a call or a thought
    failure: Failure | None = None
    created_at: datetime | None = None
    model: str = ""


class _Link(NamedTuple):
    """Place of a message in a foreign chat; only those on the path are read."""

    parent: str | None  # key of the message before it
    added_before: str | None  # key of the message added before it, if `parent` is lost
    read: Callable[[], _Message]  # may raise one of `BAD_VALUE_ERRORS`


class ForeignChat(Struct, kw_only=True):
    """Chat of another program, which gets its messages one after the other."""

    key: str  # in its program; the session's id is a hash of it, or of the content if it is ""
    title: str = ""
    # Last message of the path that the program shows; for None, or an unknown key, the last
    # message.
    path_end: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    system: str = ""
    model: str = ""
    tags: Sequence[str] = ()  # beside that of the program; blanks in one become hyphens
    is_pinned: bool = False
    is_archived: bool = False
    # by kind, a word in the singular
    omitted: Counter[str] = field(default_factory=Counter)
    links: dict[str, _Link] = field(default_factory=dict)  # by key, in the order of adding
    files: dict[str, bytes] = field(default_factory=dict)  # of images, by digest

    @property
    def last_key(self) -> str | None:
        return next(reversed(self.links), None)

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
        """Add a message; `parent` is the key of the message before it, empty for a first one.

        Values of type `Any` come from a file and are checked. `parts` may raise an error for a
        damaged message, which is counted. If the parent is lost, or an answer comes first, it
        follows the message that was added before it.
        """
        if not isinstance(key, str) or not key:
            self.omit("damaged message")
            return
        if key in self.links:
            self.omit("repeated message")
            return
        is_first = not parent and role in (Role.USER, Role.SYSTEM)
        self.links[key] = _Link(
            parent=parent if isinstance(parent, str) else None,
            added_before=None if is_first else self.last_key,
            read=partial(self._message, role, parts, created_at, model),
        )

    def _message(
        self, role: Any, parts: Iterable[ForeignPart], created_at: datetime | None, model: Any
    ) -> _Message:
        """Raises one of `BAD_VALUE_ERRORS`."""
        # the result of a tool is quoted in the answer that asked for it
        is_answer = Role(role) in (Role.ASSISTANT, Role.TOOL)
        message = _Message(
            role=Role.ASSISTANT if is_answer else Role(role),
            parts=[],
            created_at=created_at,
            model=model if is_answer and isinstance(model, str) else "",
        )
        has_quote = False
        for part in parts:
            if isinstance(part, Failure):
                message.failure = part if is_answer else None
                self.omit("error", 0 if is_answer else 1)
            else:
                has_quote = has_quote or isinstance(part, ToolQuote)
                message.parts += _converted(part, is_answer=is_answer)
        has_only_thoughts = all(isinstance(part, ReasoningPart) for part in message.parts)
        message.is_step = is_answer and not message.failure and (has_quote or has_only_thoughts)
        return message

    def omit(self, kind: object, count: int = 1) -> None:
        """Count parts that are not imported; `kind` is their program's name for them."""
        self.omitted[kind if isinstance(kind, str) and kind else "unknown part"] += count

    def read_text(self, value: object) -> str:
        """Join a list of parts like `{"text": "Hello"}`.

        The text may be in a field `value` again. Any other value that is not empty counts as left
        out.
        """
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(map(self.read_text, value))
        if isinstance(value, dict) and "text" in value:
            text = value["text"]
            is_nested = isinstance(text, dict) and "value" in text
            return self.read_text(text["value"] if is_nested else text)
        if value not in EMPTY:
            self.omit(at(value, "type"))
        return ""

    def image_or_omit(
        self, value: object, name: str = "", *, omitted_as: str = "image"
    ) -> Iterator[FilePart]:
        """Yield an image: bytes, base64 or a `data:` URL, whose pixels are not decoded.

        Any other value, and one over the limit of bytes, counts as left out.
        """
        data = value if isinstance(value, bytes) else b""
        if isinstance(value, str):
            with suppress(ValueError):  # invalid base64
                data = b64decode(value.rpartition(";base64,")[2])
        media_type = image_type(data)  # "" if it is no image
        if not media_type or len(data) > MAX_IMAGE_BYTES:
            self.omit(omitted_as)
            return
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        yield FilePart(name=name or "image", media_type=media_type, digest=digest, size=len(data))

    def session(self, now: datetime, *, source: str) -> Session:
        """Make the session; `source` becomes its tag, if any.

        Without prompts and answers, it has no messages.
        """
        line = self._line()
        key_or_content = self.key or str([self.title, *line.values()])
        session_id = local_id(f"{source} {key_or_content}")
        messages: list[ChatMessage] = []
        times = [message.created_at for message in line.values() if message.created_at]
        first_times = [time for time in (self.created_at, *times[:1]) if time]
        time = min(first_times, default=self.updated_at or now)
        for key, message in line.items():
            time = message.created_at or time  # of the message before it
            failure = None if message.failure is STOPPED else message.failure
            state = AnswerState.STOPPED if message.failure is STOPPED else AnswerState.COMPLETE
            if failure:
                state = AnswerState.INTERRUPTED if message.parts else AnswerState.FAILED
            chat_message = ChatMessage(
                message_id=local_id(key, session_id),
                role=message.role,
                parts=_joined(message.parts),
                created_at=time,
                parent_id=messages[-1].message_id if messages else None,
                model=message.model,
                state=state,
                failure=failure,
            )
            messages.append(chat_message)
        prompts = (message.text for message in messages if message.role is Role.USER)
        newest_models = (message.model for message in reversed(messages) if message.model)
        title = self.title.strip()[:LONGEST_TITLE] or title_from(next(prompts, ""))
        header = SessionHeader(
            session_id=session_id,
            title=title,
            created_at=self.created_at or min(times, default=time),
            # one in the future would keep the session on top
            updated_at=min(self.updated_at or max(times, default=time), now),
            model=self.model or next(newest_models, ""),
            is_pinned=self.is_pinned,
            is_archived=self.is_archived,
            tags=tags_from(" ".join((source, *("-".join(tag.split()) for tag in self.tags)))),
            message_count=len(messages),
        )
        return Session(
            header=header,
            messages=MessagePath(messages),
            files=self.files,
            skipped=omissions(title, self.omitted),
        )

    def _line(self) -> dict[str, _Message]:
        """Return the messages that the program shows by key; count the others.

        Steps are joined with the answer after them: of prompt, call, result and answer, two
        messages are left, and the answer has the parts of all three.
        """
        path: dict[str, _Link] = {}
        key = self.path_end if self.path_end in self.links else self.last_key
        while key is not None and key not in path:  # else the messages form a loop
            link = path[key] = self.links[key]
            key = link.parent if link.parent in self.links else link.added_before
        system = _Message(role=Role.SYSTEM, parts=[*_converted(self.system)])
        line = {_SYSTEM: system} if system.parts else {}
        above = system
        for key, link in reversed(path.items()):
            try:
                message = link.read()
            except BAD_VALUE_ERRORS:
                self.omit("damaged message")
                continue
            if not message.parts and not message.failure:
                continue
            if above.is_step and message.role is Role.ASSISTANT:
                line.popitem()
                above.parts += message.parts  # the same list grows: there may be many steps
                message.parts = above.parts
            line[key] = above = message
        self.omit(OTHER_VERSION, len(self.links) - len(path))
        has_chat = any(message.role is not Role.SYSTEM for message in line.values())
        return line if has_chat else {}


def failure_of(error: object) -> Failure:
    """Return the failure of an answer for the error that its program has saved.

    That is a text, an object with a text, perhaps in an object `error`, or anything.
    """
    paths = ((), ("error", "message"), ("detail",), ("message",))
    words = next(filter(str.strip, (text_at(error, *path) for path in paths)), "")
    return Failure(
        kind="server_error",
        message=words or ("The answer failed." if error is True else value_text(error)),
        hint="Ask again.",
    )


def quoted_result(value: Any) -> ToolQuote:
    """Quote the result of a tool in Markdown.

    A list like `[{"text": "Hello"}, {"type": "image"}]`, perhaps in the field `content` or as JSON
    in a text, becomes lines: its texts, and the types of other parts.
    """
    if isinstance(value, str) and value.startswith("[{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    parts = value.get("content", [value]) if isinstance(value, dict) else value
    lines: list[str] = []
    for part in parts if isinstance(parts, list) else ():
        kind = text_at(part, "type")
        lines += filter(None, [text_at(part, "text") or (kind and f"[{kind}]")])
    is_read = lines and len(lines) == len(parts)
    text = "\n".join(lines) if is_read else value_text(value)
    return quoted(f"Result: {text}")


def quoted_document(title: str, text: str, language: str | None) -> ToolQuote:
    """Quote a document that a call writes, below its title; without a language, it is prose."""
    if language is not None:
        fence = fence_for(text)
        text = f"{fence}{language}\n{text.rstrip()}\n{fence}"
    return ToolQuote(text=f"**{title}**\n\n{text}" if title else text)


def _converted(part: ForeignPart, *, is_answer: bool = False) -> Iterator[Part]:
    """Convert a part; in an answer, `<think>` at its start becomes reasoning.

    Raises `TypeError` for a value of a wrong type: a file may have anything for a text.
    """
    match part:
        case str(text):
            start, sign, rest = text.lstrip().partition(">")
            if is_answer and start + sign in ("<think>", "<thinking>"):
                # without an end tag, all is a thought
                reasoning, _, text = rest.partition(f"</{start[1:]}>")
                text = text.lstrip()
                if reasoning := reasoning.strip():
                    yield ReasoningPart(text=reasoning)
            if text.strip():
                yield TextPart(text=text)
        case ReasoningPart(text=str(text)) | RefusalPart(text=str(text)):
            if text.strip():
                yield part
        case FilePart():
            yield part
        case ToolQuote(text=text):
            yield TextPart(text=text)
        case _:  # a `Failure` is no part; other types are wrong values
            raise TypeError(part)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Make one part of all thoughts and one of all texts.

    Steps before an answer (tool calls, thoughts) have become its parts.
    """
    thoughts = [utf8_safe(part.text) for part in parts if isinstance(part, ReasoningPart)]
    texts = [utf8_safe(part.text) for part in parts if isinstance(part, TextPart)]
    joined: list[Part] = [ReasoningPart(text="\n\n".join(thoughts))] if thoughts else []
    joined += [part for part in parts if isinstance(part, FilePart)]
    if texts:
        joined.append(TextPart(text="\n\n".join(texts)))
    joined += [part for part in parts if isinstance(part, RefusalPart)]
    return tuple(joined)
