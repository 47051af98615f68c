"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Each message follows the one before
it, until a message was edited or generated again: then each message names its parent.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from lmchat.formats.builder import (
    CallQuote,
    ForeignChat,
    ForeignPart,
    JsonFormat,
    Record,
    ResultQuote,
    number_in,
    record_in,
    text_in,
    time_of,
)
from lmchat.formats.sources import Source
from lmchat.sessions.attached_files import file_as_prompt_text
from lmchat.sessions.message import ReasoningPart, Role

_THREAD = "thread.json"
Parents = dict[str, str | None]
"""Id of the parent of each message, by the message's id; None for the first message."""


def _fits(record: Record) -> bool:
    """Return whether an object is a message of a thread."""
    return "thread_id" in record and isinstance(record.get("content"), list | str)


def _read(records: Sequence[Record], source: Source) -> ForeignChat:
    """Return the chat of a thread: its messages, and what `thread.json` beside them says of it."""
    thread_ids = filter(None, (text_in(record, "thread_id") for record in records))
    thread_id = next(thread_ids, "")
    thread: Record = {}
    with suppress(ValueError, RecursionError):
        thread = json.loads(source.near(_THREAD) or "{}")
    if text_in(thread, "id") != thread_id:  # that of another thread in the same zip file
        thread = {}
    assistants = thread.get("assistants")
    assistant = assistants[0] if isinstance(assistants, list) and assistants else {}
    rows = {text_in(record, "id") or str(number): record for number, record in enumerate(records)}
    parents = _parents(rows)
    chat = ForeignChat(
        key=thread_id,
        title=text_in(thread, "title"),
        path_end=_path_end(rows, parents),
        updated_at=time_of(thread.get("updated")),
        system=text_in(assistant, "instructions"),
        model=text_in(record_in(assistant, "model"), "id").strip("*"),  # `*` is any model
    )
    chat.omit("repeated message", len(records) - len(rows))
    for key, row in rows.items():
        chat.add(
            key,
            text_in(row, "role"),
            _parts(row, chat),
            parent=parents[key],
            created_at=time_of(row.get("created_at")),
            model=chat.model,
        )
    return chat


def _parents(rows: Mapping[str, Record]) -> Parents:
    """Return the id of the parent of each message.

    If no message names a parent, or the line of the parent is broken, it is the message before.
    Otherwise it is the named one. An answer that names none follows the last prompt, since some
    versions of Jan lost the parents of answers; another message that names none is a first one.
    """
    is_tree = any("parentId" in record_in(row, "metadata") for row in rows.values())
    parents: Parents = {}
    last_id: str | None = None
    last_prompt_id: str | None = None
    for key, row in rows.items():
        parent = text_in(record_in(row, "metadata"), "parentId") or None
        is_missing = parent is not None and parent not in rows  # its line is broken
        if not is_tree or is_missing:
            parent = last_id
        if is_tree and parent is None and row.get("role") == Role.ASSISTANT:
            parent = last_prompt_id
        parents[key] = parent
        last_id = key
        if row.get("role") == Role.USER:
            last_prompt_id = key
    return parents


def _path_end(rows: Mapping[str, Record], parents: Parents) -> str | None:
    """Return the id of the message at the end of the path that Jan shows; None without messages.

    The path begins with the newest first message. Each further message is the child that is marked
    as active, or else the newest child. Each list of children is used once, so that a loop of
    parents ends.
    """
    children: defaultdict[str | None, list[str]] = defaultdict(list)  # oldest first
    for key in sorted(rows, key=lambda key: number_in(rows[key], "created_at")):
        children[parents[key]].append(key)

    end: str | None = None  # the parent of first messages
    while end in children:
        candidates = children.pop(end)
        active_child = None
        if end is not None:
            active_child = record_in(rows[end], "metadata").get("activeChildId")
        end = active_child if active_child in candidates else candidates[-1]
    return end


def _parts(row: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the tool calls, the content and the attached texts of a message.

    Other attachments are counted as left out.
    """
    metadata = record_in(row, "metadata")
    for call in metadata.get("tool_calls") or ():  # of versions of 2025
        function = call["tool"]["function"]
        yield CallQuote(name=function["name"], arguments=function["arguments"])
        if call.get("response") is not None:
            yield ResultQuote(value=call["response"])
    content = row["content"]
    if isinstance(content, str):
        yield content
    else:
        yield from _content_parts(content, chat)
    for file in metadata.get("inline_file_contents") or ():
        text = file["content"]
        yield file_as_prompt_text(text_in(file, "name"), len(text.encode()), text)
    chat.omit("attachment", len(row.get("attachments") or ()))


def _content_parts(records: list[Record], chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a content that is a list of records, and count unknown ones."""
    for part in records:
        kind = text_in(part, "type")
        if kind in ("text", "reasoning"):
            text = part.get("text")  # "Hello", or {"value": "Hello"}
            if isinstance(text, dict) and "value" in text:
                text = text["value"]
            words = chat.read_text(text)
            yield words if kind == "text" else ReasoningPart(text=words)
        elif kind == "tool_call":
            yield CallQuote(name=part["tool_name"], arguments=part.get("input"))
            if part.get("output") is not None:
                yield ResultQuote(value=part["output"])
        elif kind == "image_url":
            yield from chat.image(text_in(part["image_url"], "url"))
        else:
            chat.omit(kind)


FORMAT = JsonFormat(
    fits=_fits, read=_read, begins_chat=lambda _record, _chat: False, companions=(_THREAD,)
)
