"""Rules of JSON schema that may take for ever as the library follows them, followed in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lmchat.text import safe_line

Finds = Callable[[str, str], bool]
"""Tells whether a pattern is somewhere in a text."""
Rule = Callable[[Any, Any, Any, Any], Iterator[Any]]
"""Yields errors, given a validator, what the schema wants, the value, and the schema."""


def rules_of_ours(finds: Finds) -> dict[str, Rule]:
    """Return the rules by their names in a schema."""
    return {
        "pattern": _pattern(finds),
        "patternProperties": _pattern_properties(finds),
        "uniqueItems": _unique_items,
    }


def _pattern(finds: Finds) -> Rule:
    from jsonschema import ValidationError  # noqa: PLC0415 - 0.1 s that only schemas need

    def check(validator: Any, wanted: str, value: Any, _: Any) -> Iterator[Any]:
        if validator.is_type(value, "string") and not finds(wanted, value):
            yield ValidationError(f"{_short(value)} does not match {_short(wanted)}")

    return check


def _pattern_properties(finds: Finds) -> Rule:
    def check(validator: Any, patterns: dict[str, Any], value: Any, _: Any) -> Iterator[Any]:
        if not validator.is_type(value, "object"):
            return
        for wanted, inner in patterns.items():
            for name in value:
                if finds(wanted, name):
                    yield from validator.descend(value[name], inner, path=name, schema_path=wanted)

    return check


def _unique_items(validator: Any, is_wanted: Any, value: Any, _: Any) -> Iterator[Any]:
    from jsonschema import ValidationError  # noqa: PLC0415 - see above

    if is_wanted and validator.is_type(value, "array") and len({_frozen(one) for one in value}) < len(value):
        yield ValidationError("two of its items are the same")


def _frozen(value: object) -> object:
    """Return a value that equals another one where JSON schema says so: 1 and 1.0 do, 1 and true do not."""
    match value:
        case bool():
            return ("bool", value)
        case dict():
            return frozenset((name, _frozen(inner)) for name, inner in value.items())
        case list():
            return tuple(_frozen(inner) for inner in value)
        case _:
            return value


def _short(text: str) -> str:
    return safe_line(repr(text), limit=80)
