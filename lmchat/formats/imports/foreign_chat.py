"""Chats of other programs ("foreign" ones), and the sessions that are made of them.

The module of a program reads records, and adds messages to a `ForeignChat`. The key of a message is
its id in that program. The chat counts omissions, the parts that are left out. `finish` makes a
session of the chat. Tool calls and their results are quoted text in it, since nothing of a file may
run.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.files.images import MAX_IMAGE_BYTES, image_type
from lmchat.formats.imports.file_values import BAD_VALUE_ERRORS, EMPTY, text_in
from lmchat.formats.imports.format import ReadSession, omissions
from lmchat.formats.imports.valid_session import own_id, parents_first, valid_session
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    Failure,
    FilePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    call_text,
    value_text,
)
from lmchat.sessions.session import SessionHeader, title_from

# Kinds of omissions, in the singular.
_DAMAGED = "damaged message"
_REPEATED = "repeated message"
_UNKNOWN = "unknown part"
_SYSTEM = "system prompt"  # key of the message that is made of `ForeignChat.system`
# Reasoning at the start of an answer: `<think>It is 4.</think>`, or open to the end of the text.
_THOUGHT = re.compile(
    r"\s*<(?P<tag>think|thinking)>(?P<reasoning>.*?)(?:</(?P=tag)>\s*|\Z)", re.DOTALL
)


class ToolQuote(Struct, frozen=True, kw_only=True):
    """Quoted text of a tool call or its result."""

    text: str


# Part of a message as the module of a program gives it. A text may begin with `<think>`. Texts and
# thoughts may be empty; `_converted` leaves empty ones out. An answer may have a failure.
ForeignPart = str | FilePart | ReasoningPart | RefusalPart | ToolQuote | Failure


class _Message(Struct, kw_only=True):
    """Message of a foreign chat.

    A message without parts and failure keeps the tree connected, as others may name it as their
    parent. The session does not get it.
    """

    role: Role
    parts: list[Part]
    parent: str | None  # key of the message before it; None for a root
    is_step: bool  # whether it is only a step to the answer after it: a tool call or a thought
    answer: str | None = None  # for a step: key of the answer that it has become a part of
    created_at: datetime | None = None
    model: str = ""
    failure: Failure | None = None  # of an answer

    @property
    def is_empty(self) -> bool:
        return not self.parts and self.failure is None


class ForeignChat(Struct, kw_only=True):
    """Chat of another program, to which its messages are added one after the other."""

    key: str  # identifies the chat among those of its program; the session's id is a hash of it
    title: str = ""
    # Key of the message at the end of the path that the program shows. For None, or a key that no
    # message has, as "", the path ends with the last message.
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
        """Key of the message that was added last; None before the first one."""
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
        """Add a message; `parent` is the key of the message before it.

        Values of type `Any` come from a file and are checked. `parts` may be a generator that
        raises an error for a damaged message. A damaged message is counted as left out, but added
        without parts, since others may name it as their parent. A message without a key, or with
        the key of another one, is counted and not added.
        """
        if not isinstance(key, str) or not key:
            self.count_damaged_message()
            return
        if key in self.messages:
            self.omitted[_REPEATED] += 1
            return
        message_parts: list[Part] = []
        has_tool_quote = False
        failure: Failure | None = None
        try:
            # tools belong to answers: the result is quoted in the answer that asked for it
            is_answer = Role(role) in (Role.ASSISTANT, Role.TOOL)
            message_role = Role.ASSISTANT if is_answer else Role(role)
            for part in parts:
                if isinstance(part, Failure):
                    failure = part if is_answer else None
                    self.omit("error", 0 if is_answer else 1)
                    continue
                has_tool_quote = has_tool_quote or isinstance(part, ToolQuote)
                message_parts += _converted(part, is_answer=is_answer)
        except BAD_VALUE_ERRORS:
            self.count_damaged_message()
            message_role, message_parts = Role.SYSTEM, []  # without parts, any role will do
            failure = None
        # also true without parts: `finish` leaves such a message out
        has_only_thoughts = all(isinstance(part, ReasoningPart) for part in message_parts)
        is_of_model = message_role is Role.ASSISTANT  # false for any damaged message
        self.messages[key] = _Message(
            role=message_role,
            parts=message_parts,
            parent=parent if isinstance(parent, str) else None,
            # `finish` makes a step a part of the answer after it
            is_step=is_of_model and failure is None and (has_tool_quote or has_only_thoughts),
            created_at=created_at,
            model=model if is_of_model and isinstance(model, str) else "",
            failure=failure,
        )

    def omit(self, kind: object, count: int = 1) -> None:
        """Count parts that are not imported; `kind` is the name that their program has for them."""
        self.omitted[kind if isinstance(kind, str) and kind else _UNKNOWN] += count

    def count_damaged_message(self) -> None:
        """Count a message of which nothing can be read."""
        self.omitted[_DAMAGED] += 1

    def read_text(self, value: object) -> str:
        """Return a text, or the joined texts of a list of parts like `{"text": "Hello"}`.

        An object is a part, whose text may be in a field `value` again. Any other value that is not
        empty is counted as left out.
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
            self.omit(text_in(value, "type"))
        return ""

    def image_or_omit(
        self, value: object, name: str = "", *, omitted_as: str = "image"
    ) -> Iterator[FilePart]:
        """Yield the part of an image, or nothing.

        `value` should be the image as bytes, base64 or a `data:` URL; its pixels are not decoded.
        Any other value, and an image over the limit of bytes, is counted as left out. `name` is
        that of the image's file, and `omitted_as` the kind under which an omission is counted.
        """
        data = value if isinstance(value, bytes) else b""
        if isinstance(value, str):
            with suppress(ValueError):  # invalid base64
                data = b64decode(value.rpartition(";base64,")[2])
        media_type = image_type(data)  # empty if it is no image
        if not media_type or len(data) > MAX_IMAGE_BYTES:
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
            session_id=own_id(f"{source} {self.key}"),
            title=self.title.strip(),
            created_at=self.created_at or min(times, default=moment),
            updated_at=self.updated_at or max(times, default=moment),
            model=self.model,
            tags=(source,) if source else (),
        )
        session = valid_session(header, tree.values(), end, self.files, moment)
        # only now is it known which messages are on the path
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


def failure_of(error: object) -> Failure:
    """Return the failure of an answer for the value that its program has as its error.

    The value is a text, or an object with a text, perhaps in an object `error`; any other value is
    written in JSON.
    """
    texts = [error, text_in(error, "detail"), text_in(error, "message"), text_in(error, "content")]
    if isinstance(error, dict):
        texts.insert(0, text_in(error.get("error"), "message"))
    words = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    message = words or ("The answer failed." if error is True else value_text(error))
    return Failure(kind="server_error", message=message, hint="Ask again.")


def quoted_call(name: str, arguments: object) -> ToolQuote:
    """Return a tool call as a Markdown quotation: `> Tool call: add(a=1, b=2)`."""
    return _quoted(f"Tool call: {call_text(name, value_text(arguments))}")


def quoted_result(value: Any) -> ToolQuote:
    """Return the result of a tool as a Markdown quotation.

    A list of texts like `[{"text": "Hello"}]`, perhaps in the field `content`, becomes lines; any
    other value that is no text is written in JSON.
    """
    parts = value.get("content", [value]) if isinstance(value, dict) else value
    if isinstance(parts, list) and parts and all(text_in(part, "text") for part in parts):
        text = "\n".join(part["text"] for part in parts)
    else:
        text = value_text(value)
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
        case _:  # a `Failure` is no part, and other types come from wrong values
            raise TypeError(part)


def _tree(messages: Mapping[str, _Message], default_time: datetime) -> dict[str, ChatMessage]:
    """Return the messages that have parts or a failure, by key, each after its parent.

    The parent is the next message above that is not empty, or else the system prompt. A step (a
    tool call, its result, or thoughts alone) whose only child is an answer becomes a part of that
    answer. A message without a time gets the time of the message before it. If no message before it
    has a time, it gets that of the first message with a time, or else `default_time`. `messages`
    are changed. Raises `FileRefused` if they form a loop.
    """
    # each message gets a time and, unless it is the system prompt, a parent
    known_times = (message.created_at for message in messages.values() if message.created_at)
    time = next(known_times, default_time)
    times: dict[str, datetime] = {}
    for key, message in messages.items():
        time = message.created_at or time
        times[key] = time
        if message.parent not in messages and key != _SYSTEM:
            message.parent = _SYSTEM  # it is a root, or its parent is lost

    # empty messages are passed over
    order = parents_first({key: message.parent for key, message in messages.items()})
    for key in order:
        parent = messages[key].parent
        if parent is not None and messages[parent].is_empty:
            # `parent` came earlier in `order`: its own parent now is not empty, or is None
            messages[key].parent = messages[parent].parent

    # Steps become parts of the answer after them: of prompt, call, result and answer, the prompt
    # and the answer are left, and the answer has the parts of all three.
    child_counts = Counter(message.parent for message in messages.values() if not message.is_empty)
    tree: dict[str, _Message] = {}
    for key in order:
        message = messages[key]
        if message.is_empty:
            continue
        parent_key = message.parent or ""  # the system prompt has no parent, and no key is empty
        above = tree.get(parent_key)
        is_only_answer = message.role is Role.ASSISTANT and child_counts[message.parent] == 1
        if above is not None and above.is_step and is_only_answer:
            del tree[parent_key]
            above.answer = key  # if the chat's path ends at the step, `finish` ends it here
            above.parts += message.parts  # the same list grows, as there may be thousands of steps
            message.parts = above.parts
            message.parent = above.parent
        tree[key] = message

    return {
        key: ChatMessage(
            message_id=key,
            role=message.role,
            parts=_joined(message.parts),
            created_at=times[key],
            parent_id=message.parent,
            model=message.model,
            state=_state(message),
            failure=message.failure,
        )
        for key, message in tree.items()
    }


def _state(message: _Message) -> AnswerState:
    if message.failure is None:
        return AnswerState.COMPLETE
    return AnswerState.INTERRUPTED if message.parts else AnswerState.FAILED


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the parts of a message, with one for all thoughts and one for all texts.

    An answer may have several, since the steps before it (tool calls, thoughts) have become its
    parts. Joined texts have a blank line between them.
    """
    thoughts = [part.text for part in parts if isinstance(part, ReasoningPart)]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    joined: list[Part] = [ReasoningPart(text="\n\n".join(thoughts))] if thoughts else []
    joined += [part for part in parts if isinstance(part, FilePart)]
    if texts:
        joined.append(TextPart(text="\n\n".join(texts)))
    joined += [part for part in parts if isinstance(part, RefusalPart)]
    return tuple(joined)
