"""A host of web pages on a real socket of this machine, which counts its connections."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Self

Chunks = bytes | Iterable[bytes]


class PageHost:
    """Answers each path with the bytes, or the pieces, that the test has set for it.

    with PageHost() as host:
        host.put("/a", page(b"<p>Beans"))
        ...
        assert host.connections == 1
    """

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[str] = []  # of the requests, as they came
        self._replies: dict[str, Chunks] = {}
        host = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                host.connections += 1
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = self.rfile.readline()
                    if not line:
                        return
                    head += line
                host.heads.append(head.decode())
                path = head.split()[1].decode()
                reply = host._replies.get(path, reply_of(b"gone", status="404 Not Found"))
                with suppress(OSError):  # the client has closed the connection
                    for chunk in (reply,) if isinstance(reply, bytes) else reply:
                        self.wfile.write(chunk)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.01,), daemon=True).start()  # seconds to shut down
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: str, reply: Chunks) -> str:
        """Set the reply for a path; return the address."""
        self._replies[path] = reply
        return f"{self.url}{path}"

    def redirect(self, path: str, location: str) -> str:
        return self.put(path, reply_of(b"", status="302 Found", extra=f"Location: {location}\r\n"))


def reply_of(
    body: bytes, media_type: str | None = "text/html", *, status: str = "200 OK", extra: str = ""
) -> bytes:
    """Return a reply; `extra` holds further headers."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {media_type}\r\n" if media_type else ""
    return f"{head}{extra}Connection: close\r\n\r\n".encode() + body
