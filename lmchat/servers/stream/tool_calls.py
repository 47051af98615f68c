"""Tool calls of an answer from their fragments, which servers number in many ways (R-20)."""

from __future__ import annotations

from msgspec import Struct

from lmchat.servers.events import ToolCallDelta
from lmchat.servers.http.json_values import (
    JsonObject,
    count_or_none,
    dict_or_empty,
    encode,
    str_or_empty,
)


class _Call(Struct):
    """Id and name of one call, as far as they have arrived; its arguments are not kept."""

    call_id: str = ""
    name: str = ""


class ToolCalls:
    """Tool calls of one answer; each gets a number from 0, in the order in which they begin.

    The index in a fragment is a number of the server. It may be missing, or 0 for each call.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []  # by number
        self._number_by_index: dict[int | None, int] = {}  # by the server's index
        self._number_by_id: dict[tuple[int | None, str], int] = {}
        """By index and id of the server; also by None and id, for fragments without an index."""

    def read(self, fragment: JsonObject) -> ToolCallDelta:
        """Find the call of a fragment, and return an event with what the fragment adds to it.

        `fragment` is an element of the field `tool_calls` of a chunk. Its id and name are only in
        the event if the call had none before.
        """
        call_id = str_or_empty(fragment.get("id"))
        function = dict_or_empty(fragment.get("function"))
        name = str_or_empty(function.get("name"))
        arguments = function.get("arguments")
        if isinstance(arguments, dict | list):  # some servers do not encode them as a text
            arguments = encode(arguments).decode()

        number = self._find_or_add_call(count_or_none(fragment.get("index")), call_id, name)
        call = self._calls[number]
        event = ToolCallDelta(
            index=number,
            call_id="" if call.call_id else call_id,
            name="" if call.name else name,
            arguments=str_or_empty(arguments),
        )
        call.call_id = call.call_id or call_id
        call.name = call.name or name
        return event

    def _find_or_add_call(self, index: int | None, call_id: str, name: str) -> int:
        """Return the number of the call that a fragment belongs to.

        It is the first of these calls that exists:

        - the call with the same index and id;
        - the last call, if the fragment has neither an index nor an id nor a name;
        - the call with the same index, unless the fragment begins another one (`_is_next_call`).

        Otherwise the fragment begins a call, which is added.
        """
        number = self._number_by_id.get((index, call_id))  # it has no call with an empty id
        if number is not None:
            return number

        has_arguments_only = index is None and not (call_id or name)
        if has_arguments_only and self._calls:  # they continue the last call
            return len(self._calls) - 1

        number = self._number_by_index.get(index)  # without an index, none is found
        if number is None or self._is_next_call(number, call_id, name):
            number = len(self._calls)
            self._calls.append(_Call())
        if call_id:
            self._number_by_id.setdefault((index, call_id), number)
            self._number_by_id.setdefault((None, call_id), number)  # for fragments without index
        if index is not None:
            self._number_by_index[index] = number
        return number

    def _is_next_call(self, number: int, call_id: str, name: str) -> bool:
        """Whether a fragment begins another call than `number`, which has the same index.

        It does if it has a name and a different id. A different id alone is no proof: some servers
        make one up for each fragment.
        """
        has_other_id = self._calls[number].call_id not in ("", call_id)
        return bool(call_id and name) and has_other_id
