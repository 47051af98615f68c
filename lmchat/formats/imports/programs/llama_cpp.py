"""Import of exports of llama.cpp's web UI, as of October 2026.

A file has JSON Lines: for each chat a record `session`, then its records `message`. Before June
2026, it was a chat `{"conv": {}, "messages": []}`, or a list of these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lmchat.formats.imports.file_values import Record, items_of, record_in, text_in, time_of
from lmchat.formats.imports.foreign_chat import ForeignChat, ForeignPart, quoted_result
from lmchat.formats.imports.format import JsonFormat
from lmchat.formats.imports.message_list import tool_calls
from lmchat.formats.imports.sources import Source
from lmchat.sessions.attached_files import file_as_prompt_text
from lmchat.sessions.message import ReasoningPart, Role


def _fits(record: Record) -> bool:
    """Return whether an object is a session, a message of one, or a whole chat.

    A message is enough, since the line of the first session may be broken.
    """
    kind = text_in(record, "type")
    is_message = kind == "message" and bool(_chat_id(record))
    return kind == "session" or is_message or _is_whole_chat(record)


def _is_whole_chat(record: Record) -> bool:
    """Return whether an object is a chat of the time before June 2026."""
    return "conv" in record and isinstance(record.get("messages"), list)


def _chat_id(record: Record) -> str:
    """Return the id of the chat that a record begins (`session`) or belongs to (`message`)."""
    return text_in(record, "id") or text_in(record_in(record, "message"), "convId")


def _begins_chat(record: Record, chat: Sequence[Record]) -> bool:
    """Return whether an object is a chat, a session, or a message of another chat than `chat`.

    A message of another chat comes without a record `session` if the line of that record could not
    be read. A record without the id of a chat belongs to `chat`.
    """
    begins = text_in(record, "type") == "session" or _is_whole_chat(record)
    return begins or _is_whole_chat(chat[0]) or _chat_id(record) not in ("", _chat_id(chat[0]))


def _read(records: Sequence[Record], _: Source) -> ForeignChat:
    """Return the chat of a record `session` and its messages, of messages alone, or a whole chat.

    The messages are a tree. Its root is an empty message, which only connects the tree:
    `ForeignChat.finish` leaves it out of the session.
    """
    session = records[0]  # a message, which has no title, if the line of the session is broken
    if _is_whole_chat(session):
        messages = [row if isinstance(row, dict) else {} for row in session["messages"]]
        session = record_in(session, "conv")
    else:
        rows = (record for record in records if text_in(record, "type") != "session")
        messages = [record_in(record, "message") for record in rows]
    chat_ids = (text_in(message, "convId") for message in messages)
    chat = ForeignChat(
        key=text_in(session, "id") or next(filter(None, chat_ids), ""),
        title=text_in(session, "name"),
        path_end=_key(session.get("currNode")),
        updated_at=time_of(session.get("lastModified")),
    )
    keys = [_key(message.get("id")) for message in messages]
    known = {key for key in keys if isinstance(key, str)}
    for key, message in zip(keys, messages, strict=True):
        parent = _key(message.get("parent"))
        if isinstance(parent, str) and parent not in known:
            parent = chat.last_key  # the line with its parent is broken
        chat.add(
            key,
            text_in(message, "role"),
            _parts(message, chat),
            parent=parent,
            created_at=time_of(message.get("timestamp")),
            model=text_in(message, "model"),
        )
    return chat


def _key(value: Any) -> Any:
    """Return the id of a message as a text; it was a number until September 2025."""
    return str(value) if isinstance(value, int) else value


def _parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the attached files of a message, then its content.

    The content is the result of a tool, or else thought, text and tool calls. Files that are
    neither texts nor images are counted as left out. `ForeignChat.add` leaves empty parts out.
    """
    for extra in items_of(message.get("extra")):
        kind = text_in(extra, "type").removesuffix("File").lower()  # such as `audio`
        name = text_in(extra, "name") or kind
        text = extra.get("content")
        images = items_of(extra.get("images"))  # pages of a PDF that the model saw
        for image in images:
            yield from chat.image_or_omit(image, name)
        if isinstance(text, str):
            if text or not images:
                yield file_as_prompt_text(name, len(text.encode()), text)
        elif not images:
            yield from chat.image_or_omit(extra.get("base64Url"), name, omitted_as=kind)
    if text_in(message, "role") == Role.TOOL:
        yield quoted_result(message.get("content") or "")
        return
    thought = message.get("reasoningContent") or message.get("thinking")
    yield ReasoningPart(text=chat.read_text(thought))
    yield chat.read_text(message.get("content"))
    # `tool_calls` is an older name
    calls = message.get("toolCalls") or message.get("tool_calls") or []
    yield from tool_calls(items_of(json.loads(calls) if isinstance(calls, str) else calls), chat)


FORMAT = JsonFormat(fits=_fits, read=_read, begins_chat=_begins_chat)
