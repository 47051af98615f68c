from __future__ import annotations

import asyncio
import gzip
import zlib
from contextlib import asynccontextmanager

from lmchat.base.errors import ServerRejected, StreamInterrupted
from lmchat.core.servers.sending import exchange
from lmchat.core.servers.stream import chunk_parser
from tests.core.servers.event_streams import data_line
from tests.support.client_calls import answered, ask, endpoint_of, events_of, failure_of, text_of
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    Hold,
    Pause,
    delta,
    finish,
    raw_reply,
    sse,
)

BYTES_OF_A_TURN = 128 * 1024  # decompressed in one turn of the event loop, at most
CHUNKS_OF_A_TURN = 100
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def packed(data: bytes, packing: str):
    head = STREAM + f"Content-Encoding: {packing}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    return raw_reply(head + data)


LINES = [*map(data_line, (delta("Peas "), delta("climb."), finish())), b"data: [DONE]\n\n"]
MEMBERS = b"".join(gzip.compress(line, mtime=0) for line in (*LINES, b""))


async def test_a_broken_packing_interrupts(server, client):
    for data, packing, words in (
        (b"\x1f\x8bno gzip at all", "gzip", "is damaged"),
        (MEMBERS[:60], "gzip", "is damaged"),
        (b"\x28\xb5\x2f\xfd", "zstd", '"zstd" was not asked for'),
        (b"\x28\xb5\x2f\xfd", "gzip, br", '"gzip, br" was not asked for'),
    ):
        server.on(CHAT, packed(data, packing))
        error = await failure_of(client, ask(server))
        assert isinstance(error, StreamInterrupted)
        assert error.message == f"Streaming failed: its compression {words}."


async def test_a_stream_is_read_in_each_form_of_a_compression(server, client):
    """`none` keeps middleware from compressing, and some servers name the charset there.

    `deflate` is often sent without its zlib header (RFC 9110, 8.4.1.2), and a gzip file has one
    member or several (RFC 1952, 2.2).
    """
    stream = b"".join(LINES)
    windows = (("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15))
    for packing, data in (
        *((packing, stream) for packing in ("identity", "none", "UTF-8", "identity, none")),
        *((packing, MEMBERS) for packing in ("gzip", "identity, gzip", "GZIP , identity")),
        *(
            (packing, zlib.compress(stream, level, wbits=window))
            for packing, window in windows
            for level in (0, 1, 9)
        ),
    ):
        head = STREAM + f"Content-Encoding: {packing}\r\n\r\n".encode()
        bytewise = raw_reply(head, *(data[at : at + 1] for at in range(len(data))))
        for reply in (packed(data, packing), bytewise):
            server.on(CHAT, reply)
            assert text_of(await answered(client, ask(server))) == "Peas climb.", packing


async def test_bytes_behind_the_end_of_a_compressed_reply_are_not_awaited(server, client):
    models = gzip.compress(b'{"object": "list", "data": [{"id": "tiny"}]}', mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n"
    for steps in ((models + b"x" * 100_000,), (models, Pause(0.05), b"x" * 100_000)):
        server.on("GET /v1/models", raw_reply(head, *steps, Hold()))
        found = await client.models.check(endpoint_of(server))
        assert [model.model_id for model in found.models] == ["tiny"]


@asynccontextmanager
async def counted_turns():
    """Yield a list with one entry for each turn of the event loop during the block."""
    turns: list[None] = []

    async def count():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    task = asyncio.create_task(count())
    try:
        yield turns
    finally:
        task.cancel()


async def test_other_tasks_run_while_a_flood_is_read(server, client):
    end = b"".join(data_line(chunk) for chunk in (delta("Peas climb high."), finish()))
    flood = b":".ljust(98) + b"\n\n"
    flood *= 100_000
    server.on(CHAT, packed(gzip.compress(flood + end, mtime=0), "gzip"))
    async with counted_turns() as turns:
        events = await answered(client, ask(server))
    assert text_of(events) == "Peas climb high."
    assert len(turns) > len(flood) / BYTES_OF_A_TURN
    assert len(events) < len(turns), "there is no event for each comment"

    # as many chunks of one byte, not compressed, as come with one read of the network; their
    # extensions keep them from being joined
    chunks = [b"1;x\r\n%c\r\n" % byte for byte in b":\n" * 5_000 + end]
    server.on(CHAT, raw_reply(STREAM + b"Transfer-Encoding: chunked\r\n\r\n", b"".join(chunks)))
    async with counted_turns() as turns:
        assert text_of(await answered(client, ask(server))) == "Peas climb high."
    assert len(turns) > len(chunks) / CHUNKS_OF_A_TURN

    models = b" " * 6_000_000 + b'{"object": "list", "data": [{"id": "tiny"}]}'
    server.on("GET /v1/models", packed(gzip.compress(models, mtime=0), "gzip"))
    async with counted_turns() as turns:
        found = await client.models.check(endpoint_of(server))
    assert [model.model_id for model in found.models] == ["tiny"]
    assert len(turns) > len(models) / BYTES_OF_A_TURN


async def test_a_compressed_reply_of_any_length_is_whole(server, client):
    """The last bytes may be ready only when all of the compressed ones are taken."""
    for more in (0, 1, 9):
        models = b'{"data": [{"id": "tiny"}]}'.ljust(BYTES_OF_A_TURN + more)
        server.on("GET /v1/models", packed(zlib.compress(models, 9, wbits=-15), "deflate"))
        found = await client.models.check(endpoint_of(server))
        assert [model.model_id for model in found.models] == ["tiny"], more


async def test_an_answer_without_end_of_any_shape_ends_as_interrupted_and_is_kept(
    server, make_client, monkeypatch
):
    monkeypatch.setattr(chunk_parser, "MAX_ANSWER_CHARS", 10_000)
    call = {"id": "c", "function": {"name": "", "arguments": ""}}
    for piece, least in (
        (delta("word " * 100), 9_000),
        (delta(tool_calls=[call] * 20), 0),
        (delta(" \n" * 100), 0),
    ):
        server.on(CHAT, sse(*[piece] * 100, Hold()))
        events, error = await events_of(make_client(), ask(server))
        assert isinstance(error, StreamInterrupted)
        assert "longer than" in error.message
        assert least <= len(text_of(events)) <= 10_000


async def test_the_words_of_a_refusal_are_not_waited_for_without_end(server, client, monkeypatch):
    monkeypatch.setattr(exchange, "REFUSAL_S", 0.1)
    head = (
        b"HTTP/1.1 500 No\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nout of memory"
    )
    server.on(CHAT, raw_reply(head, Hold()))
    error = await failure_of(client, ask(server))
    assert isinstance(error, ServerRejected)
    assert "out of memory" in error.message
