"""Texts with which servers refuse, from `tests/core/servers/refusals/`, and the errors that they become.

`source` says where the sentence was seen: recorded bytes, or the source or report that has it.
Where a report quotes the sentence alone, the frame around it is the usual one of that server.

A record has the product by which lmchat knows the server, the status, and the body as JSON or text;
`where` is "stream" for an error in a stream that has started. `has` is what the request had,
`words` are a part of the message, `step` is a part of the next step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lmchat.base.errors import ServerRejected
from lmchat.core.servers.products import product_named
from lmchat.core.servers.wire.refusals import RefusalContext, refusal, refusal_in_stream

FOLDER = Path(__file__).parents[1] / "core" / "servers" / "refusals"
RECORDS: list[dict[str, Any]] = [
    json.loads(line)
    for file in sorted(FOLDER.glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
_REQUESTS: dict[str, dict[str, Any]] = {
    "tools": {"tools": ("weigh",)},
    "images": {"has_images": True},
    "temperature": {"options": ("temperature", "top_p")},
}
_SENT = {"key": {"key": "abc"}, "an odd host": {"host": "a;reboot"}}


def context_of(record: dict[str, Any]) -> RefusalContext:
    has = record.get("has", "")
    context = product_named(record["product"]).refusal_context(
        **{"model": "qwen3", "host": "box.lan"} | _SENT.get(has, {})
    )
    return replace(context, **_REQUESTS.get(has, {}))


def raw_body(record: dict[str, Any]) -> bytes:
    body = record["body"]
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def error_for(record: dict[str, Any]) -> ServerRejected:
    if record["where"] == "stream":
        return refusal_in_stream(record["body"], context_of(record))
    return refusal(record["status"], {}, raw_body(record), context_of(record))
