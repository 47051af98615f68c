"""Import of parllama's chat files, as its version 0.10 writes them; messages have no times."""

from __future__ import annotations

from collections.abc import Iterator

from lmchat.domain.message import ReasoningPart
from lmchat.formats.file_values import Record, text_in, time_of
from lmchat.formats.foreign import ForeignChat, ForeignPart, JsonFormat, MessageMetadata
from lmchat.formats.text_files import TextFile

# Fields of a message that are left out, and what an item of each is called.
_LEFT_OUT = {"documents": "document", "tool_calls": "tool call"}


def fits(value: Record) -> bool:
    """Return whether a value is a chat of parllama."""
    return "last_updated" in value and "llm_config" in value


def read(value: Record, file: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat of a file; each of its messages follows the one before it."""
    chat = ForeignChat(
        key=text_in(value, "id") or file.name,
        title=text_in(value, "name"),
        updated_at=time_of(value["last_updated"]),
        model=text_in(value["llm_config"], "model_name"),
    )
    metadata = MessageMetadata(model=chat.model)
    for number, message in enumerate(value["messages"] or ()):
        key = text_in(message, "id") or str(number)
        role = text_in(message, "role")
        chat.add(key, role, _message_parts(message, chat), parent=chat.last_key, metadata=metadata)
    yield chat


def _message_parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield images, thought and text of a message, and count its documents and tool calls."""
    yield from chat.add_images(message.get("images") or ())
    yield ReasoningPart(text=chat.read_text(message.get("thinking")))
    yield message.get("content", "")
    for field, kind in _LEFT_OUT.items():
        chat.omitted[kind] += len(message.get(field) or ())


FORMATS = (JsonFormat(fits=fits, read=read),)
