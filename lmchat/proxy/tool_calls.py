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
        self._by_index: dict[int, int] = {}
        self._by_id: dict[tuple[int | None, str], int] = {}
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
        name = text(function.get("name"))
        place = self._place(whole(fragment.get("index")), call_id, name)
        arguments = function.get("arguments")
        if isinstance(arguments, dict | list):
            arguments = encode(arguments).decode()
        return ToolCallDelta(
            index=place,
            call_id=_once(self._ids, place, call_id),
            name=_once(self._names, place, name),
            arguments=text(arguments),
        )

    def _place(self, index: int | None, call_id: str, name: str) -> int:
        """Return the number of the call that a fragment belongs to, which may differ from the server's."""
        place = self._by_id.get((index, call_id)) if call_id else None
        if place is None:
            place = self._next(call_id, name) if index is None else self._indexed(index, call_id, name)
        if call_id:
            self._by_id.setdefault((index, call_id), place)
            self._by_id.setdefault((None, call_id), place)
        if index is not None:
            self._by_index[index] = place
        self._highest = max(self._highest, place)
        self._last = place
        self._seen.add(place)
        return place

    def _next(self, call_id: str, name: str) -> int:
        is_more = not call_id and not name and self._last >= 0
        return self._last if is_more else self._highest + 1

    def _indexed(self, index: int, call_id: str, name: str) -> int:
        place = self._by_index.get(index)
        if place is None:
            return self._highest + 1 if name and index in self._seen else index
        # A second id alone begins no call: some servers make one up for each fragment.
        is_other = bool(call_id and name) and self._ids.get(place, call_id) != call_id
        return self._highest + 1 if is_other else place


def _once(known: dict[int, str], index: int, value: str) -> str:
    if not value or known.get(index):
        return ""
    known[index] = value
    return value
