"""Program: a server of another user, which prints each key that it is sent; without one it refuses.

    python foreign_server.py UID HOST [open]

With `open` it answers without a key, too.

It prints its port first. It becomes that user before it listens, so it has to be started by root.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - used by sockets, and not to be found by another user
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MODELS = b'{"object": "list", "data": [{"id": "tiny", "object": "model"}]}'
_REFUSAL = b'{"error": {"message": "No key", "type": "invalid_request_error"}}'


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        key = self.headers.get("Authorization")
        _tell(f"key {key}" if key else "none")
        is_open = bool(key) or sys.argv[3:] == ["open"]
        body = _MODELS if is_open else _REFUSAL
        self.send_response(200 if is_open else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name of the base class

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, host: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Handler)


def main() -> None:
    user = int(sys.argv[1])
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    with _Server(sys.argv[2]) as server:
        _tell(str(server.server_port))
        server.serve_forever()


if __name__ == "__main__":
    main()
