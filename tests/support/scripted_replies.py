"""What a scripted server plays: replies made of bytes, pauses, gates and cuts."""

from __future__ import annotations

import asyncio
import gzip as gzip_module
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Pause:
    """Wait; for tests that measure time only, others use a `Gate`."""

    seconds: float


@dataclass(frozen=True)
class Hold:
    """Send nothing more, and keep the connection open until the client leaves."""


@dataclass(frozen=True)
class Cut:
    """Close the connection here; with a reset where asked for."""

    is_reset: bool = False


class Gate:
    """A point at which the server waits until the test calls `open()`; `reached` tells that it is there."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._is_open = False
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the server may pass."""
        return self._is_open

    def open(self) -> None:
        """Let the server go on, now and whenever it comes here again."""
        with self._lock:
            self._is_open = True
            for loop, event in self._waiters:
                loop.call_soon_threadsafe(event.set)

    async def pass_through(self) -> None:
        """Wait until it is open (called by the server)."""
        event = asyncio.Event()
        with self._lock:
            if self._is_open:
                event.set()
            self._waiters.append((asyncio.get_running_loop(), event))
        self.reached.set()
        await event.wait()


Step = bytes | Pause | Gate | Hold | Cut


@dataclass(frozen=True)
class Reply:
    """Steps to play."""

    steps: tuple[Step, ...]
    is_last: bool = False
    """Whether the connection is closed afterwards."""


def raw_reply(*steps: Step, is_last: bool = True) -> Reply:
    """Play exactly this, status line and all."""
    return Reply(steps=steps, is_last=is_last)


def body_reply(
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    before: Sequence[Step] = (),
) -> Reply:
    """Reply with a whole body; `before` is played ahead of the status line."""
    names = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    return Reply(steps=(*before, _head(status, names) + body))


def json_reply(
    value: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    before: Sequence[Step] = (),
) -> Reply:
    """Reply with JSON."""
    return body_reply(json.dumps(value).encode(), status=status, headers=headers, before=before)


def text_reply(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Reply with plain text."""
    return body_reply(text.encode(), status=status, content_type="text/plain", headers=headers)


def html_reply(html: str = "<!doctype html><title>Hello</title>", *, status: int = 200) -> Reply:
    """Reply with a page."""
    return body_reply(html.encode(), status=status, content_type="text/html; charset=utf-8")


def sse(
    *chunks: str | dict | Step,
    every: int | None = None,
    framing: str = "chunked",
    gzip: bool = False,
    content_type: str = "text/event-stream",
    headers: Mapping[str, str] | None = None,
    before: Sequence[Step] = (),
) -> Reply:
    r"""Stream events: text is a delta of content, a dict is one JSON event, bytes are sent as they stand.

    `every=n` cuts the bytes into writes of n; `framing` is "chunked" or "close" (HTTP/1.0, ended by closing).
    """
    steps: list[Step] = []
    for chunk in chunks:
        steps += _event(chunk, every)
    if gzip:
        steps = [gzip_module.compress(b"".join(step for step in steps if isinstance(step, bytes)))]
    names = {
        "Content-Type": content_type,
        **({"Content-Encoding": "gzip"} if gzip else {}),
        **(headers or {}),
    }
    if framing == "close":
        return Reply(steps=(*before, _head(200, names, version="1.0"), *steps), is_last=True)
    framed = [_frame(step) if isinstance(step, bytes) else step for step in steps]
    is_cut = bool(steps) and isinstance(steps[-1], Cut | Hold)
    tail: tuple[Step, ...] = () if is_cut else (b"0\r\n\r\n",)
    return Reply(steps=(*before, _head(200, {**names, "Transfer-Encoding": "chunked"}), *framed, *tail))


def delta(text: str | None = None, *, model: str = "tiny", **fields: object) -> dict:
    """Make a chunk with a delta; other fields of the delta by name."""
    inner = ({} if text is None else {"content": text}) | fields
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": inner, "finish_reason": None}],
    }


def finish(reason: str = "stop", *, model: str = "tiny") -> dict:
    """Make the chunk that ends an answer."""
    return {**delta(model=model), "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def usage(prompt: int = 5, completion: int = 2, *, model: str = "tiny") -> dict:
    """Make the chunk that counts."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**delta(model=model), "choices": [], "usage": counts}


def _event(chunk: str | dict | Step, every: int | None) -> list[Step]:
    if isinstance(chunk, str):
        chunk = delta(chunk)
    if isinstance(chunk, dict):
        chunk = b"data: " + _as_json(chunk) + b"\n\n"
    if not isinstance(chunk, bytes) or every is None:
        return [chunk]
    return [chunk[start : start + every] for start in range(0, len(chunk), every)]


def _as_json(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a pair can only be sent as an escape
        return json.dumps(value).encode()


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _head(status: int, headers: Mapping[str, str], *, version: str = "1.1") -> bytes:
    lines = [f"HTTP/{version} {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
