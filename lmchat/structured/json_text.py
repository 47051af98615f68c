"""Finder of JSON and code in answers; JSON is read more strictly than Python does."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from lmchat.text import Fence, opening_fence, safe_line

MAX_CHARS = 1_000_000  # more than any model writes in one answer
MAX_DEPTH = 64
_MAX_TRIES = 200  # brackets in prose
_MAX_VALUES = 20
_NO_JSON = ("NaN", "Infinity")  # JSON to Python, but the beginning of a sentence to people
_BRACKET = re.compile(r"[\[{]")
_BEGUN = re.compile(r"t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-|\.|[eE][+-]?|u?[0-9a-fA-F]{0,3}|")
"""Rest of a value that is cut: a word, a figure, an escape."""
_LEAD = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
"""Indentation and list marker before a fence."""
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_TOO_LARGE = "a number in it is too large"


class UnfitError(ValueError):
    """No usable JSON value; the message is part of a sentence."""


def strict_json(text: str) -> Any:
    """Read one JSON value; raises `UnfitError` if it is ambiguous or too large.

    Raises `JSONDecodeError` for any other text.
    """
    return _checked(_decoder.decode, text)


def find_value(text: str, fits: Callable[[Any], bool]) -> Any:
    """Return the JSON value of an answer: all of it, a fenced one, or one between words.

    Raises `UnfitError` unless there is exactly one, or one that fits.
    """
    if len(text) > MAX_CHARS:
        raise UnfitError(f"it has {len(text)} characters, {MAX_CHARS} are allowed")
    rest = text.rpartition("</think>")[2]
    for form in (text, rest):
        whole = form.strip().removeprefix("\ufeff")
        with suppress(json.JSONDecodeError):
            if not whole.startswith(_NO_JSON):
                return strict_json(whole)
    values = _fenced(rest) or _in_prose(rest)
    if not values:
        raise UnfitError("it has no JSON value")
    if len(values) == 1:
        return values[0]
    fitting = [value for value in values if fits(value)]
    if len(fitting) != 1:
        raise UnfitError(f"it has {len(values)} JSON values, but must have one")
    return fitting[0]


def _fenced(text: str) -> list[Any]:
    values: list[Any] = []
    for block in code_blocks(text)[:_MAX_VALUES]:
        with suppress(json.JSONDecodeError):
            values.append(strict_json(block.strip()))
    return values


def _in_prose(text: str) -> list[Any]:
    """Return objects and lists between words, but no parts of a cut one."""
    values: list[Any] = []
    at = 0
    for _ in range(_MAX_TRIES):
        opening = _BRACKET.search(text, at)
        if opening is None or len(values) > _MAX_VALUES:
            break
        try:
            value, at = _checked(partial(_decoder.raw_decode, idx=opening.start()), text)
        except json.JSONDecodeError as error:
            if _is_cut(error, text):
                break
            at = opening.end()
        else:
            values.append(value)
    return values


def _is_cut(error: json.JSONDecodeError, text: str) -> bool:
    if "Unterminated string" in error.msg:
        return True
    # a pattern for the blanks would try each way to divide them
    rest = text[error.pos :].strip()
    return _BEGUN.fullmatch(rest) is not None


def _checked(read: Callable[[str], Any], text: str) -> Any:
    """Return what a reader reads from a text, unless it is too deep or large for other programs."""
    try:
        value = read(text)
    except (json.JSONDecodeError, UnfitError):
        raise
    except RecursionError:
        raise UnfitError(_TOO_DEEP) from None
    except ValueError:  # Python refuses to read more than 4300 digits
        raise UnfitError(_TOO_LARGE) from None
    if _is_too_deep(value):
        raise UnfitError(_TOO_DEEP)
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                below += container.values()
            elif isinstance(container, list):
                below += container
        level = below
    return any(isinstance(inner, dict | list) for inner in level)


def code_blocks(text: str) -> list[str]:
    """Return the non-empty fenced blocks without indentation.

    An open block ends with the text.
    """
    blocks: list[str] = []
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        lead = _LEAD.match(line)
        width = lead.end() if lead else 0
        fence = opening_fence(line[width:])
        if fence is not None:
            blocks.append("\n".join(_lines_of(fence, lines, width)))
    return [block for block in blocks if block.strip()]


def _lines_of(fence: Fence, lines: Iterator[str], width: int) -> list[str]:
    """Take the lines of a block from a text, without the indentation of its fence."""
    code: list[str] = []
    for line in lines:
        if fence.is_closed_by(line.strip(" \t")):
            return code
        indent = len(line) - len(line.lstrip(" \t"))
        code.append(line[min(indent, width) :])
    last = code[-1] if code else ""
    is_cut_fence = bool(last) and not last.strip().strip(fence.marks[0])
    return code[:-1] if is_cut_fence else code


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise UnfitError(f"an object in it has the name {safe_line(repr(twice), limit=60)} twice")
    return found


def _constant(name: str) -> NoReturn:
    raise UnfitError(f"{name} in it is not JSON")


def _float(figure: str) -> float:
    value = float(figure)
    if not math.isfinite(value):
        raise UnfitError(_TOO_LARGE)
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
