"""JSON in texts: read strictly, or found in the answer of a model."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from lmchat.markdown.commonmark import code_blocks
from lmchat.servers.http.json_values import utf8_safe

MAX_CHARS = 1_000_000  # more than any model writes in one answer
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


class UnfitError(ValueError):
    """There is no usable JSON value; the message is part of a sentence."""


def strict_json(text: str) -> Any:
    """Raises `ValueError`, also for `NaN`, `Infinity`, too large numbers and too many levels.

    Half of a surrogate pair becomes U+FFFD.
    """
    try:
        value = _strict_decoder.decode(text)
        return utf8_safe(value) if _SURROGATE.search(text) else value
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def find_value(text: str, misfit: Callable[[Any], str]) -> Any:
    """Return the JSON value in an answer; `misfit` returns what is wrong with a value, or "".

    Tried in turn: the whole answer, its part behind `</think>`, the code blocks in that part, from
    the last one up, and the text from the first to the last bracket. Raises `UnfitError`, also for
    a text that is too long.
    """
    if len(text) > MAX_CHARS:
        raise UnfitError(f"it has {len(text)} characters, {MAX_CHARS} are allowed")

    answer = text.rpartition("</think>")[2]
    blocks = [block.content for block in code_blocks(answer)]
    first = re.search(r"[\[{]", answer)
    last = max(answer.rfind("]"), answer.rfind("}"))
    between = [answer[first.start() : last + 1]] if first else []
    reason = "it has no JSON value"
    # the whole text first: a string in its JSON may contain the tag
    for candidate in (text.strip().removeprefix("\ufeff"), answer, *reversed(blocks), *between):
        try:
            value = strict_json(candidate)
        except ValueError:
            continue
        reason = misfit(value)
        if not reason:
            return value
    raise UnfitError(reason)


def _refuse_constant(name: str) -> NoReturn:
    """Python's decoder would read `NaN` and `Infinity`."""
    raise ValueError(f"{name} in it is not JSON")


def _finite_float(digits: str) -> float:
    """Refuse what Python reads as infinity, as `1e999`."""
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number in it is too large")
    return value


_strict_decoder = json.JSONDecoder(
    parse_constant=_refuse_constant,
    parse_float=_finite_float,
)
