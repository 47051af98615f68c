"""JSON from outside: tolerant decoding, and values checked for their type."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any

import msgspec

_SURROGATE = re.compile("[\ud800-\udfff]")
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # behind the pairs that are backslashes
# the largest number whose neighbours a float can still tell apart
_MAX_NUMBER = 2.0**53
_decode = msgspec.json.Decoder().decode


JsonObject = dict[str, Any]


class NotJsonError(ValueError):
    """The bytes are no JSON."""


def decode(data: bytes) -> Any:
    """Raise `NotJsonError`.

    A byte order mark is dropped (RFC 8259, 8.1); wrong UTF-8 and lone surrogates become U+FFFD;
    `NaN`, `Infinity` and `-Infinity` become None. Control characters may be unescaped.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_loosely(data)


def encode(value: object) -> bytes:
    """Replace lone surrogates, and leave out U+0000, at which llama.cpp cuts a prompt."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        data = msgspec.json.encode(utf8_safe(value))
    return _NUL.sub(rb"\1", data) if rb"\u0000" in data else data


def utf8_safe(value: Any) -> Any:
    """Replace lone surrogates in texts and names by U+FFFD."""
    # as one JSON text, with surrogates unescaped, to change all texts at once
    return json.loads(_SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)))


def dict_or_empty(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def dicts_in(value: object) -> list[JsonObject]:
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, dict)]


def str_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def count_or_none(value: object) -> int | None:
    """Drop decimals of a number from 0 up; None also from 2**53 up."""
    count = number_or_none(value)
    return None if count is None or count < 0 else int(count)


def number_or_none(value: object) -> float | None:
    """Return a number between -2**53 and 2**53, else None; a `bool` is none here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_MAX_NUMBER < value < _MAX_NUMBER else None


def positive_or_none(value: object) -> float | None:
    amount = number_or_none(value)
    return None if amount is None or amount <= 0 else amount


def _decode_loosely(data: bytes) -> Any:
    text = data.removeprefix(BOM_UTF8).decode("utf-8", "replace")
    try:
        return utf8_safe(json.loads(text, parse_constant=lambda _: None, strict=False))
    except (ValueError, RecursionError) as error:
        raise NotJsonError(str(error)) from None
