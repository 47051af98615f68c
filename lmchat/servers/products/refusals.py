"""Refusals of servers as errors: from status and body to kind, sentence and next step (R-24).

`refusal` and `refusal_in_stream` read the body and find the first rule that fits. They fill its
words with facts of the refusal and of the request (`RequestFacts`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from http import HTTPStatus

from msgspec import Struct

from lmchat.errors import ServerRejected
from lmchat.safe_text import safe_line, shell_word, without_secret
from lmchat.servers.http.error_body import ErrorBody, read_body, read_value
from lmchat.servers.http.json_values import count_or_none, dicts_in, str_or_empty


class Rule(Struct, frozen=True):
    """Row of the table of refusals; the first that fits a reply gives its kind and words."""

    kind: str
    statuses: tuple[int, ...] = ()  # empty: all; 0: an error inside a stream without a status
    pattern: str = ""  # searched in status and words of the server in lower case
    message: str = "{said}"  # the server's words; `_error_by_rule` has all such names
    hint: str = ""
    """The next step; one that the product has for this kind replaces it."""


_OVERFLOW = (
    r"exceed_context_size|context_length_exceeded|maximum context length"
    r"|exceeds the available context|tokens to keep from the initial prompt"
    r"|trying to keep the first|context size has been exceeded"
    r"|context (length|window).*exceed|exceed.*context (length|window)|prompt is too long"
)
_MODEL_MISSING = (
    r"model_not_found|model '[^']*' not found|model .*not found|model is not loaded"
    r"|model name is missing|invalid model identifier|model .*does not exist|no such model"
    r"|not a valid model"
    r"|models/\S+ is not found|not_found_error.*model: \S+|invalid model name passed in"
)
_NO_KEY = (
    "invalid_api_key|authentication_error|invalid api key|api token is required|api key not valid"
    "|no_db_connection|missing or invalid authorization header"
)
_KEY_MISSING = (  # in place of `_KEY_REJECTED`
    "The server needs an API key, but none was sent; it belongs under [[endpoints]] in config.toml."
)
_KEY_REJECTED = "The API key was rejected; check it."
_NO_CREDIT = (
    r"insufficient_quota|exceeded your current quota|credit_balance|out of credits?\b|billing"
    "|credits?_exhausted|insufficient credit"
)
_ADDRESS_HINT = "The server address should end in /v1 or have no path."
_PAGE = "This is not a model server: a web page answered."
_PAGE_HINT = "Check the port and the path of the address."
_BUSY_HINT = "The server is busy; try again in a moment."
_MODEL_HINT = "Choose another model with /model or -m; `lmchat models` lists them."

RULES: tuple[Rule, ...] = (
    Rule(
        "wrong_path",
        pattern="unexpected endpoint or method",
        message="{product} does not know this path.",
        hint=_ADDRESS_HINT,
    ),
    Rule(
        "wrong_path",
        (400, 426),
        r"http request (was sent )?to (an )?https (server|port)",
        message="The server uses https on this port.",
        hint="Write https:// in front of its address.",
    ),
    Rule(
        "context_overflow",
        pattern=_OVERFLOW,
        message="The session is longer than the model's context window.",
        hint="Shorten the prompt, start a new session, "
        "or load the model with a larger context window.",
    ),
    Rule(
        "billing",
        pattern=_NO_CREDIT,
        message="{product} says that the account has no credit left.",
        hint="Check the account's plan and billing; retrying does not help.",
    ),
    Rule("billing", (402,), hint="Check the account's plan and billing."),
    Rule(
        "loading",
        (503,),
        "loading model|model is loading",
        message="The model is loading.",
        hint="Wait until it is loaded.",
    ),
    Rule(
        "model_not_loaded",
        pattern="no models loaded|failed to load model"
        "|no running session found|no models are available",
        hint="Load a model, or a smaller one if memory is low.",
    ),
    Rule(
        "model_crashed",
        pattern="model has crashed|exit code",
        hint="It may have run out of memory: load a smaller model or use a smaller context window.",
    ),
    Rule("model_missing", (0, 400, 404, 422), _MODEL_MISSING, hint=_MODEL_HINT),
    Rule(
        "unsupported",
        (400, 404, 422, 501),
        r"does not support (chat|generate|completions)\b",
        message="{model} cannot chat; it may only make embeddings.",
        hint=_MODEL_HINT,
    ),
    Rule("auth", (401,), hint=_KEY_REJECTED),
    Rule("auth", pattern=_NO_KEY, hint=_KEY_REJECTED),
    Rule(
        "host_blocked",
        (400, 403),
        "host header|host not allowed",
        message='{product} does not accept the host name "{host}".',
    ),
    Rule("forbidden", (403,), hint="Check the rights of your account or API key."),
    Rule("wrong_path", (404, 405), "<web page>", message=_PAGE, hint=_PAGE_HINT),
    Rule("wrong_path", (404, 405), hint=_ADDRESS_HINT),
    Rule(
        "wrong_path",
        (301, 302, 303, 307, 308),
        message="{product} redirects to {location}.",
        hint="lmchat does not follow the redirect to {location}; use the address of that server.",
    ),
    Rule(
        "timeout",
        (408, 504),
        message="Request timeout: {said}",
        hint="Try again; the server took too long.",
    ),
    Rule("too_large", (413,), hint="Shorten the prompt, or start a new session."),
    Rule(
        "bad_request", (400, 409, 422), hint="Check the options that you set, such as temperature."
    ),
    Rule(
        "rate_limited",
        (0, 429),
        r"<429>|rate.?limit|too.many.requests",
        hint="Wait a moment; the server limits requests.",
    ),
    Rule(
        "busy",
        (0, 503, 529),
        r"<529>|overloaded|service.{0,12}unavailable|unavailable_error|currently unavailable"
        r"|busy|maximum pending",
        hint=_BUSY_HINT,
    ),
    Rule("unsupported", (501,), hint="Use another server for this."),
    Rule(
        "upstream",
        (502, 503),
        hint="The program behind the server does not answer; restart the model.",
    ),
    Rule("not_an_llm", pattern="<web page>", message=_PAGE, hint=_PAGE_HINT),
    Rule("server_error", hint="Check the server's log, then try again."),
)

_SECONDS = re.compile(r"\s*(\d{1,12}(?:\.\d{1,12})?)s?\s*", re.ASCII)
"""Matches "3", "0.5" and "12s", as Gemini writes it."""
_MINUTES_FROM_S = 120  # longer waits are told in minutes
# Words before a number, and at most 25 other characters between them and the number:
# "… (requested 9000 tokens", "your request (9000", "contains at least 9000", …
_NEEDED_TOKENS = re.compile(
    r"(?:requested|request \(|first|contains|resulted in|keep the first)\D{0,25}(\d{1,15})\b"
)
# The same: "maximum context length is 4096", "the context size (4096", …
_CONTEXT_TOKENS = re.compile(
    r"(?:maximum context length (?:is|of)|context (?:size|length|window))\D{0,25}(\d{1,15})\b"
)
_TEMPORARY = frozenset({"rate_limited", "busy", "upstream", "loading", "timeout"})
"""Kinds of refusals after which the hint tells how long to wait, if the server names a time."""
_STATUS_DIGITS = 3  # digits of an HTTP status, such as 503


class RequestFacts(Struct, frozen=True, kw_only=True):
    """Facts of a request that a message about its refusal needs."""

    product: str
    subject: str  # what a sentence calls a server of this product
    hints: Mapping[str, str]  # next steps of this product, by the kind of the refusal
    key: str = ""  # the key that was sent
    model: str = ""
    host: str = ""

    def __repr__(self) -> str:
        """Leave out the key: a traceback or a log may show it."""
        return f"<{type(self).__name__} {self.product}>"


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, facts: RequestFacts
) -> ServerRejected:
    """Return the error for a reply whose status or body is a refusal.

    The caller has found out that it is one. `read_body` removes the key from the server's words.
    """
    error_body = read_body(body, headers.get("content-type", ""), key=facts.key)
    return _error_by_rule(status, headers, error_body, facts)


def not_an_llm_error(reason: str, details: str = "") -> ServerRejected:
    """Return the error for a reply that no model server gives."""
    message = f"This is not a model server: {reason}"
    return ServerRejected(message, kind="not_an_llm", hint=_PAGE_HINT, details=details)


def refusal_in_stream(value: object, facts: RequestFacts) -> ServerRejected:
    """Return the error for an error object inside a stream.

    If the code of the object looks like a status, such as 503, rules use it as one. The `status` of
    the returned error is None all the same, which says that the error came inside a stream.
    """
    error_body = read_value(value, key=facts.key)
    code = error_body.code
    is_status = code.isdecimal() and len(code) == _STATUS_DIGITS
    error = _error_by_rule(int(code) if is_status else 0, {}, error_body, facts)
    error.status = None
    return error


def _error_by_rule(
    status: int, headers: Mapping[str, str], body: ErrorBody, facts: RequestFacts
) -> ServerRejected:
    """Return the error for a refusal by the first rule that fits; the last rule fits all.

    `status` is 0 for an error inside a stream that names no status.
    """
    # find the rule; patterns can ask for a status or a web page by these tags
    tags = f"<{status}> <web page>" if body.is_html else f"<{status}>"
    words = f"{tags} {body.type} {body.code} {body.param} {body.message}".lower()
    rule = next(
        rule
        for rule in RULES
        if (not rule.statuses or status in rule.statuses) and re.search(rule.pattern, words)
    )

    # the message
    if body.message:
        said = f"says: {body.message}"
    else:
        said = f"answered {status_words(status)}." if status else "sent an error without a message."
    # without user, password and query, which may be secret
    location = re.sub("//[^/]*@", "//", headers.get("location", "")).partition("?")[0]
    location = without_secret(safe_line(location, limit=200), facts.key) or "another address"
    message = rule.message.format(
        product=facts.subject,
        said=f"{facts.subject} {said}",
        location=location,
        model=facts.model or "MODEL",
        host=facts.host,
    )
    is_param_named = body.param.lower() in message.lower()  # also true if there is no parameter
    if rule.kind == "bad_request" and not is_param_named:
        message = f"{message} ({body.param})"
    # an overflow is told in numbers, if the server names both
    needed, room = None, None
    if rule.kind == "context_overflow":
        needed = _token_count(body, "n_prompt_tokens", _NEEDED_TOKENS)
        room = _token_count(body, "n_ctx", _CONTEXT_TOKENS)
        if needed and room:
            message = f"The session needs {needed} tokens; the context window has {room}."

    # the next step: that of the product, or of the rule
    wait_s = retry_after_s(headers, body)
    is_key_missing = rule.kind == "auth" and not facts.key
    hint = facts.hints.get(rule.kind) or (_KEY_MISSING if is_key_missing else rule.hint)
    # The hint may hold a command, in which names have to be quoted.
    model, host = shell_word(facts.model or "MODEL"), shell_word(facts.host)
    hint = hint.format(model=model, host=host, location=location)
    # R-32; a wait of less than a second is not told
    if rule.kind in _TEMPORARY and wait_s is not None and wait_s >= 1:
        wait = f"{math.ceil(wait_s)} s"
        if wait_s > _MINUTES_FROM_S:
            wait = f"{math.ceil(wait_s / 60)} min"
        hint = f"Wait {wait}, as the server asks, then try again."

    details = f"HTTP {status or 'stream'}: {body.type} {body.code} {body.message}".strip()
    error = ServerRejected(
        without_secret(message, facts.key),
        kind=rule.kind,
        status=status,
        hint=hint,
        details=without_secret(details, facts.key),
        retry_after_s=wait_s,
    )
    error.param = without_secret(body.param, facts.key)
    error.needed_tokens, error.room_tokens = needed, room
    return error


def retry_after_s(headers: Mapping[str, str], body: ErrorBody) -> float | None:
    """Return the seconds to wait, or None if the server names none, or names a date (R-32).

    They come from the header, or from the details of the error, where Gemini writes them.
    """
    delay = headers.get("retry-after", "")
    for detail in dicts_in(body.error_object.get("details")):
        delay = delay or str_or_empty(detail.get("retryDelay"))
    match = _SECONDS.fullmatch(delay)
    return float(match[1]) if match else None


def _token_count(body: ErrorBody, field: str, pattern: re.Pattern[str]) -> int | None:
    """Return a number of tokens from a field of the error, or else from its message.

    None if there is no such number, or if it is 0.
    """
    count = count_or_none(body.error_object.get(field))
    if count is None:
        match = pattern.search(body.message.lower())
        count = int(match[1]) if match else None
    return count or None


def status_words(status: int) -> str:
    """Return a status and its name, as "502 Bad Gateway"; if it has no name, "with status 799".

    Both fit behind "answered".
    """
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"with status {status}"
