"""Import of parllama's chat files, as its version 0.10 writes them; messages have no times."""

from __future__ import annotations

from collections.abc import Iterator

from lmchat.domain.message import ReasoningPart
from lmchat.formats.file_values import Record, text_in, time_of
from lmchat.formats.foreign import ForeignChat, JsonFormat, MessageFacts, MessagePiece
from lmchat.formats.text_files import TextFile

_LEFT_OUT = {"documents": "document", "tool_calls": "tool call"}  # fields, and names of their items


def fits(value: Record) -> bool:
    """Return whether a value is a chat of parllama."""
    return "last_updated" in value and "llm_config" in value


def read(value: Record, file: TextFile) -> Iterator[ForeignChat]:
    """Read a chat, a row of messages."""
    chat = ForeignChat(
        key=text_in(value, "id") or file.name,
        title=text_in(value, "name"),
        updated_at=time_of(value["last_updated"]),
        model=text_in(value["llm_config"], "model_name"),
    )
    facts = MessageFacts(model=chat.model)
    for number, message in enumerate(value["messages"] or ()):
        key = text_in(message, "id") or str(number)
        role = text_in(message, "role")
        chat.add(key, role, _pieces(message, chat), parent=chat.last, facts=facts)
    yield chat


def _pieces(message: Record, chat: ForeignChat) -> Iterator[MessagePiece]:
    yield from chat.images(message.get("images") or ())
    yield ReasoningPart(text=chat.text(message.get("thinking")))
    yield message.get("content", "")
    for name, kind in _LEFT_OUT.items():
        chat.omitted[kind] += len(message.get(name) or ())


FORMATS = (JsonFormat(fits=fits, read=read),)
