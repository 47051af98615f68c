"""Import of Jan's threads, checked with its sources of July 2026.

A thread is a folder with `messages.jsonl` and `thread.json`. Its messages are a row, or a tree once one was
edited or asked for again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from lmchat.domain.message import ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart, as_attached
from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import Content, word
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignMessage,
    Step,
    foreign_session,
    left_out,
    message_rows,
    said,
    time_of,
)

SOURCE = "jan"
THREAD = "thread.json"
Row = dict[str, Any]


def fits(content: Content) -> bool:
    """Return whether a value is the messages of a thread, or the only one."""
    return any("thread_id" in one and isinstance(one.get("content"), list) for one in _messages(content))


def read(content: Content) -> Iterator[Session | Skipped]:
    """Read a thread."""
    messages = {word(one, "id"): one for one in _messages(content)}
    thread = content.beside(THREAD)
    thread = thread if isinstance(thread, dict) else {}
    assistants = thread.get("assistants")
    assistant = assistants[0] if isinstance(assistants, list) and assistants else {}
    model = word(assistant.get("model"), "id").strip("*")
    others = Counter({"damaged message": sum(one is None for one in content.value)})
    parents = _parents(messages)
    rows: list[ForeignMessage] = []
    for key, one in messages.items():
        facts = {"created_at": time_of(one.get("created_at")), "model": model}
        rows += message_rows(
            key, parents[key], one.get("role"), partial(_steps, one, others), others, **facts
        )
    title = word(thread, "title")
    yield from left_out(title, others)
    head = ForeignChat(
        source=SOURCE,
        key=word(thread, "id") or word(next(iter(messages.values())), "thread_id"),
        title=title,
        current=_current(messages, parents),
        updated_at=time_of(thread.get("updated")),
        system=word(assistant, "instructions"),
        model=model,
    )
    yield foreign_session(head, rows, moment=content.moment)


def _messages(content: Content) -> list[Row]:
    found = content.value if isinstance(content.value, list) else [content.value]
    return [one for one in found if isinstance(one, dict)]


def _metadata(message: Row) -> Row:
    found = message.get("metadata")
    return found if isinstance(found, dict) else {}


def _parents(messages: Mapping[str, Row]) -> dict[str, str | None]:
    is_tree = any("parentId" in _metadata(one) for one in messages.values())
    parents: dict[str, str | None] = {}
    last = asked = None
    for key, one in messages.items():
        parents[key] = _metadata(one).get("parentId") if is_tree else last
        if is_tree and parents[key] is None and one.get("role") == "assistant":
            parents[key] = asked  # some versions lost the parents of answers
        last = key
        asked = key if one.get("role") == "user" else asked
    return parents


def _current(messages: Mapping[str, Row], parents: Mapping[str, str | None]) -> str | None:
    """Return the end of the path that Jan shows: from the newest root to the active or newest child."""
    children: dict[str | None, list[str]] = {}
    for key in sorted(messages, key=lambda key: messages[key].get("created_at") or 0):
        children.setdefault(parents[key], []).append(key)
    path: dict[str | None, None] = {None: None}
    at: str | None = None
    while (below := children.get(at)) and not path.keys() & set(below):
        chosen = _metadata(messages[at]).get("activeChildId") if at else None
        path[at := chosen if chosen in below else below[-1]] = None
    return at


def _steps(message: Row, others: Counter[str], role: Role) -> Iterator[Step]:
    for old in _metadata(message).get("tool_calls") or ():
        function = old["tool"]["function"]
        yield from _call(old["tool"].get("id"), function["name"], function["arguments"], old.get("response"))
    for part in message["content"]:
        kind, text = word(part, "type"), word(part.get("text"), "value")
        if kind == "text":
            yield from said(text, role)
        elif kind == "reasoning":
            yield ReasoningPart(text=text)
        elif kind == "tool_call":
            yield from _call(
                part.get("tool_call_id"), part["tool_name"], part.get("input"), part.get("output")
            )
        else:
            others[kind.removesuffix("_url") or "unknown part"] += 1
    for file in _metadata(message).get("inline_file_contents") or ():
        text = file["content"]
        yield TextPart(text="\n" + as_attached(word(file, "name"), len(text.encode()), text))
    others["attachment"] += len(message.get("attachments") or ())


def _call(call_id: object, name: str, arguments: object, result: object) -> Iterator[Step]:
    call = ToolCallPart(call_id=str(call_id or ""), name=name, arguments=_plain(arguments))
    yield call
    if result is not None:
        yield call, ToolResultPart(text=_plain(result))


def _plain(value: Any) -> str:
    """Return a text, the texts of a tool's result, or JSON."""
    parts = value.get("content") if isinstance(value, dict) else None
    if isinstance(parts, list) and all(word(part, "type") == "text" for part in parts):
        return "\n".join(word(part, "text") for part in parts)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
