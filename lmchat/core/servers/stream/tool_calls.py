"""Tool calls of an answer from their fragments, which servers number in many ways (R-20)."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import islice

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.json_values import (
    JsonObject,
    NotJsonError,
    count_or_none,
    decode,
    dict_or_empty,
    encode,
    str_or_empty,
)
from lmchat.core.servers.events import ToolCallDelta

# calls that are looked at, and further ones of one call: thousands cost no more time
_RECENT = 64
# with more texts and brackets, the end is not found
_MAX_MARKS = 300_000
# a text, with its end as a group, or a bracket
_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+("?)|[{}\[\]]', re.DOTALL)

# numbers without decimals as integers
_exact = msgspec.json.Decoder(
    float_hook=lambda text: int(value) if (value := float(text)).is_integer() else value
)


class _Fragment(Struct, frozen=True):
    """Element of the field `tool_calls` of a chunk."""

    index: int | None
    call_id: str
    name: str
    arguments: str
    others: JsonObject  # fields that are not known


class _Object(Struct, eq=False):
    """JSON object as far as it has come; anything else never ends."""

    pieces: list[str] = field(default_factory=list)
    is_whole: bool = False
    _depth: int = 0  # brackets that are open
    _cut_text: str = ""  # beginning that makes the next piece read as the rest of a text
    _marks_left: int = _MAX_MARKS

    def add(self, piece: str) -> str:
        """Return what is behind the end."""
        if not self._depth and piece.lstrip()[:1] not in ("", "{"):
            self._marks_left = 0
        cut_text = self._cut_text
        self._cut_text = ""
        piece_read = cut_text + piece
        for mark in islice(_MARK.finditer(piece_read), self._marks_left):
            self._marks_left -= 1
            if mark[1] is not None:
                # a backslash may be left, which belongs to the next character
                self._cut_text = "" if mark[1] else f'"{piece_read[mark.end() :]}'
                continue
            self._depth += 1 if mark[0] in "{[" else -1
            if not self._depth:
                self.is_whole = True
                end = mark.end() - len(cut_text)
                self.pieces.append(piece[:end])
                return piece[end:]
        self.pieces.append(piece)
        return ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def canonical(self) -> bytes:
        """Return the same bytes for the same value, also of `1` and `1.0`."""
        data = self.text.encode("utf-8", "replace")
        with suppress(NotJsonError):
            if self.is_whole:
                value = _exact.decode(msgspec.json.encode(decode(data)))
                return msgspec.json.encode(value, order="deterministic")
        return data


class _Call(Struct, eq=False):
    """Fragments of one call; behind it, of further calls of its tool, or of the same once more."""

    call_id: str = ""
    name: str = ""
    objects: list[_Object] = field(default_factory=list)  # its arguments, then those of the others
    number: int | None = None  # None: no event has told of it
    posted_count: int = 0  # pieces of the first object that events have told
    others: JsonObject = field(default_factory=dict)  # fields that are not known
    new_others: JsonObject = field(default_factory=dict)  # of these, what no event has told

    @property
    def is_open(self) -> bool:
        return not self.objects or not self.objects[-1].is_whole

    def add_arguments(self, text: str) -> None:
        while text := text if self.is_open else text.lstrip():
            if not self.objects or self.objects[-1].is_whole:
                if len(self.objects) == _RECENT:
                    return
                self.objects.append(_Object())
            text = self.objects[-1].add(text)


class Calls(Struct, eq=False):
    """Tool calls of one answer, with numbers from 0.

    A fragment belongs to the call of its id or index, or else to that of the last fragment. The
    index may be missing, 0 for each call, or count the fragments; ids may be missing, or one for
    all. What runs is decided at the end: the arguments of a call are a
    sequence of JSON objects, of which equal ones are one call, as no call may run twice.
    """

    _offered: Collection[str]  # names of tools: any other may come in pieces
    named_count: int = 0
    _calls: list[_Call] = []
    _by_index: dict[int | None, _Call] = {}  # the last one at each index of the server
    _current: _Call | None = None  # of the last fragment

    @property
    def has_open(self) -> bool:
        """Whether a call has no whole arguments yet."""
        return any(call.is_open for call in self._calls[-_RECENT:])

    def read(self, fragment: JsonObject) -> list[ToolCallDelta]:
        """Return events with what a fragment adds; id and name are in the first one of a call."""
        part = _fragment_of(fragment)
        if not (part.call_id or part.name or part.arguments or part.others):
            return []
        call = self._call_of(part)
        if call is None:
            call = _Call()
            self._calls.append(call)
        self._current = call
        if part.index is not None:
            self._by_index[part.index] = call
        call.call_id = call.call_id or part.call_id
        call.name += part.name if part.name != call.name else ""
        for name, value in part.others.items():
            if call.others.get(name) != value:
                call.others[name] = call.new_others[name] = value
        call.add_arguments(part.arguments)
        if not call.name or (self._may_grow(call) and not call.objects):
            return []
        return self._new_events(call)

    @property
    def named(self) -> list[_Call]:
        return [call for call in self._calls if call.name]

    def close(self, repeated: Iterable[_Call] = ()) -> list[ToolCallDelta]:
        """Return events for what was held back: arguments, and further calls.

        A `repeated` call is that of the same name and arguments, or else of the same id and name.
        """
        known = defaultdict[str, set[bytes]](set)  # arguments by the name
        unstarted = defaultdict[str, deque[_Call]](deque)  # without arguments
        further: list[tuple[_Call, list[_Object]]] = []
        events: list[ToolCallDelta] = []
        for call in self.named:
            if not call.posted_count:
                while len(call.objects) > 1 and call.objects[0].canonical == b"{}":
                    del call.objects[0]  # some servers send it before the arguments, as Bedrock
            events += self._new_events(call, is_end=True)
            if call.objects:
                known[call.name] |= {b"{}", call.objects[0].canonical}
                further.append((call, call.objects[1:]))
            else:
                unstarted[call.name].append(call)
        told = {
            (call.call_id, call.name)
            for call, _ in further
            if call.objects[0].is_whole and call.objects[0].canonical != b"{}"
        }
        further += [
            (call, call.objects)
            for call in repeated
            if (call.call_id, call.name) not in told
            or any(one.canonical in known[call.name] for one in call.objects)
        ]
        for call, objects in further:
            waiting = unstarted[call.name]
            so_far = known[call.name]
            for another in objects:
                if another.is_whole and another.canonical not in so_far:
                    so_far.add(another.canonical)
                    new = waiting.popleft() if waiting else replace(call, number=None)
                    new.objects = [another]
                    new.posted_count = 0
                    new.new_others = call.others
                    events += self._new_events(new, is_end=True)
        return events

    def _may_grow(self, call: _Call) -> bool:
        """Whether the name may be a part of one."""
        return bool(self._offered) and call.name not in self._offered

    def _call_of(self, part: _Fragment) -> _Call | None:
        """Return None if the fragment starts a call."""
        recent = self._calls[: -_RECENT - 1 : -1]
        at_index = self._by_index.get(part.index)

        def takes(call: _Call) -> bool:
            is_next_of_name = call is at_index and not call.objects and self._may_grow(call)
            return part.name in ("", call.name) or not call.name or is_next_of_name

        with_id = (one for one in recent if one.call_id == part.call_id != "")
        if call := next(filter(takes, with_id), None):
            return call
        if not part.name:
            return at_index or self._current
        call = at_index or next(filter(takes, recent), None)
        if call is None or not takes(call):
            return None
        # some servers start a call twice, with two ids, before its arguments come
        joins = not part.call_id or (call is at_index and not call.objects)
        return call if joins else None

    def _new_events(self, call: _Call, *, is_end: bool = False) -> list[ToolCallDelta]:
        """Return what a call got since the last event.

        `{}` is held back until the end, because the real arguments may follow.
        """
        pieces = call.objects[0].pieces[call.posted_count :] if call.objects else []
        arguments = "".join(pieces)
        if not (call.posted_count or is_end or arguments.strip("{} \t\r\n")):
            pieces = []
            arguments = ""
        call.posted_count += len(pieces)
        others = encode(call.new_others).decode() if call.new_others else ""
        call.new_others = {}
        call_id = ""
        name = ""
        if call.number is None:
            call.number = self.named_count
            self.named_count += 1
            call_id = call.call_id
            name = call.name
        elif not (arguments or others):
            return []
        return [
            ToolCallDelta(
                index=call.number, call_id=call_id, name=name, arguments=arguments, others=others
            )
        ]


def _fragment_of(fragment: JsonObject) -> _Fragment:
    function = dict_or_empty(fragment.get("function"))
    others = _without(fragment, "index", "id", "type", "function")
    if inner := _without(function, "name", "arguments"):
        others["function"] = inner
    arguments = function.get("arguments")
    if isinstance(arguments, dict | list):  # some servers do not encode them as a text
        arguments = encode(arguments).decode()
    return _Fragment(
        index=count_or_none(fragment.get("index")),
        call_id=str_or_empty(fragment.get("id")),
        name=str_or_empty(function.get("name")),
        arguments=str_or_empty(arguments),
        others=others,
    )


def _without(value: JsonObject, *names: str) -> JsonObject:
    return {name: one for name, one in value.items() if name not in names and one not in (None, "")}
