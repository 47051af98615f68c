"""Tool calls of an answer from their fragments, which servers number in many ways (R-20)."""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec
from msgspec import Struct, field

from lmchat.servers.events import ToolCallDelta
from lmchat.servers.http.json_values import (
    JsonObject,
    NotJsonError,
    count_or_none,
    decode,
    dict_or_empty,
    encode,
    str_or_empty,
)

# looked at, from the last one: thousands cost no more time
_RECENT = 64
# with more quotation marks and brackets, the end is not found
_MAX_MARKS = 300_000
_MARK = re.compile(r'["{}\[\]]')
_REST_OF_TEXT = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)  # of a text in JSON


class _Fragment(Struct, frozen=True):
    """Element of the field `tool_calls` of a chunk."""

    index: int | None
    call_id: str
    name: str
    arguments: str
    others: JsonObject  # fields that are not known


class _Arguments(Struct, eq=False):
    """JSON object as far as it has come, whose end is looked for."""

    pieces: list[str] = field(default_factory=list)
    size: int = 0  # characters of the pieces
    has_begun: bool = False  # but white space
    is_whole: bool = False
    _marks_left: int = _MAX_MARKS
    _depth: int = 0  # brackets that are open
    _is_in_text: bool = False
    _is_escaped: bool = False  # the last character was a backslash in a text
    _canonical: bytes | None = None

    def add(self, text: str) -> str:
        """Return the characters behind the end, without white space around them."""
        beginning = text.lstrip()[:1]
        if beginning and not self.has_begun:
            self.has_begun = True
            if beginning != "{":
                self._marks_left = 0  # no object: its end is not looked for
        end = self._find_end(text)
        piece = text[:end]
        self.pieces.append(piece)
        self.size += len(piece)
        return text[end:].strip()

    def _find_end(self, text: str) -> int:
        """Return the place behind the object, or the length of the text."""
        place = 0
        if self._is_escaped and text:
            self._is_escaped = False
            place = 1
        while place < len(text) and self._marks_left:
            self._marks_left -= 1
            if self._is_in_text:
                # a quotation mark is there, or a backslash as the last character, or the end
                place = _end_of_text(text, place)
                self._is_escaped = text[place:] == "\\"
                self._is_in_text = place == len(text) or self._is_escaped
                place += 1
                continue
            mark = _MARK.search(text, place)
            if mark is None:
                break
            place = mark.end()
            if mark[0] == '"':
                self._is_in_text = True
            else:
                self._depth += 1 if mark[0] in "{[" else -1
                if self._depth == 0:
                    self.is_whole = True
                    return place
        return len(text)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def canonical(self) -> bytes:
        """Return the same bytes for the same value, of whole arguments."""
        if self._canonical is None:
            self._canonical = self.text.encode("utf-8", "replace")
            with suppress(NotJsonError):
                value = decode(self._canonical)
                self._canonical = msgspec.json.encode(value, order="deterministic")
        return self._canonical

    def is_same(self, other: _Arguments) -> bool:
        return self.is_whole and other.is_whole and self.canonical == other.canonical


class _Call(Struct, eq=False):
    """Call as far as it has come."""

    index: int | None  # of the fragment that began it
    call_id: str = ""
    name: str = ""
    arguments: _Arguments = field(default_factory=_Arguments)
    number: int | None = None  # None: no event has told of it
    posted_count: int = 0  # pieces that events have told
    again: _Arguments | None = None
    """Behind whole arguments: the same once more, or those of another call."""
    may_be_another: bool = False
    others: JsonObject = field(default_factory=dict)  # fields that are not known
    new_others: JsonObject = field(default_factory=dict)  # of these, what no event has told

    @property
    def is_open(self) -> bool:
        return not self.arguments.is_whole

    @property
    def is_empty(self) -> bool:
        return self.arguments.is_whole and self.arguments.canonical == b"{}"


class ToolCalls:
    """Tool calls of one answer, with numbers from 0 in the order in which they begin.

    The index in a fragment may be missing, 0 for each call, or count the fragments. So a known id
    is the same call at any index, and arguments alone belong to a call whose arguments are not
    whole yet. What is sent again of a whole call is dropped: no call may run twice. A call without
    a name cannot run, and no event tells of it.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._call_by_index: dict[int, _Call] = {}  # the last one at each index of the server
        self._calls_by_id: dict[str, list[_Call]] = {}  # some servers have one id for all calls
        self.named_count = 0
        self.char_count = 0  # of ids, names and arguments

    @property
    def has_open(self) -> bool:
        """Whether a call has no whole arguments yet."""
        return any(call.is_open for call in self._calls[-_RECENT:])

    def read(self, fragment: JsonObject) -> list[ToolCallDelta]:
        """Return events with what a fragment adds; id and name are in the first one of a call."""
        part = _fragment_of(fragment)
        self.char_count += len(part.call_id) + len(part.name) + len(part.arguments)
        self.char_count += len(encode(part.others)) if part.others else 0
        call = self._find_call(part)
        if call is None:
            if not (part.call_id or part.name or part.arguments or part.others):
                return []
            call = _Call(index=part.index)
            self._calls.append(call)
        call.call_id = call.call_id or part.call_id
        call.name = call.name or part.name
        for name, value in part.others.items():
            if call.others.get(name) != value:
                call.others[name] = call.new_others[name] = value
        begun = self._add_arguments(call, part)
        events = self._new_events(call)
        for another in begun:
            events += self._new_events(another)
        if call.number is not None and call.new_others:
            others = encode(call.new_others).decode()
            events.append(ToolCallDelta(index=call.number, others=others))
            call.new_others = {}
        return events

    def close(self) -> list[ToolCallDelta]:
        """Return events for arguments that were held back."""
        for call in tuple(self._calls):
            again = call.again
            if again is None or not call.may_be_another:
                continue
            is_cut_copy = call.arguments.text.startswith(again.text)
            if again.text.startswith("{") and not is_cut_copy:
                self._begin_like(call, again, index=None)
        return [event for call in self._calls for event in self._new_events(call, is_end=True)]

    def has(self, fragment: JsonObject) -> bool:
        """Return whether a call came before, by its id, or by name and arguments."""
        part = _fragment_of(fragment)
        with_id = self._calls_by_id.get(part.call_id, [])
        if any(call.arguments.size for call in with_id[-_RECENT:]):
            return True
        arguments = _Arguments()
        arguments.add(part.arguments)
        return any(
            call.name == part.name and arguments.is_same(call.arguments)
            for call in self._calls[-_RECENT:]
        )

    def _find_call(self, part: _Fragment) -> _Call | None:
        """Return None if the fragment begins a call."""
        at_index = None if part.index is None else self._call_by_index.get(part.index)
        if part.call_id:
            with_id = [
                call
                for call in self._calls_by_id.get(part.call_id, [])[-_RECENT:]
                if part.name in ("", call.name) or not call.name
            ]
            if with_id:
                return at_index if at_index in with_id else with_id[-1]
        if part.name:
            return self._find_named_call(part, at_index)

        # There is no name, and the id is missing or new. Some servers make up an id for each
        # fragment, so a new one begins a call only with a new index.
        if at_index is not None and (at_index.is_open or at_index.again is not None):
            return at_index
        if part.call_id and part.index is not None and at_index is None:
            return None  # the name may still come
        if at_index is not None and _repeats(part, at_index):
            return at_index
        open_calls = (call for call in reversed(self._calls[-_RECENT:]) if call.is_open)
        last = self._calls[-1] if self._calls else None
        return next(open_calls, at_index or last)

    def _find_named_call(self, part: _Fragment, at_index: _Call | None) -> _Call | None:
        """Return None if the fragment, which has no known id, begins a call."""
        last = self._calls[-1] if self._calls else None
        call = last if at_index is None else at_index
        if call is None:
            return None
        if not part.call_id:
            arguments = _Arguments()
            arguments.add(part.arguments)
            for one in self._calls[-_RECENT:]:
                is_alike = one.name == part.name and not one.call_id
                if is_alike and arguments.is_same(one.arguments):
                    return one
        has_other_id = bool(part.call_id) and call.call_id not in ("", part.call_id)
        if not call.name:
            is_its_place = call is at_index or part.index is None
            return call if is_its_place and not has_other_id else None
        if call.name != part.name:
            return None
        is_begun = bool(call.arguments.size)
        is_next_piece = is_begun and part.arguments.lstrip()[:1] not in ("", "{")
        if call.is_open and is_next_piece:  # the name and a new id come with each piece
            return call
        if at_index is None:
            # it may be the same call once more
            return None if part.call_id or part.index is not None else call
        if has_other_id:
            # some servers begin a call twice, with two ids, before its arguments come
            return None if is_begun or not call.is_open else call
        return call

    def _add_arguments(self, call: _Call, part: _Fragment) -> list[_Call]:
        """Add a fragment to its call; return the calls that begin with it.

        Arguments behind whole ones are compared with these when they are whole. If they differ and
        the fragment can begin a call, they are those of another call of this name.
        """
        is_at_other_index = part.index is not None and part.index != call.index
        was_at_index = part.index is not None and self._call_by_index.get(part.index) is call
        if part.index is not None:
            self._call_by_index[part.index] = call
        if part.call_id:
            with_id = self._calls_by_id.setdefault(part.call_id, [])
            if call not in with_id[-_RECENT:]:
                with_id.append(call)

        begun: list[_Call] = []
        rest = part.arguments
        is_of_call = call.is_open or bool(part.call_id) or not part.name
        if call.is_open and rest:
            rest = call.arguments.add(rest)
        is_placeholder = call.is_empty and not call.posted_count and not is_at_other_index
        if is_placeholder and is_of_call and rest.lstrip().startswith("{"):
            # some servers send `{}` before the arguments, such as Bedrock
            call.arguments = _Arguments()
            rest = call.arguments.add(rest)

        while rest := rest.strip():
            call.again = call.again or _Arguments()
            call.may_be_another |= bool(part.name) or (
                is_at_other_index and (was_at_index or bool(part.call_id))
            )
            rest = call.again.add(rest)
            if not call.again.is_whole:
                break
            again, call.again = call.again, None
            alike = [one for one in self._calls[-_RECENT:] if _is_alike(one, call)]
            is_new = not any(again.is_same(one.arguments) for one in alike)
            if is_new and call.may_be_another:
                begun.append(self._begin_like(call, again, part.index))
            call.may_be_another = False
        return begun

    def _begin_like(self, call: _Call, arguments: _Arguments, index: int | None) -> _Call:
        new = _Call(index=index, call_id=call.call_id, name=call.name, arguments=arguments)
        self._calls.append(new)
        if call.call_id:
            self._calls_by_id[call.call_id].append(new)
        if index is not None:
            self._call_by_index[index] = new
        return new

    def _new_events(self, call: _Call, *, is_end: bool = False) -> list[ToolCallDelta]:
        """Return what a call got since the last event.

        `{}` is held back until the end, because the real arguments may follow.
        """
        if not call.name:
            return []
        pieces = call.arguments.pieces[call.posted_count :]
        if call.is_empty and not call.posted_count and not is_end:
            pieces = []
        arguments = "".join(pieces)
        call.posted_count += len(pieces)
        if call.number is None:
            number = call.number = self.named_count
            self.named_count += 1
            return [
                ToolCallDelta(
                    index=number, call_id=call.call_id, name=call.name, arguments=arguments
                )
            ]
        return [ToolCallDelta(index=call.number, arguments=arguments)] if pieces else []


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


def _end_of_text(text: str, place: int) -> int:
    match = _REST_OF_TEXT.match(text, place)  # which may be empty
    return place if match is None else match.end()


def _repeats(part: _Fragment, call: _Call) -> bool:
    words = part.arguments.strip()
    return len(words) == call.arguments.size and words == call.arguments.text


def _is_alike(call: _Call, other: _Call) -> bool:
    return call.name == other.name and call.call_id == other.call_id
