"""Refusals of servers as errors: from status and body to kind, sentence and next step (R-24).

`refusal` and `refusal_in_stream` read the body, find the first rule that fits, and fill its words
with facts of the refusal and of the request (`RequestFacts`). Rules that only one product needs
stand in its module; `RULES` has all others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from lmchat.errors import ServerRejected
from lmchat.safe_text import safe_line, shell_word, without_secret
from lmchat.servers.http.error_body import ErrorBody, read_body, read_value
from lmchat.servers.http.json_values import count_or_none, dict_or_empty, dicts_in, str_or_empty


class Rule(Struct, frozen=True):
    """Row of the table of refusals; the first that fits a reply gives its kind and words."""

    kind: str
    statuses: tuple[int, ...] = ()  # empty: all; 0: an error inside a stream without a status
    pattern: str = ""  # searched in the lower-case line that `_searched_line` returns
    message: str = "{said}"  # {said} is what the server says; see `_message_fields` for others
    hint: str = ""
    has_product_hint: bool = False  # whether the hint of a product for this kind replaces it

    def fits(self, status: int, searched_line: str) -> bool:
        """Whether this row is about a status, and its pattern is found in the searched line."""
        has_status = not self.statuses or status in self.statuses
        return has_status and re.search(self.pattern, searched_line) is not None

    def hint_for(self, facts: RequestFacts) -> str:
        """Return the hint of the product for this kind if it has one, else that of the rule."""
        product_hint = facts.hints.get(self.kind, "") if self.has_product_hint else ""
        return product_hint or self.hint


_NO_STATUS = (0,)
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
    "|missing or invalid authorization header"
)
KEY_MISSING = "The server needs an API key, but none was sent."
KEY_REJECTED = "The API key was rejected; check it."
"""Hint that becomes `KEY_MISSING` if no key was sent."""
_NO_CREDIT = (
    r"insufficient_quota|exceeded your current quota|credit_balance|out of credits?\b|billing"
)
_CREDIT_HINT = "Check the account's plan and billing; retrying does not help."
_ADDRESS_HINT = "The server address should end in /v1 or have no path."
_PAGE = "This is not a model server: a web page answered."
_PAGE_HINT = "Check the port and the path of the address."
_LIMIT_HINT = "Wait a moment; the server limits requests."
_BUSY_HINT = "The server is busy; try again in a moment."
UNKNOWN_HOST = '{product} does not accept the host name "{host}".'

# after the rules of the product itself
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
        hint=_CREDIT_HINT,
    ),
    Rule("billing", (429,), "credit", hint=_CREDIT_HINT),
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
        has_product_hint=True,
    ),
    Rule(
        "model_crashed",
        pattern="model has crashed|exit code",
        hint="It may have run out of memory: load a smaller model or use a smaller context window.",
    ),
    Rule(
        "model_missing",
        (0, 400, 404, 422),
        _MODEL_MISSING,
        hint="Choose another model with Ctrl+O or -m; `lmchat models` lists them.",
        has_product_hint=True,
    ),
    Rule(
        "unsupported",
        (400, 404, 422, 501),
        r"does not support (chat|generate|completions)\b",
        message="{model} cannot chat; it may only make embeddings.",
        hint="Choose another model with Ctrl+O or -m; `lmchat models` lists them.",
    ),
    Rule(
        "auth",
        (401,),
        "<basic>",
        message="{product} asks for a user name and password (HTTP Basic).",
        hint="lmchat cannot send a password. Set up an API key in the web server, "
        "or use the address of the model server directly.",
    ),
    Rule("auth", (401,), hint=KEY_REJECTED, has_product_hint=True),
    Rule("auth", pattern=_NO_KEY, hint=KEY_REJECTED, has_product_hint=True),
    Rule(
        "host_blocked",
        (400, 403),
        "host header|host not allowed",
        message=UNKNOWN_HOST,
        hint="Add this host name to the server's trusted hosts, or use localhost.",
        has_product_hint=True,
    ),
    Rule("forbidden", (403,), hint="Check the rights of your account or API key."),
    Rule("wrong_path", (404, 405), "<web page>", message=_PAGE, hint=_PAGE_HINT),
    Rule(
        "wrong_path",
        (404, 405),
        hint=_ADDRESS_HINT,
        has_product_hint=True,
    ),
    Rule(
        "wrong_path",
        (301, 302, 303, 307, 308),
        message="{product} redirects to {location}.",
        hint="lmchat does not follow redirects; use the other address.",
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
    Rule("rate_limited", (429,), hint=_LIMIT_HINT),
    Rule("rate_limited", _NO_STATUS, "rate.?limit|too.many.requests", hint=_LIMIT_HINT),
    Rule(
        "busy",
        _NO_STATUS,
        r"overloaded|service.{0,12}unavailable|unavailable_error|currently unavailable|server.busy",
        hint=_BUSY_HINT,
    ),
    Rule("unsupported", (501,), hint="Use another server for this."),
    Rule("busy", (529,), hint="The server is overloaded; try again later."),
    Rule("busy", (503,), "busy|overloaded|maximum pending", hint=_BUSY_HINT),
    Rule(
        "upstream",
        (502, 503),
        hint="The program behind the server does not answer; restart the model.",
        has_product_hint=True,
    ),
    Rule("not_an_llm", pattern="<web page>", message=_PAGE, hint=_PAGE_HINT),
    Rule("server_error", hint="Check the server's log, then try again."),
)


_SECONDS = re.compile(r"\s*(\d{1,12}(?:\.\d{1,12})?)s?\s*", re.ASCII)
"""Matches "3", "0.5" and "12s", as Gemini writes it."""
_MINUTES_FROM_S = 120  # longer waits are told in minutes


def retry_after_s(headers: Mapping[str, str], error_object: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait, or None if the server names none that can be read (R-32).

    They come from `headers`, with names in lower case, or else from the error object of the body. A
    date is turned into the seconds until then; for a date in the past, they are 0.
    """
    if match := _SECONDS.fullmatch(headers.get("retry-after-ms", "")):
        return float(match[1]) / 1000
    delay_or_date = headers.get("retry-after", "") or _retry_delay(error_object)
    if match := _SECONDS.fullmatch(delay_or_date):
        return float(match[1])

    try:
        date = parsedate_to_datetime(delay_or_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)  # HTTP dates are in GMT, with or without saying so
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)


def _retry_delay(error_object: Mapping[str, Any]) -> str:
    """Return the delay that Gemini names in the details of an error, such as "12s", or ""."""
    for detail in dicts_in(error_object.get("details")):
        if delay := str_or_empty(dict_or_empty(detail).get("retryDelay")):
            return delay
    return ""


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
_STATUS_DIGITS = 3  # of an HTTP status, as 503


class RequestFacts(Struct, frozen=True, kw_only=True):
    """Facts of a request that a message about its refusal needs."""

    product: str
    subject: str  # what a sentence calls a server of this product
    hints: Mapping[str, str]  # next steps of this product, by the kind of the refusal
    rules: tuple[Rule, ...] = ()  # its own, which come before `RULES`
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
    return _rejection(status, headers, error_body, facts)


def not_an_llm(reason: str, details: str = "") -> ServerRejected:
    """Return the error for a reply that no model server gives."""
    message = f"This is not a model server: {reason}"
    return ServerRejected(message, kind="not_an_llm", hint=_PAGE_HINT, details=details)


def refusal_in_stream(value: object, facts: RequestFacts) -> ServerRejected:
    """Return the error for an error object inside a stream; `status` of the returned error is None.

    Rules use a code of the object that looks like a status, such as 503.
    """
    error_body = read_value(value, key=facts.key)
    code = error_body.code
    is_status = code.isdecimal() and len(code) == _STATUS_DIGITS
    status = int(code) if is_status else 0
    return _rejection(status, {}, error_body, facts, is_in_stream=True)


def _rejection(
    status: int,
    headers: Mapping[str, str],
    body: ErrorBody,
    facts: RequestFacts,
    *,
    is_in_stream: bool = False,
) -> ServerRejected:
    """Return the error for a refusal by the first rule that fits; the last rule fits all.

    `status` is 0 for an error inside a stream that names none.
    """
    searched_line = _searched_line(body, facts, headers.get("www-authenticate", ""))
    rules = (*facts.rules, *RULES)
    rule = next(rule for rule in rules if rule.fits(status, searched_line))
    fields = _message_fields(status, headers, body, facts)
    wait_s = retry_after_s(headers, body.error_object)
    message = _message(rule, fields, body, is_in_stream=is_in_stream)
    details = f"HTTP {status or 'stream'}: {body.type} {body.code} {body.message}".strip()
    error = ServerRejected(
        without_secret(message, facts.key),
        kind=rule.kind,
        # None tells that the refusal came inside a stream, whatever the code of its object is.
        status=None if is_in_stream else status,
        hint=_hint(rule, fields, facts, wait_s),
        details=without_secret(details, facts.key),
        retry_after_s=wait_s,
    )
    error.param = without_secret(body.param, facts.key)
    if rule.kind == "context_overflow":
        error.needed_tokens, error.room_tokens = _token_counts(body)
    return error


def _message(rule: Rule, fields: dict[str, str], body: ErrorBody, *, is_in_stream: bool) -> str:
    """Return the message of a rule with the values of its fields.

    For some kinds, it is changed: the counted tokens of a context overflow replace it, the refused
    field of a bad request is added, and a server error in a stream says that streaming failed.
    """
    message = rule.message.format(**fields)
    if rule.kind == "context_overflow":
        needed, room = _token_counts(body)
        if needed and room:
            return f"The session needs {needed} tokens; the context window has {room}."
    names_param = body.param.lower() in message.lower()
    if rule.kind == "bad_request" and body.param and not names_param:
        return f"{message} ({body.param})"
    if rule.kind == "server_error" and is_in_stream:
        return f"Streaming failed: {message}"
    return message


def _hint(rule: Rule, fields: dict[str, str], facts: RequestFacts, wait_s: float | None) -> str:
    """Return the next step: to wait as long as the server asks, or the hint of the rule.

    A wait is named only for temporary failures, and only from 1 s up. If no key was sent, the hint
    to check the key becomes the hint that the server needs one.
    """
    wait_s = wait_s or 0.0
    if rule.kind in _TEMPORARY and wait_s >= 1:
        wait = f"{math.ceil(wait_s)} s"
        if wait_s > _MINUTES_FROM_S:
            wait = f"{math.ceil(wait_s / 60)} min"
        return f"Wait {wait}, as the server asks, then try again."
    hint = rule.hint_for(facts)
    if hint == KEY_REJECTED and not facts.key:
        return KEY_MISSING
    # The hint may hold a command, in which names have to be quoted.
    quoted = {name: shell_word(fields[name]) for name in ("model", "host")}
    return hint.format(**{**fields, **quoted})


def _searched_line(body: ErrorBody, facts: RequestFacts, challenge: str) -> str:
    """Return the line that rules search: facts in angle brackets, then the words of the error.

    Example: `<no key> invalid_request_error  max_tokens unknown field`. `challenge` is the header
    WWW-Authenticate, whose scheme is one of the facts (`<basic>`).
    """
    tags: list[str] = []
    if body.is_html:
        tags.append("<web page>")
    elif not body.message:
        tags.append("<empty>")
    if scheme := challenge.partition(" ")[0]:
        tags.append(f"<{scheme}>")
    if not facts.key:
        tags.append("<no key>")
    return " ".join([*tags, body.type, body.code, body.param, body.message]).lower()


def _message_fields(
    status: int, headers: Mapping[str, str], body: ErrorBody, facts: RequestFacts
) -> dict[str, str]:
    """Return the values by name of the fields in messages and hints of rules, such as `{said}`."""
    said = f"answered {status_words(status)}." if status else "sent an error without a message."
    if body.message:
        said = f"says: {body.message}"
    location = without_secret(shown_address(headers.get("location", "")), facts.key)
    return {
        "product": facts.subject,
        "said": f"{facts.subject} {said}",
        "location": location or "another address",
        "model": facts.model or "MODEL",
        "host": facts.host,
    }


def _token_counts(body: ErrorBody) -> tuple[int | None, int | None]:
    """Return how many tokens the prompt needs, and how many the context window has.

    Each is None if the refusal does not name it.
    """
    needed = _token_count(body, "n_prompt_tokens", _NEEDED_TOKENS)
    room = _token_count(body, "n_ctx", _CONTEXT_TOKENS)
    return needed, room


def _token_count(body: ErrorBody, field: str, pattern: re.Pattern[str]) -> int | None:
    """Return a number of tokens from a field of the error, or else from its message.

    None if there is no such number, or if it is 0.
    """
    count = count_or_none(body.error_object.get(field))
    if count is None:
        match = pattern.search(body.message.lower())
        count = int(match[1]) if match else None
    return count or None


def shown_address(location: str) -> str:
    """Return an address that a server names, without password, query and fragment.

    These may be secret. Empty if it is not an address.
    """
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return safe_line(urlunsplit((parts.scheme, host, parts.path, "", "")), limit=200)


def status_words(status: int) -> str:
    """Return a status and its name, as "502 Bad Gateway"; if it has no name, "with status 799"."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"with status {status}"
