"""Import of ChatGPT's data exports, as seen in exports up to 2026.

The format is not documented. A chat maps ids to nodes. A node has a message, which may be empty,
and the id of its parent. Thoughts and tool calls are messages of their own; a call is an answer
with another `recipient` than `all`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lmchat.formats.imports.file_values import (
    Record,
    items_of,
    number_in,
    record_in,
    text_in,
    time_of,
)
from lmchat.formats.imports.foreign_chat import ForeignChat, ForeignPart, quoted_call, quoted_result
from lmchat.formats.imports.format import JsonFormat
from lmchat.formats.imports.sources import Source
from lmchat.sessions.message import ReasoningPart, Role

_TO_USER = "all"  # recipient of a text; a tool call has the name of the tool instead
_KIND = "content_type"  # field with the kind of a content or of a part
# Kinds:
_IMAGE = "image_asset_pointer"
_RECORDINGS = ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer")
_HIDDEN = ("user_editable_context", "model_editable_context", "reasoning_recap")
# Kinds of which ChatGPT shows only the text: if it is empty, nothing is left out.
_TEXTS = (
    "text",
    "multimodal_text",
    "code",
    "execution_output",
    "system_error",
    "tether_browsing_display",
    "tether_quote",
)


def _fits(record: Record) -> bool:
    return isinstance(record.get("mapping"), dict)  # the nodes by their ids


def _read(records: Sequence[Record], source: Source) -> ForeignChat:
    """Return the chat of one record.

    Every node becomes a message, even an empty one: other nodes may name it as their parent.
    """
    record = records[0]  # the only one: `FORMAT` has no `begins_chat`
    chat = ForeignChat(
        # without an id, its time identifies a chat
        key=text_in(record, "conversation_id")
        or text_in(record, "id")
        or str(record.get("create_time")),
        title=text_in(record, "title"),
        path_end=text_in(record, "current_node"),
        created_at=time_of(record.get("create_time")),
        updated_at=time_of(record.get("update_time")),
    )
    # nodes may be in any order; sorted by time, versions are shown in the order they were written
    for key, node in sorted(record["mapping"].items(), key=_created_s):
        message = record_in(node, "message")
        chat.add(
            key,
            # a node without a message has no role; `add` would count it as damaged
            text_in(message.get("author"), "role") or Role.SYSTEM,
            _parts(node, source, chat),
            parent=text_in(node, "parent"),
            created_at=time_of(message.get("create_time")),
            model=text_in(message.get("metadata"), "model_slug"),
        )
    return chat


def _created_s(item: tuple[str, Any]) -> float:
    """Return the time of the node in a pair of key and node; 0 without one, as for the root."""
    return number_in(record_in(item[1], "message"), "create_time")


def _parts(node: Any, source: Source, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of the message of a node; a hidden message has none.

    Raises one of `BAD_VALUE_ERRORS` for a value of a wrong type, and for a message without a role;
    `ForeignChat.add` counts the message as damaged.
    """
    message = node.get("message")
    if not message:
        return
    content = message["content"]
    role = message["author"]["role"]
    kind = text_in(content, _KIND)
    is_hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
    if is_hidden or kind in _HIDDEN:
        return
    for file in items_of(record_in(message, "metadata").get("attachments")):
        if not text_in(file, "mime_type").startswith("image/"):  # images are parts, too
            chat.omit("file")
    if kind == "thoughts":
        for thought in items_of(content.get("thoughts")):
            title = text_in(thought, "summary")
            words = chat.read_text(thought["content"])
            yield ReasoningPart(text=f"**{title}**\n\n{words}".strip() if title else words)
        return

    for part in items_of(content.get("parts")):  # images first: lmchat has files before the text
        if text_in(part, _KIND) == _IMAGE:
            # `sediment://file_1a2b` is in a file whose name begins with `file_1a2b`. An image that
            # a model or tool has made is not looked for: `b""` is counted as left out.
            name = text_in(part, "asset_pointer").rpartition("/")[2]
            yield from chat.image_or_omit(source.file_content(name) if role == Role.USER else b"")
    text = _text(content, chat)
    recipient = text_in(message, "recipient") or _TO_USER
    if role == Role.ASSISTANT and recipient != _TO_USER:
        yield quoted_call(recipient, text)
    elif role == Role.TOOL:
        if text.strip():
            yield quoted_result(text)
    else:
        yield text


def _text(content: Record, chat: ForeignChat) -> str:
    """Return the text of a message: that of its parts, or else of the field `text` or `result`.

    A part without a text, such as a recording, is counted as left out. A message of an unknown kind
    without any text is counted, too.
    """
    texts: list[str] = []
    for part in items_of(content.get("parts")):
        text = part if isinstance(part, str) else text_in(part, "text")
        part_kind = text_in(part, _KIND)  # empty for a string
        if text:
            texts.append(text)
        elif part and part_kind != _IMAGE:  # `_parts` reads images
            chat.omit("recording" if part_kind in _RECORDINGS else part_kind)
    text = "\n".join(texts) or text_in(content, "text") or text_in(content, "result")
    kind = text_in(content, _KIND)
    if not text and kind not in _TEXTS:
        chat.omit(kind)
    return text


FORMAT = JsonFormat(fits=_fits, read=_read)
