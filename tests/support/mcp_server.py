"""Scripted MCP server: plain JSON-RPC over stdin and stdout, without the SDK."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PAGE = 100
WORK_S = 0.4  # before each notice of `work`
NAMES = [
    *(
        "echo",
        "environment",
        "never",
        "die",
        "escape",
        "parts",
        "fail",
    ),
    *("refuse", "lost", "checked", "grow"),
    *("ask", "pay"),
    "work",
]
ERRORS = {
    "refuse": {"code": -32000, "message": "The garden is closed"},
    "lost": {"code": -32600, "message": "Connection closed"},
}
# a check of the value against the pattern takes years
SLOW_SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "pattern": "^(a|a)*$"}}}
SLOW_VALUE = {"text": "a" * 40 + "b"}
PARTS = [
    {"type": "text", "text": "first"},
    {"type": "image", "mimeType": "image/png", "data": "A" * 16_000},
    {
        "type": "resource",
        "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "inside"},
    },
    {"type": "resource_link", "uri": "file:///b", "name": "b"},
]
TEXTS = {
    "environment": lambda _: json.dumps({"env": dict(os.environ), "cwd": str(Path.cwd())}),
    "escape": lambda _: "\x1b[2J\x1b]0;owned\x07",
    "fail": lambda _: "It went wrong",
    "die": lambda _: os._exit(3),
}
QUESTIONS = {
    "ask": {"message": "Are you sure?", "requestedSchema": {"type": "object", "properties": {}}},
    "pay": {
        "mode": "url",
        "message": "Pay there.",
        "url": "https://pay.example/1",
        "elicitationId": "one",
    },
}
WAITING = {}  # id of a call, by the id of its question
DECLARED = {}  # capabilities of the client
RESULTS = []  # of the tool `result`
HANDSHAKE = {}  # fields in place of the usual ones
PAGES = {}  # by cursor, the first by None; in place of the other tools
RAW = json.loads(os.environ.get("RAW_LINES", "{}"))  # by method and cursor; ID is that of a request
names = [*NAMES, *(f"more-{number}" for number in range(int(os.environ.get("MORE_TOOLS", "0"))))]


def replies(message):
    """Return the messages that answer one."""
    if "method" not in message:  # the answer to a question
        call = WAITING.pop(message["id"])
        answer = message.get("result") or message["error"]
        text = {"type": "text", "text": json.dumps([DECLARED, answer])}
        return [{"jsonrpc": "2.0", "id": call, "result": {"content": [text]}}]
    method = message["method"]
    number = message.get("id")
    params = message.get("params") or {}
    place = f"{method} {params.get('cursor', '')}".strip()
    if raw := (params.get("arguments") or {}).get("lines") or RAW.get(place):
        return [line.replace("ID", str(number)) for line in raw]
    if method == "initialize":
        DECLARED.update(params["capabilities"])
        info = {"name": "scripted", "version": "1"}
        can = {"tools": {"listChanged": True}}
        result = {"protocolVersion": "2025-06-18", "capabilities": can, "serverInfo": info}
        result |= HANDSHAKE
    elif method == "tools/list":
        cursor = params.get("cursor")
        if PAGES and cursor not in PAGES:
            error = {"code": -32602, "message": "unknown cursor"}
            return [{"jsonrpc": "2.0", "id": number, "error": error}]
        result = PAGES[cursor] if PAGES else _page(int(cursor or 0))
    elif method == "tools/call" and params["name"] in ERRORS:
        return [{"jsonrpc": "2.0", "id": number, "error": ERRORS[params["name"]]}]
    elif method == "tools/call" and params["name"] == "grow":
        names.append("grown")
        change = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        done = {"content": [{"type": "text", "text": "done"}]}
        return [change, {"jsonrpc": "2.0", "id": number, "result": done}]
    elif method == "tools/call" and params["name"] == "work":
        token = params["_meta"]["progressToken"]
        steps = [
            {"progressToken": token, "progress": step, "message": f"step {step} \x1b[2J"}
            for step in range(params["arguments"]["steps"])
        ]
        notices = [{"method": "notifications/progress", "params": step} for step in steps]
        done = {"id": number, "result": {"content": [{"type": "text", "text": "done"}]}}
        return [{"jsonrpc": "2.0"} | message for message in (*notices, done)]
    elif method == "tools/call" and params["name"] in QUESTIONS:
        WAITING["?"] = number
        asked = {"method": "elicitation/create", "params": QUESTIONS[params["name"]]}
        return [{"jsonrpc": "2.0", "id": "?"} | asked]
    elif method == "tools/call":
        result = _result(params["name"], params.get("arguments") or {})
    elif number is not None:
        return [{"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "unknown"}}]
    else:
        return []
    return [{"jsonrpc": "2.0", "id": number, "result": result}] if result else []


def _page(at):
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    page = names[at : at + PAGE]
    tools = [
        {"name": name, "inputSchema": schema, "annotations": {"readOnlyHint": name == "echo"}}
        for name in page
    ]
    for tool in tools:
        if tool["name"] == "checked":
            tool["outputSchema"] = SLOW_SCHEMA
    return {"tools": tools} | ({"nextCursor": str(at + PAGE)} if at + PAGE < len(names) else {})


def _result(name, arguments):
    if name == "never":
        if "started" in arguments:
            Path(arguments["started"]).touch()
        return None
    if name == "result":
        return RESULTS[arguments["number"]]
    if name == "checked":
        return {"content": [], "structuredContent": SLOW_VALUE}
    text = TEXTS.get(name, lambda given: given.get("text", ""))(arguments)
    return {
        "content": PARTS if name == "parts" else [{"type": "text", "text": text}],
        "isError": name == "fail",
    }


def main():
    """Serve over stdin and stdout."""
    is_stubborn = "IGNORE_END" in os.environ  # only SIGKILL ends it, and it has a child
    if is_stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleep = [sys.executable, "-c", "import time; time.sleep(600)", os.environ["IGNORE_END"]]
        subprocess.Popen(sleep)  # noqa: S603 - ours
    sys.stdin.reconfigure(encoding="utf-8")  # Windows reads pipes in its code page
    sys.stdout.write("not a message\n")  # many servers greet
    for line in sys.stdin:
        for reply in replies(json.loads(line)):
            text = reply if isinstance(reply, str) else json.dumps(reply)
            if "notifications/progress" in text:
                time.sleep(WORK_S)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
    while is_stubborn:
        signal.pause()


if __name__ == "__main__":
    main()
