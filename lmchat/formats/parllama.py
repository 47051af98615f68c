"""Import of parllama's chat files, as its version 0.10 writes them; messages have no times."""

from __future__ import annotations

from collections.abc import Iterator

from lmchat.domain.message import ReasoningPart
from lmchat.formats.checks import word
from lmchat.formats.foreign import ForeignChat, Step, time_of
from lmchat.formats.sources import Row, Source

SOURCE = "parllama"
_OTHERS = {"documents": "document", "tool_calls": "tool call"}


def fits(value: Row) -> bool:
    """Return whether a value is a chat of parllama, also of an early version."""
    return "last_updated" in value and ("llm_config" in value or "llm_model_name" in value)


def read(value: Row, source: Source) -> Iterator[ForeignChat]:
    """Read a chat, a row of messages."""
    chat = ForeignChat(
        source=SOURCE,
        key=word(value, "id") or word(value, "session_id") or source.name,
        title=word(value, "name") or word(value, "session_name"),
        updated_at=time_of(value["last_updated"]),
        model=word(value.get("llm_config"), "model_name") or word(value, "llm_model_name"),
    )
    for number, message in enumerate(value["messages"] or ()):
        key = word(message, "id") or word(message, "message_id") or str(number)
        chat.add(
            key, word(message, "role"), _steps(message, chat), parent=chat.last, model=chat.model
        )
    yield chat


def _steps(message: Row, chat: ForeignChat) -> Iterator[Step]:
    yield from chat.images(message.get("images") or ())
    yield ReasoningPart(text=chat.text(message.get("thinking")))
    yield message.get("content", "")
    for name, kind in _OTHERS.items():
        chat.omitted[kind] += len(message.get(name) or ())
