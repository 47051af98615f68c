"""JSON from outside, decoded without trust: fast if it is strict, tolerant if it is not."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_NUMBER = 2.0**53  # larger figures of servers are noise
_decode = msgspec.json.Decoder().decode


class NotJsonError(ValueError):
    """The bytes are no JSON."""


def decode(data: bytes) -> Any:
    """Decode JSON; a lone surrogate becomes U+FFFD, `NaN` becomes None. Raises `NotJsonError`."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_loosely(data)


def encode(value: object) -> bytes:
    """Encode as JSON; the texts in it must have passed `without_surrogates`."""
    return msgspec.json.encode(value)


def without_surrogates(text: str) -> str:
    """Return text that UTF-8 can carry."""
    return _SURROGATE.sub("\ufffd", text)


def utf8_safe(value: Any) -> Any:
    """Return a JSON value without lone surrogates."""
    return json.loads(without_surrogates(json.dumps(value, ensure_ascii=False)))


def mapping(value: object) -> dict[str, Any]:
    """Return a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of a list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a string, else nothing."""
    return value if isinstance(value, str) else ""


def whole(value: object) -> int | None:
    """Return a count, or None."""
    figure = number(value)
    return None if figure is None or figure < 0 else int(figure)


def number(value: object) -> float | None:
    """Return a number of a size that can be meant, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_MAX_NUMBER < value < _MAX_NUMBER else None


def amount(value: object) -> float | None:
    """Return a number above zero, or None."""
    figure = number(value)
    return None if figure is None or figure <= 0 else figure


def _decode_loosely(data: bytes) -> Any:
    try:
        return utf8_safe(json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _: None))
    except (ValueError, RecursionError) as error:
        raise NotJsonError(str(error)) from None
