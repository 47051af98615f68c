"""Streams that are read at the pace of frames: their content and the number of reads."""

from __future__ import annotations

import httpcore
import pytest

from lmchat.servers.http import paced
from lmchat.servers.http.paced import PacedStream


@pytest.fixture
def pauses(monkeypatch):
    """How long each read waited, in seconds."""
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(paced.asyncio, "sleep", sleep)
    return waited


READS_PER_SECOND = 10


async def read_all(stream, count):
    return [await stream.read(1 << 16) for _ in range(count)]


async def test_the_first_reads_of_a_response_are_made_at_once_and_the_others_once_a_frame(pauses):
    stream = PacedStream(httpcore.AsyncMockStream([b"event"] * 100), READS_PER_SECOND)
    await read_all(stream, 20)
    assert pauses == []
    await read_all(stream, 10)
    assert len(pauses) == 10
    assert all(0 < pause_s <= 1 / READS_PER_SECOND for pause_s in pauses)
    await stream.write(b"GET / HTTP/1.1")
    await read_all(stream, 20)
    assert len(pauses) == 10


async def test_what_comes_at_full_speed_is_read_at_once(pauses):
    stream = PacedStream(httpcore.AsyncMockStream([b"x" * 60_000] * 100), READS_PER_SECOND)
    await read_all(stream, 100)
    assert pauses == []
