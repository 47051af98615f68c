"""Values of a JSON list or of JSON Lines, one at a time; a broken one costs itself only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from lmchat.domain.session import Skipped
from lmchat.formats.file_values import NO_JSON

_STEP = 1 << 20  # characters that are read at once
_BEGIN = re.compile(r"[^\s,\[\]]")  # of a value in a list, or in JSON Lines
_MARK = re.compile(r'[{}\[\]]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # bracket or string
_PAIRS = {"}": "{", "]": "["}
_CUT_CHARS = 10  # an error so close to the end may be a cut value
_MOST_NAMED = 900  # broken values; the others are counted
_MOST_UNMEASURED = 50  # broken values; after them each object is measured before it is decoded
_AROUND = " \t\r\n,[]"  # an object of a list in a line of its own
_DAMAGED = "it is damaged"


class JsonValues:
    """Reader of values; memory is used for one value only, which may have `limit` characters."""

    def __init__(self, stream: TextIO, limit: int, *, has_lines: bool) -> None:
        """`has_lines` says that each line is known to have one value."""
        self._stream = stream
        self._limit = limit
        self._has_lines = has_lines
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""  # what is in memory
        self._at = 0  # offset of what is not read yet
        self._line = 1  # number of the line at `_counted`
        self._counted = 0  # offset up to which line ends are counted
        self._line_end = -1  # next line end, or end of the text; searched again when passed
        self._values = 0  # number of values so far, broken ones included
        self._broken = 0

    def __iter__(self) -> Iterator[Any]:
        """Yield the values, and what is left out as `Skipped`."""
        while self._find_value():
            end = self._measured_end()
            try:
                if end is None:
                    value, end = self._decode(self._text, self._at)
                else:
                    value = json.loads(self._text[self._at : end])
            except NO_JSON as error:
                if end is None:
                    if _is_cut(error, self._text) and self._read_more():
                        continue
                    if self._is_line():
                        yield from self._lines()
                        break
                    end = self._object_end()
                if end is None:
                    too_large = f"a chat in it is larger than {self._limit >> 20} MB"
                    reason = f"{_DAMAGED}, or {too_large}"
                    yield Skipped(where="the rest of the file", reason=reason)
                    break
                yield from self._skipped(f"record {self._values + 1}")
            else:
                yield value
            self._at = end
            self._values += 1

        if self._broken > _MOST_NAMED:
            count = self._broken - _MOST_NAMED
            yield Skipped(where=f"{count} more records", reason="they are damaged")

    def _find_value(self) -> bool:
        """Move to the next value; return whether there is one."""
        while (found := _BEGIN.search(self._text, self._at)) is None:
            self._at = len(self._text)
            if not self._read_more():
                return False
        self._at = found.start()
        return True

    def _read_more(self) -> bool:
        """Drop what was read, and read on; return whether there was more within the limit."""
        self._count_lines()
        self._text = self._text[self._at :]
        self._at = 0
        self._counted = 0
        self._line_end = -1
        size = min(max(_STEP, len(self._text)), self._limit - len(self._text))
        more = self._stream.read(size) if size > 0 else ""
        self._text += more
        return bool(more)

    def _count_lines(self) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at

    @property
    def _is_too_large(self) -> bool:
        return len(self._text) - self._at >= self._limit

    def _is_line(self) -> bool:
        """Return whether the next value has a line of its own, and so have those after it."""
        if self._line_end < self._at:
            end = self._text.find("\n", self._at)
            self._line_end = end if end >= 0 else len(self._text)
        is_object = self._text.startswith("{", self._at)
        is_next_object = self._text.startswith("{", self._line_end + 1)
        has_own_line = self._has_lines or (is_object and is_next_object)
        return has_own_line and not self._is_too_large

    def _lines(self) -> Iterator[Any]:
        """Yield the values of the next lines, to the end."""
        self._count_lines()
        number = self._line
        while line := self._next_line():
            try:
                if text := line.strip(_AROUND):
                    yield json.loads(text)
            except NO_JSON:
                yield from self._skipped(f"line {number}")
            number += 1

    def _next_line(self) -> str:
        """Return the next line; empty at the end. One that is longer than the limit is cut."""
        while (end := self._text.find("\n", self._at)) < 0:
            if not self._read_more():
                end = len(self._text) - 1
                break
        line = self._text[self._at : end + 1]
        self._at = end + 1
        return line

    def _measured_end(self) -> int | None:
        """Return the offset behind the next object if it is better known before it is decoded.

        An error of decoding counts the lines of all text before it, which takes long for many.
        """
        if self._broken < _MOST_UNMEASURED or self._is_line():
            return None
        return self._object_end()

    def _object_end(self) -> int | None:
        """Return the offset behind a broken object; None if its brackets are not paired."""
        while self._text.startswith("{", self._at) and not self._is_too_large:
            open_brackets: list[str] = []
            for mark in _MARK.finditer(self._text, self._at):
                sign = mark[0]
                if sign in _PAIRS.values():
                    open_brackets.append(sign)
                elif sign in _PAIRS and (not open_brackets or open_brackets.pop() != _PAIRS[sign]):
                    return None
                if not open_brackets:
                    return mark.end()
            if not self._read_more():
                return None
        return None

    def _skipped(self, where: str) -> Iterator[Skipped]:
        self._broken += 1
        if self._broken <= _MOST_NAMED:
            yield Skipped(where=where, reason=_DAMAGED)


def _is_cut(error: Exception, text: str) -> bool:
    """Return whether a value may only be broken because the text ends."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _CUT_CHARS
