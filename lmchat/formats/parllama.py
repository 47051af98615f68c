"""Import of parllama's chat files, as its version 0.10 writes them; messages have no times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import Content, word
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignMessage,
    foreign_session,
    left_out,
    message_rows,
    said,
    time_of,
)

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
    rows: list[ForeignMessage] = []
    last: str | None = None
    for number, message in enumerate(chat["messages"] or ()):
        one: dict[str, Any] = message if isinstance(message, dict) else {}
        parent, last = last, word(one, "id") or word(one, "message_id") or str(number)
        steps = partial(said, one.get("content", ""), thought=word(one, "thinking"))
        rows += message_rows(last, parent, one.get("role"), steps, others, model=model)
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
