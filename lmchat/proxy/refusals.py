"""Refusals of servers as errors: one table from status and body to kind, sentence and next step (R-24)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from lmchat.domain.server import Product
from lmchat.errors import ServerRejected
from lmchat.proxy.error_bodies import ErrorBody, read_body, read_value, without_key
from lmchat.proxy.json_values import whole
from lmchat.proxy.refusal_rules import RULES
from lmchat.proxy.retry_after import retry_after_s, span

_TOKENS_NEEDED = re.compile(
    r"(?:requested|request \(|first|contains|resulted in|keep the first)\D{0,25}(\d{1,15})\b"
)
_TOKENS_ROOM = re.compile(
    r"(?:maximum context length (?:is|of)|context (?:size|length|window))\D{0,25}(\d{1,15})\b"
)


_PASSING = frozenset({"rate_limited", "busy", "upstream", "loading", "timeout"})


class Asked(Struct, frozen=True, kw_only=True):
    """What was asked of whom; needed to say something helpful about the refusal."""

    product: Product
    """Who refused."""
    has_key: bool = False
    """Whether a key was sent."""
    key: str = ""
    """That key, to be cut out of what the server says."""
    model: str = ""
    """The model that was asked for."""
    host: str = ""
    """The host name that was sent."""

    def __repr__(self) -> str:
        """Leave the key out, wherever this is printed."""
        return f"<{type(self).__name__} {self.product}>"


def refusal(status: int, headers: Mapping[str, str], body: bytes, asked: Asked) -> ServerRejected:
    """Make the error for a reply whose status or body refuses."""
    read = read_body(body, headers.get("content-type", ""), key=asked.key)
    return _error(status, read, asked, retry_after=retry_after_s(headers, read.facts))


def refusal_in_stream(value: object, asked: Asked) -> ServerRejected:
    """Make the error for what came in the middle of a stream; its `status` is None."""
    read = read_value(value, key=asked.key)
    code = int(read.code) if read.code.isdecimal() and len(read.code) == len("503") else 0
    error = _error(code, read, asked, retry_after=retry_after_s({}, read.facts))
    if not error.message.startswith("Streaming failed") and error.kind == "server_error":
        error = _rebuilt(error, f"Streaming failed: {error.message}")
    error.status = None
    return error


def _error(status: int, read: ErrorBody, asked: Asked, *, retry_after: float | None) -> ServerRejected:
    rule = next(rule for rule in RULES if rule.matches(status, read, asked.product))
    words = _words(status, read, asked)
    message = rule.message.format(**words) if rule.message else words["said"]
    if rule.kind == "context_overflow" and words["needs"] and words["room"]:
        message = f"The conversation needs {words['needs']} tokens, the model has room for {words['room']}."
    if rule.kind == "bad_request" and read.param.lower() not in message.lower():
        message = f"{message} ({read.param})"
    hint = rule.hint_for(asked.product, has_key=asked.has_key).format(**words)
    error = ServerRejected(
        message,
        kind=rule.kind,
        status=status or None,
        hint=_asks_to_wait(rule.kind, retry_after) or hint,
        details=f"HTTP {status or 'stream'}: {read.type} {read.code} {read.message}".strip(),
        retry_after_s=retry_after,
    )
    error.param = read.param
    if rule.kind == "context_overflow":
        error.needed_tokens = int(words["needs"] or 0) or None
        error.room_tokens = int(words["room"] or 0) or None
    return _rebuilt(error, error.message, cut_out=asked.key)


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
        else f"{product} answered with status {status}, without a word.",
        "model": asked.model or "MODEL",
        "host": asked.host,
        "needs": _first(_TOKENS_NEEDED, sentence) if needs is None else str(needs),
        "room": _first(_TOKENS_ROOM, sentence) if room is None else str(room),
    }


def _first(pattern: re.Pattern[str], sentence: str) -> str:
    found = pattern.search(sentence)
    return found.group(1) if found else ""


def _rebuilt(error: ServerRejected, message: str, *, cut_out: str = "") -> ServerRejected:
    rebuilt = ServerRejected(
        without_key(message, cut_out),
        kind=error.kind,
        status=error.status,
        hint=error.hint,
        details=without_key(error.details, cut_out),
        retry_after_s=error.retry_after_s,
    )
    rebuilt.param = without_key(error.param, cut_out)
    rebuilt.needed_tokens, rebuilt.room_tokens = error.needed_tokens, error.room_tokens
    return rebuilt
