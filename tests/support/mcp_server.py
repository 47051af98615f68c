"""Scripted MCP server: plain JSON-RPC over stdin and stdout, or over HTTP, without the SDK."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = 100
NAMES = ["echo", "environment", "never", "cancelled", "die", "flood", "escape", "parts", "fail", "grow"]
CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


class Script:
    """State of a scripted server."""

    def __init__(self):
        more = int(os.environ.get("MORE_TOOLS", "0"))
        self.names = NAMES + [f"more-{number}" for number in range(more)]
        self.cancelled = 0

    def replies(self, message):
        """Return the messages that answer one."""
        method, number = message["method"], message.get("id")
        if method == "notifications/cancelled":
            self.cancelled += 1
        if number is None:
            return []
        handle = {"initialize": self._initialize, "tools/list": self._list, "tools/call": self._call}.get(
            method
        )
        if handle is None:
            return [{"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "unknown"}}]
        result, *more = handle(message.get("params") or {})
        return [*more, *([{"jsonrpc": "2.0", "id": number, "result": result}] if result else [])]

    def _initialize(self, params):
        info = {"name": "scripted", "version": "1"}
        tools = {"tools": {"listChanged": True}}
        return [{"protocolVersion": "2025-06-18", "capabilities": tools, "serverInfo": info}]

    def _list(self, params):
        at = int(params.get("cursor") or 0)
        tools = [
            {
                "name": name,
                "description": f"The tool {name}",
                "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
                "annotations": {"readOnlyHint": name == "echo"},
            }
            for name in self.names[at : at + PAGE]
        ]
        is_last = at + PAGE >= len(self.names)
        return [{"tools": tools} | ({} if is_last else {"nextCursor": str(at + PAGE)})]

    def _call(self, params):
        name = params["name"]
        if name == "die":
            os._exit(3)
        if name == "never":
            return [None]
        if name == "grow":
            self.names.append("fresh")
            return [_texts("grown"), CHANGED]
        if name == "parts":
            return [{"content": _PARTS}]
        if name == "fail":
            return [_texts("It went wrong") | {"isError": True}]
        texts = {
            "echo": params.get("arguments", {}).get("text", ""),
            "environment": json.dumps({"env": dict(os.environ), "cwd": str(Path.cwd())}),
            "cancelled": str(self.cancelled),
            "flood": "x" * 50_000_000 if name == "flood" else "",
            "escape": "\x1b[2J\x1b]0;owned\x07",
        }
        return [_texts(texts.get(name, name))]


_PARTS = [
    {"type": "text", "text": "first"},
    {"type": "image", "mimeType": "image/png", "data": "A" * 16_000},
    {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "inside"}},
    {"type": "resource_link", "uri": "file:///b", "name": "b"},
]


def _texts(text):
    return {"content": [{"type": "text", "text": text}]}


def main():
    """Serve over stdin and stdout."""
    if "IGNORE_END" in os.environ:  # a server that only SIGKILL ends, and its child
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleep = [sys.executable, "-c", "import time; time.sleep(600)", os.environ["IGNORE_END"]]
        subprocess.Popen(sleep)  # noqa: S603 - ours
    script = Script()
    sys.stdout.write("not a message\n")  # many servers greet
    for line in sys.stdin:
        for reply in script.replies(json.loads(line)):
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
    while "IGNORE_END" in os.environ:
        signal.pause()


@contextmanager
def over_http():
    """Yield the address of a server and the headers of its requests."""
    script, seen = Script(), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(dict(self.headers))
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            replies = script.replies(message)
            body = json.dumps(replies[-1]).encode() if replies else b""
            self.send_response(200 if replies else 202)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.send_error(405)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    main()
