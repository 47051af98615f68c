"""Puts the fragments of tool calls in order, whatever a server leaves out or repeats (R-20)."""

from __future__ import annotations

from typing import Any

from lmchat.domain.event import ToolCallDelta
from lmchat.proxy.json_values import encode, mapping, rows, text, whole


class ToolCalls:
    """Knows which calls of an answer have got their id and name."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._indexes: dict[str, int] = {}
        self._seen: set[int] = set()
        self._last = self._highest = -1

    @property
    def count(self) -> int:
        """How many calls there are so far."""
        return len(self._seen)

    def read(self, fragments: object) -> list[ToolCallDelta]:
        """Turn the fragments of one chunk into events; each tells only what is new."""
        return [self._read(fragment) for fragment in rows(fragments)]

    def _read(self, fragment: dict[str, Any]) -> ToolCallDelta:
        call_id, function = text(fragment.get("id")), mapping(fragment.get("function"))
        index = self._index(whole(fragment.get("index")), call_id)
        arguments = function.get("arguments")
        if isinstance(arguments, dict | list):
            arguments = encode(arguments).decode()
        return ToolCallDelta(
            index=index,
            call_id=_once(self._ids, index, call_id),
            name=_once(self._names, index, text(function.get("name"))),
            arguments=text(arguments),
        )

    def _index(self, index: int | None, call_id: str) -> int:
        if index is None:
            is_more = not call_id and self._last >= 0
            index = self._last if is_more else self._indexes.get(call_id, self._highest + 1)
        if call_id:
            self._indexes.setdefault(call_id, index)
        self._highest = max(self._highest, index)
        self._last = index
        self._seen.add(index)
        return index


def _once(known: dict[int, str], index: int, value: str) -> str:
    if not value or known.get(index):
        return ""
    known[index] = value
    return value
