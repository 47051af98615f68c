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
        self._last = -1

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
            known = [number for number, one in self._ids.items() if call_id and one == call_id]
            is_more = not call_id and self._last >= 0
            index = known[0] if known else self._last if is_more else max(self._ids, default=self._last) + 1
        self._last = index
        return index


def _once(known: dict[int, str], index: int, value: str) -> str:
    if not value or known.get(index):
        return ""
    known[index] = value
    return value
