"""A stand-in for `llama-server`: `place_llama_server` puts it into a folder of `PATH`.

It takes the real one's environment variables, and answers as the recordings of llama.cpp in
`captures` do: 503 while it loads, 401 without the key. A model named `never` is never loaded; a
prompt with "on and on" gets an endless answer, and any other one its settings.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
_NO_KEY = {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}


def place_llama_server(folder: Path) -> str:
    """Put the program into a folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "llama-server"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" "{program}"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    return str(program)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked_health = 0

    def do_GET(self) -> None:
        if self.path == "/health":
            type(self).asked_health += 1
            is_ready = self.asked_health > 1 and os.environ["LLAMA_ARG_ALIAS"] != "never"
            self._reply(200 if is_ready else 503, {"status": "ok"} if is_ready else _LOADING)
        elif not self._has_key():
            self._reply(401, _NO_KEY)
        elif self.path == "/v1/models":
            row = {"id": os.environ["LLAMA_ARG_ALIAS"], "object": "model", "owned_by": "llamacpp"}
            self._reply(200, {"object": "list", "data": [row]})
        else:
            self._reply(404, {"error": {"message": "File Not Found", "code": 404}})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._has_key():
            self._reply(401, _NO_KEY)
        elif not self.path.endswith("/chat/completions"):
            self._reply(404, {"error": {"message": "File Not Found", "code": 404}})
        else:
            self._answer("on and on" in str(request["messages"]))

    def _answer(self, is_endless: bool) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        settings = {name: value for name, value in os.environ.items() if "LLAMA" in name}
        texts = iter(lambda: "on and on ", None) if is_endless else (json.dumps(settings),)
        for text in texts:
            self._send({"delta": {"content": text}, "finish_reason": None})
        self._send({"delta": {}, "finish_reason": "stop"})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, choice: dict[str, object]) -> None:
        chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _has_key(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {os.environ['LLAMA_API_KEY']}"

    def _reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    address = (os.environ["LLAMA_ARG_HOST"], int(os.environ["LLAMA_ARG_PORT"]))
    ThreadingHTTPServer(address, _Handler).serve_forever()


if __name__ == "__main__":
    main()
