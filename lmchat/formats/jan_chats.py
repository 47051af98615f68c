"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Each message follows the one before
it, until a message was edited or generated again: then each message names its parent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from lmchat.formats.file_values import Record, number_in, record_in, text_in, time_of
from lmchat.formats.foreign import (
    REPEATED,
    ForeignChat,
    ForeignPart,
    MessageMetadata,
    RecordsFormat,
    ToolRun,
    call_of,
)
from lmchat.formats.text_files import TextFile
from lmchat.sessions.attached_files import file_as_prompt_text
from lmchat.sessions.message import ReasoningPart

_THREAD = "thread.json"
Parents = dict[str, str | None]
"""Id of the parent of each message, by the message's id; None for the first message."""


def fits(value: Record) -> bool:
    """Return whether a value is a message of a thread."""
    return "thread_id" in value and isinstance(value.get("content"), list | str)


def read(records: list[Record], file: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat of a thread: its messages, and what `thread.json` beside them says of it."""
    messages = {
        text_in(record, "id") or str(number): record for number, record in enumerate(records)
    }
    parents = _parents(messages)
    thread = file.json_beside(_THREAD)
    assistants = thread.get("assistants")
    assistant = assistants[0] if isinstance(assistants, list) and assistants else {}
    thread_ids = filter(None, (text_in(record, "thread_id") for record in records))
    chat = ForeignChat(
        key=text_in(thread, "id") or next(thread_ids, ""),
        title=text_in(thread, "title"),
        path_end=_path_end(messages, parents),
        updated_at=time_of(thread.get("updated")),
        system=text_in(assistant, "instructions"),
        model=text_in(record_in(assistant, "model"), "id").strip("*"),  # `*` is any model
    )
    chat.omitted[REPEATED] += len(records) - len(messages)  # records with the same id
    for key, message in messages.items():
        metadata = MessageMetadata(created_at=time_of(message.get("created_at")), model=chat.model)
        parts = _message_parts(message, chat)
        chat.add(key, text_in(message, "role"), parts, parent=parents[key], metadata=metadata)
    yield chat


def _parents(messages: Mapping[str, Record]) -> Parents:
    """Return the id of the parent of each message.

    If no message names a parent, or the line of the parent is broken, it is the message before.
    Otherwise it is the named one. An answer that names none follows the last prompt, since some
    versions of Jan lost the parents of answers; another message that names none is a first one.
    """
    is_tree = any("parentId" in record_in(message, "metadata") for message in messages.values())
    parents: Parents = {}
    last_id: str | None = None
    last_prompt_id: str | None = None
    for message_id, message in messages.items():
        parent = text_in(record_in(message, "metadata"), "parentId") or None
        is_missing = parent is not None and parent not in messages  # its line is broken
        if not is_tree or is_missing:
            parent = last_id
        if is_tree and parent is None and message.get("role") == "assistant":
            parent = last_prompt_id
        parents[message_id] = parent

        last_id = message_id
        if message.get("role") == "user":
            last_prompt_id = message_id
    return parents


def _path_end(messages: Mapping[str, Record], parents: Parents) -> str | None:
    """Return the id of the message at the end of the path that Jan shows; None without messages.

    The path begins with the newest first message. Each further message is the child that is marked
    as active, or else the newest child. Each list of children is used once, so that a loop of
    parents ends.
    """
    children: defaultdict[str | None, list[str]] = defaultdict(list)  # oldest first
    for key in sorted(messages, key=lambda key: number_in(messages[key], "created_at")):
        children[parents[key]].append(key)

    end: str | None = None  # the parent of first messages
    while end in children:
        candidates = children.pop(end)
        active_child = None
        if end is not None:
            active_child = record_in(messages[end], "metadata").get("activeChildId")
        end = active_child if active_child in candidates else candidates[-1]
    return end


def _message_parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the tool calls, the content and the attached texts of a message.

    Other attachments are counted as left out.
    """
    metadata = record_in(message, "metadata")
    for call in metadata.get("tool_calls") or ():  # of versions of 2025
        function = call["tool"]["function"]
        yield from _call_and_result(
            call["tool"].get("id"), function["name"], function["arguments"], call.get("response")
        )
    content = message["content"]
    if isinstance(content, str):
        yield content
    else:
        yield from _content_parts(content, chat)
    for file in metadata.get("inline_file_contents") or ():
        text = file["content"]
        yield "\n" + file_as_prompt_text(text_in(file, "name"), len(text.encode()), text)
    chat.omitted["attachment"] += len(message.get("attachments") or ())


def _content_parts(records: list[Record], chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a content that is a list of records, and count unknown ones."""
    for part in records:
        kind = text_in(part, "type")
        if kind == "text":
            yield _read_text(part, chat)
        elif kind == "reasoning":
            yield ReasoningPart(text=_read_text(part, chat))
        elif kind == "tool_call":
            yield from _call_and_result(
                part.get("tool_call_id"), part["tool_name"], part.get("input"), part.get("output")
            )
        elif kind == "image_url":
            yield from chat.add_images([text_in(part["image_url"], "url")])
        else:
            chat.omit(kind)


def _read_text(part: Record, chat: ForeignChat) -> str:
    """Return the text of a part: `{"text": "Hello"}` or `{"text": {"value": "Hello"}}`."""
    text = part.get("text")
    if isinstance(text, dict) and "value" in text:
        text = text["value"]
    return chat.read_text(text)


def _call_and_result(
    call_id: object, name: str, arguments: object, result: object
) -> Iterator[ForeignPart]:
    """Yield a tool call and, unless `result` is None, its result."""
    call = call_of(call_id, name, arguments)
    yield call
    if result is not None:
        yield ToolRun(call=call.call_id, result=result)


FORMATS = (RecordsFormat(fits=fits, read=read, companions=(_THREAD,)),)
