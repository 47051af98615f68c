"""Streams that are read at the pace of frames: their content and the number of reads."""

from __future__ import annotations

import h11
import httpcore
import pytest

from lmchat.core.servers.http import paced
from lmchat.core.servers.http.paced import PacedStream


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


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"4\r\nwhat\r\n1\r\n \r\na\r\nfollows \r\n\r\n4;x=y\r\nhere\r\n3\r\n it\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "reads",
    [
        [HEAD, CHUNKS],
        *([HEAD + CHUNKS[:end], CHUNKS[end:]] for end in range(1, len(CHUNKS))),
        [HEAD[:20], HEAD[20:], CHUNKS],
        [bytes([byte]) for byte in HEAD + CHUNKS],
    ],
)
async def test_a_reply_is_the_same_however_its_chunks_come(reads, pauses):
    stream = PacedStream(httpcore.AsyncMockStream(reads), READS_PER_SECOND)
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "localhost")]))
    connection.send(h11.EndOfMessage())
    body = []
    for data in await read_all(stream, len(reads)):
        connection.receive_data(data)
        while isinstance(event := connection.next_event(), h11.Response | h11.Data):
            body += [bytes(event.data)] if isinstance(event, h11.Data) else []
    assert isinstance(event, h11.EndOfMessage)
    assert b"".join(body) == b"what follows \r\nhere it"


async def test_chunks_that_come_together_are_joined():
    chunks = [b"6\r\nevent \r\n" * 9, b"6\r\nevent \r\n" * 9 + b"0\r\n\r\n"]
    stream = PacedStream(httpcore.AsyncMockStream([HEAD, *chunks]), READS_PER_SECOND)
    joined = b"36\r\n" + b"event " * 9 + b"\r\n"
    assert await read_all(stream, 3) == [HEAD, joined, joined + b"0\r\n\r\n"]
