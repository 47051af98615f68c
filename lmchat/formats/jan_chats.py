"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Its messages are a row, or a tree once
one was edited or asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lmchat.domain.attached_files import file_as_prompt_text
from lmchat.domain.message import ReasoningPart
from lmchat.formats.file_values import Record, number_in, record_in, text_in, time_of
from lmchat.formats.foreign import (
    REPEATED,
    ForeignChat,
    MessageFacts,
    MessagePiece,
    RecordsFormat,
    ToolRun,
    call_of,
)
from lmchat.formats.text_files import TextFile

_THREAD = "thread.json"
Parents = dict[str, str | None]


def fits(value: Record) -> bool:
    """Return whether a value is a message of a thread."""
    return "thread_id" in value and isinstance(value.get("content"), list | str)


def read(records: list[Record], file: TextFile) -> Iterator[ForeignChat]:
    """Read the messages of a thread."""
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
        current=_current(messages, parents),
        updated_at=time_of(thread.get("updated")),
        system=text_in(assistant, "instructions"),
        model=text_in(record_in(assistant, "model"), "id").strip("*"),
    )
    chat.omitted[REPEATED] += len(records) - len(messages)
    for key, message in messages.items():
        facts = MessageFacts(created_at=time_of(message.get("created_at")), model=chat.model)
        pieces = _pieces(message, chat)
        chat.add(key, text_in(message, "role"), pieces, parent=parents[key], facts=facts)
    yield chat


def _parents(messages: Mapping[str, Record]) -> Parents:
    is_tree = any("parentId" in record_in(message, "metadata") for message in messages.values())
    parents: Parents = {}
    last: str | None = None
    last_prompt: str | None = None
    for key, message in messages.items():
        parent = text_in(record_in(message, "metadata"), "parentId") or None
        is_lost = parent is not None and parent not in messages  # its line is broken
        parents[key] = parent if is_tree and not is_lost else last
        if is_tree and parents[key] is None and message.get("role") == "assistant":
            parents[key] = last_prompt  # some versions lost the parents of answers
        last = key
        if message.get("role") == "user":
            last_prompt = key
    return parents


def _current(messages: Mapping[str, Record], parents: Parents) -> str | None:
    """Return the end of Jan's path: from the newest root to the active or newest child."""
    children: dict[str | None, list[str]] = {}
    for key in sorted(messages, key=lambda key: number_in(messages[key], "created_at")):
        children.setdefault(parents[key], []).append(key)
    at: str | None = None
    while below := children.pop(at, None):
        chosen = record_in(messages[at], "metadata").get("activeChildId") if at else None
        at = chosen if chosen in below else below[-1]
    return at


def _pieces(message: Record, chat: ForeignChat) -> Iterator[MessagePiece]:
    metadata = record_in(message, "metadata")
    for call in metadata.get("tool_calls") or ():  # of versions of 2025
        function = call["tool"]["function"]
        yield from _call(
            call["tool"].get("id"), function["name"], function["arguments"], call.get("response")
        )
    content = message["content"]
    if isinstance(content, str):
        yield content
    else:
        yield from _parts(content, chat)
    for file in metadata.get("inline_file_contents") or ():
        text = file["content"]
        yield "\n" + file_as_prompt_text(text_in(file, "name"), len(text.encode()), text)
    chat.omitted["attachment"] += len(message.get("attachments") or ())


def _parts(parts: list[Record], chat: ForeignChat) -> Iterator[MessagePiece]:
    for part in parts:
        kind = text_in(part, "type")
        if kind == "text":
            yield _text(part, chat)
        elif kind == "reasoning":
            yield ReasoningPart(text=_text(part, chat))
        elif kind == "tool_call":
            call_id = part.get("tool_call_id")
            yield from _call(call_id, part["tool_name"], part.get("input"), part.get("output"))
        elif kind == "image_url":
            yield from chat.images([text_in(part["image_url"], "url")])
        else:
            chat.omit(kind)


def _text(part: Record, chat: ForeignChat) -> str:
    text = part.get("text")
    if isinstance(text, dict) and "value" in text:
        text = text["value"]
    return chat.text(text)


def _call(call_id: object, name: str, arguments: object, result: object) -> Iterator[MessagePiece]:
    call = call_of(call_id, name, arguments)
    yield call
    if result is not None:
        yield ToolRun(call=call.call_id, result=result)


FORMATS = (RecordsFormat(fits=fits, read=read, companions=(_THREAD,)),)
