"""Refusals of servers as errors: one table from status and body to kind, sentence and next step (R-24)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.server import Product
from lmchat.errors import ServerRejected
from lmchat.proxy.json_values import NotJsonError, decode, mapping, number, rows, text, whole
from lmchat.text import safe_line

MESSAGE_CHARS = 300
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


class ErrorBody(Struct, frozen=True, kw_only=True):
    """The same facts, whatever the shape."""

    message: str = ""
    """The server's own sentence, trimmed and safe on one line; empty where it said nothing."""
    code: str = ""
    type: str = ""
    param: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_html: bool = False
    scheme: str = ""
    """The first word of the header `www-authenticate`, in lower case."""
    location: str = ""
    """The address that a redirect leads to, without its query."""

    @property
    def words(self) -> str:
        return f"{self.type} {self.code} {self.param} {self.message}".lower()


def read_body(body: bytes, content_type: str = "", *, key: str = "") -> ErrorBody:
    """Read the body of a refusal; the key that was sent is cut out of it."""
    if "html" in content_type.lower() or _HTML.match(body[:512]):
        return ErrorBody(is_html=True)
    try:
        return read_value(decode(body), key=key)
    except NotJsonError:
        words = body[: 16 * MESSAGE_CHARS].decode("utf-8", "replace")
        return ErrorBody(message=clean(without_key(words, key)))


def read_value(value: object, *, key: str = "") -> ErrorBody:
    """Read a decoded error, from a body or from the middle of a stream."""
    if isinstance(value, list) and value:
        value = value[0]
    whole = mapping(value)
    inner = whole.get("error") or whole.get("message") or whole.get("error_message") or whole.get("detail")
    facts = mapping(inner) or whole
    row = _first_detail(inner) or _first_detail(mapping(inner).get("message"))
    place = _place(row)
    message = text(value) or text(inner) or _sentence(facts) or _in_words(row, place)
    code = facts.get("code", facts.get("status", whole.get("code")))
    kind = text(facts.get("type")) or text(whole.get("error_type")) or text(whole.get("type"))
    return ErrorBody(
        message=clean(without_key(message, key)),  # before it is shortened, which may leave half a key
        code=_plain(code),
        type=clean(kind),
        param=clean(text(facts.get("param")) or text(whole.get("param")) or place.rpartition(".")[2]),
        facts=facts,
    )


def is_error(value: object) -> bool:
    """Whether a decoded object tells of an error, whatever the status said (R-1, R-26)."""
    if not isinstance(value, dict):
        return False
    if value.get("error") or value.get("error_message") or value.get("object") == "error":
        return True
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and first.get("finish_reason") == "error"


def without_key(words: str, key: str) -> str:
    """Cut the key that was sent out of what the server says, plain or as an address writes it."""
    key = key.strip()
    if len(key) < len("key"):
        return words
    return words.replace(key, "…").replace(quote(key, safe=""), "…")


def clean(message: str) -> str:
    """Return a sentence of a server on one line, without escape sequences, at most 300 characters."""
    return safe_line(_ESCAPE.sub("", message), limit=MESSAGE_CHARS)


def _plain(value: object) -> str:
    """Return a code or a step of a path as text; what is neither word nor figure is not written out."""
    figure = number(value)
    return clean(text(value)) if figure is None else f"{figure:.15g}"


def _sentence(facts: Mapping[str, Any]) -> str:
    """Return the words of an error object; some put them in one more object."""
    said = facts.get("message") or facts.get("error")
    return text(said) or text(mapping(said).get("message"))


def _first_detail(value: object) -> dict[str, Any]:
    """Return the first row of the list that FastAPI sends for a request that it cannot use."""
    listed = rows(value) or rows(mapping(value).get("detail"))
    return listed[0] if listed else {}


def _place(row: Mapping[str, Any]) -> str:
    place = row.get("loc")
    return ".".join(map(_plain, place)) if isinstance(place, list) else ""


def _in_words(row: Mapping[str, Any], place: str) -> str:
    return f"{text(row.get('msg'))} ({place})" if place else text(row.get("msg"))


LM_STUDIO, JAN, LLAMA, OLLAMA = Product.LM_STUDIO, Product.JAN, Product.LLAMA_CPP, Product.OLLAMA
LITELLM = Product.LITELLM


class Rule(Struct, frozen=True, kw_only=True):
    """One kind of refusal."""

    kind: str
    statuses: frozenset[int] = frozenset()
    """Statuses that it is about; empty: all, also the inside of a stream."""
    pattern: str = ""
    """Pattern to find in type, code, parameter or message; lower case."""
    product: Product | None = None
    is_silent: bool = False
    is_html: bool = False
    is_keyless: bool = False
    scheme: str = ""
    """The way to prove who one is that the server asks for, as `basic`."""
    message: str = ""
    """The sentence; empty: the server's own."""
    hint: str = ""
    hints: Mapping[Product, str] = field(default_factory=dict)
    hint_without_key: str = ""

    def matches(self, status: int, body: ErrorBody, asked: Asked) -> bool:
        if (self.statuses and status not in self.statuses) or (self.product not in (None, asked.product)):
            return False
        if (self.is_silent and (body.message or body.is_html)) or (self.is_html and not body.is_html):
            return False
        if (self.is_keyless and asked.has_key) or self.scheme not in ("", body.scheme):
            return False
        return not self.pattern or re.search(self.pattern, body.words) is not None

    def hint_for(self, product: Product, *, has_key: bool) -> str:
        own = self.hints.get(product)
        if own is not None:
            return own
        return self.hint if has_key or not self.hint_without_key else self.hint_without_key


def _of(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


_STREAM = _of(0)
"""Inside a stream, where no number says what it is."""
_OVERFLOW = (
    r"exceed_context_size|context_length_exceeded|maximum context length|exceeds the available context"
    r"|tokens to keep from the initial prompt|trying to keep the first|context size has been exceeded"
    r"|context (length|window).*exceed|exceed.*context (length|window)|prompt is too long"
)
_MODEL_MISSING = (
    r"model_not_found|model '[^']*' not found|model .*not found|model is not loaded|model name is missing"
    r"|invalid model identifier|model .*does not exist|no such model|not a valid model"
    r"|models/\S+ is not found|not_found_error.*model: \S+|invalid model name passed in"
)
_KEY_HINTS = {
    LM_STUDIO: "LM Studio wants an API token: Developer, Server settings, Manage tokens.",
    JAN: "Jan shows its API key under Settings, Local API Server.",
    LLAMA: "Use the key that llama-server was started with (--api-key).",
}

RULES: tuple[Rule, ...] = (
    Rule(
        kind="wrong_path",
        pattern="unexpected endpoint or method",
        message="LM Studio does not know this path.",
        hint="The address of the server should end in /v1, or in nothing.",
    ),
    Rule(
        kind="wrong_path",
        statuses=_of(400, 426),
        pattern=r"http request (was sent )?to (an )?https (server|port)",
        message="The server speaks https at this port.",
        hint="Write https:// in front of its address.",
    ),
    Rule(
        kind="context_overflow",
        pattern=_OVERFLOW,
        message="The conversation is longer than the model's context.",
        hint="Shorten it, begin a new session, or load the model with a larger context length.",
    ),
    Rule(
        kind="billing",
        pattern=r"insufficient_quota|exceeded your current quota|credit_balance|out of credits?\b|billing",
        message="{product} says that the account is out of credit.",
        hint="Check the account's plan and billing; trying again does not help.",
    ),
    Rule(
        kind="billing",
        statuses=_of(429),
        pattern="credit",
        hint="Check the account's plan and billing; trying again does not help.",
    ),
    Rule(kind="billing", statuses=_of(402), hint="Check the account's plan and billing."),
    Rule(
        kind="loading",
        statuses=_of(503),
        pattern="loading model|model is loading",
        message="The model is loading.",
        hint="Wait until it is loaded.",
    ),
    Rule(
        kind="model_not_loaded",
        pattern="no models loaded|failed to load model|no running session found|no models are available",
        hint="Load a model, or a smaller one if memory is short.",
        hints={
            JAN: "Start the model in Jan, then try again.",
            LM_STUDIO: "Load it with Ctrl+O, Enter: then this is asked again.",
        },
    ),
    Rule(
        kind="model_crashed",
        pattern="model has crashed|exit code",
        hint="It is often out of memory: load a smaller model or a smaller context.",
    ),
    Rule(
        kind="model_missing",
        statuses=_of(0, 400, 404, 422),
        pattern=_MODEL_MISSING,
        hint="Choose a model that the server has: Ctrl+O lists them.",
        hints={OLLAMA: "Fetch it with: ollama pull {model}"},
    ),
    Rule(
        kind="auth",
        statuses=_of(500),
        pattern=r"^\s*internal server error$",
        product=LITELLM,
        is_keyless=True,  # LiteLLM fails where it finds no key
        message="{product} does not answer without a key.",
        hint_without_key="The server wants an API key, and none was sent.",
    ),
    Rule(
        kind="auth",
        statuses=_of(400),
        pattern="no_db_connection",  # LiteLLM looks for a key that is not its own in a database it has not
        message="{product} does not know this key.",
        hint="The key was rejected: check it.",
        hint_without_key="The server wants an API key, and none was sent.",
    ),
    Rule(
        kind="auth",
        statuses=_of(401),
        scheme="basic",
        message="{product} asks for a user name and password (HTTP Basic).",
        hint="lmchat sends API keys alone: let the web server there accept one, or use an address behind it.",
    ),
    Rule(
        kind="auth",
        statuses=_of(401),
        message="{said}",
        hint="The key was rejected: check it.",
        hint_without_key="The server wants an API key, and none was sent.",
        hints=_KEY_HINTS,
    ),
    Rule(
        kind="auth",
        pattern="invalid_api_key|authentication_error|invalid api key|api token is required"
        r"|api key not valid|missing or invalid authorization header",
        hint="The key was rejected: check it.",
        hint_without_key="The server wants an API key, and none was sent.",
        hints=_KEY_HINTS,
    ),
    Rule(
        kind="host_blocked",
        statuses=_of(400, 403),
        pattern="host header|host not allowed",
        message='{product} does not accept the host name "{host}".',
        hint="Let the server trust this host name, or use 127.0.0.1.",
        hints={JAN: "In Jan: Settings, Local API Server, Trusted Hosts: add {host}."},
    ),
    Rule(
        kind="host_blocked",
        statuses=_of(403),
        product=OLLAMA,
        is_silent=True,
        message='Ollama does not accept the host name "{host}".',
        hint="Use 127.0.0.1, or start it so: OLLAMA_HOST={host} ollama serve.",
    ),
    Rule(kind="forbidden", statuses=_of(403), hint="The server does not allow this."),
    Rule(
        kind="wrong_path",
        statuses=_of(404, 405),
        is_html=True,
        message="This is not an LLM API: a web page answered.",
        hint="Check the port and the path of the address.",
    ),
    Rule(
        kind="wrong_path",
        statuses=_of(404, 405),
        hint="The address of the server should end in /v1, or in nothing.",
        hints={JAN: "Check the API prefix under Jan's Settings, Local API Server."},
    ),
    Rule(
        kind="wrong_path",
        statuses=_of(301, 302, 303, 307, 308),
        message="{product} redirects to {location}.",
        hint="Redirects are not followed; use the other address itself.",
    ),
    Rule(
        kind="timeout",
        statuses=_of(408, 504),
        message="Request timeout: {said}",
        hint="Try again; the server took too long.",
    ),
    Rule(kind="too_large", statuses=_of(413), hint="Shorten the conversation."),
    Rule(kind="bad_request", statuses=_of(400, 409, 422), hint="The server does not accept this request."),
    Rule(
        kind="rate_limited",
        statuses=_of(429),
        hint="Wait a moment; the server limits requests.",
    ),
    Rule(
        kind="rate_limited",
        statuses=_STREAM,
        pattern="rate.?limit|too.many.requests",
        hint="Wait a moment; the server limits requests.",
    ),
    Rule(
        kind="busy",
        statuses=_STREAM,
        pattern=r"overloaded|service.{0,12}unavailable|unavailable_error|currently unavailable|server.busy",
        hint="The server is busy; try again in a moment.",
    ),
    Rule(
        kind="unsupported",
        statuses=_of(501),
        hint="This server cannot do that.",
    ),
    Rule(
        kind="busy",
        statuses=_of(529),
        hint="The server is overloaded; try again later.",
    ),
    Rule(
        kind="busy",
        statuses=_of(503),
        pattern="busy|overloaded|maximum pending",
        hint="The server is busy; try again in a moment.",
    ),
    Rule(
        kind="upstream",
        statuses=_of(502, 503),
        hint="What stands behind the server does not answer; restart the model.",
        hints={JAN: "The engine has ended: restart the model in Jan."},
    ),
    Rule(
        kind="not_an_llm",
        is_html=True,
        message="This is not an LLM API: a web page answered.",
        hint="Check the port and the path of the address.",
    ),
    Rule(kind="server_error", hint="Look at the server's log, then try again."),
)


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")

_UNITS = ("d", "h", "min", "s")


def retry_after_s(headers: Mapping[str, str], facts: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait, or None where the server named none.

    Read are `retry-after-ms`, `retry-after` (seconds or a date), OpenAI's `x-ratelimit-reset-requests`
    (only where no room is left) and the `retryDelay` in the body of a Google error.
    """
    milliseconds = _figure(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    named = headers.get("retry-after", "").strip()
    if named:
        return _seconds_or_date(named)
    if headers.get("x-ratelimit-remaining-requests", "").strip() == "0":
        return _duration(headers.get("x-ratelimit-reset-requests", ""))
    delays = (text(mapping(row).get("retryDelay")) for row in rows(facts.get("details")))
    return next((_duration(delay) for delay in delays if delay), None)


def span(seconds: float) -> str:
    """Write a time to wait in its two largest units, never shorter than it is."""
    left = math.ceil(seconds)
    figures = [left // 86400, left // 3600 % 24, left // 60 % 60, left % 60]
    first = next((place for place, figure in enumerate(figures) if figure), len(figures) - 1)
    told = list(zip(figures, _UNITS, strict=True))[first : first + 2]
    return " ".join(f"{figure} {unit}" for figure, unit in told)


def _seconds_or_date(named: str) -> float | None:
    seconds = _figure(named)
    if seconds is not None:
        return seconds
    try:
        date = parsedate_to_datetime(named)
    except (ValueError, TypeError, IndexError, OverflowError):
        return _duration(named)
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)


def _figure(named: str) -> float | None:
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*", named, re.ASCII)
    return float(found.group(1)) if found else None


def _duration(named: str) -> float | None:
    found = _DURATION.fullmatch(named.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(group or 0) for group in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


_TOKENS_NEEDED = re.compile(
    r"(?:requested|request \(|first|contains|resulted in|keep the first)\D{0,25}(\d{1,15})\b"
)
_TOKENS_ROOM = re.compile(
    r"(?:maximum context length (?:is|of)|context (?:size|length|window))\D{0,25}(\d{1,15})\b"
)


_PASSING = frozenset({"rate_limited", "busy", "upstream", "loading", "timeout"})


class Asked(Struct, frozen=True, kw_only=True):
    """Facts of the request that a helpful message about its refusal needs."""

    product: Product
    has_key: bool = False
    key: str = ""
    """That key, to be cut out of what the server says."""
    model: str = ""
    host: str = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.product}>"


def refusal(status: int, headers: Mapping[str, str], body: bytes, asked: Asked) -> ServerRejected:
    """Return the error for a reply whose status or body refuses."""
    read = replace(
        read_body(body, headers.get("content-type", ""), key=asked.key),
        scheme=headers.get("www-authenticate", "").partition(" ")[0].lower(),
        location=without_key(shown_address(headers.get("location", "")), asked.key),
    )
    return _error(status, read, asked, retry_after=retry_after_s(headers, read.facts))


def refusal_in_stream(value: object, asked: Asked) -> ServerRejected:
    """Return the error for an error object inside a stream; its `status` is None."""
    read = read_value(value, key=asked.key)
    code = int(read.code) if read.code.isdecimal() and len(read.code) == len("503") else 0
    return _error(code, read, asked, retry_after=retry_after_s({}, read.facts), is_in_stream=True)


def _error(
    status: int, read: ErrorBody, asked: Asked, *, retry_after: float | None, is_in_stream: bool = False
) -> ServerRejected:
    rule = next(rule for rule in RULES if rule.matches(status, read, asked))
    words = _words(status, read, asked)
    message = (rule.message or "{said}").format(**words)
    if rule.kind == "context_overflow" and words["needs"] and words["room"]:
        message = f"The conversation needs {words['needs']} tokens, the model has room for {words['room']}."
    if rule.kind == "bad_request" and read.param.lower() not in message.lower():
        message = f"{message} ({read.param})"
    if rule.kind == "server_error" and is_in_stream:
        message = f"Streaming failed: {message}"
    hint = rule.hint_for(asked.product, has_key=asked.has_key).format(**words)
    details = f"HTTP {status or 'stream'}: {read.type} {read.code} {read.message}".strip()
    error = ServerRejected(
        without_key(message, asked.key),
        kind=rule.kind,
        status=None if is_in_stream else status or None,
        hint=_asks_to_wait(rule.kind, retry_after) or hint,
        details=without_key(details, asked.key),
        retry_after_s=retry_after,
    )
    error.param = without_key(read.param, asked.key)
    if rule.kind == "context_overflow":
        error.needed_tokens = int(words["needs"] or 0) or None
        error.room_tokens = int(words["room"] or 0) or None
    return error


def shown_address(location: str) -> str:
    """Return an address that a server names, without what may be secret in it."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return safe_line(address, limit=200)


def status_words(status: int) -> str:
    """Return a status with its name: 502 Bad Gateway."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"with status {status}"


def _asks_to_wait(kind: str, wait_s: float | None) -> str:
    """Return the step where the server names a time that is worth telling (R-32)."""
    if kind not in _PASSING or wait_s is None or wait_s < 1:
        return ""
    return f"The server asks to wait {span(wait_s)}; try again then."


def _words(status: int, read: ErrorBody, asked: Asked) -> dict[str, str]:
    product = "The server" if asked.product is Product.OPENAI_COMPATIBLE else asked.product.value
    sentence = read.message.lower()
    needs, room = whole(read.facts.get("n_prompt_tokens")), whole(read.facts.get("n_ctx"))
    return {
        "product": product,
        "said": f"{product} says: {read.message}"
        if read.message
        else f"{product} answered {status_words(status)}.",
        "location": read.location or "another address",
        "model": asked.model or "MODEL",
        "host": asked.host,
        "needs": _first(_TOKENS_NEEDED, sentence) if needs is None else str(needs),
        "room": _first(_TOKENS_ROOM, sentence) if room is None else str(room),
    }


def _first(pattern: re.Pattern[str], sentence: str) -> str:
    found = pattern.search(sentence)
    return found.group(1) if found else ""
