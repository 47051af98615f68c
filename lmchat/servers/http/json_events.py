"""Event streams of JSON objects beside the chat, such as the progress of loading."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import httpx

from lmchat.errors import ServerUnavailable
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.connections import Connections, body_chunks, request_headers
from lmchat.servers.http.json_values import NotJsonError, decode, dict_or_empty
from lmchat.servers.http.network_errors import TRANSPORT_ERRORS
from lmchat.servers.http.sse import MalformedStreamError, SseReader

_CONNECT_S = 5.0


async def json_events(
    connections: Connections, endpoint: Endpoint, url: str, body: bytes | None, *, key: str
) -> AsyncGenerator[dict[str, Any]]:
    """Yield the JSON objects of the stream that a GET, or a POST of a body, is answered with.

    Data that is not JSON is left out, and a value that is not an object becomes an empty one. The
    generator ends with the stream, after any failure, and if the reply is not an event stream.
    """
    headers = request_headers(key, has_body=body is not None)
    headers["Accept"] = "text/event-stream"
    method = "GET" if body is None else "POST"
    timeout = httpx.Timeout(_CONNECT_S, read=None)
    reader = SseReader()
    with suppress(MalformedStreamError, ServerUnavailable, *TRANSPORT_ERRORS):
        response = await connections.send(
            endpoint, method, url, headers=headers, timeout=timeout, body=body
        )
        async with aclosing(response):
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return
            async for chunk in body_chunks(response):
                for event in reader.feed(chunk):
                    with suppress(NotJsonError):
                        yield dict_or_empty(decode(event.data))
