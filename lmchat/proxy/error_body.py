"""Errors in the bodies of replies, in every shape that servers are known to send (R-24)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from lmchat.proxy.json_values import NotJsonError, decode, mapping, number, rows, text
from lmchat.text import safe_line, without_secret

MESSAGE_CHARS = 300
_READ_BYTES = 16 * MESSAGE_CHARS  # of a body that is no JSON
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


class ErrorBody(Struct, frozen=True, kw_only=True):
    """Facts of a refusal, whatever the shape of its body."""

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
        words = body[:_READ_BYTES].decode("utf-8", "replace")
        return ErrorBody(message=clean(without_secret(words, key)))


def read_value(value: object, *, key: str = "") -> ErrorBody:
    """Read a decoded error; the key that was sent is cut out of it."""
    if isinstance(value, list) and value:
        value = value[0]
    outer = mapping(value)
    inner = _first_of(outer, "error", "message", "error_message", "detail")
    facts = mapping(inner) or outer
    misfit, misfit_param = _misfit(inner)

    message = text(value) or text(inner) or _message_in(facts) or misfit
    kind = text(facts.get("type")) or text(outer.get("error_type")) or text(outer.get("type"))
    param = text(facts.get("param")) or text(outer.get("param")) or misfit_param
    code = facts.get("code", facts.get("status", outer.get("code")))
    return ErrorBody(
        # the key goes first: half a key could remain in a shortened message
        message=clean(without_secret(message, key)),
        code=_plain(code),
        type=clean(kind),
        param=clean(param),
        facts=facts,
    )


def is_error(value: object) -> bool:
    """Tell whether a reply is an error, whatever its status is (R-1, R-26)."""
    if not isinstance(value, dict):
        return False
    if value.get("error") or value.get("error_message") or value.get("object") == "error":
        return True
    choices = rows(value.get("choices"))
    return bool(choices) and choices[0].get("finish_reason") == "error"


def clean(message: str) -> str:
    """Return a text on one line, without escape sequences, at most 300 characters."""
    return safe_line(_ESCAPE.sub("", message), limit=MESSAGE_CHARS)


def _first_of(fields: dict[str, Any], *names: str) -> object:
    return next((fields[name] for name in names if fields.get(name)), None)


def _message_in(facts: Mapping[str, Any]) -> str:
    message = facts.get("message") or facts.get("error")
    return text(message) or text(mapping(message).get("message"))


def _misfit(inner: object) -> tuple[str, str]:
    """Return message and field of the first row of FastAPI's list of what it cannot use."""
    for holder in (inner, mapping(inner).get("message")):
        listed = rows(holder) or rows(mapping(holder).get("detail"))
        if listed:
            message, steps = text(listed[0].get("msg")), listed[0].get("loc")
            path = ".".join(map(_plain, steps)) if isinstance(steps, list) else ""
            return f"{message} ({path})" if path else message, path.rpartition(".")[2]
    return "", ""


def _plain(value: object) -> str:
    figure = number(value)
    return clean(text(value)) if figure is None else f"{figure:.15g}"
