"""What refusals mean: their texts in `refusals/`, and their forms."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from msgspec.structs import replace

from lmchat.core.servers.http.reply import ErrorBody, read_body
from lmchat.core.servers.products import product_named
from lmchat.core.servers.wire.refusal_rules import (
    CODES,
    REFUSAL_RULES,
    STATUSES,
    STEPS,
    RefusalRule,
)
from lmchat.core.servers.wire.refusals import (
    RefusalContext,
    fits,
    kind_of,
    refusal,
    refusal_in_stream,
    with_own_text,
)
from tests.support.refusal_corpus import RECORDS, context_of, error_for, raw_body

ANY = "OpenAI-compatible"


def refusal_for(status, body, *, product=ANY, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = product_named(product).refusal_context(model="qwen3")
    return refusal(status, headers or {}, raw, asked)


def error_in_body(message, **more):
    return {"error": {"message": message, **more}}


@pytest.mark.rule("R-24")
@pytest.mark.parametrize(
    "record", RECORDS, ids=lambda record: f"{record['kind']} {record['source']}"
)
def test_each_text_of_a_real_server_has_its_meaning_and_next_step(record):
    error = error_for(record)
    assert error.kind == record["kind"], error.message
    assert error.room_tokens == record.get("room"), "only a field names it"
    own_words = error.message.partition(" says: ")[0] + error.next_step
    assert record["kind"] != "context_overflow" or not re.search(r"\d", own_words)
    assert record.get("words", "") in error.message
    assert record["step"] in error.next_step, error.next_step
    assert '{"' not in error.message, "JSON is unpacked"
    assert "{" not in error.next_step
    assert ("temperature" in error.next_step) == (record.get("has") == "temperature")


def test_no_image_is_blamed_where_the_request_has_none():
    for record in RECORDS:
        if record["kind"] == "no_vision":
            assert error_for(record | {"has": ""}).kind != "no_vision", record["source"]


def test_a_text_means_the_same_in_a_stream_and_inside_other_errors():
    """A text that a status alone explains is left out."""
    for record in RECORDS:
        body = record["body"]
        if record["kind"] not in ("context_overflow", "model_failed"):
            continue
        if "code" in body:  # a finish reason without a sentence
            continue
        inner = json.dumps(body)
        for wrapped in (
            body,
            {"error": {"message": f"OpenAIException - {inner}", "code": None}},
            {"detail": [body]},
            [{"errors": {"message": inner}}],
        ):
            error = error_for(record | {"where": "stream", "body": wrapped})
            assert error.kind == record["kind"], (wrapped, error.message)


def read_record(record) -> tuple[int, ErrorBody, RefusalContext]:
    """Return what `kind_of` takes; a status of success is that of a stream."""
    context = context_of(record)
    body = with_own_text(read_body(raw_body(record)), context)
    is_told_inside = record["where"] == "stream" or (record["status"] < 300 and not body.is_html)
    code = int(body.code) if body.code.isdecimal() and len(body.code) == 3 else 0
    return code if is_told_inside else record["status"], body, context


READ = [(record, read_record(record)) for record in RECORDS]


def test_no_text_of_a_real_server_fits_rules_of_two_kinds():
    for _, (status, body, context) in READ:
        kinds = {
            rule.kind for rule in REFUSAL_RULES if fits(rule, status, body.said.lower(), context)
        }
        assert len(kinds) <= 1, (kinds, body.said)


def without(rule: RefusalRule, words: str) -> tuple[RefusalRule, ...]:
    rest = tuple(other for other in rule.alternatives if other != words)
    return tuple(replace(one, alternatives=rest) if one is rule else one for one in REFUSAL_RULES)


def test_a_text_of_a_real_server_needs_each_alternative():
    for rule in REFUSAL_RULES:
        for words in rule.alternatives:
            rules = without(rule, words)
            assert any(
                kind_of(*read, rules) != record["kind"]
                for record, read in READ
                if re.search(words, read[1].said.lower())
            ), words


def test_a_real_server_sends_each_code_which_decides_without_its_sentence():
    for code, kind in CODES.items():
        sent = [(record, body) for record, (_, body, _) in READ if code in (body.code, body.type)]
        assert sent, code
        for record, body in sent:
            facts = context_of(record)
            assert kind_of(0, replace(body, said=""), facts) == record["kind"] == kind


def test_a_status_decides_where_nothing_else_does():
    for status, kind in STATUSES.items():
        for body in (b"", b"Sunday", b'{"error": {"message": "Sunday", "code": "x"}}'):
            error = refusal_for(status, body)
            assert (error.kind, error.status) == (kind, status)
            assert error.next_step
            assert "{" not in error.next_step
    for status, body, kind in (
        (404, b"", "wrong_path"),
        (404, b"<html><title>nginx</title>", "wrong_path"),
        (404, b"Sunday", "server_error"),
        (418, b"", "server_error"),
        (500, b"", "server_error"),
        (500, b"<html><title>nginx</title>", "upstream"),
        (200, b"<!DOCTYPE html><p>Hi", "not_an_llm"),
    ):
        error = refusal_for(status, body)
        assert error.kind == kind, (status, body)
        assert ("not a model server" in error.message) == (b"<" in body and status < 500), (
            error.message
        )
    known = {*STEPS, "bad_request", "host_blocked"}
    assert {*CODES.values(), *STATUSES.values(), *(rule.kind for rule in REFUSAL_RULES)} <= known


def test_the_message_is_told_without_its_frame_and_else_the_body_as_it_came():
    words = "The pump is stuck"
    for body in (
        {"error": "invalid_request", "error_description": words},  # OAuth
        {"detail": {"error": "Unauthorized", "msg": words}},  # KoboldCpp
        {"error": {"message": f"Error code: 400 - {{'error': {{'message': '{words}', 'x': 1}}}}"}},
        # OpenRouter, if the provider behind it sent nothing, or a page
        {"error": {"message": words, "metadata": {"raw": " "}}},
        {"error": {"message": words, "metadata": {"raw": "<html><title>502 Bad Gateway"}}},
    ):
        assert refusal_for(400, body).message == f"The server says: {words}", body
    for text in (
        "The engine at 10.0.0.1:8080 is gone",
        'Invalid schema {"type": "x", "description": "A leaf", "title": "Leaf"} of a field',
        "Error: the disk at /srv is full",
    ):
        assert refusal_for(500, error_in_body(text)).message == f"The server says: {text}"
    for unknown in ({"status": "bad"}, {"fault": {"faultstring": words}}):
        assert refusal_for(400, unknown).message == f"The server says: {json.dumps(unknown)}"


def test_ollama_is_to_be_signed_in_where_a_cloud_refuses_a_model_that_runs_there():
    facts = product_named("Ollama").refusal_context(model="gpt-oss:120b-cloud")
    page = "https://ollama.com/connect?name=x"
    bodies = {"a page": {"error": "unauthorized", "signin_url": page}, "words": {"error": "no"}}
    for name, body in bodies.items():
        raw = json.dumps(body).encode()
        error = refusal(401, {}, raw, replace(facts, is_remote=name == "words"))
        assert (error.kind, error.next_step) == ("auth", "Sign in with: ollama signin")
        assert (page in error.details) == (name == "a page")
    assert "ollama signin" not in refusal(401, {}, b'{"error": "no"}', facts).next_step


def test_the_field_that_is_named_is_known_and_told_once():
    named = refusal_for(
        400,
        error_in_body("Unrecognized key(s) in object: 'x'", code="unrecognized_keys", param="x"),
    )
    assert (named.said.split()[-1], named.message.count("x'")) == ("x", 1)
    error = refusal_for(422, {"detail": [{"loc": ["body", "stop", 0], "msg": "no"}]})
    assert error.said.endswith(" 0")
    inner = {"detail": [{"loc": ["body", "top_p"], "msg": "Input should be a number"}]}
    error = refusal_for(422, {"object": "error", "message": inner})
    assert "Input should be a number (body.top_p)" in error.message
    error = refusal_for(400, error_in_body("Invalid value", param="reasoning"))
    assert "Invalid value (reasoning)" in error.message
    faults = json.dumps([{"path": ["parameters", "properties"], "message": "Required"}] * 2)
    for body in ({"error": f"Invalid tool weigh: {faults}"}, error_in_body(f"weigh: {faults}")):
        assert refusal_for(400, body).message.endswith("weigh: Required (parameters.properties)")


def test_a_time_to_wait_is_told_in_seconds_or_minutes():
    for seconds, words in (
        (59.5, "60 s"),
        (120, "120 s"),
        (121, "3 min"),
        (5400, "90 min"),
    ):
        error = refusal_for(429, b"", headers={"retry-after": str(seconds)})
        assert error.next_step == f"Wait {words}, as the server asks, then try again."


def test_each_form_of_a_time_to_wait_is_read():
    for headers, facts, expected in (
        ({}, {}, None),
        ({"retry-after": "1.5"}, {}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}, 0.0),
        ({"retry-after": "Wednesday"}, {}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, {}, 1.5),
        ({"llm_provider-retry-after": "60"}, {}, 60.0),
        ({"X-Upstream-Retry-After": "7"}, {}, 7.0),
        ({"upstream_retry-after": "7", "retry-after": "3"}, {}, 3.0),
        ({"retry-after": "-5"}, {}, None),
        ({"retry-after": "nan"}, {}, None),
        ({}, {"details": [{"@type": "x"}, {"@type": "RetryInfo", "retryDelay": "17s"}]}, 17.0),
        ({}, {"details": "no list"}, None),
        ({}, {"message": "Model x is currently loading", "estimated_time": 20.0}, 20.0),
        ({}, {"message": "Rate limit reached: please try again in 1.24s. Visit"}, 1.24),
        ({}, {"message": "Please try again in 6m0s."}, 360.0),
        ({}, {"message": "Please try again in 20ms."}, 0.02),
        ({"retry-after": "3"}, {"message": "Please try again in 20s."}, 3.0),
        ({}, {"message": "Try again in a moment, or in 20 days."}, None),
        ({"retry-after": " "}, {}, None),
    ):
        error = refusal_for(429, {"error": facts}, product="Gemini", headers=headers)
        assert error.retry_after_s == expected
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    error = refusal_for(429, b"", headers={"retry-after": date})
    assert error.next_step == "Wait 60 min, as the server asks, then try again."


def test_megabytes_of_words_hold_nothing_up():
    """A search that is not linear would run into the time limit of the test."""
    error = {"error": {"message": "\u200d" * 3_000_000}}
    assert len(refusal_in_stream(error, product_named("Ollama").refusal_context()).message) < 500
