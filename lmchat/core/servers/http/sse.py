"""Server-sent events from bytes, by the HTML Standard (9.2.6); does no I/O.

CR, LF and the colon never occur inside a UTF-8 sequence, so bytes need no decoding before JSON.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8

from msgspec import Struct

from lmchat.base.json_values import NotJsonError, decode

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_EVENT_BYTES = 16 * 1024 * 1024
DONE = b"[DONE]"
MAX_STRAY_BYTES = 64 * 1024
_ERROR = b"error"
_FIELD = re.compile(rb"[A-Za-z_-]{1,40}:")
_KNOWN_FIELDS = (b"data:", b"event:", b"retry:", b"id:", b"error:")


class MalformedStreamError(Exception):
    """The stream breaks the limits of any sane server (R-37)."""


class SseEvent(Struct, frozen=True):
    """Data of all lines of one event, and its type."""

    data: bytes
    name: str = ""  # such as `error`
    stray: bytes = b""  # lines in front of it, see `SseReader.stray`


class SseReader:
    """Reader of bytes in pieces of any size."""

    def __init__(self) -> None:
        self._is_first_line = True  # it may start with a byte order mark
        self._skips_lf = False  # the last chunk ended in CR, whose LF may follow
        self._partial_line = bytearray()  # without a line end
        # of the event that is not complete:
        self._data: list[bytes] = []  # one for each line of data
        self._data_bytes = 0
        self._name = b""
        self.stray = bytearray()
        """Lines that are no fields: a server may send an error or a page without `data:`."""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that are complete now; raise `MalformedStreamError`."""
        if self._skips_lf and chunk:
            # The CR has ended a line: to wait for its LF would delay every event.
            self._skips_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._skips_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # not copied before its end has come
        if self._partial_line and b"\n" in chunk:
            chunk = bytes(self._partial_line) + chunk
            self._partial_line.clear()

        events: list[SseEvent] = []
        *lines, partial_line = chunk.split(b"\n")
        for line in lines:
            self._read_line(line, events)
        self._partial_line += partial_line
        if len(self._partial_line) > MAX_LINE_BYTES:
            raise MalformedStreamError("a line is longer than 16 MB")
        return events

    def close(self) -> list[SseEvent]:
        """Return the last event if only the blank line behind it is missing.

        It may have been cut off, so its data must be JSON or `[DONE]` (R-38), but for an error, of
        which each word helps. Other data is kept as `stray`.
        """
        events: list[SseEvent] = []
        if self._partial_line:
            self._read_line(bytes(self._partial_line), events)
        data = b"\n".join(self._data)
        is_whole = data.startswith(DONE) or self._name == _ERROR or _is_json(data)
        if self._data and is_whole:
            self._end_event(events)
        else:
            self.stray += data[:MAX_STRAY_BYTES]
        return events

    def _read_line(self, line: bytes, events: list[SseEvent]) -> None:
        """Read a field such as `data: {}`, or the blank line behind an event; drop a comment.

        `error` is no field of the standard: llama.cpp before September 2025 sends `error: {}`.
        """
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(BOM_UTF8)
        if not line:
            self._end_event(events)
            return

        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if _is_object(line):  # some servers send chunks or errors without `data:`
            field = b"data"
            value = line
        if field in (b"data", b"event") and len(self._data) == 1 and _is_object(self._data[0]):
            self._end_event(events)  # some servers send no blank line between events
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1  # with the line break that joins it to the others
            if self._data_bytes > MAX_EVENT_BYTES:
                raise MalformedStreamError("an event is longer than 16 MB")
        elif field == b"event":
            self._name = value
        elif field == _ERROR:
            self._name = _ERROR
            self._read_line(b"data: " + value, events)
        elif field and not (  # without a field, the line is a comment
            (_FIELD.match(line) and b"{" not in line)
            or any(known.startswith(line) for known in _KNOWN_FIELDS)
            or len(self.stray) + len(line) > MAX_STRAY_BYTES
        ):
            self.stray += line + b"\n"

    def _end_event(self, events: list[SseEvent]) -> None:
        if self._data:
            name = self._name.decode("utf-8", "replace")
            events.append(SseEvent(b"\n".join(self._data), name, bytes(self.stray)))
            self.stray.clear()
        self._data = []
        self._data_bytes = 0
        self._name = b""


def _is_object(line: bytes) -> bool:
    return line.startswith(b"{") and line.rstrip().endswith(b"}") and _is_json(line)


def _is_json(data: bytes) -> bool:
    try:
        decode(data)
    except NotJsonError:
        return False
    return True
