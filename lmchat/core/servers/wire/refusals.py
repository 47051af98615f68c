"""Refusals of servers as errors: from status and body to kind, sentence and next step (R-24)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import ServerRejected
from lmchat.base.json_values import count_or_none, dicts_in, positive_or_none, str_or_empty
from lmchat.base.safe_text import safe_line, shell_word, without_secret
from lmchat.core.servers.http.reply import ErrorBody, read_body, read_value
from lmchat.core.servers.wire.quotes import texts_of, unquoted
from lmchat.core.servers.wire.refusal_rules import (
    CODES,
    LOG_STEP,
    REFUSAL_RULES,
    STATUSES,
    STEPS,
    RefusalRule,
)

_KEY_MISSING = (
    "The server needs an API key, but none was sent; it belongs under [[endpoints]] in config.toml."
)
_CHECK_HEADERS = "Check the headers under [[endpoints]] in config.toml, or add an api_key there."
_PAGE = "This is not a model server: a web page answered."
_IN_STREAMS = tuple(rule for rule in REFUSAL_RULES if rule.kind != "loading")
_DURATION = re.compile(r"\s*(?:(\d{1,6})m(?!s))?(?:(\d{1,12}(?:\.\d{1,12})?)(ms|s?))?\s*", re.ASCII)
""""3", "0.5", "12s" as Gemini writes it, and "6m0s" as OpenAI does."""
_TRY_AGAIN_IN = re.compile(r"try again in (\d[\d.]*(?:ms|m[\d.]*s|s|m)\b)", re.IGNORECASE)
_MINUTES_FROM_S = 120  # longer waits are told in minutes
_TEMPORARY = frozenset({"rate_limited", "busy", "upstream", "loading", "timeout"})
"""After these kinds, the next step tells how long to wait, if the server names a time."""
_STATUS_DIGITS = 3
_NAME_CHARS = 3  # a shorter name of a model may be a part of any word
_DATE_CHARS = 60
_ADDRESS = re.compile(r"(?<=://)[^\s\"'<>]+")


class RefusalContext(Struct, frozen=True, kw_only=True):
    """Facts of a request that an error about its refusal needs."""

    product: str
    subject: str  # what a sentence calls a server of this product
    next_steps: Mapping[str, str]  # next steps by the kind of the refusal
    key: str = ""
    header_values: Sequence[str] = ()  # of `[[endpoints]]`
    model: str = ""
    host: str = ""
    sent: bytes = b""  # the body of the request
    written: str = ""  # by the model, so far
    options: Sequence[str] = ()  # set by the user
    tools: Sequence[str] = ()  # offered to the model
    has_images: bool = False
    is_remote: bool = False
    hides_blocked_hosts: bool = False  # a 403 without words is about the name of the host

    def __repr__(self) -> str:
        """Leave out the key: a traceback or a log may show it."""
        return f"<{type(self).__name__} {self.product}>"

    @property
    def secrets(self) -> Sequence[str]:
        return (self.key, *self.header_values)

    @property
    def texts(self) -> Iterator[str]:
        """Texts of request and answer, which the server may quote."""
        yield from texts_of(self.sent)
        yield self.written

    def unquoted(self, said: str) -> str:
        return unquoted(said, self.texts)

    def has(self, needed: str) -> bool:
        return not needed or (self.has_images if needed == "images" else bool(self.tools))

    def what_to_check(self, text: str) -> str:
        """Return the step after a `bad_request`; an option is only named if the words name it."""
        text = text.lower()
        named = [name for name in self.options if name in text]
        steps = [f"Check the options that you set: {', '.join(named)}."] if named else []
        if self.tools:
            steps.append("Try it without tools: /tools switches them off, ask needs no --tools.")
        if self.has_images:
            steps.append("Check the images: their files, their format, and how many there are.")
        return " ".join(steps) or LOG_STEP


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, context: RefusalContext
) -> ServerRejected:
    """Return the error; the caller knows that it is a refusal.

    `read_body` removes the secrets from the server's words.
    """
    if status in range(300, 400):
        # without user, password and query, which may be secret
        location = re.sub("//[^/]*@", "//", headers.get("location", "")).partition("?")[0]
        place = safe_line(without_secret(location, *context.secrets), limit=200)
        return ServerRejected(
            f"{context.subject} redirects to {place or 'another address'}.",
            kind="wrong_path",
            status=status,
            next_step="lmchat follows no redirects, such as to a sign-in page; use the address of "
            "the server itself.",
            details=f"HTTP {status}",
        )
    error_body = read_body(
        body, headers.get("content-type", ""), secrets=context.secrets, unquote=context.unquoted
    )
    is_told_inside = status < HTTPStatus.MULTIPLE_CHOICES and not error_body.is_html
    code = _code_as_status(error_body) if is_told_inside else status
    return _error(code, headers, error_body, context, status)


def not_an_llm_error(reason: str, details: str = "") -> ServerRejected:
    return ServerRejected(
        f"This is not a model server: {reason}",
        kind="not_an_llm",
        next_step=STEPS["not_an_llm"],
        details=details,
    )


def refusal_in_stream(value: object, context: RefusalContext) -> ServerRejected:
    """Return the error for a decoded object, or for bytes that are no data.

    A code that looks like a status, such as 503, counts as one. `status` stays None, which says
    that the error came inside a stream.
    """
    if isinstance(value, bytes):
        error_body = read_body(value, secrets=context.secrets, unquote=context.unquoted)
    else:
        error_body = read_value(value, secrets=context.secrets, unquote=context.unquoted)
    return _error(_code_as_status(error_body), {}, error_body, context, None)


def _code_as_status(body: ErrorBody) -> int:
    """Return 0 if it is none."""
    is_status = body.code.isdecimal() and len(body.code) == _STATUS_DIGITS
    return int(body.code) if is_status else 0


def _error(
    status: int,
    headers: Mapping[str, str],
    body: ErrorBody,
    context: RefusalContext,
    http_status: int | None,
) -> ServerRejected:
    """`http_status` is None inside a stream, and `status` then 0 if the error names none."""
    said = f"{context.subject} {_what_it_did(status, body)}"  # the message, as it came
    body = with_own_text(body, context)
    rules = _IN_STREAMS if http_status is None else REFUSAL_RULES
    kind = kind_of(status, body, context, rules)

    is_page = body.is_html and kind in ("wrong_path", "not_an_llm")
    message = _PAGE if is_page else said
    next_step = _step(kind, status, body, context)
    if kind == "context_overflow" and not body.message:
        message = "The request fills the model's context window."
    is_param_named = body.param.lower() in message.lower()  # also true if there is no parameter
    if kind == "bad_request" and not is_param_named:
        message = f"{message} ({body.param})"
    path = f"{body.param}. {body.said}".replace("[", ".").replace("]", "")
    path = path.replace("tools.0.function_declarations.", "tools.")  # Gemini has one list in a list
    for number, tool in enumerate(context.tools):
        if f"tools.{number}." in path and tool not in message:
            message = f"{message.rstrip('.')}, in the tool {tool}."

    details = f"HTTP {status or HTTPStatus.OK}: {body.type} {body.code} {body.message}".strip()
    sign_in = safe_line(str_or_empty(body.error_object.get("signin_url")), limit=500)
    wait_s = retry_after_s(headers, body)
    # R-32; a wait of less than a second is not told
    if kind in _TEMPORARY and wait_s is not None and wait_s >= 1:
        is_long = math.ceil(wait_s) > _MINUTES_FROM_S
        wait = f"{math.ceil(wait_s / 60)} min" if is_long else f"{math.ceil(wait_s)} s"
        next_step = f"Wait {wait}, as the server asks, then try again."
    said_text = f"{body.type} {body.code} {body.said} {body.param}"
    return ServerRejected(
        without_secret(message, *context.secrets),
        kind=kind,
        status=http_status,
        next_step=without_secret(next_step, *context.secrets),
        details=without_secret(f"{details} {sign_in}".strip(), *context.secrets),
        retry_after_s=wait_s,
        said=without_secret(said_text, *context.secrets),
        room_tokens=count_or_none(body.error_object.get("n_ctx")) or None,
    )


def with_own_text(body: ErrorBody, context: RefusalContext) -> ErrorBody:
    """Cut out what the words quote, and put marks in the place of names."""
    # in both, since a quote would start before the name: "model": "jinja-7b"
    models = (context.model, context.model.rpartition("/")[2])
    said = _without_names(body.said or body.message, models, "<model>")
    texts = (_without_names(text, models, "<model>") for text in context.texts)
    said = _ADDRESS.sub("<address>", unquoted(said, texts))
    said = _without_names(said, [context.host], "<address>")
    return replace(body, said=_without_names(said, context.tools, "<tool>"))


def kind_of(
    status: int,
    body: ErrorBody,
    context: RefusalContext,
    rules: Sequence[RefusalRule] = REFUSAL_RULES,
) -> str:
    """Return what a code means, else the text of the server, else the status.

    Words that mean two kinds mean none.
    """
    kinds = {CODES[name] for name in (body.code, body.type) if name in CODES}
    if not kinds:
        kinds = {rule.kind for rule in rules if fits(rule, status, body.said.lower(), context)}
    return kinds.pop() if len(kinds) == 1 else _kind_of_status(status, body, context)


def fits(rule: RefusalRule, status: int, text: str, context: RefusalContext) -> bool:
    """Return whether the `text`, in lower case, and the rest of the refusal, fit a rule."""
    return (
        (not rule.statuses or status in rule.statuses)
        and context.has(rule.needs)
        and any(re.search(pattern, text) for pattern in rule.alternatives)
    )


def _kind_of_status(status: int, body: ErrorBody, context: RefusalContext) -> str:
    is_model_named = body.param == "model" or "model_not_found" in (body.code, body.type)
    if is_model_named and status in (0, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        return "model_missing"
    if status == HTTPStatus.FORBIDDEN and not body.said and context.hides_blocked_hosts:
        return "host_blocked"
    if status == HTTPStatus.NOT_FOUND and (body.is_html or not body.said):
        return "wrong_path"
    if body.is_html and status == HTTPStatus.OK:
        return "not_an_llm"
    # a gateway answers in place of the model server
    is_gateway = body.is_html and (not status or status >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return STATUSES.get(status, "upstream" if is_gateway else "server_error")


def _what_it_did(status: int, body: ErrorBody) -> str:
    if body.is_html and body.message and status:
        return f"answered {status_text(status)}: {body.message}"
    if body.message:
        return f"says: {body.message}"
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return "sent an error without a message."
    return f"answered {status_text(status)}."


def _step(kind: str, status: int, body: ErrorBody, context: RefusalContext) -> str:
    next_step = context.next_steps.get(kind, STEPS.get(kind, ""))
    is_remote = status == HTTPStatus.UNAUTHORIZED and context.is_remote
    if kind == "auth" and (body.error_object.get("signin_url") or is_remote):
        next_step = context.next_steps.get("sign_in", next_step)
    elif kind == "auth" and context.header_values and not context.key:
        next_step = _CHECK_HEADERS
    elif kind == "auth" and not context.key:
        next_step = context.next_steps.get(kind, _KEY_MISSING)
    elif kind == "bad_request":
        next_step = context.what_to_check(f"{body.type} {body.code} {body.param} {body.said}")
    # the next step may hold a command
    return next_step.format(
        model=shell_word(context.model or "MODEL"), host=shell_word(context.host)
    )


def _without_names(text: str, names: Iterable[str], mark: str) -> str:
    """Put `mark` in the place of names, which may hold any words."""
    for name in sorted(names, key=len, reverse=True):
        if len(name) >= _NAME_CHARS and name.lower() not in mark:
            pattern = rf"(?<![\w<]){re.escape(name)}(?!\w)"
            text = re.sub(pattern, mark, text, flags=re.IGNORECASE)
    return text


def retry_after_s(headers: Mapping[str, str], body: ErrorBody) -> float | None:
    """Return the time that a header or the body names; 0 if it has passed (R-32).

    A header has seconds, milliseconds or a date (RFC 9110, 10.2.3). Gemini has a field in the body,
    as Hugging Face does for a model that loads, and OpenAI a sentence.
    """
    # LiteLLM's name for that of the server behind it
    passed_on = next((name for name in headers if name.lower().endswith("retry-after")), "")
    delay = headers.get("retry-after", "") or headers.get(passed_on, "")
    if milliseconds := headers.get("retry-after-ms", ""):
        delay = f"{milliseconds}ms"
    for detail in dicts_in(body.error_object.get("details")):
        delay = delay or str_or_empty(detail.get("retryDelay"))
    for name in ("retry_after", "estimated_time"):
        seconds = positive_or_none(body.error_object.get(name))
        delay = delay or (f"{seconds:.3f}" if seconds else "")
    if match := _TRY_AGAIN_IN.search(body.said):
        delay = delay or match[1]
    match = _DURATION.fullmatch(delay)
    if match and (match[1] or match[2]):
        seconds = float(match[2] or 0) / (1000 if match[3] == "ms" else 1)
        return seconds + 60 * float(match[1] or 0)
    try:
        date = parsedate_to_datetime(delay[:_DATE_CHARS])
    except ValueError:
        return None
    return max(date.timestamp() - time.time(), 0.0)


def status_text(status: int) -> str:
    """Return "502 Bad Gateway", or "with status 799"; both fit behind "answered"."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"with status {status}"
