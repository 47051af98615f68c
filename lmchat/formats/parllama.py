"""Import of parllama's chat files, as its version 0.10 writes them; messages have no times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import Content, word
from lmchat.formats.foreign import ForeignChat, foreign_session, left_out, text_row, time_of

SOURCE = "parllama"
_OTHERS = {"images": "image", "documents": "document", "tool_calls": "tool call"}


def fits(content: Content) -> bool:
    """Return whether a value is a chat of parllama, also of an early version."""
    chat = content.value
    return (
        isinstance(chat, dict)
        and "last_updated" in chat
        and bool({"llm_config", "llm_model_name"} & chat.keys())
    )


def read(content: Content) -> Iterator[Session | Skipped]:
    """Read a chat, a row of messages."""
    chat = content.value
    model = word(chat.get("llm_config"), "model_name") or word(chat, "llm_model_name")
    others: Counter[str] = Counter()
    rows = []
    last: str | None = None
    for number, message in enumerate(chat["messages"] or ()):
        one: dict[str, Any] = message if isinstance(message, dict) else {}
        parent, last = last, word(one, "id") or word(one, "message_id") or str(number)
        thought = word(one, "thinking")
        rows.append(
            text_row(last, parent, one.get("role"), one.get("content"), others, model=model, thought=thought)
        )
        for name, kind in _OTHERS.items():
            if found := one.get(name):
                others[kind] += len(found)
    title = word(chat, "name") or word(chat, "session_name")
    yield from left_out(title, others)
    head = ForeignChat(
        source=SOURCE,
        key=word(chat, "id") or word(chat, "session_id") or content.name,
        title=title,
        updated_at=time_of(chat["last_updated"]),
        model=model,
    )
    yield foreign_session(head, rows, moment=content.moment)
