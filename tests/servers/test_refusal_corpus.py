"""Every text of a server in `refusals/` has its meaning, its numbers and its next step.

`source` says where the sentence was seen: recorded bytes, or the source or report that has it. Where a
report quotes the sentence alone, the frame around it is the usual one of that server.

A record has the product by which lmchat knows the server, the status, and the body as JSON or text;
`where` is "stream" for an error in a stream that has begun. `has` is what the request had, `words`
are a part of the message, `step` is a part of the next step.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.servers.products import product_named
from lmchat.servers.wire.refusals import refusal, refusal_in_stream

FOLDER = Path(__file__).parent / "refusals"
RECORDS = [
    json.loads(line)
    for file in sorted(FOLDER.glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
REQUESTS = {
    "": {},
    "tools": {"tools": ("weigh",)},
    "images": {"has_images": True},
    "temperature": {"options": ("temperature", "top_p")},
}


def error_for(record, body):
    facts = product_named(record["product"]).refusal_context(model="qwen3", host="box.lan")
    facts = replace(facts, **REQUESTS[record.get("has", "")])
    if record["where"] == "stream":
        return refusal_in_stream(body, facts)
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return refusal(record["status"], {}, raw, facts)


@pytest.mark.rule("R-24")
@pytest.mark.parametrize(
    "record", RECORDS, ids=lambda record: f"{record['kind']} {record['source']}"
)
def test_each_text_of_a_real_server_has_its_meaning_and_next_step(record):
    error = error_for(record, record["body"])
    numbers = (error.needed_tokens, error.room_tokens)
    assert error.kind == record["kind"], error.message
    assert numbers == (record.get("needed"), record.get("room"))
    assert record.get("words", "") in error.message
    assert record["step"] in error.hint, error.hint
    assert '{"' not in error.message, "JSON is unpacked"
    assert "{" not in error.hint


def test_a_text_means_the_same_in_a_stream_and_inside_other_errors():
    """A text that a status alone explains is left out."""
    for record in RECORDS:
        body = record["body"]
        if record["kind"] not in ("context_overflow", "answer_limit", "memory", "model_crashed"):
            continue
        inner = json.dumps(body)
        for wrapped in (
            body,
            {"error": {"message": f"OpenAIException - {inner}", "code": None}},
            {"detail": [body]},
            [{"errors": {"message": inner}}],
        ):
            error = error_for(record | {"where": "stream"}, wrapped)
            assert error.kind == record["kind"], (wrapped, error.message)
            assert error.needed_tokens == record.get("needed")


def test_no_refusal_names_an_option_that_the_request_does_not_have():
    for record in RECORDS:
        if record.get("has") != "temperature":
            assert "temperature" not in error_for(record, record["body"]).hint
