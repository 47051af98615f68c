"""Import of ChatGPT's data exports, as seen in exports up to 2026.

The format is not documented. A chat maps ids to nodes: a message, which may be empty, and its
parent. Thoughts and tool calls are messages of their own; a call is an answer with another
`recipient` than `all`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmchat.formats.file_values import Record, number_in, record_in, text_in, time_of
from lmchat.formats.foreign import (
    DAMAGED,
    ForeignChat,
    ForeignPart,
    JsonFormat,
    MessageMetadata,
    ToolRun,
    call_of,
)
from lmchat.formats.text_files import TextFile
from lmchat.sessions.message import FilePart, ReasoningPart, Role

_TO_USER = "all"  # recipient of a text; a tool call has the name of the tool instead
_KIND = "content_type"  # field with the kind of a content or of a part
# Kinds:
_IMAGE = "image_asset_pointer"
_RECORDINGS = ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer")
_THOUGHTS = ("thoughts", "reasoning_recap")
_HIDDEN = ("user_editable_context", "model_editable_context")
_TEXTS = (
    "text",
    "multimodal_text",
    "code",
    "execution_output",
    "system_error",
    "tether_browsing_display",
    "tether_quote",
)
"""Kinds of which ChatGPT shows nothing but the text: other fields are no omission."""


def fits(value: Record) -> bool:
    """Return whether a value is a chat of an export."""
    return isinstance(value.get("mapping"), dict)


def read(value: Record, file: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat of a value with all branches; its path leads to `current_node`."""
    yield _ChatgptReader(value, file).read()


class _ChatgptReader:
    """Reader of one chat, whose nodes may be in any order."""

    def __init__(self, value: Record, file: TextFile) -> None:
        self._nodes: dict[str, Record] = {}  # by key
        self._file = file
        self._used: set[str] = set()  # keys of the thoughts that were given to an answer
        self._chat = ForeignChat(
            key=text_in(value, "conversation_id")
            or text_in(value, "id")
            or str(value.get("create_time") or next(iter(value["mapping"]), "")),
            title=text_in(value, "title"),
            path_end=text_in(value, "current_node"),
            created_at=time_of(value.get("create_time")),
            updated_at=time_of(value.get("update_time")),
        )
        for key, node in value["mapping"].items():
            if isinstance(node, dict):
                self._nodes[key] = node
            elif node:  # an empty one holds nothing that is lost
                self._chat.omitted[DAMAGED] += 1

    def read(self) -> ForeignChat:
        """Add the messages to the chat, oldest first, and return it."""

        def created_s(key: str) -> float:
            return number_in(_message(self._nodes[key]), "create_time")

        for key in sorted(self._nodes, key=created_s):
            message = _message(self._nodes[key])
            self._chat.add(
                key,
                # a node without a message has no role; `add` would count it as damaged
                text_in(message.get("author"), "role") or Role.SYSTEM,
                self._message_parts(key),
                parent=self._nodes[key].get("parent"),
                metadata=MessageMetadata(
                    created_at=time_of(message.get("create_time")),
                    model=text_in(message.get("metadata"), "model_slug"),
                ),
            )
        return self._chat

    def _message_parts(self, key: str) -> Iterator[ForeignPart]:
        """Yield the parts of the message of a node; raises `TypeError` for values of wrong types.

        A node without a message, a hidden message and a thought yield nothing. A thought is read
        with the answer below it.
        """
        message = self._nodes[key].get("message")
        if not message:
            return
        if not isinstance(message, dict) or not isinstance(message.get("content"), dict):
            raise TypeError
        content = message["content"]
        is_hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
        if is_hidden or text_in(content, _KIND) in (*_THOUGHTS, *_HIDDEN):
            return

        text = _read_text(content, self._chat)
        role = message["author"]["role"]
        recipient = text_in(message, "recipient") or _TO_USER
        yield from self._add_images(content, role)
        if role == Role.TOOL:
            yield from self._tool_runs(key, text_in(message["author"], "name"), text)
        elif role == Role.ASSISTANT:
            yield from self._answer_parts(key, recipient, text)
        else:
            yield text

    def _answer_parts(self, key: str, recipient: str, text: str) -> Iterator[ForeignPart]:
        """Yield the thoughts in the messages above an answer, and its text or its tool call.

        The recipient of a call is the name of the tool. A call has no id, so it gets the key of its
        message, which is the parent of the message with the result. An empty answer yields only its
        text, and leaves the thoughts to the next answer.
        """
        is_call = recipient != _TO_USER
        if is_call or text.strip():
            yield ReasoningPart(text=self._take_thoughts_above(key))
        if is_call:
            yield call_of(key, recipient, text)
        else:
            yield text

    def _add_images(self, content: Record, role: str) -> Iterator[FilePart]:
        """Add the images of a prompt to the chat and yield their parts; count missing ones.

        An image that a model or tool has made is not looked for, and is counted as missing too.
        """
        for part in content.get("parts") or ():
            if text_in(part, _KIND) == _IMAGE:
                # `sediment://file_1a2b` is in a file whose name begins with `file_1a2b`.
                name = text_in(part, "asset_pointer").rpartition("/")[2]
                image = self._file.stored(name) if role == Role.USER else b""
                yield from self._chat.add_images([image])

    def _tool_runs(self, key: str, tool: str, text: str) -> Iterator[ToolRun]:
        """Yield the result of a tool.

        It belongs to the call in the message above it. Without such a call, it gets one without
        arguments, or is left out if its text is blank.
        """
        parent = self._nodes[key].get("parent") or ""
        if parent in self._chat.calls_by_id:
            yield ToolRun(call=parent, result=text)
        elif text.strip():
            yield ToolRun(call=call_of("", tool or "tool", ""), result=text)

    def _take_thoughts_above(self, key: str) -> str:
        """Return the thoughts in the messages directly above an answer, oldest first.

        They are marked as used, so that another answer below them does not get them again.
        """
        newest_first: list[str] = []
        above = text_in(self._nodes[key], "parent")
        while above not in self._used and self._has_thoughts(above):
            self._used.add(above)
            thoughts = _content(self._nodes[above]).get("thoughts") or ()
            for thought in reversed(thoughts):
                title = text_in(thought, "summary")
                content = thought.get("content") if isinstance(thought, dict) else thought
                text = self._chat.read_text(content)
                if title:
                    text = f"**{title}**\n\n{text}".strip()
                newest_first.append(text)
            above = text_in(self._nodes[above], "parent")
        return "\n\n".join(text for text in reversed(newest_first) if text)

    def _has_thoughts(self, key: str) -> bool:
        return text_in(_content(self._nodes.get(key, {})), _KIND) in _THOUGHTS


def _message(node: Record) -> Record:
    return record_in(node, "message")


def _content(node: Record) -> Record:
    return record_in(_message(node), "content")


def _read_text(content: Record, chat: ForeignChat) -> str:
    """Return the text of a message, and count as left out what has no text.

    The text is in the parts, or else in the field `text` or `result`. A message that has other
    content but no text is counted by its kind. Raises `TypeError` for parts that are no list.
    """
    parts = content.get("parts") or []
    if not isinstance(parts, list):
        raise TypeError
    texts = [_read_part_text(part, chat) for part in parts]
    text = "\n".join(filter(None, texts))
    text = text or text_in(content, "text") or text_in(content, "result")
    kind = text_in(content, _KIND)
    other_fields = content.keys() - {_KIND, "parts"}  # `_read_part_text` counts `parts` one by one
    # A message of a kind in `_TEXTS` has no other content than a text. If there is none, its `text`
    # or `result` may hold a value that is no text.
    counted_fields = {"text", "result"} if kind in _TEXTS else other_fields
    if not text and any(content.get(field) for field in counted_fields):
        chat.omit(kind)
    return text


def _read_part_text(part: Any, chat: ForeignChat) -> str:
    """Return the text of a part, and count a part without a text as left out.

    Empty parts are not counted, nor images, which are read on their own.
    """
    if isinstance(part, str):
        return part
    text = text_in(part, "text")  # of a recording
    kind = text_in(part, _KIND)
    if kind in _RECORDINGS and not text:
        chat.omit("recording")
    elif part and kind != _IMAGE and not text:
        chat.omit(kind)
    return text


FORMATS = (JsonFormat(fits=fits, read=read),)
