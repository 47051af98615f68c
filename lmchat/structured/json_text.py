"""JSON and code in the words of a model: found, and JSON read more strictly than Python does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from lmchat.text import fence_of, safe_line

MAX_CHARS = 1_000_000
"""More than any model writes in one answer; the time to read and to check it grows with it."""
MAX_DEPTH = 64
"""Deeper than anything that people describe by a schema; checking goes as deep as the value."""
_MAX_TRIES = 200
"""Brackets in prose at which a value is looked for: each may cost as much as the rest of the text is long."""
_MAX_READ = 4 * MAX_CHARS
"""Characters that are read at such brackets in vain, all in all: about a third of a second."""
_MAX_VALUES = 20
_NO_JSON = ("NaN", "Infinity")
"""Words that Python reads as JSON, but that may begin a sentence."""
_GONE = object()
_BRACKET = re.compile(r"[\[{]")
_BEGUN = re.compile(r"\s*(?:t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-|\.|[eE][+-]?|u?[0-9a-fA-F]{0,3}|)\s*")
"""Rest of a value at the place where it is cut: a word, a figure, an escape."""
_SIGN = re.compile(r'\n|"|</think>|\Z|\\[^\n]')
_FIGURE = re.compile(r"\d{310,}")
"""Larger than any number that a computer calculates with."""
_LEAD = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
"""Indentation and list marker before a fence."""


class UnfitError(ValueError):
    """A text holds no JSON value that can be used; the message is part of a sentence about the answer."""


def strict_json(text: str) -> Any:
    """Read one JSON value; raise `UnfitError` where it is ambiguous or too large, else `JSONDecodeError`."""
    return _whole(_decoder.decode, text)


def find_value(text: str, fits: Callable[[Any], bool]) -> Any:
    """Return the JSON value of an answer: all of it, a fenced one, or one between words.

    Of several the one that fits; raises `UnfitError` where there is none, or more than one.
    """
    if len(text) > MAX_CHARS:
        raise UnfitError(f"it has {len(text)} characters, {MAX_CHARS} are read")
    rest = text[_end_of_thought(text) :] if "</think>" in text else text
    for form in (text, rest):
        whole = form.strip().removeprefix("\ufeff")
        if whole.startswith(_NO_JSON):
            continue
        try:
            return strict_json(whole)
        except json.JSONDecodeError:
            continue
    return _meant(_fenced(rest) or _in_prose(rest), fits)


def _end_of_thought(text: str) -> int:
    """Return the place behind the last tag that ends a thought; one within a string of JSON ends none.

    No line of JSON begins or ends within a string: there, quotation marks stand in pairs around a tag.
    """
    end = quotes = 0
    ends: list[tuple[int, bool]] = []
    for sign in _SIGN.finditer(text):
        match sign[0]:
            case '"':
                quotes += 1
            case "\n" | "":
                is_closed = quotes % 2 == 0
                end = next((at for at, is_quoted in reversed(ends) if not (is_quoted and is_closed)), end)
                ends, quotes = [], 0
            case "</think>":
                ends.append((sign.end(), quotes % 2 == 1))
            case _:
                pass  # an escape: its quotation mark ends nothing
    return end


def _meant(values: list[Any], fits: Callable[[Any], bool]) -> Any:
    if not values:
        raise UnfitError(_NONE)
    if len(values) == 1:
        return values[0]
    fitting = [value for value in values if fits(value)]
    if len(fitting) != 1:
        raise UnfitError(f"it holds {len(values)} JSON values, and one is wanted")
    return fitting[0]


def _fenced(text: str) -> list[Any]:
    values: list[Any] = []
    is_cut = False
    for block in code_blocks(text)[:_MAX_VALUES]:
        code = block.strip()
        try:
            values.append(strict_json(code))
        except json.JSONDecodeError as error:
            is_cut = is_cut or (_BRACKET.match(code) is not None and _is_cut(error, code))
    if is_cut and not values:
        raise UnfitError(_NONE)
    return values


def _in_prose(text: str) -> list[Any]:
    """Return the objects and lists between words; parts of one that never ends do not count."""
    values: list[Any] = []
    at = read = 0
    for _ in range(_MAX_TRIES):
        opening = _BRACKET.search(text, at)
        if opening is None or len(values) > _MAX_VALUES or read > _MAX_READ:
            break
        try:
            value, at = _whole(partial(_decoder.raw_decode, idx=opening.start()), text)
        except json.JSONDecodeError as error:
            if _is_cut(error, text):
                break
            at = opening.end()
            read += error.pos - opening.start()
        else:
            values.append(value)
    return values


def _is_cut(error: json.JSONDecodeError, text: str) -> bool:
    """Whether nothing is wrong but that the text ends."""
    is_string = error.msg.startswith("Unterminated string")
    return is_string or _BEGUN.fullmatch(text, error.pos) is not None


def _whole(read: Callable[[str], Any], text: str) -> Any:
    try:
        value = read(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise UnfitError(_TOO_DEEP) from None
    if depth_exceeds(value, MAX_DEPTH):
        raise UnfitError(_TOO_DEEP)
    return value


_NONE = "it holds no JSON value"
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"


def code_blocks(text: str) -> list[str]:
    """Return the non-empty fenced blocks without indentation; an open one goes to the end of the text."""
    blocks: list[str] = []
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        lead = _LEAD.match(line)
        width = lead.end() if lead else 0
        if fence := fence_of(line[width:]):
            code: list[str] = []
            is_closed = False
            for inner in lines:
                if is_closed := fence.is_closed_by(inner.strip(" \t")):
                    break
                indent = len(inner) - len(inner.lstrip(" \t"))
                code.append(inner[min(indent, width) :])
            if not is_closed and code and code[-1] and not code[-1].strip().strip(fence.marks[0]):
                code.pop()
            blocks.append("\n".join(code))
    return [block for block in blocks if block.strip()]


def depth_exceeds(value: object, limit: int) -> bool:
    """Whether lists and objects are nested deeper than a limit."""
    level: list[object] = [value]
    for _ in range(limit):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = dict(found)
        twice = next(name for name, _ in pairs if left.pop(name, _GONE) is _GONE)
        raise UnfitError(f"an object in it has the name {safe_line(repr(twice), limit=60)} twice")
    return found


def _constant(name: str) -> NoReturn:
    raise UnfitError(f"{name} in it is no JSON")


def _float(figure: str) -> float:
    value = float(figure)
    if not math.isfinite(value):
        raise UnfitError("a number in it is too large")
    return value


def _int(figure: str) -> int:
    if _FIGURE.search(figure):
        raise UnfitError("a number in it is too large")
    return int(figure)


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
