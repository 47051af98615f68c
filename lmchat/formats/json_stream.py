"""Values of a JSON list or of JSON Lines, read one at a time; only broken values are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from lmchat.formats.file_values import NO_JSON
from lmchat.sessions.session import Skipped

_READ_CHARS = 1024 * 1024  # that are read at once, at least
# First character of a value in a list or in JSON Lines, after space, commas and brackets.
_VALUE_BEGIN = re.compile(r"[^\s,\[\]]")
# Bracket, or a string like `"a \"b\""`, perhaps cut off.
_BRACKET_OR_STRING = re.compile(r'[{}\[\]]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_OPENING_BRACKETS = {"}": "{", "]": "["}  # by the closing ones
_CUT_CHARS = 10  # an error so close to the end of the text may be due to a cut value
_MOST_NAMED = 900  # broken values that are named; the others are counted
_MOST_UNMEASURED = 50  # broken values; after them each object is measured before it is decoded
_AROUND_VALUE = " \t\r\n,[]"  # characters around a value of a list in a line of its own
_DAMAGED = "it is damaged"


class JsonValues:
    """Reader of the values of a text.

    Memory is used for one value only, which may have `limit` characters. The next value begins at
    `_offset` in `_text`, the part of the stream that is in memory; `_read_more` moves both on.
    """

    def __init__(self, stream: TextIO, limit: int, *, has_lines: bool) -> None:
        """`has_lines` says that each line is known to have one value."""
        self._stream = stream
        self._limit = limit
        self._has_lines = has_lines
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._offset = 0  # of the next value in `_text`
        self._line = 1  # number of the line at `_counted_end`
        self._counted_end = 0  # offset up to which lines are counted
        self._line_end = -1  # offset of the line end after `_offset`; smaller: not searched yet
        self._value_count = 0  # broken ones included
        self._broken_count = 0

    def __iter__(self) -> Iterator[Any]:
        """Yield each value of the stream, and a `Skipped` for each broken one.

        A value that cannot be decoded may only be cut, because the text in memory ends within it:
        then more is read, and it is decoded again. Otherwise it is broken. If it has a line of its
        own, this value and all after it are read by lines. If not, the next value is behind the end
        of this object; an object without an end is left out with the rest of the stream.
        """
        while self._find_value():
            measured_end = self._end_if_measured()
            end: int | None
            try:
                value, end = self._value_and_end(measured_end)
            except NO_JSON as error:
                if measured_end is None:  # a measured value is not cut and has no own line
                    if _is_cut(error, self._text) and self._read_more():
                        continue  # decode it again, with more text
                    if self._has_own_line():
                        yield from self._values_of_lines()  # up to the end of the stream
                        break
                end = measured_end or self._object_end()
                if end is None:  # the beginning of the next value is not known either
                    yield self._skipped_rest()
                    break
                yield from self._skip_broken(f"record {self._value_count + 1}")
            else:
                yield value
            self._offset = end
            self._value_count += 1

        unnamed_count = self._broken_count - _MOST_NAMED
        if unnamed_count > 0:
            yield Skipped(where=f"{unnamed_count} more records", reason="they are damaged")

    def _value_and_end(self, measured_end: int | None) -> tuple[Any, int]:
        """Decode the value at the offset; return it and the offset behind it.

        `measured_end` is that offset if `_end_if_measured` has found it; only the text up to there
        is decoded then.
        """
        if measured_end is None:
            return self._decode(self._text, self._offset)
        return json.loads(self._text[self._offset : measured_end]), measured_end

    def _find_value(self) -> bool:
        """Move the offset to the next value; return whether there is one."""
        begin = _VALUE_BEGIN.search(self._text, self._offset)
        while begin is None:
            self._offset = len(self._text)
            if not self._read_more():
                return False
            begin = _VALUE_BEGIN.search(self._text, self._offset)
        self._offset = begin.start()
        return True

    def _read_more(self) -> bool:
        """Drop the text before the offset, read more, and return whether there was more text.

        At least as much is read as is left, so that a long value is decoded few times. Nothing is
        read if the text from the offset on has reached the limit for a value.
        """
        self._count_lines()
        self._text = self._text[self._offset :]
        self._offset = 0
        self._counted_end = 0
        self._line_end = -1
        size = min(max(_READ_CHARS, len(self._text)), self._limit - len(self._text))
        more = self._stream.read(size) if size > 0 else ""
        self._text += more
        return bool(more)

    def _count_lines(self) -> None:
        """Set `_line` to the number of the line at the offset."""
        self._line += self._text.count("\n", self._counted_end, self._offset)
        self._counted_end = self._offset

    @property
    def _is_too_large(self) -> bool:
        """Whether the text in memory, from the offset on, has reached the limit for a value."""
        return len(self._text) - self._offset >= self._limit

    def _has_own_line(self) -> bool:
        """Return whether the next value has a line of its own, and so have those after it.

        An object is taken to have one if the next line begins with an object too. Return False if
        the text in memory has reached the limit for a value: the rest of the stream is then left
        out. The line end is searched once for all values of a line.
        """
        if self._line_end < self._offset:
            end = self._text.find("\n", self._offset)
            self._line_end = end if end >= 0 else len(self._text)
        is_object = self._text.startswith("{", self._offset)
        is_next_object = self._text.startswith("{", self._line_end + 1)
        has_own_line = self._has_lines or (is_object and is_next_object)
        return has_own_line and not self._is_too_large

    def _values_of_lines(self) -> Iterator[Any]:
        """Yield the value of each line, to the end of the stream."""
        self._count_lines()
        number = self._line
        line = self._take_line()
        while line:
            text = line.strip(_AROUND_VALUE)
            if text:
                try:
                    value = json.loads(text)
                except NO_JSON:
                    yield from self._skip_broken(f"line {number}")
                else:
                    yield value
            line = self._take_line()
            number += 1

    def _take_line(self) -> str:
        """Return the text from the offset to the end of its line, and move the offset behind it.

        The line end is included. Return an empty text at the end of the stream. A line that is
        longer than the limit is cut.
        """
        line_end = self._text.find("\n", self._offset)
        while line_end < 0 and self._read_more():
            line_end = self._text.find("\n", self._offset)
        end = len(self._text) if line_end < 0 else line_end + len("\n")
        line = self._text[self._offset : end]
        self._offset = end
        return line

    def _end_if_measured(self) -> int | None:
        """Return the offset behind the object at the offset, if many values were broken before it.

        Otherwise, and for values in lines, return None. Each error of decoding takes long, since
        Python counts the lines of all text before it. After many errors, the end of an object is
        therefore found first, and its text is decoded alone.
        """
        if self._broken_count < _MOST_UNMEASURED or self._has_own_line():
            return None
        return self._object_end()

    def _object_end(self) -> int | None:
        """Return the offset behind the object at the offset, which may be broken.

        It is found by counting brackets; more text is read if needed. Return None for a value that
        is no object, for brackets that are not paired, and for an object over the limit.
        """
        while self._text.startswith("{", self._offset) and not self._is_too_large:
            open_brackets: list[str] = []
            for match in _BRACKET_OR_STRING.finditer(self._text, self._offset):
                token = match[0]
                if token in _OPENING_BRACKETS.values():
                    open_brackets.append(token)
                elif token in _OPENING_BRACKETS:
                    last_open = open_brackets.pop() if open_brackets else ""
                    if last_open != _OPENING_BRACKETS[token]:
                        return None
                if not open_brackets:
                    return match.end()
            if not self._read_more():
                return None
        return None

    def _skipped_rest(self) -> Skipped:
        megabytes = self._limit // (1024 * 1024)
        reason = f"{_DAMAGED}, or a chat in it is larger than {megabytes} MB"
        return Skipped(where="the rest of the file", reason=reason)

    def _skip_broken(self, where: str) -> Iterator[Skipped]:
        """Count a broken value, and yield it as `Skipped` unless many have been yielded."""
        self._broken_count += 1
        if self._broken_count <= _MOST_NAMED:
            yield Skipped(where=where, reason=_DAMAGED)


def _is_cut(error: Exception, text: str) -> bool:
    """Return whether decoding may have failed only because the text ends within the value."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _CUT_CHARS
