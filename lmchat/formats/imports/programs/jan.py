"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Each message follows the one before
it. If any message was edited or generated again, each message names its parent instead. The path
is that of the newest message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress

from lmchat.formats.imports.file_values import Record, items_of, record_in, text_in, time_of
from lmchat.formats.imports.foreign_chat import (
    ForeignChat,
    ForeignPart,
    failure_of,
    quoted_call,
    quoted_result,
)
from lmchat.formats.imports.format import JsonFormat
from lmchat.formats.imports.sources import Source
from lmchat.sessions.attached_files import file_as_prompt_text
from lmchat.sessions.message import ReasoningPart, Role

_THREAD = "thread.json"


def _fits(record: Record) -> bool:
    return "thread_id" in record and isinstance(record.get("content"), list | str)


def _read(records: Sequence[Record], source: Source) -> ForeignChat:
    """Return the chat of the messages of a thread; `thread.json` has its title and its model."""
    thread_ids = filter(None, (text_in(record, "thread_id") for record in records))
    thread_id = next(thread_ids, "")
    thread: Record = {}
    with suppress(ValueError, RecursionError):
        record = json.loads(source.file_content(_THREAD) or "{}")
        # else it is damaged, or that of another thread in the same zip file
        if isinstance(record, dict) and text_in(record, "id") == thread_id:
            thread = record
    assistants = thread.get("assistants")
    assistant = assistants[0] if isinstance(assistants, list) and assistants else {}
    chat = ForeignChat(
        key=thread_id,
        title=text_in(thread, "title"),
        updated_at=time_of(thread.get("updated")),
        system=text_in(assistant, "instructions"),
        model=text_in(record_in(assistant, "model"), "id").strip("*"),  # `*` means any model
    )
    for number, row in enumerate(records):
        metadata = record_in(row, "metadata")
        parent = metadata.get("parentId")
        # The parent of a first prompt is null. The parent of an answer may be null, too, as some
        # versions of Jan lost it. An answer without a parent follows the message before it, and so
        # does any message without the field.
        may_be_first_prompt = "parentId" in metadata and row.get("role") == Role.USER
        if parent is None and not may_be_first_prompt:
            parent = chat.last_key
        chat.add(
            text_in(row, "id") or str(number),
            text_in(row, "role"),
            _parts(row, chat),
            parent=parent,
            created_at=time_of(row.get("created_at")),
            model=chat.model,
        )
    return chat


def _parts(row: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the content and the attached texts of a message.

    Tool calls beside the content and other attachments are counted as left out. Raises one of
    `BAD_VALUE_ERRORS` for a missing or wrong field, as `_content_parts` does.
    """
    metadata = record_in(row, "metadata")
    chat.omit("tool call", len(items_of(metadata.get("tool_calls"))))  # written by versions of 2025
    content = row["content"]
    if isinstance(content, str):
        yield content
    else:
        yield from _content_parts(items_of(content), chat)
    if text_in(row, "status") == "error":
        yield failure_of(metadata.get("error") or row.get("error_code") or "Jan had an error.")
    for file in items_of(metadata.get("inline_file_contents")):
        text = file["content"]
        yield file_as_prompt_text(text_in(file, "name"), len(text.encode()), text)
    chat.omit(
        "attachment", len(items_of(row.get("attachments")))
    )  # their content is not in the file


def _content_parts(records: list[Record], chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a message.

    Raises one of `BAD_VALUE_ERRORS` for a missing field; `ForeignChat.add` counts the message as
    damaged.
    """
    for part in records:
        kind = text_in(part, "type")
        if kind in ("text", "reasoning"):
            words = chat.read_text(part)  # its text is "Hello", or {"value": "Hello"}
            yield words if kind == "text" else ReasoningPart(text=words)
        elif kind == "tool_call":
            yield quoted_call(part["tool_name"], part.get("input"))
            if part.get("output") is not None:
                yield quoted_result(part["output"])
        elif kind == "image_url":
            yield from chat.image_or_omit(text_in(part["image_url"], "url"))
        else:
            chat.omit(kind)


FORMAT = JsonFormat(
    fits=_fits,
    read=_read,
    begins_chat=lambda _record, _chat: False,  # all messages of a file are one thread
    companions=(_THREAD,),
)
