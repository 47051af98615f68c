"""JSON in texts: read strictly, or found in the answer of a model."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from lmchat.markdown.commonmark import code_blocks

MAX_CHARS = 1_000_000  # more than any model writes in one answer
_MOST_VALUES = 20  # code blocks that are tried
_TOO_LARGE = "a number in it is too large"


class UnfitError(ValueError):
    """There is no usable JSON value; the message is part of a sentence."""


def strict_json(text: str) -> Any:
    """Return the JSON value that a text consists of.

    Raises `UnfitError` for `NaN` and `Infinity`, for a number that is too large and for too many
    levels; raises `JSONDecodeError` if the text is no JSON.
    """
    try:
        return _decoder.decode(text)
    except (json.JSONDecodeError, UnfitError):  # both are also a `ValueError`
        raise
    except RecursionError:
        raise UnfitError("it is nested too deep") from None
    except ValueError:  # Python refuses to read more than 4300 digits
        raise UnfitError(_TOO_LARGE) from None


def find_value(text: str, fits: Callable[[Any], bool]) -> Any:
    """Return the JSON value in an answer.

    It is the answer as a whole, or the part behind `</think>`. If neither is JSON, it is a code
    block in it, or else what is between the first and the last bracket. A single value is returned
    whether it fits or not. Of several blocks, it is the one for which `fits` is true.

    Raises `UnfitError` without a value, if not exactly one of several fits, for a text that is
    too long, and for a value that `strict_json` refuses with this error.
    """
    if len(text) > MAX_CHARS:
        raise UnfitError(f"it has {len(text)} characters, {MAX_CHARS} are allowed")

    # the whole text first: a string in its JSON may contain the tag
    answer = text.rpartition("</think>")[2]
    for whole in (text, answer):
        with suppress(json.JSONDecodeError):
            return strict_json(whole.strip().removeprefix("\ufeff"))

    blocks = [block.content for block in code_blocks(answer)[:_MOST_VALUES]]
    first = re.search(r"[\[{]", answer)
    last = max(answer.rfind("]"), answer.rfind("}"))
    between = [answer[first.start() : last + 1]] if first else []
    for candidates in (blocks, between):
        values: list[Any] = []
        for candidate in candidates:
            with suppress(json.JSONDecodeError):
                values.append(strict_json(candidate))
        if len(values) > 1:
            count = len(values)
            values = [value for value in values if fits(value)]
            if len(values) != 1:
                raise UnfitError(f"it has {count} JSON values, but must have one")
        if values:
            return values[0]
    raise UnfitError("it has no JSON value")


def _refuse_constant(name: str) -> NoReturn:
    raise UnfitError(f"{name} in it is not JSON")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise UnfitError(_TOO_LARGE)
    return value


_decoder = json.JSONDecoder(
    parse_constant=_refuse_constant,  # `NaN` and `Infinity`, which Python would read
    parse_float=_finite_float,
)
