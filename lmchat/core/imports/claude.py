"""Import of Claude's data exports, as seen in exports up to 2026.

The format is not documented. A chat has messages in the order of their times, each with blocks of
content; newer ones name their parent. Of attached texts, the content is in the file; of other files
only the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from lmchat.core.formats.reading import (
    Format,
    Record,
    Source,
    at,
    items_of,
    quoted_call,
    text_at,
    time_of,
)
from lmchat.core.imports.foreign_chat import (
    ForeignChat,
    ForeignPart,
    quoted_document,
    quoted_result,
)
from lmchat.core.sessions.message import ReasoningPart, Role
from lmchat.core.sessions.prompts import file_as_prompt_text
from lmchat.core.sessions.session import Session

_ROLES = {"human": Role.USER, "assistant": Role.ASSISTANT}
_ROOT = "00000000-0000-4000-8000-000000000000"  # parent of a first message


def _session(records: Sequence[Record], _source: Source, now: datetime) -> Session:
    record = records[0]
    chat = ForeignChat(
        key=text_at(record, "uuid"),
        title=text_at(record, "name"),
        # extensions of browsers also write these, and the model
        path_end=text_at(record, "current_leaf_message_uuid"),
        model=text_at(record, "model"),
        created_at=time_of(record.get("created_at")),
        updated_at=time_of(record.get("updated_at")),
        tags=[text_at(record, "project", "name")],
        is_pinned=record.get("is_starred") is True,
    )
    for message in record["chat_messages"]:
        parent = at(message, "parent_message_uuid") or chat.last_key
        chat.add(
            at(message, "uuid"),
            _ROLES.get(text_at(message, "sender")),
            _parts(message, chat),
            parent=None if parent == _ROOT else parent,
            created_at=time_of(at(message, "created_at")),
            model=chat.model,
        )
    return chat.session(now, source="claude")


def _parts(record: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Attached texts come before the content; other files are counted as left out."""
    for file in items_of(record.get("attachments")):
        if text := text_at(file, "extracted_content"):
            name = text_at(file, "file_name") or "pasted text"
            yield file_as_prompt_text(name, len(text.encode()), text)
        else:
            chat.omit("attachment")
    chat.omit("file", len(items_of(record.get("files"))))
    blocks = items_of(record.get("content"))
    if not blocks:  # as in older exports
        yield text_at(record, "text")
    for block in blocks:
        match text_at(block, "type"):
            case "text":
                yield chat.read_text(block)
            case "thinking":
                yield ReasoningPart(text=chat.read_text(block["thinking"]))
            case "tool_use" if block.get("name") == "artifacts" and at(block, "input", "content"):
                value = block["input"]
                is_prose = value.get("type") == "text/markdown"
                language = None if is_prose else text_at(value, "language")
                yield quoted_document(text_at(value, "title"), value["content"], language)
            case "tool_use":
                yield quoted_call(block["name"], block.get("input"))
            case "tool_result":
                yield quoted_result(block.get("content") or "")
            case kind:
                chat.omit(kind.replace("_", " "))


FORMAT = Format(fits=lambda record: isinstance(record.get("chat_messages"), list), session=_session)
