"""Import of exports of llama.cpp's web UI, as of October 2026.

A file has JSON Lines: for each chat a record `session`, then its records `message`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lmchat.formats.imports.file_values import Record, record_in, text_in, time_of
from lmchat.formats.imports.foreign_chat import ForeignChat, ForeignPart, quoted_result
from lmchat.formats.imports.format import JsonFormat
from lmchat.formats.imports.message_list import tool_calls
from lmchat.formats.imports.sources import Source
from lmchat.sessions.attached_files import file_as_prompt_text
from lmchat.sessions.message import ReasoningPart, Role


def _fits(record: Record) -> bool:
    """Return whether an object is a session, or a message of one.

    A message is enough, since the line of the first session may be broken.
    """
    kind = text_in(record, "type")
    return kind == "session" or (kind == "message" and bool(_chat_id(record)))


def _chat_id(record: Record) -> str:
    """Return the id of the chat that a record begins (`session`) or belongs to (`message`)."""
    return text_in(record, "id") or text_in(record_in(record, "message"), "convId")


def _begins_chat(record: Record, chat: Sequence[Record]) -> bool:
    """Return whether an object is a session, or a message of another chat than those in `chat`.

    A message of another chat comes without a record `session` if the line of that record could not
    be read. A record without the id of a chat belongs to `chat`.
    """
    is_session = text_in(record, "type") == "session"
    return is_session or _chat_id(record) not in ("", _chat_id(chat[0]))


def _read(records: Sequence[Record], _: Source) -> ForeignChat:
    """Return the chat of a record `session` and its messages, or of messages alone.

    The messages are a tree. Its root is an empty message, which only connects the tree:
    `ForeignChat.finish` leaves it out of the session.
    """
    session = records[0]  # a message, which has no title, if the line of the session is broken
    chat = ForeignChat(
        key=_chat_id(session),
        title=text_in(session, "name"),
        path_end=text_in(session, "currNode"),
        updated_at=time_of(session.get("lastModified")),
    )
    for record in records:
        if text_in(record, "type") == "session":
            continue
        message = record_in(record, "message")
        parent = message.get("parent")
        if isinstance(parent, str) and parent not in chat.messages:
            parent = chat.last_key  # the line with its parent is broken
        chat.add(
            message.get("id"),
            text_in(message, "role"),
            _parts(message, chat),
            parent=parent,
            created_at=time_of(message.get("timestamp")),
            model=text_in(message, "model"),
        )
    return chat


def _parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the attached files of a message, then its content.

    The content is the result of a tool, or else thought, text and tool calls. Files that are
    neither texts nor images are counted as left out. `ForeignChat.add` leaves empty parts out.
    """
    for extra in message.get("extra") or ():
        name = text_in(extra, "name")
        text = extra.get("content")
        if isinstance(text, str):
            yield file_as_prompt_text(name, len(text.encode()), text)
        else:
            kind = text_in(extra, "type").removesuffix("File").lower()  # such as `audio`
            yield from chat.image_or_omit(extra.get("base64Url"), name, omitted_as=kind)
    if text_in(message, "role") == Role.TOOL:
        yield quoted_result(message.get("content") or "")
        return
    thought = message.get("reasoningContent") or message.get("thinking")
    yield ReasoningPart(text=chat.read_text(thought))
    yield chat.read_text(message.get("content"))
    calls = message.get("toolCalls") or []
    yield from tool_calls(json.loads(calls) if isinstance(calls, str) else calls, chat)


FORMAT = JsonFormat(fits=_fits, read=_read, begins_chat=_begins_chat)
