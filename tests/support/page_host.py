"""A host of web pages: a scripted server that is named by its number, as no server of models is."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.scripted_server import Reply, ScriptedServer


class PageHost(ScriptedServer):
    """Answers each path with the bytes, or the pieces, that the test has set for it.

    with PageHost() as host:
        host.put("/a", reply_of(b"<p>Beans"))
        ...
        assert host.connections == 1
    """

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, path: str, reply: bytes | Iterable[bytes]) -> str:
        """Set the reply for a path; return the address."""
        steps = (reply,) if isinstance(reply, bytes) else reply
        self.on(f"GET {path.partition('?')[0]}", Reply(steps, is_last=True))
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
