"""A server that streams at an exact pace and writes down when it wrote what, and when the client hung up.

The bytes of a stream are those that llama.cpp sends to lmchat (tests/support/captures/stream-usage-timings.jsonl):
one write for each token, each with timings of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from contextlib import suppress

MODELS = json.dumps(
    {"object": "list", "data": [{"id": "bench", "object": "model", "owned_by": "bench"}]}
)


class PacedServer:
    """Streams like llama.cpp, and is else a plain server; the text and the pace are set before each request."""

    def __init__(self) -> None:
        self.text = "hello"
        self.piece = 4
        self.rate: float = 100
        self.ahead = 0
        """Characters sent at full speed before the paced ones."""
        self.go_on = threading.Event()
        """The paced ones come when this is set."""
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
                if length := re.search(r"(?i)content-length: (\d+)", head):
                    await reader.readexactly(int(length[1]))
                if "chat/completions" in head.split("\r\n")[0]:
                    await self._stream(reader, writer)
                    break
                status = "404 Not Found"
                body = '{"error":"no such path"}'
                if "/models" in head.split("\r\n")[0]:
                    status = "200 OK"
                    body = MODELS
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
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n"
        )
        role = _event({"delta": {"role": "assistant", "content": None}})
        start_s = time.perf_counter()
        sent = 0
        first = 0
        pieces = [self.text[at : at + self.piece] for at in range(0, len(self.text), self.piece)]
        for number, piece in enumerate(pieces, 1):
            if self.hung_up.is_set():
                break
            token = _event({"delta": {"content": piece}}, timings=_timings(number))
            writer.write(_http_chunk(token if sent else role + token))
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
            writer.write(_http_chunk(_end(tokens)))
            writer.write(_http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            await writer.drain()
        self.done.set()
        watch.cancel()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            await reader.read(1)
        self.hung_up_s = time.perf_counter()
        self.hung_up.set()


def _event(choice: dict, **fields: object) -> bytes:
    return _data({"choices": [{"finish_reason": None, "index": 0, **choice}]} | fields)


def _end(tokens: int) -> bytes:
    last = _event({"finish_reason": "stop", "delta": {}})
    usage = {"completion_tokens": tokens, "prompt_tokens": 41, "total_tokens": 41 + tokens}
    usage["prompt_tokens_details"] = {"cached_tokens": 40}
    return last + _data({"choices": [], "usage": usage, "timings": _timings(tokens)})


def _data(fields: dict) -> bytes:
    head = {
        "created": 1795157316,
        "id": "chatcmpl-5GVyhDYamCHG6JmweZxVr7XuqaLvTMUe",
        "model": "bench",
        "system_fingerprint": "b0-unknown",
        "object": "chat.completion.chunk",
    }
    choices = {"choices": fields.pop("choices")}
    chunk = json.dumps(choices | head | fields, separators=(",", ":"), ensure_ascii=False)
    return f"data: {chunk}\n\n".encode()


def _timings(tokens: int) -> dict[str, float]:
    """Return the timings that llama.cpp sends with a token, about 20 ms behind those of the last."""
    took_ms = round(20.5 * tokens - 17.3, 3)
    return {
        "cache_n": 40,
        "prompt_n": 1,
        "prompt_ms": 22.744,
        "prompt_per_token_ms": 22.744,
        "prompt_per_second": 43.96763981709462,
        "predicted_n": tokens,
        "predicted_ms": took_ms,
        "predicted_per_token_ms": took_ms / tokens,
        "predicted_per_second": 1e3 * tokens / took_ms,
    }


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
