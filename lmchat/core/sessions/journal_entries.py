"""Journal entries: the pieces of a message that is being written, as its file has them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from lmchat.core.sessions.message import TEXT_PARTS, ChatMessage, Part, ToolCallPart

JournalEntry = tuple[str, str]
"""A kind, and a piece of text, such as `("text", "Hel")`.

The kind is `text`, `reasoning`, `refusal` or `tool_result`, or a field of a call: `tool_call 0
name`.
"""
# The entries after it replace all before it: a text may turn out to have been reasoning.
# `storage/journal.py` leaves out both.
RESET: JournalEntry = ("anew", "")
# `(?a)`: ASCII digits only
_CALL_KIND = r"(?a)tool_call (\d{1,9}) (id|name|arguments|others)"


def parts_of(entries: Iterable[JournalEntry]) -> tuple[Part, ...]:
    """Join neighbouring entries, without `RESET`; unknown kinds are ignored.

    Tool calls come last, by their number.
    """
    text_entries: list[JournalEntry] = []
    calls: defaultdict[int, dict[str, str]] = defaultdict(
        lambda: {"id": "", "name": "", "arguments": "", "others": ""}
    )
    for kind, text in entries:
        if call_kind := re.fullmatch(_CALL_KIND, kind):
            number = int(call_kind[1])
            field_name = call_kind[2]
            calls[number][field_name] += text
        elif kind in TEXT_PARTS:
            text_entries.append((kind, text))

    parts: list[Part] = []
    for kind, entries_of_kind in groupby(text_entries, itemgetter(0)):
        joined = "".join(text for _, text in entries_of_kind)
        parts.append(TEXT_PARTS[kind](text=joined))
    for _, call in sorted(calls.items()):
        parts.append(ToolCallPart(call_id=call.pop("id"), **call))
    return tuple(parts)


def call_entries(message: ChatMessage) -> tuple[JournalEntry, ...]:
    """Return the calls of a tool message, for `parts_of`."""
    return tuple(
        (f"tool_call {index} {name}", text)
        for index, call in enumerate(message.tool_calls)
        for name, text in (("id", call.call_id), ("name", call.name), ("arguments", call.arguments))
    )
