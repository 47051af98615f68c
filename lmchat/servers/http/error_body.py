"""Errors in the bodies of replies, in every shape that servers are known to send (R-24)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from lmchat.safe_text import safe_line, without_secret
from lmchat.servers.http.json_values import (
    NotJsonError,
    decode,
    dict_or_empty,
    dicts_in,
    number_or_none,
    str_or_empty,
)

MESSAGE_CHARS = 300
# Only so much of a longer text is cleaned: a megabyte would take seconds.
_READ_CHARS = 16 * MESSAGE_CHARS
_ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI, such as ESC [31m for a colour
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, such as ESC ]0;title BEL; its end may be missing
    r"|.)"  # any other: ESC and one character
)
"""Escape sequences of terminals."""
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


class ErrorBody(Struct, frozen=True, kw_only=True):
    """Facts of a refusal, whatever the shape of its body."""

    message: str = ""  # sentence of the server, trimmed and safe on one line; may be empty
    code: str = ""
    type: str = ""
    param: str = ""
    error_object: Mapping[str, Any] = field(default_factory=dict)  # as the server sent it
    is_html: bool = False


def read_body(body: bytes, content_type: str = "", *, key: str = "") -> ErrorBody:
    """Return the facts of a refusal from its body.

    Of a web page, only `is_html` is set. Of a body that is not JSON, the beginning is the message.
    If the message repeats `key`, the key that was sent, it is cut out.
    """
    if "html" in content_type.lower() or _HTML.match(body[:512]):
        return ErrorBody(is_html=True)
    try:
        return read_value(decode(body), key=key)
    except NotJsonError:
        words = body[:_READ_CHARS].decode("utf-8", "replace")
        return ErrorBody(message=clean(without_secret(words, key)))


def read_value(value: object, *, key: str = "") -> ErrorBody:
    """Return the facts of a decoded error; `key`, the key that was sent, is cut out of its message.

    Fields that the error does not have are empty.
    """
    if isinstance(value, list) and value:  # Gemini wraps its error in a list
        value = value[0]
    outer = dict_or_empty(value)
    # {"error": {"message": …, "type": …}} is usual; some servers send these fields without "error".
    inner = _first_field(outer, "error", "message", "error_message", "detail")
    error_object = dict_or_empty(inner) or outer
    invalid_message, invalid_param = _validation_error(inner)

    # `value` or `inner` may be the message itself: {"error": "not found"}
    message = _first_text(value, inner, _message_in(error_object), invalid_message)
    error_type = _first_text(error_object.get("type"), outer.get("error_type"), outer.get("type"))
    param = _first_text(error_object.get("param"), outer.get("param"), invalid_param)
    code = error_object.get("code", error_object.get("status", outer.get("code")))
    return ErrorBody(
        # The key is cut out before the message is shortened, which could leave half of a key.
        message=clean(without_secret(message, key)),
        code=_as_safe_text(code),
        type=clean(error_type),
        param=clean(param),
        error_object=error_object,
    )


def is_error(value: object) -> bool:
    """Tell whether a decoded reply or chunk is an error, whatever the status is (R-1, R-26)."""
    if not isinstance(value, dict):
        return False
    if value.get("error") or value.get("error_message") or value.get("object") == "error":
        return True
    choices = dicts_in(value.get("choices"))  # an answer may end with an error, too
    return bool(choices) and choices[0].get("finish_reason") == "error"


def clean(message: str) -> str:
    """Return a text on one line, without escape sequences, at most 300 characters."""
    return safe_line(_ESCAPE.sub("", message[:_READ_CHARS]), limit=MESSAGE_CHARS)


def _first_field(fields: dict[str, Any], *names: str) -> object:
    """Return the value of the first of these fields whose value is not empty, or None."""
    for name in names:
        if fields.get(name):
            return fields[name]
    return None


def _first_text(*values: object) -> str:
    """Return the first value that is a text and not empty, or an empty text."""
    for value in values:
        if isinstance(value, str) and value:
            return value
    return ""


def _message_in(error_object: Mapping[str, Any]) -> str:
    """Return the message of an error object, or an empty text.

    It is the field `message` or `error`, or the `message` of an object in one of these fields.
    """
    message = error_object.get("message") or error_object.get("error")
    return str_or_empty(message) or str_or_empty(dict_or_empty(message).get("message"))


def _validation_error(inner: object) -> tuple[str, str]:
    """Return the message and the field of FastAPI's first validation error, or two empty texts.

    It looks like this: `{"detail": [{"msg": "Input should be valid", "loc": ["body", "top_p"]}]}`,
    which gives "Input should be valid (body.top_p)" and "top_p". `inner` may be the list, an object
    with the list as its `detail`, or an object with either of these as its `message`.
    """
    for holder in (inner, dict_or_empty(inner).get("message")):
        errors = dicts_in(holder) or dicts_in(dict_or_empty(holder).get("detail"))
        if not errors:
            continue
        message = str_or_empty(errors[0].get("msg"))
        location = errors[0].get("loc")
        if not isinstance(location, list) or not location:
            return message, ""
        steps = [_as_safe_text(step) for step in location]
        path = ".".join(steps)  # body.top_p
        field_name = path.rpartition(".")[2]
        if path:
            message = f"{message} ({path})"
        return message, field_name
    return "", ""


def _as_safe_text(value: object) -> str:
    """Return a text or a number of an error as safe text; any other value becomes an empty one."""
    number = number_or_none(value)
    if number is None:
        return clean(str_or_empty(value))
    return f"{number:.15g}"  # 503.0 as 503
