"""Refusals of servers as errors: one table from status and body to kind, sentence and next step (R-24)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct, field

from lmchat.domain.product import Product
from lmchat.errors import ServerRejected
from lmchat.proxy.json_values import NotJsonError, decode, mapping, number, rows, text, whole
from lmchat.text import safe_line, shell_word, without_secret

MESSAGE_CHARS = 300
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


class ErrorBody(Struct, frozen=True, kw_only=True):
    """Facts of a refusal, whatever the shape of its body (R-24)."""

    message: str = ""  # sentence of the server, trimmed and safe on one line; may be empty
    code: str = ""
    type: str = ""
    param: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_html: bool = False


def read_body(body: bytes, content_type: str = "", *, key: str = "") -> ErrorBody:
    """Read the body of a refusal; the key that was sent is cut out of it."""
    if "html" in content_type.lower() or _HTML.match(body[:512]):
        return ErrorBody(is_html=True)
    try:
        return read_value(decode(body), key=key)
    except NotJsonError:
        words = body[: 16 * MESSAGE_CHARS].decode("utf-8", "replace")
        return ErrorBody(message=clean(without_secret(words, key)))


def read_value(value: object, *, key: str = "") -> ErrorBody:
    """Read a decoded error."""
    if isinstance(value, list) and value:
        value = value[0]
    outer = mapping(value)
    inner = (
        outer.get("error")
        or outer.get("message")
        or outer.get("error_message")
        or outer.get("detail")
    )
    facts = mapping(inner) or outer
    # FastAPI sends a list of what it cannot use
    lists = (
        rows(one) or rows(mapping(one).get("detail"))
        for one in (inner, mapping(inner).get("message"))
    )
    row = next((found[0] for found in lists if found), {})
    steps = row.get("loc")
    place = ".".join(map(_plain, steps)) if isinstance(steps, list) else ""
    in_words = f"{text(row.get('msg'))} ({place})" if place else text(row.get("msg"))
    said = facts.get("message") or facts.get("error")
    message = (
        text(value) or text(inner) or text(said) or text(mapping(said).get("message")) or in_words
    )
    kind = text(facts.get("type")) or text(outer.get("error_type")) or text(outer.get("type"))
    return ErrorBody(
        message=clean(
            without_secret(message, key)
        ),  # before it is shortened, which may leave half a key
        code=_plain(facts.get("code", facts.get("status", outer.get("code")))),
        type=clean(kind),
        param=clean(
            text(facts.get("param")) or text(outer.get("param")) or place.rpartition(".")[2]
        ),
        facts=facts,
    )


def is_error(value: object) -> bool:
    """Tell whether an object tells of an error, whatever the status said (R-1, R-26)."""
    if not isinstance(value, dict):
        return False
    if value.get("error") or value.get("error_message") or value.get("object") == "error":
        return True
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and first.get("finish_reason") == "error"


def clean(message: str) -> str:
    """Return a text on one line, without escape sequences, at most 300 characters."""
    return safe_line(_ESCAPE.sub("", message), limit=MESSAGE_CHARS)


def _plain(value: object) -> str:
    figure = number(value)
    return clean(text(value)) if figure is None else f"{figure:.15g}"


LM_STUDIO, JAN, LLAMA, OLLAMA = Product.LM_STUDIO, Product.JAN, Product.LLAMA_CPP, Product.OLLAMA


class Rule(Struct, frozen=True):
    """One kind of refusal."""

    kind: str
    at: tuple[int, ...] = ()  # statuses that it is about, 0 inside a stream; empty: all
    says: str = ""  # pattern to find in what `_searched` returns; lower case
    message: str = "{said}"
    hint: str = ""
    hints: Mapping[Product, str] = field(default_factory=dict)


_STREAM = (0,)
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
_NO_KEY = (
    "invalid_api_key|authentication_error|invalid api key|api token is required|api key not valid"
)
_NO_KEY += "|missing or invalid authorization header"
KEY_MISSING = "The server needs an API key, but none was sent."
KEY_REJECTED = (
    "The API key was rejected; check it."  # replaced by `KEY_MISSING` where no key was sent
)
_KEY_HINTS = {
    LM_STUDIO: "LM Studio needs an API token: Developer, Server settings, Manage tokens.",
    JAN: "Jan shows its API key under Settings, Local API Server.",
    LLAMA: "Use the API key that llama-server was started with (--api-key).",
}
_NO_CREDIT = (
    r"insufficient_quota|exceeded your current quota|credit_balance|out of credits?\b|billing"
)
_CREDIT_HINT = "Check the account's plan and billing; retrying does not help."
_ADDRESS_HINT = "The server address should end in /v1 or have no path."
_PAGE, _PAGE_HINT = (
    "This is not a model server: a web page answered.",
    "Check the port and the path of the address.",
)
_LIMIT_HINT = "Wait a moment; the server limits requests."
_BUSY_HINT = "The server is busy; try again in a moment."
_HOST = '{product} does not accept the host name "{host}".'

RULES: tuple[Rule, ...] = (
    Rule(
        "wrong_path",
        says="unexpected endpoint or method",
        message="LM Studio does not know this path.",
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
        says=_OVERFLOW,
        message="The session is longer than the model's context window.",
        hint="Shorten the prompt, start a new session, or load the model with a larger context window.",
    ),
    Rule(
        "billing",
        says=_NO_CREDIT,
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
        says="no models loaded|failed to load model|no running session found|no models are available",
        hint="Load a model, or a smaller one if memory is low.",
        hints={
            JAN: "Start the model in Jan, then try again.",
            LM_STUDIO: "Press Ctrl+O, Enter to load it; your message is then sent again. "
            "In a shell: lmchat models load {model}",
        },
    ),
    Rule(
        "model_crashed",
        says="model has crashed|exit code",
        hint="It may have run out of memory: load a smaller model or use a smaller context window.",
    ),
    Rule(
        "model_missing",
        (0, 400, 404, 422),
        _MODEL_MISSING,
        hint="Choose another model with Ctrl+O or -m; `lmchat models` lists them.",
        hints={OLLAMA: "Download it with: ollama pull {model}"},
    ),
    Rule(
        "unsupported",
        (400, 404, 422, 501),
        r"does not support (chat|generate|completions)\b",
        message="{model} cannot chat; it may only make embeddings.",
        hint="Choose another model with Ctrl+O or -m; `lmchat models` lists them.",
    ),
    Rule(  # LiteLLM fails where it finds no key
        "auth",
        (500,),
        r"<litellm> <no key> +internal server error$",
        message="{product} does not answer without an API key.",
        hint=KEY_MISSING,
    ),
    Rule(  # LiteLLM looks for a key that is not its own in a database it has not
        "auth",
        (400,),
        "no_db_connection",
        message="{product} does not know this API key.",
        hint=KEY_REJECTED,
    ),
    Rule(
        "auth",
        (401,),
        "<basic>",
        message="{product} asks for a user name and password (HTTP Basic).",
        hint="lmchat cannot send a password. Set up an API key in the web server, "
        "or use the address of the model server directly.",
    ),
    Rule("auth", (401,), hint=KEY_REJECTED, hints=_KEY_HINTS),
    Rule("auth", says=_NO_KEY, hint=KEY_REJECTED, hints=_KEY_HINTS),
    Rule(
        "host_blocked",
        (400, 403),
        "host header|host not allowed",
        message=_HOST,
        hint="Add this host name to the server's trusted hosts, or use 127.0.0.1.",
        hints={JAN: "In Jan: Settings, Local API Server, Trusted Hosts: add {host}."},
    ),
    Rule(
        "host_blocked",
        (403,),
        "<ollama> <empty>",
        message=_HOST,
        hint="Use 127.0.0.1, or start it with OLLAMA_HOST={host} ollama serve.",
    ),
    Rule("forbidden", (403,), hint="Check the rights of your account or API key."),
    Rule("wrong_path", (404, 405), "<web page>", message=_PAGE, hint=_PAGE_HINT),
    Rule(
        "wrong_path",
        (404, 405),
        hint=_ADDRESS_HINT,
        hints={JAN: "Check the API prefix under Jan's Settings, Local API Server."},
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
    Rule("rate_limited", _STREAM, "rate.?limit|too.many.requests", hint=_LIMIT_HINT),
    Rule(
        "busy",
        _STREAM,
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
        hints={JAN: "The engine stopped: restart the model in Jan."},
    ),
    Rule("not_an_llm", says="<web page>", message=_PAGE, hint=_PAGE_HINT),
    Rule("server_error", hint="Check the server's log, then try again."),
)

_FIGURE = re.compile(r"\s*(\d{1,12}(?:\.\d{1,12})?)s?\s*", re.ASCII)
"""A number; Gemini writes its unit behind it."""
_UNITS = ("d", "h", "min", "s")


def retry_after_s(headers: Mapping[str, str], facts: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait, or None where the server named none (R-32)."""
    if found := _FIGURE.fullmatch(headers.get("retry-after-ms", "")):
        return float(found[1]) / 1000
    delays = (text(mapping(row).get("retryDelay")) for row in rows(facts.get("details")))
    named = headers.get("retry-after", "") or next(filter(None, delays), "")
    if found := _FIGURE.fullmatch(named):
        return float(found[1])
    try:
        date = parsedate_to_datetime(named)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)


def span(seconds: float) -> str:
    """Write a time to wait in its two largest units, never shorter than it is."""
    left = math.ceil(seconds)
    figures = [left // 86400, left // 3600 % 24, left // 60 % 60, left % 60]
    first = next((place for place, figure in enumerate(figures) if figure), len(figures) - 1)
    told = list(zip(figures, _UNITS, strict=True))[first : first + 2]
    return " ".join(f"{figure} {unit}" for figure, unit in told)


_TOKENS_NEEDED = re.compile(
    r"(?:requested|request \(|first|contains|resulted in|keep the first)\D{0,25}(\d{1,15})\b"
)
_TOKENS_ROOM = re.compile(
    r"(?:maximum context length (?:is|of)|context (?:size|length|window))\D{0,25}(\d{1,15})\b"
)
_PASSING = frozenset({"rate_limited", "busy", "upstream", "loading", "timeout"})


class Asked(Struct, frozen=True, kw_only=True):
    """Facts of the request that a message about its refusal needs."""

    product: Product
    key: str = ""  # the key that was sent
    model: str = ""
    host: str = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.product}>"


def refusal(status: int, headers: Mapping[str, str], body: bytes, asked: Asked) -> ServerRejected:
    """Return the error for a reply whose status or body refuses."""
    read = read_body(body, headers.get("content-type", ""), key=asked.key)
    return _error(status, headers, read, asked)


def not_an_llm(reason: str, details: str = "") -> ServerRejected:
    """Return the error for a reply that no model server gives."""
    return ServerRejected(
        f"This is not a model server: {reason}", kind="not_an_llm", hint=_PAGE_HINT, details=details
    )


def refusal_in_stream(value: object, asked: Asked) -> ServerRejected:
    """Return the error for an error object inside a stream; its `status` is None."""
    read = read_value(value, key=asked.key)
    code = int(read.code) if read.code.isdecimal() and len(read.code) == len("503") else 0
    return _error(code, {}, read, asked, is_in_stream=True)


def _error(
    status: int,
    headers: Mapping[str, str],
    read: ErrorBody,
    asked: Asked,
    *,
    is_in_stream: bool = False,
) -> ServerRejected:
    searched = _searched(read, asked, headers.get("www-authenticate", ""))
    rule = next(
        one for one in RULES if (not one.at or status in one.at) and re.search(one.says, searched)
    )
    needed, room = (
        _tokens(read, "n_prompt_tokens", _TOKENS_NEEDED),
        _tokens(read, "n_ctx", _TOKENS_ROOM),
    )
    words = _words(status, headers, read, asked)
    message, hint = rule.message.format(**words), rule.hints.get(asked.product, rule.hint)
    if rule.kind == "context_overflow" and needed and room:
        message = f"The session needs {needed} tokens; the context window has {room}."
    if rule.kind == "bad_request" and read.param.lower() not in message.lower():
        message = f"{message} ({read.param})"
    if rule.kind == "server_error" and is_in_stream:
        message = f"Streaming failed: {message}"
    wait_s = retry_after_s(headers, read.facts)
    if rule.kind in _PASSING and wait_s is not None and wait_s >= 1:
        hint = f"Wait {span(wait_s)}, as the server asks, then try again."
    details = f"HTTP {status or 'stream'}: {read.type} {read.code} {read.message}".strip()
    error = ServerRejected(
        without_secret(message, asked.key),
        kind=rule.kind,
        status=None if is_in_stream else status or None,
        hint=KEY_MISSING
        if hint == KEY_REJECTED and not asked.key
        else hint.format(**_as_shell_words(words)),
        details=without_secret(details, asked.key),
        retry_after_s=wait_s,
    )
    error.param = without_secret(read.param, asked.key)
    if rule.kind == "context_overflow":
        error.needed_tokens, error.room_tokens = needed, room
    return error


def _searched(read: ErrorBody, asked: Asked, challenge: str) -> str:
    """Return the line that rules search: marks for what is not in words, then the words."""
    kind_of_body = "<web page>" if read.is_html else "" if read.message else "<empty>"
    scheme = challenge.partition(" ")[0]
    marks = (
        f"<{asked.product.value}>",
        kind_of_body,
        scheme and f"<{scheme}>",
        "" if asked.key else "<no key>",
    )
    return " ".join([*filter(None, marks), read.type, read.code, read.param, read.message]).lower()


def _words(
    status: int, headers: Mapping[str, str], read: ErrorBody, asked: Asked
) -> dict[str, str]:
    product = "The server" if asked.product is Product.OPENAI_COMPATIBLE else asked.product.value
    said = f"says: {read.message}" if read.message else f"answered {status_words(status)}."
    return {
        "product": product,
        "said": f"{product} {said}",
        "location": without_secret(shown_address(headers.get("location", "")), asked.key)
        or "another address",
        "model": asked.model or "MODEL",
        "host": asked.host,
    }


def _as_shell_words(words: dict[str, str]) -> dict[str, str]:
    """Return the words of a message for a hint, which may hold a command."""
    return words | {name: shell_word(words[name]) for name in ("model", "host")}


def _tokens(read: ErrorBody, name: str, pattern: re.Pattern[str]) -> int | None:
    figure, found = whole(read.facts.get(name)), pattern.search(read.message.lower())
    return (figure if figure is not None else int(found[1]) if found else 0) or None


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
