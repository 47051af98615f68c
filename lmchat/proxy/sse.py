"""Server-sent events from bytes, by the WHATWG rules (HTML Standard, 9.2.6); does no I/O.

CR, LF and the colon never occur inside a UTF-8 sequence, so bytes need no decoding before JSON.
"""

from __future__ import annotations

from msgspec import Struct

from lmchat.proxy.json_values import NotJsonError, decode

MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_EVENT_BYTES = 16 * 1024 * 1024
DONE = b"[DONE]"
_BOM = b"\xef\xbb\xbf"
_DATA = b"data: "
_BLANK_LINE = b"\n\n"  # with the end of the line before it


class MalformedStreamError(Exception):
    """The stream breaks the limits of any sane server (R-37)."""


class SseEvent(Struct, frozen=True):
    """One event, a comment, or a run of events.

    Nearly all events of a stream have nothing but one line of data. Those that arrive together are
    returned as one run.
    """

    data: list[bytes]  # data of each event of the run; empty for a comment
    name: str = ""  # type of the event, such as `error`; a run has none


class SseReader:
    """Reader of bytes in pieces of any size; returns events as soon as they are complete."""

    def __init__(self) -> None:
        self._is_first_line = True
        self._skips_lf = False  # whether the last chunk ended in CR, whose LF may follow
        self._partial_line = bytearray()
        # The event that is not complete yet:
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = b""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take more bytes and return the complete events, or raise `MalformedStreamError`."""
        if self._skips_lf and chunk:
            # The line was ended by its CR alone: waiting for an LF would delay every event.
            self._skips_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._skips_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._partial_line and b"\n" in chunk:
            chunk = bytes(self._partial_line) + chunk
            self._partial_line.clear()

        events: list[SseEvent] = []
        if self._data or self._name:  # the chunk begins within an event
            end = _end_of_event(chunk)
            self._read_lines(chunk[:end], events)
            chunk = chunk[end:]
        payloads, chunk = _split_data_events(chunk)
        if payloads:
            events.append(SseEvent(payloads))
        self._read_lines(chunk, events)
        return events

    def close(self) -> list[SseEvent]:
        """End the stream, and return its last event if only the blank line behind it is missing.

        Its data must then be JSON or `[DONE]` (R-38).
        """
        events: list[SseEvent] = []
        if self._partial_line:
            self._read_line(bytes(self._partial_line), events)
        data = b"\n".join(self._data)
        if self._data and (data.startswith(DONE) or _is_json(data)):
            self._end_event(events)
        return events

    def _read_lines(self, text: bytes, events: list[SseEvent]) -> None:
        """Add the events that end in a text to `events`; keep what is behind its last line."""
        *lines, partial_line = text.split(b"\n")
        for line in lines:
            self._read_line(line, events)
        self._partial_line += partial_line
        if len(self._partial_line) > MAX_LINE_BYTES:
            raise MalformedStreamError("a line is longer than 8 MiB")

    def _read_line(self, line: bytes, events: list[SseEvent]) -> None:
        """Read one field, such as `data: {}`; a blank line ends the event."""
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            self._end_event(events)
            return

        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            if self._data_bytes > MAX_EVENT_BYTES or len(value) > MAX_LINE_BYTES:
                raise MalformedStreamError("an event is longer than 16 MiB")
        elif not field:  # a comment
            events.append(SseEvent([]))
        elif field == b"event":
            self._name = value

    def _end_event(self, events: list[SseEvent]) -> None:
        """Add the current event to `events` if it has data, and begin another one."""
        if self._data:
            name = self._name.decode("utf-8", "replace")
            events.append(SseEvent([b"\n".join(self._data)], name))
        self._data = []
        self._data_bytes = 0
        self._name = b""


def _split_data_events(text: bytes) -> tuple[list[bytes], bytes]:
    """Split a run of events, each with one line of data and a blank line.

    Returns the data of each event, and the text behind them. If any event has more than one line,
    no event is split off.
    """
    end = text.rfind(_BLANK_LINE) + len(_BLANK_LINE)
    if not text.startswith(_DATA) or not len(_DATA) < end <= MAX_LINE_BYTES:
        return [], text
    without_ends = text[len(_DATA) : end - len(_BLANK_LINE)]
    # `rsplit` takes half the time of `split`: from the end, it meets the rare byte first.
    payloads = without_ends.rsplit(_BLANK_LINE + _DATA)
    if b"\n" in b"".join(payloads):
        return [], text
    return payloads, text[end:]


def _end_of_event(text: bytes) -> int:
    """Return the position behind the event that a text begins in; its length if it has no end."""
    if text.startswith(b"\n"):
        return 1
    blank_line = text.find(_BLANK_LINE)
    return len(text) if blank_line < 0 else blank_line + len(_BLANK_LINE)


def _is_json(data: bytes) -> bool:
    try:
        decode(data)
    except NotJsonError:
        return False
    return True
