from __future__ import annotations

import pytest

from lmchat.servers.http import sse
from lmchat.servers.http.sse import MalformedStreamError, SseReader


def read(data: bytes, every: int) -> list[tuple[str, bytes]]:
    """Return (name, data) of all events, read in pieces of a size."""
    reader, events = SseReader(), []
    for start in range(0, len(data), every):
        events += reader.feed(data[start : start + every])
    return [(event.name, event.data) for event in events + reader.close()]


TABLE = {
    "LF": (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
    "mixed": (b"data: a\n\r\ndata: b\r\n\n", [("", b"a"), ("", b"b")]),
    "no space after the colon": (b"data:a\n\n", [("", b"a")]),
    "two spaces": (b"data:  a\n\n", [("", b" a")]),
    "several lines": (b"data: a\r\ndata: b\r\n\r\n", [("", b"a\nb")]),
    "empty data": (b"data:\n\n", [("", b"")]),
    "field without a colon": (b"data\ndata\n\n", [("", b"\n")]),
    "comments": (b": ping\n\n:\n\ndata: a\n\n", [("", b""), ("", b""), ("", b"a")]),
    "named": (b"event: error\ndata: a\n\ndata: b\n\n", [("error", b"a"), ("", b"b")]),
    "a name without data is no event": (b"event: ping\n\ndata: a\n\n", [("", b"a")]),
    "id and retry": (b"id: 7\nretry: 3000\n\nid: 8\ndata: a\n\n", [("", b"a")]),
    "other fields": (b"Data: x\n data: x\ndata\0: x\nfoo: x\ndata: a\n\n", [("", b"a")]),
    "other line ends do not count": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\n\n".encode(),
        [("", "a\u2028b\u2029c\u0085d\x0be\x0cf".encode())],
    ),
    "whole JSON at the end": (b'data: {"a": 1}', [("", b'{"a": 1}')]),
    "the end mark at the end": (b"data: [DONE]\n", [("", b"[DONE]")]),
    "cut JSON at the end": (b'data: a\n\ndata: {"a": ', [("", b"a")]),
    "nothing": (b"", []),
}


@pytest.mark.rule("R-39")
def test_bytes_become_the_events_of_the_standard_however_they_are_cut():
    for name, (data, expected) in TABLE.items():
        for every in (1, 2, 3, 5, 1000):
            assert read(data, every) == expected, name


@pytest.mark.rule("R-37")
def test_what_does_not_end_is_malformed_before_it_fills_the_memory(monkeypatch):
    for limit, piece in (
        ("MAX_LINE_BYTES", b"x" * 100),
        ("MAX_EVENT_BYTES", b"data: " + b"x" * 94 + b"\n"),
    ):
        monkeypatch.setattr(sse, limit, 1000)
        reader = SseReader()
        for _ in range(10):
            reader.feed(piece)
        with pytest.raises(MalformedStreamError):
            reader.feed(piece)
