from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.servers.products import product_named
from lmchat.servers.wire.refusals import (
    refusal,
    refusal_in_stream,
)

ANY = "OpenAI-compatible"


def refusal_for(status, body, *, product=ANY, key="", host="box.lan", headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = product_named(product).refusal_context(key=key, model="qwen3", host=host)
    return refusal(status, headers or {}, raw, asked)


def error_in_body(message, **more):
    return {"error": {"message": message, **more}}


QUOTA = {"code": 429, "message": "Resource has been exhausted", "status": "RESOURCE_EXHAUSTED"}
NO_MODEL = {"object": "error", "message": "no such model mistral-9", "type": "invalid_model"}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
TABLE = [
    (500, error_in_body("Trying to keep the first 9 tokens"), "LM Studio", "context_overflow", ""),
    (404, error_in_body("Failed to load model"), "LM Studio", "model_not_loaded", "load"),
    (503, b"No models are available", "Jan", "model_not_loaded", "No models"),
    (403, [{"error": {"message": "API key not valid."}}], "Gemini", "auth", "key not valid"),
    (429, [{"error": QUOTA}], "Gemini", "rate_limited", "exhausted"),
    (404, [{"error": {"message": "models/x is not found"}}], "Gemini", "model_missing", "found"),
    (400, NO_MODEL, "Mistral", "model_missing", "mistral-9"),
    (429, {"message": "Requests rate limit exceeded"}, "Mistral", "rate_limited", "rate limit"),
    (529, OVERLOADED, "Anthropic", "busy", "Overloaded"),
    (
        402,
        error_in_body("Balance is too low. Go to Plans & Billing."),
        "Anthropic",
        "billing",
        "Balance is too low",
    ),
    (404, error_in_body("model: c", type="not_found_error"), "Anthropic", "model_missing", "c"),
    (400, error_in_body("a/b is not a valid model ID"), "OpenRouter", "model_missing", "a/b"),
    (402, b"", "OpenRouter", "billing", "402"),
    (429, error_in_body("", code="credits_exhausted"), ANY, "billing", "credits_exhausted"),
    (
        200,
        {"error": "Unexpected endpoint or method."},
        "LM Studio",
        "wrong_path",
        "Unexpected endpoint",
    ),
    (
        400,
        error_in_body(
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
            type="BadRequestError",
        ),
        "vLLM",
        "context_overflow",
        "window has 4096",
    ),
    (
        400,
        error_in_body("too long", code="context_length_exceeded"),
        ANY,
        "context_overflow",
        "too long",
    ),
    (
        400,
        error_in_body(
            "The number of tokens to keep from the initial prompt is greater than the context length"
        ),
        "LM Studio",
        "context_overflow",
        "greater than the context length",
    ),
    (400, error_in_body("model is not loaded"), "llama.cpp", "model_not_loaded", "not loaded"),
    (
        404,
        error_in_body("Invalid model identifier 'x'", code="model_not_found"),
        "LM Studio",
        "model_missing",
        "identifier",
    ),
    (
        401,
        error_in_body("An LM Studio API token is required", code="invalid_api_key"),
        "LM Studio",
        "auth",
        "LM Studio says",
    ),
    (401, b"Invalid or missing authorization token", "Jan", "auth", "authorization token"),
    (401, b"", ANY, "auth", "401 Unauthorized"),
    (
        404,
        error_in_body("No models loaded. Please load a model in the developer page"),
        "LM Studio",
        "model_not_loaded",
        "No models loaded",
    ),
    (404, b"Not Found", "Jan", "wrong_path", "Not Found"),
    (404, b"<html><title>nginx</title>", ANY, "wrong_path", "not a model server"),
    (408, b"", ANY, "timeout", "Request timeout"),
    (413, b"", ANY, "too_large", "413"),
    (
        422,
        {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "type": "missing"}]},
        ANY,
        "bad_request",
        "field required (body.messages.0)",
    ),
    (
        429,
        error_in_body("You exceeded your current quota", code="insufficient_quota"),
        ANY,
        "billing",
        "exceeded your current quota",
    ),
    (
        500,
        error_in_body("The model has crashed without additional information. (Exit code: 7)"),
        "LM Studio",
        "model_crashed",
        "crashed",
    ),
    (
        501,
        error_in_body("This server does not support metrics", type="not_supported_error"),
        "llama.cpp",
        "unsupported",
        "metrics",
    ),
    (502, b"Proxy request to model failed: x", "Jan", "upstream", "Proxy request"),
    (
        503,
        error_in_body("Loading model", type="unavailable_error", code=503),
        "llama.cpp",
        "loading",
        "Loading model",
    ),
    (
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        "Ollama",
        "busy",
        "busy",
    ),
    (400, b"Client sent an HTTP request to an HTTPS server.", ANY, "wrong_path", "HTTPS server"),
    (
        400,
        b"<html><title>400 The plain HTTP request was sent to HTTPS port</title>",
        ANY,
        "wrong_path",
        "HTTPS port",
    ),
    (200, b"<!DOCTYPE html><p>Hi", ANY, "not_an_llm", "not a model server"),
    (
        422,
        {
            "object": "error",
            "message": {"detail": [{"loc": ["body", "top_p"], "msg": "Input should be a number"}]},
            "type": "invalid_request_error",
        },
        ANY,
        "bad_request",
        "Input should be a number (body.top_p)",
    ),
    (
        400,
        error_in_body("Invalid value", code="invalid_value", param="reasoning"),
        "LM Studio",
        "bad_request",
        "Invalid value (reasoning)",
    ),
    (418, b"", ANY, "server_error", "418 I'm a Teapot"),
    (
        400,
        error_in_body('"embed" does not support chat'),
        "Ollama",
        "unsupported",
        "does not support chat",
    ),
]


def test_each_refusal_has_its_kind_sentence_and_step():
    for status, body, product, kind, words in TABLE:
        error = refusal_for(status, body, product=product)
        assert (error.kind, words in error.message) == (kind, True), error.message
        assert error.hint
        assert "{" not in error.hint
        assert error.status == status


def test_the_first_sentence_is_told_wherever_it_stands():
    words = "The pump is stuck"
    for body in (
        {"fault": {"faultstring": words, "detail": {"errorcode": "x"}}},  # Apigee
        {"errorMessage": words, "errorType": "X"},  # AWS Lambda
        {"ResponseMetadata": {"Error": {"Code": "X", "Message": words}}},  # Volcengine
        {"errors": {"model": [words]}},
        {"error": "invalid_request", "error_description": words},  # OAuth
        {"error": {"message": "", "type": words}},
        {"error": {"code": 400, "details": [{"description": words}]}},
        {"error": {"message": f"Error code: 400 - {{'error': {{'message': '{words}', 'x': 1}}}}"}},
        # OpenRouter, if the provider behind it sent nothing, or a page
        {"error": {"message": words, "metadata": {"raw": " "}}},
        {"error": {"message": words, "metadata": {"raw": "<html><title>502 Bad Gateway"}}},
    ):
        assert refusal_for(400, body).message == f"The server says: {words}", body
    assert refusal_for(400, {"status": "bad"}).message == 'The server says: {"status": "bad"}'


def test_the_step_depends_on_whether_a_key_was_sent():
    without, with_key = refusal_for(401, b"no"), refusal_for(401, b"no", key="abc")
    assert "none was sent; it belongs under [[endpoints]]" in without.hint
    assert "rejected" in with_key.hint


def test_ollama_is_to_be_signed_in_where_a_cloud_refuses_a_model_that_runs_there():
    facts = product_named("Ollama").refusal_context(model="gpt-oss:120b-cloud")
    page = "https://ollama.com/connect?name=x"
    bodies = {"a page": {"error": "unauthorized", "signin_url": page}, "words": {"error": "no"}}
    for name, body in bodies.items():
        raw = json.dumps(body).encode()
        error = refusal(401, {}, raw, replace(facts, is_remote=name == "words"))
        assert (error.kind, error.hint) == ("auth", "Sign in with: ollama signin")
        assert (page in error.details) == (name == "a page")
    assert "ollama signin" not in refusal(401, {}, b'{"error": "no"}', facts).hint


def test_a_host_that_is_not_trusted_is_named_with_the_setting_that_helps():
    for product, host, body, kind, setting in (
        ("Jan", "box.lan", b"Invalid host header", "host_blocked", "Trusted Hosts"),
        ("Jan", "box.lan", b"Host not allowed", "host_blocked", "Trusted Hosts"),
        ("Ollama", "a;reboot", b"", "host_blocked", "OLLAMA_HOST='a;reboot' ollama serve"),
    ):
        error = refusal_for(403, body, product=product, host=host)
        assert error.kind == kind
        assert setting in error.hint
        assert host in error.hint


def test_the_step_for_a_model_that_ollama_lacks_names_it():
    error = refusal_for(
        404, error_in_body("model 'qwen3' not found, try pulling it first"), product="Ollama"
    )
    assert (error.kind, error.hint) == ("model_missing", "Download it with: ollama pull qwen3")


def test_the_field_that_is_named_is_known_and_told_once():
    named = refusal_for(
        400,
        error_in_body("Unrecognized key(s) in object: 'x'", code="unrecognized_keys", param="x"),
    )
    assert (named.param, named.message.count("x'")) == ("x", 1)
    assert refusal_for(422, {"detail": [{"loc": ["body", "stop", 0], "msg": "no"}]}).param == "0"


def test_a_time_to_wait_is_told_in_seconds_or_minutes():
    for seconds, words in (
        (59.5, "60 s"),
        (120, "120 s"),
        (121, "3 min"),
        (5400, "90 min"),
    ):
        error = refusal_for(429, b"", headers={"retry-after": str(seconds)})
        assert error.hint == f"Wait {words}, as the server asks, then try again."


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


FIELDS = ["error", "message", "detail", "param", "code", "msg", "loc", "details"]
JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.sampled_from(FIELDS), inside),
    max_leaves=12,
)


@given(st.integers(100, 599), JSON)
def test_no_json_is_too_odd_to_become_an_error(status, value):
    error = refusal_for(status, value)
    assert error.message
    assert "\n" not in error.message
    assert refusal_in_stream(value, product_named(ANY).refusal_context()).message


def test_megabytes_of_words_hold_nothing_up():
    """A search that is not linear would run into the time limit of the test."""
    error = {"error": {"message": "\u200d" * 3_000_000}}
    assert len(refusal_in_stream(error, product_named("Ollama").refusal_context()).message) < 500
