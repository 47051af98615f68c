"""Codes, words and statuses of refusals, with the kinds that they mean and a next step for each.

A text in `tests/core/servers/refusals/` needs each code and each alternative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct


class RefusalRule(Struct, frozen=True):
    """Words of engines, since gateways pass their errors on."""

    kind: str
    alternatives: tuple[str, ...]  # patterns, for words in lower case without quotes and names
    statuses: tuple[int, ...] = ()  # empty: all; 0: inside a stream
    needs: Literal["", "tools", "images"] = ""  # of the request


CODES: Mapping[str, str] = {
    "context_length_exceeded": "context_overflow",
    "exceed_context_size_error": "context_overflow",
    "model_context_window_exceeded": "context_overflow",
    "model_max_prompt_tokens_exceeded": "context_overflow",
    "content_filter": "forbidden",
    "insufficient_quota": "billing",
    "invalid_api_key": "auth",
    "no_db_connection": "auth",
    "invalid_model": "model_missing",
    "model_loading": "loading",
    "overloaded_error": "busy",
    "EngineDeadError": "model_failed",
}
"""Kinds by the `code` or `type` of an error."""

_LENGTH = r"((?<!_)tokens\b|token (count|limit)|(prompt|input|model) (sequence )?length|`inputs`)"
_EXCESS = r"(too (long|large)|exceed|(longer|greater|larger) than|less than|<= \d)"
_FOR_CHATS = (0, 400, 404, 422, 500)
REFUSAL_RULES: tuple[RefusalRule, ...] = (
    RefusalRule(
        "context_overflow",
        (
            r"(context|maximum prompt) (length|window|size|limit|overflow|shift)",
            rf"{_LENGTH}.{{0,60}}{_EXCESS}",
            rf"{_EXCESS}.{{0,40}}{_LENGTH}",
            "(prompt|input) (is )?too long",
            r"n_keep \(\d+\) >= n_ctx",
            "range of (input length|max_tokens)",
            r"max_tokens(: \d+ >|=\d+ cannot be greater)",
            "max_tokens`? (must be less|must be at least 1, got -|is too large)",
            r"pages \(only \d+ available",
        ),
        (0, 400, 422, 500, 503),
    ),
    RefusalRule("loading", ("loading model", "is currently loading"), (503,)),
    RefusalRule(
        "model_not_loaded",
        (
            "no models loaded",
            "no models are currently loaded",
            "no model is loaded",
            "model is not loaded",
            "model is unloaded",
            "model unloaded",
            "no running session",
            "no models are available",
        ),
    ),
    RefusalRule(
        "model_failed",
        (
            "failed to load model",
            "model failed to load",
            "could not load model",
            "requires more system memory",
            "out of memory",
            r"\[metal::malloc\]",
            "memory layout cannot be allocated",
            "outofdevicememory",
            "model has crashed",
            "has terminated",
            "no longer running",
            "exited prematurely",
            "running the model: unexpected eof",
            "background loop has errored",
            'post "http://<address>": ',
        ),
        (0, 400, 500),
    ),
    RefusalRule(
        "model_missing",
        (
            "model .{0,200}not found",
            "models/.{1,200} is not found",
            r"^model: \S+$",
            "no router for requested model",
            "repository not found",
            "cached snapshot folder",
            "invalid model name passed in",
            "is not a valid model id",
        ),
        (0, 400, 404),
    ),
    RefusalRule(
        "unsupported",
        ("not a chat model", "does not support chat", "does not support logits computation"),
        (400, 404, 500),
    ),
    RefusalRule(
        "no_vision",
        (
            "image input is not supported",
            "support image input",
            "(not support|not a) (images|multimodal)",
            "only 'text' content type",
            "unsupported content part",
            "at most 0 image",
            r"should be a valid string \(body\.messages",
            "invalid type: sequence, expected a string",
            "only concatenate str",
            "'list( object'|' object) has no attribute",
        ),
        _FOR_CHATS,
        "images",
    ),
    RefusalRule(
        "bad_request",
        (
            "cannot use tools",
            "tools param requires",
            "(not|that) support tool",
        ),
        _FOR_CHATS,
        "tools",
    ),
    RefusalRule(
        "template",
        (
            "(cannot apply|default) chat template",
            "system message must be at",
            "jinja (template|exception)",
            r"at row \d+, column \d+",
            "while executing .{1,40} at line",
            r"template: ?:\d+:",
            "roles must alternate",
            "expected last role",
            "unexpected role",
            "more assistant messages",
            "tool call ids? (was|should be)",
        ),
        _FOR_CHATS,
    ),
    RefusalRule("auth", ("not authenticated",), (403,)),
    RefusalRule("host_blocked", ("invalid host header", "disallowedhost"), (400, 403)),
    RefusalRule("billing", ("weekly usage limit",), (429,)),
    RefusalRule(
        "upstream", ('post "https://<address>": ', "exception - connection error"), (0, 500)
    ),
    RefusalRule(
        "wrong_path",
        (
            "http request to an https server",
            "http request was sent to https port",
            "unexpected endpoint or method",
            r"^(404 page |file )?not found\W*$",
            "^route .{1,200} not found",
            "no route matched",
            r"invalid url \(",
            "endpoint does not exist",
        ),
        (0, 400, 404),
    ),
)

STATUSES: Mapping[int, str] = {
    400: "bad_request",
    401: "auth",
    402: "billing",
    403: "forbidden",
    405: "wrong_path",
    408: "timeout",
    409: "bad_request",
    413: "too_large",
    422: "bad_request",
    429: "rate_limited",
    501: "unsupported",
    502: "upstream",
    503: "busy",
    504: "timeout",
    524: "timeout",
    529: "busy",
}
"""Kinds of what no code and no rule knows; others are a `server_error`."""

LOG_STEP = "Check the server's log, then try again."
STEPS: Mapping[str, str] = {
    "context_overflow": "Shorten the prompt, or load the model with a larger context window.",
    "too_large": "Shorten the prompt.",
    "loading": "Wait until it is loaded.",
    "model_not_loaded": "Load a model.",
    "model_failed": "The server's log says why. A smaller model or a smaller context window needs "
    "less memory.",
    "model_missing": "Choose another model with /model or -m; `lmchat models` lists them.",
    "unsupported": "Choose another model with /model or -m, or another server.",
    "no_vision": "Choose a model with vision, or remove the image.",
    "template": "The model's chat template refuses this: "
    "use another build of the model, or its newest template.",
    "auth": "The API key was rejected; check it.",
    "forbidden": "Check the rights of your account or API key, and the host name in the address; "
    "the message may say more.",
    "billing": "Check the account's plan and billing.",
    "rate_limited": "Wait a moment; the server limits requests.",
    "busy": "The server takes no requests at the moment. Try again later.",
    "upstream": "The program behind the server does not answer: check it, or try again later.",
    "timeout": "The server took too long, and may still work on the request. Try again later.",
    "wrong_path": "Check the address: http or https, port and path; "
    "some servers have a path in front of /v1, such as /engines/v1.",
    "not_an_llm": "Check the port and the path of the address.",
    "server_error": LOG_STEP,
}
"""Next steps by kind, where the product has none; `bad_request` has those of its request."""
