"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Each message follows the one before
it. If any message was edited or generated again, each message names its parent instead, and perhaps
which of those behind it is shown; else it is the newest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from lmchat.core.formats.reading import (
    THREAD,
    Format,
    Record,
    Source,
    at,
    items_of,
    parsed,
    quoted_call,
    text_at,
    time_of,
)
from lmchat.core.imports.foreign_chat import (
    STOPPED,
    ForeignChat,
    ForeignPart,
    failure_of,
    quoted_result,
)
from lmchat.core.sessions.message import ReasoningPart, Role
from lmchat.core.sessions.prompts import file_as_prompt_text
from lmchat.core.sessions.session import Session


def _session(records: Sequence[Record], source: Source, now: datetime) -> Session:
    thread_id = next(filter(None, (text_at(record, "thread_id") for record in records)), "")
    thread: Record = {}
    # else it is damaged, or that of another thread in the same zip file
    if text_at(record := parsed(source.read_beside(THREAD)), "id") == thread_id:
        thread = record
    assistant = at(thread, "assistants", 0)
    chat = ForeignChat(
        key=thread_id,
        title=text_at(thread, "title"),
        updated_at=time_of(at(thread, "updated")),
        system=text_at(assistant, "instructions"),
        model=text_at(assistant, "model", "id").strip("*"),  # `*` means any model
        tags=[text_at(thread, "metadata", "project", "name")],
        is_pinned=at(thread, "metadata", "is_favorite") is True,
    )
    active: dict[str, str] = {}  # by id, the message that is shown behind it
    # by the id of the prompt, the answers whose parent Jan has lost
    answers: dict[str | None, str] = {}
    names = [name for record in records for name in (record.get("metadata") or ())]
    has_versions = "parentId" in names or "activeChildId" in names
    for number, record in enumerate(records):
        metadata = record.get("metadata") or {}
        key = text_at(record, "id") or str(number)
        parent = at(metadata, "parentId")
        if has_versions and parent is None and record.get("role") != Role.USER:
            parent = chat.last_key
            answers[parent] = key
        elif isinstance(parent, str):
            parent = answers.get(parent, parent)
        elif "parentId" not in metadata:
            parent = chat.last_key
        active[str(parent)] = key  # the newest one is the last
        chat.add(
            key,
            record.get("role"),
            _parts(record, chat),
            parent=parent,
            created_at=time_of(record.get("created_at")),
            model=chat.model,
        )
    for record in records:
        key = text_at(record, "id")
        child = text_at(record, "metadata", "activeChildId")
        if child in chat.links and chat.links[child].parent == key:
            active[key] = child
    end = str(None)
    while end in active:  # each is read once, as messages may form a loop
        end = active.pop(end)
    chat.path_end = end
    return chat.session(now, source="jan")


def _parts(record: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the content and the attached texts of a message; count other attachments."""
    metadata = record.get("metadata")
    content = record["content"]
    for part in (
        [{"type": "text", "text": content}] if isinstance(content, str) else items_of(content)
    ):
        kind = text_at(part, "type")
        if kind in ("text", "reasoning"):
            words = chat.read_text(part)  # its text is "Hello", or {"value": "Hello"}
            yield words if kind == "text" else ReasoningPart(text=words)
        elif kind == "tool_call":
            yield quoted_call(part["tool_name"], part.get("input"))
            if part.get("output") is not None:
                yield quoted_result(part["output"])
        elif kind == "image_url":
            yield from chat.image_or_omit(text_at(part["image_url"], "url"))
        else:
            chat.omit(kind)
    for call in items_of(at(metadata, "tool_calls")):  # written by versions of 2025
        if function := at(call, "tool", "function"):
            yield quoted_call(function["name"], function.get("arguments"))
            yield quoted_result(call.get("response") or "")
        else:
            chat.omit("tool call")
    if record.get("status") == "stopped":
        yield STOPPED
    if record.get("status") == "error":
        yield failure_of(at(metadata, "error") or record.get("error_code") or "Jan had an error.")
    for file in items_of(at(metadata, "inline_file_contents")):
        text = file["content"]
        yield file_as_prompt_text(text_at(file, "name"), len(text.encode()), text)
    # their content is not in the file
    chat.omit("attachment", len(items_of(record.get("attachments"))))


FORMAT = Format(
    fits=lambda record: "thread_id" in record and isinstance(record.get("content"), list | str),
    session=_session,
    continues=lambda _record, _chat: True,  # all messages of a file are one thread
)
