from __future__ import annotations

from itertools import pairwise

import pytest

from lmchat.core.servers.http import sse
from lmchat.core.servers.http.sse import MalformedStreamError, SseReader
from tests.core.servers.event_streams import OWN, WEB_PLATFORM_TESTS, Events

LARGE = 400  # bytes of a stream that is not cut at each of its places


def read(data: bytes, *ends: int) -> Events:
    """Return the events of a stream that is cut at these places."""
    reader = SseReader()
    events = []
    for start, end in pairwise((0, *ends, len(data))):
        events += reader.feed(data[start:end])
    return [(event.name, event.data) for event in events + reader.close()]


@pytest.mark.rule("R-38", "R-39")
def test_bytes_become_the_events_of_the_standard_however_they_are_cut():
    for suite in (WEB_PLATFORM_TESTS, OWN):
        for name, (data, expected) in suite.items():
            for every in (1, 2, 3, 5, len(data) + 1):
                assert read(data, *range(every, len(data), every)) == expected, (name, every)
            if len(data) < LARGE:
                for position in range(len(data)):
                    assert read(data, position) == expected, (name, position)


def test_an_event_of_14_megabytes_is_read_from_one_line():
    words = b"0123456789abcde" * 466_034  # 5 MiB in base64, as in LaunchDarkly's suite
    assert read(b"data: " + words + words + b"\n\n", len(words) + 6) == [("", words + words)]


def test_with_cr_only_an_event_comes_at_once_and_not_with_the_next():
    reader = SseReader()
    assert [one.data for one in reader.feed(b"data: a\r\r")] == [b"a"]
    assert reader.feed(b"\n") == []


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
