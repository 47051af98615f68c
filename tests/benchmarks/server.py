"""A server that streams at an exact pace and writes down when it wrote what, and when the client hung up."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress

MODELS = json.dumps(
    {"object": "list", "data": [{"id": "bench", "object": "model", "owned_by": "bench"}]}
)


class PacedServer:
    """Answers like a plain OpenAI-compatible server; the text and the pace are set before each request."""

    def __init__(self) -> None:
        self.text = "hello"
        self.piece = 4
        self.rate: float = 100
        self.ahead = 0
        """Characters sent at full speed before the paced ones."""
        self.go_on = threading.Event()
        """The paced ones come when this is set."""
        self.write_bytes: int | None = None
        """Of a reply in chunks of HTTP, at full speed: how many bytes each holds; 0 is an event a chunk."""
        self.is_ahead = threading.Event()
        self.is_sent = threading.Event()
        """All text is sent; where some went ahead, the end comes a second later, so that it is not counted."""
        self.written: list[tuple[float, int]] = []
        self.hung_up_s = 0.0
        self.hung_up = threading.Event()
        self.done = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._started.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(
                    (
                        int(line.split(":")[1])
                        for line in head.split("\r\n")
                        if line.lower().startswith("content-length")
                    ),
                    0,
                )
                await reader.readexactly(length)
                if "chat/completions" in head.split("\r\n")[0]:
                    if self.write_bytes is None:
                        await self._stream(reader, writer)
                    else:
                        await self._flood(writer, self.write_bytes)
                    break
                is_known = "/models" in head.split("\r\n")[0]
                status, body = (
                    ("200 OK", MODELS)
                    if is_known
                    else ("404 Not Found", '{"error":"no such path"}')
                )
                writer.write(
                    f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
                )
                await writer.drain()
        writer.close()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.written.clear()
        self.done.clear()
        self.hung_up.clear()
        watch = asyncio.ensure_future(self._watch(reader))
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        start_s, sent, first = time.perf_counter(), 0, 0
        pieces = [self.text[at : at + self.piece] for at in range(0, len(self.text), self.piece)]
        for number, piece in enumerate(pieces, 1):
            if self.hung_up.is_set():
                break
            writer.write(_event({"delta": {"content": piece}}))
            sent += len(piece)
            self.written.append((time.perf_counter(), sent))
            if sent < self.ahead:
                first = number
            elif self.ahead and not self.is_ahead.is_set():
                self.is_ahead.set()
                await asyncio.to_thread(self.go_on.wait, 60)
                start_s = time.perf_counter()
            elif self.rate:
                late_s = start_s + (number - first) / self.rate - time.perf_counter()
                await asyncio.sleep(max(late_s, 0))
            if number % 64 == 0:
                await writer.drain()
        self.is_sent.set()
        await self._finish(writer, watch, len(pieces))

    async def _finish(
        self, writer: asyncio.StreamWriter, watch: asyncio.Future, tokens: int
    ) -> None:
        if self.ahead:
            await asyncio.wait([watch], timeout=1)
        with suppress(ConnectionError):
            writer.write(_end(tokens))
            await writer.drain()
        self.done.set()
        watch.cancel()

    async def _flood(self, writer: asyncio.StreamWriter, size: int) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        pieces = [self.text[at : at + self.piece] for at in range(0, len(self.text), self.piece)]
        parts = [_event({"delta": {"content": piece}, "finish_reason": None}) for piece in pieces]
        parts.append(_end(len(pieces)))
        if size:
            whole = b"".join(parts)
            parts = [whole[at : at + size] for at in range(0, len(whole), size)]
        for part in parts:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            await reader.read(1)
        self.hung_up_s = time.perf_counter()
        self.hung_up.set()


def _event(choice: dict) -> bytes:
    return _data({"choices": [{"index": 0, **choice}]})


def _end(tokens: int) -> bytes:
    usage = {"prompt_tokens": 10, "completion_tokens": tokens}
    last = _event({"delta": {}, "finish_reason": "stop"})
    return last + _data({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"


def _data(data: dict) -> bytes:
    """Return an event, with what nearly every server repeats in each."""
    head = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "bench",
    }
    return b"data: " + json.dumps(head | data, separators=(",", ":")).encode() + b"\n\n"
