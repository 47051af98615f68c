"""What a server says when it refuses: eight shapes of bodies as one value (protocol of the error body)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct, field

from lmchat.proxy.json_values import NotJsonError, decode, mapping, number, rows, text
from lmchat.text import safe_line

MESSAGE_CHARS = 300
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


class ErrorBody(Struct, frozen=True, kw_only=True):
    """The same facts, whatever the shape."""

    message: str = ""
    """The server's own sentence, trimmed and safe on one line; empty where it said nothing."""
    code: str = ""
    """Its code, as text."""
    type: str = ""
    """Its type."""
    param: str = ""
    """The parameter that it names."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The whole error object."""
    is_html: bool = False
    """Whether it is a page for people."""
    is_json: bool = False
    """Whether it is JSON."""

    @property
    def words(self) -> str:
        """All of it, for the patterns of the table."""
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
        is_json=True,
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
    """Return first the words, then the place."""
    return f"{text(row.get('msg'))} ({place})" if place else text(row.get("msg"))
