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
    str_or_empty,
)

MESSAGE_CHARS = 300
# Characters of a text that are cleaned before it is shortened: a megabyte would take seconds.
_READ_CHARS = 16 * MESSAGE_CHARS
_HTML = re.compile(rb"^(\xef\xbb\xbf)?\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)
_WANTS_HTTPS = "http request was sent to https port"  # words on nginx's page for this error


class ErrorBody(Struct, frozen=True, kw_only=True):
    """Facts of a refusal, whatever the shape of its body."""

    message: str = ""  # sentence of the server, trimmed and safe on one line; may be empty
    # the server's own words, each empty if it sent none:
    code: str = ""  # may be a status, such as "503"
    type: str = ""
    param: str = ""  # field of the request that it refuses
    error_object: Mapping[str, Any] = field(default_factory=dict)  # as the server sent it
    is_html: bool = False


def read_body(body: bytes, content_type: str, *, key: str = "") -> ErrorBody:
    """Return the facts of a refusal from its body.

    For a web page, only `is_html` is set. If the page asks for https, `type` has its words, by
    which a rule recognises it. If the body is not JSON, its beginning is the message. `key` is the
    key that was sent; if the message repeats it, it is cut out.
    """
    if "html" in content_type.lower() or _HTML.match(body[:512]):
        wants_https = _WANTS_HTTPS.encode() in body.lower()
        return ErrorBody(is_html=True, type=_WANTS_HTTPS if wants_https else "")
    try:
        return read_value(decode(body), key=key)
    except NotJsonError:
        words = body[:_READ_CHARS].decode("utf-8", "replace")
        return ErrorBody(message=_clean(without_secret(words, key)))


def read_value(value: object, *, key: str) -> ErrorBody:
    """Return the facts of a decoded error; `key`, the key that was sent, is cut out of its message.

    Fields that the error does not have are empty.
    """
    if isinstance(value, list) and value:  # Gemini wraps its error in a list
        value = value[0]
    reply = dict_or_empty(value)
    choices = dicts_in(reply.get("choices"))
    if choices and not reply.get("error") and choices[0].get("error"):  # in a chunk
        reply = choices[0]
    # {"error": {"message": …, "type": …}} is usual; some servers send these fields without "error".
    possible = (reply.get(name) for name in ("error", "message", "error_message", "detail"))
    error = next(filter(None, possible), None)
    error_object = dict_or_empty(error) or reply
    param = str_or_empty(error_object.get("param"))
    # `value` or `error` may be the message itself: {"error": "not found"}
    names = ("message", "error", "msg")  # KoboldCpp: {"detail": {"msg": …}}
    texts = (value, error, *map(error_object.get, names))
    message = next((text for text in texts if isinstance(text, str)), "")
    # FastAPI has a list of faults: [{"msg": "Input should be valid", "loc": ["body", "top_p"]}]
    faults = dicts_in(error) or dicts_in(error_object.get("detail"))
    if faults and not message:
        location = faults[0].get("loc")
        steps = [str(step) for step in location] if isinstance(location, list) else []
        param = steps[-1] if steps else ""
        message = f"{str_or_empty(faults[0].get('msg'))} ({'.'.join(steps)})"
    # servers without a `code` may have the status of HTTP in the body
    code = error_object.get("code", error_object.get("status"))
    return ErrorBody(
        # The key is cut out before the message is shortened, which could leave half of a key.
        message=_clean(without_secret(message, key)),
        code=_clean(str(code)) if isinstance(code, str | int) else "",
        type=_clean(str_or_empty(error_object.get("type"))),
        param=_clean(param),
        error_object=error_object,
    )


def is_error(value: object) -> bool:
    """Tell whether a decoded reply or chunk is an error, whatever the status is (R-1, R-26)."""
    if isinstance(value, list) and value:  # as in `read_value`
        value = value[0]
    if not isinstance(value, dict):
        return False
    if value.get("error") or value.get("error_message"):
        return True
    if value.get("object") == "error" or value.get("type") == "error":
        return True
    choices = value.get("choices")
    choice = dict_or_empty(choices[0] if isinstance(choices, list) and choices else None)
    # an answer may end with an error, too
    return choice.get("finish_reason") == "error" or bool(choice.get("error"))


def _clean(message: str) -> str:
    return safe_line(message[:_READ_CHARS], limit=MESSAGE_CHARS)
