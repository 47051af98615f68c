"""Server-sent events from bytes, by the WHATWG rules (HTML Standard, 9.2.6); does no I/O.

CR, LF and the colon never occur inside a UTF-8 sequence, so bytes need no decoding before JSON.
"""

from __future__ import annotations

from msgspec import Struct

from lmchat.proxy.json_values import NotJsonError, decode

MAX_LINE_BYTES = 8 << 20
MAX_EVENT_BYTES = 16 << 20
DONE = b"[DONE]"
_BOM = b"\xef\xbb\xbf"
_DATA = b"data: "


class MalformedStreamError(Exception):
    """The stream breaks the limits of any sane server (R-37)."""


class SseEvent(Struct, frozen=True):
    """One event, a comment, or a run of events that have data alone: nearly all of a stream."""

    data: list[bytes]  # payload of each event; none of a comment
    name: str = ""


class SseReader:
    """Reader of bytes in pieces of any size; returns events as soon as they are complete."""

    def __init__(self) -> None:
        self._is_first = True
        self._skips_lf = False
        self._partial = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = b""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take more bytes and return the complete events, or raise `MalformedStreamError`."""
        if self._skips_lf and chunk:
            # CR has ended its line at once: waiting for a possible LF would delay every event
            self._skips_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._skips_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._partial and b"\n" in chunk:
            chunk = bytes(self._partial) + chunk
            self._partial.clear()
        events: list[SseEvent] = []
        if self._data or self._name:
            end = _end_of_event(chunk)
            self._lines(chunk[:end], events)
            chunk = chunk[end:]
        payloads, chunk = _plain(chunk)
        if payloads:
            events.append(SseEvent(payloads))
        self._lines(chunk, events)
        return events

    def close(self) -> list[SseEvent]:
        """Take the end of the stream.

        A last event without its blank line counts if it is whole (R-38).
        """
        events: list[SseEvent] = []
        if self._partial:
            self._line(bytes(self._partial), events)
        data = b"\n".join(self._data)
        if self._data and (data.startswith(DONE) or _is_json(data)):
            self._dispatch(events)
        return events

    def _lines(self, text: bytes, events: list[SseEvent]) -> None:
        *lines, rest = text.split(b"\n")
        for line in lines:
            self._line(line, events)
        self._partial += rest
        if len(self._partial) > MAX_LINE_BYTES:
            raise MalformedStreamError("a line is longer than 8 MiB")

    def _line(self, line: bytes, events: list[SseEvent]) -> None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            if self._data_bytes > MAX_EVENT_BYTES or len(value) > MAX_LINE_BYTES:
                raise MalformedStreamError("an event is longer than 16 MiB")
        elif not name:
            events.append(SseEvent([]))
        elif name == b"event":
            self._name = value

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            events.append(SseEvent([b"\n".join(self._data)], self._name.decode("utf-8", "replace")))
        self._data = []
        self._data_bytes = 0
        self._name = b""


def _plain(text: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of a text of one-line events, and what is behind them."""
    end = text.rfind(b"\n\n") + 2
    if not text.startswith(_DATA) or not len(_DATA) < end <= MAX_LINE_BYTES:
        return [], text
    # from the end, the search meets the rare byte first: half the time of `split`
    data = text[len(_DATA) : end - 2].rsplit(b"\n\n" + _DATA)
    if b"\n" in b"".join(data):  # an event has a second line, or a field that is no data
        return [], text
    return data, text[end:]


def _end_of_event(text: bytes) -> int:
    if text.startswith(b"\n"):
        return 1
    blank = text.find(b"\n\n")
    return len(text) if blank < 0 else blank + 2


def _is_json(data: bytes) -> bool:
    try:
        decode(data)
    except NotJsonError:
        return False
    return True
