"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Its messages are a row, or a tree once one was
edited or asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmchat.domain.message import ReasoningPart, as_attached
from lmchat.formats.checks import number_in, row_in, word
from lmchat.formats.foreign import REPEATED, ForeignChat, Step, call_of, time_of
from lmchat.formats.sources import Row, Source

SOURCE = "jan"
THREAD = "thread.json"
Parents = dict[str, str | None]


def fits(value: Row) -> bool:
    """Return whether a value is a message of a thread."""
    return "thread_id" in value and isinstance(value.get("content"), list | str)


def read(value: list[Any], source: Source) -> Iterator[ForeignChat]:
    """Read the messages of a thread."""
    rows = [row for row in value if isinstance(row, dict)]
    messages = {word(row, "id") or str(number): row for number, row in enumerate(rows)}
    thread = source.json_beside(THREAD)
    assistants = thread.get("assistants")
    assistant = assistants[0] if isinstance(assistants, list) and assistants else {}
    parents = _parents(messages)
    chat = ForeignChat(
        source=SOURCE,
        key=word(thread, "id") or next(filter(None, (word(row, "thread_id") for row in rows)), ""),
        title=word(thread, "title"),
        current=_current(messages, parents),
        updated_at=time_of(thread.get("updated")),
        system=word(assistant, "instructions"),
        model=word(row_in(assistant, "model"), "id").strip("*"),
    )
    chat.omitted[REPEATED] += len(rows) - len(messages)
    for key, one in messages.items():
        time, steps = time_of(one.get("created_at")), _steps(one, chat)
        chat.add(
            key, word(one, "role"), steps, parent=parents[key], created_at=time, model=chat.model
        )
    yield chat


def _parents(messages: Mapping[str, Row]) -> Parents:
    is_tree = any("parentId" in row_in(one, "metadata") for one in messages.values())
    parents: Parents = {}
    last = asked = None
    for key, one in messages.items():
        parent = word(row_in(one, "metadata"), "parentId") or None
        is_lost = parent is not None and parent not in messages  # its line is broken
        parents[key] = parent if is_tree and not is_lost else last
        if is_tree and parents[key] is None and one.get("role") == "assistant":
            parents[key] = asked  # some versions lost the parents of answers
        last = key
        asked = key if one.get("role") == "user" else asked
    return parents


def _current(messages: Mapping[str, Row], parents: Parents) -> str | None:
    """Return the end of the path that Jan shows: from the newest root to the active or newest child."""
    children: dict[str | None, list[str]] = {}
    for key in sorted(messages, key=lambda key: number_in(messages[key], "created_at")):
        children.setdefault(parents[key], []).append(key)
    at: str | None = None
    while below := children.pop(at, None):
        chosen = row_in(messages[at], "metadata").get("activeChildId") if at else None
        at = chosen if chosen in below else below[-1]
    return at


def _steps(message: Row, chat: ForeignChat) -> Iterator[Step]:
    for old in row_in(message, "metadata").get("tool_calls") or ():
        call = old["tool"]["function"] | {
            "id": old["tool"].get("id"),
            "output": old.get("response"),
        }
        yield from _call(call)
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in parts:
        kind = word(part, "type")
        if kind == "text":
            yield _text(part, chat)
        elif kind == "reasoning":
            yield ReasoningPart(text=_text(part, chat))
        elif kind == "tool_call":
            call_id, name = part.get("tool_call_id"), part["tool_name"]
            yield from _call(part | {"id": call_id, "name": name, "arguments": part.get("input")})
        elif kind == "image_url":
            yield from chat.images([word(part["image_url"], "url")])
        else:
            chat.omit(kind)
    for file in row_in(message, "metadata").get("inline_file_contents") or ():
        text = file["content"]
        yield "\n" + as_attached(word(file, "name"), len(text.encode()), text)
    chat.omitted["attachment"] += len(message.get("attachments") or ())


def _text(part: Row, chat: ForeignChat) -> str:
    text = part.get("text")
    if isinstance(text, dict) and "value" in text:
        text = text["value"]
    return chat.text(text)


def _call(row: Row) -> Iterator[Step]:
    call = call_of(row["id"], row["name"], row["arguments"])
    yield call
    if row.get("output") is not None:
        yield call.call_id, row["output"]
