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
    """One event, a comment, or a run of events that arrived together.

    A run has only events with one line of data and no name, as nearly all events of a stream are.
    To read them as one saves time.
    """

    data: list[bytes]  # data of each event of the run; empty for a comment
    name: str = ""  # type of the event, such as `error`; a run has none


class SseReader:
    """Reader of bytes in pieces of any size; returns events as soon as they are complete."""

    def __init__(self) -> None:
        self._is_first_line = True  # it may begin with a byte order mark
        self._skips_lf = False  # whether the last chunk ended in CR, whose LF may follow
        self._partial_line = bytearray()  # the end of the bytes so far, without a line end
        # The event that is not complete yet:
        self._data: list[bytes] = []  # one entry for each line of data
        self._data_bytes = 0
        self._name = b""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes of the stream; return the events that are complete now.

        Raises:
            MalformedStreamError: a line or an event is too long.
        """
        if self._skips_lf and chunk:
            # The CR at the end of the last chunk has ended a line: to wait for its LF would delay
            # every event. If this chunk begins with an LF, it belongs to that CR.
            self._skips_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._skips_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # A line is put together when its end has come: with each chunk, it would be copied often.
        if self._partial_line and b"\n" in chunk:
            chunk = bytes(self._partial_line) + chunk
            self._partial_line.clear()

        events: list[SseEvent] = []
        if self._data or self._name:  # the chunk begins within an event, which is read first
            end = _end_of_event(chunk)
            self._read_lines(chunk[:end], events)
            chunk = chunk[end:]
        # Nearly always, all the rest is a run (see `SseEvent`), or a run and the beginning of an
        # event. What does not belong to the run is read line by line.
        payloads, chunk = _split_data_events(chunk)
        if payloads:
            events.append(SseEvent(payloads))
        self._read_lines(chunk, events)
        return events

    def close(self) -> list[SseEvent]:
        """End the stream; return its last event if only the blank line behind it is missing.

        Its data must then be JSON or `[DONE]`, because it may have been cut off (R-38). A comment
        in the last line is returned, too.
        """
        events: list[SseEvent] = []
        if self._partial_line:
            self._read_line(bytes(self._partial_line), events)
        data = b"\n".join(self._data)
        if self._data and (data.startswith(DONE) or _is_json(data)):
            self._end_event(events)
        return events

    def _read_lines(self, text: bytes, events: list[SseEvent]) -> None:
        """Read the lines of a text, and add the events that are complete then to `events`.

        What follows the last line end is kept in `_partial_line`.
        """
        *lines, partial_line = text.split(b"\n")
        for line in lines:
            self._read_line(line, events)
        self._partial_line += partial_line
        if len(self._partial_line) > MAX_LINE_BYTES:
            raise MalformedStreamError("a line is longer than 8 MiB")

    def _read_line(self, line: bytes, events: list[SseEvent]) -> None:
        """Read one line: a field such as `data: {}`, a comment, or the blank line after an event.

        The comment, or the event that the blank line ends, is added to `events`. Fields other than
        `data` and `event` are ignored.
        """
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
            self._data_bytes += len(value) + 1  # with the line break that joins it to the others
            if len(value) > MAX_LINE_BYTES:
                raise MalformedStreamError("a line is longer than 8 MiB")
            if self._data_bytes > MAX_EVENT_BYTES:
                raise MalformedStreamError("an event is longer than 16 MiB")
        elif not field:  # a comment
            events.append(SseEvent([]))
        elif field == b"event":
            self._name = value

    def _end_event(self, events: list[SseEvent]) -> None:
        """Add the current event to `events` if it has data; then begin an empty one."""
        if self._data:
            name = self._name.decode("utf-8", "replace")
            events.append(SseEvent([b"\n".join(self._data)], name))
        self._data = []
        self._data_bytes = 0
        self._name = b""


def _split_data_events(text: bytes) -> tuple[list[bytes], bytes]:
    """Split off the events with one line of data each, if a text begins with such a run.

    Returns the data of each event, and the text behind them. If the text begins with anything else,
    or if one of the events has more than one line, returns no data and the whole text.
    """
    last_blank_line = text.rfind(_BLANK_LINE)
    if last_blank_line < 0 or not text.startswith(_DATA):
        return [], text
    end = last_blank_line + len(_BLANK_LINE)  # behind the last complete event
    if end > MAX_LINE_BYTES:  # it is read line by line instead: that checks the length of each
        return [], text
    without_ends = text[len(_DATA) : last_blank_line]
    # `rsplit` is faster than `split`: it searches for the first byte of the separator, a line
    # break, which is rare. `split` searches for the last one, a blank.
    payloads = without_ends.rsplit(_BLANK_LINE + _DATA)
    if b"\n" in b"".join(payloads):
        return [], text
    return payloads, text[end:]


def _end_of_event(text: bytes) -> int:
    """Return the position behind an event that began in earlier bytes and continues in this text.

    If the event does not end in the text, return the length of the text.
    """
    if text.startswith(b"\n"):  # the blank line: the line before it has ended in the last chunk
        return 1
    blank_line = text.find(_BLANK_LINE)
    return len(text) if blank_line < 0 else blank_line + len(_BLANK_LINE)


def _is_json(data: bytes) -> bool:
    try:
        decode(data)
    except NotJsonError:
        return False
    return True
