"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Its messages are a row, or a tree once one was
edited or asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmchat.domain.message import ReasoningPart, as_attached
from lmchat.formats.checks import word
from lmchat.formats.foreign import ForeignChat, Step, call_of, time_of
from lmchat.formats.sources import Row, Source

SOURCE = "jan"
THREAD = "thread.json"
Parents = dict[str, str | None]


def fits(value: Row) -> bool:
    """Return whether a value is a message of a thread."""
    return "thread_id" in value and isinstance(value.get("content"), list)


def read(value: list[Any], source: Source) -> Iterator[ForeignChat]:
    """Read the messages of a thread."""
    messages = {word(one, "id"): one for one in value if isinstance(one, dict)}
    thread = source.json_beside(THREAD)
    assistant: Row = next(iter(thread.get("assistants") or ()), {})
    parents = _parents(messages)
    chat = ForeignChat(
        source=SOURCE,
        key=word(thread, "id") or word(value[0], "thread_id"),
        title=word(thread, "title"),
        current=_current(messages, parents),
        updated_at=time_of(thread.get("updated")),
        system=word(assistant, "instructions"),
        model=word(assistant.get("model"), "id").strip("*"),
    )
    for key, one in messages.items():
        time, steps = time_of(one.get("created_at")), _steps(one, chat)
        chat.add(key, word(one, "role"), steps, parent=parents[key], created_at=time, model=chat.model)
    yield chat


def _metadata(message: Row) -> Row:
    found = message.get("metadata")
    return found if isinstance(found, dict) else {}


def _parents(messages: Mapping[str, Row]) -> Parents:
    is_tree = any("parentId" in _metadata(one) for one in messages.values())
    parents: Parents = {}
    last = asked = None
    for key, one in messages.items():
        parents[key] = _metadata(one).get("parentId") if is_tree else last
        if is_tree and parents[key] is None and one.get("role") == "assistant":
            parents[key] = asked  # some versions lost the parents of answers
        last = key
        asked = key if one.get("role") == "user" else asked
    return parents


def _current(messages: Mapping[str, Row], parents: Parents) -> str | None:
    """Return the end of the path that Jan shows: from the newest root to the active or newest child."""
    children: dict[str | None, list[str]] = {}
    for key in sorted(messages, key=lambda key: messages[key].get("created_at") or 0):
        children.setdefault(parents[key], []).append(key)
    at: str | None = None
    while below := children.pop(at, None):
        chosen = _metadata(messages[at]).get("activeChildId") if at else None
        at = chosen if chosen in below else below[-1]
    return at


def _steps(message: Row, chat: ForeignChat) -> Iterator[Step]:
    for old in _metadata(message).get("tool_calls") or ():
        call = old["tool"]["function"] | {"id": old["tool"].get("id"), "output": old.get("response")}
        yield from _call(call)
    for part in message["content"]:
        kind, text = word(part, "type"), word(part.get("text"), "value")
        if kind == "text":
            yield text
        elif kind == "reasoning":
            yield ReasoningPart(text=text)
        elif kind == "tool_call":
            call_id, name = part.get("tool_call_id"), part["tool_name"]
            yield from _call(part | {"id": call_id, "name": name, "arguments": part.get("input")})
        elif kind == "image_url":
            yield from chat.images([word(part["image_url"], "url")])
        else:
            chat.omitted[kind or "unknown part"] += 1
    for file in _metadata(message).get("inline_file_contents") or ():
        text = file["content"]
        yield "\n" + as_attached(word(file, "name"), len(text.encode()), text)
    chat.omitted["attachment"] += len(message.get("attachments") or ())


def _call(row: Row) -> Iterator[Step]:
    call = call_of(row["id"], row["name"], row["arguments"])
    yield call
    if row.get("output") is not None:
        yield call.call_id, row["output"]
