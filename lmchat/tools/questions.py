"""Questions of tool servers to the user, for values or to open an address (elicitation)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from lmchat.errors import RequestInvalid

MAX_FIELDS = 20
_KINDS: Mapping[str, Callable[[str], object]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": lambda word: {"yes": True, "no": False}[word.lower()],
}
_EXPECTED = {"integer": "a whole number", "number": "a number", "boolean": "yes or no"}


class QuestionField(Struct, frozen=True, kw_only=True):
    """A value that is asked for."""

    name: str
    label: str
    kind: str = "string"  # a key of `_KINDS`
    choices: Mapping[str, str] = {}  # values by the words for them; empty: any value
    has_many: bool = False  # whether several choices may be named, with commas between them
    default: str = ""
    is_required: bool = False

    @property
    def words(self) -> str:
        """The label, and what may be typed."""
        expected = ", ".join(self.choices) or _EXPECTED.get(self.kind, "")
        several = "; one or more" if self.has_many else ""
        optional = "" if self.is_required else "; may be empty"
        hint = f"{expected}{several}{optional}".removeprefix("; ")
        return f"{self.label} ({hint})" if hint else self.label

    def value_of(self, typed: str) -> Any:
        """Return the value of a text; raises `RequestInvalid` if it is none."""
        if not typed.strip():
            raise RequestInvalid("Type something.")
        parts = [part.strip() for part in typed.split(",")] if self.has_many else [typed.strip()]
        try:
            values = [
                self.choices[part] if self.choices else _KINDS[self.kind](part) for part in parts
            ]
        except (KeyError, ValueError):
            expected = "one of " + ", ".join(self.choices) if self.choices else ""
            message = f"Type {expected or _EXPECTED[self.kind]}."
            raise RequestInvalid(message) from None
        return values if self.has_many else values[0]


class ServerQuestion(Struct, frozen=True, kw_only=True):
    """A question that a front end shows; without fields, the answer is yes or no."""

    title: str
    text: str
    url: str = ""  # opened in the browser after a yes
    fields: tuple[QuestionField, ...] = ()


Answer = Mapping[str, Any]  # values by the names of fields
AskUser = Callable[[ServerQuestion], Awaitable[Answer | None]]
"""Shows a question and returns the answer; None is a no."""


def fields_of(schema: Mapping[str, Any]) -> tuple[QuestionField, ...]:
    """Return the fields of a schema of MCP, which has no nested objects.

    Raises `RequestInvalid` for another one.
    """
    try:
        properties = schema.get("properties", {}).items()
        required = schema.get("required", [])
        fields = [_field(name, value, is_required=name in required) for name, value in properties]
    except (AttributeError, KeyError, TypeError) as error:
        raise RequestInvalid("The question has a form that lmchat cannot show.") from error
    if len(fields) > MAX_FIELDS:
        raise RequestInvalid(f"The question has more than {MAX_FIELDS} fields.")
    return tuple(fields)


def _field(name: str, schema: Mapping[str, Any], *, is_required: bool) -> QuestionField:
    """Return a field; raises `KeyError` or `TypeError` for a schema that lmchat does not know."""
    has_many = schema["type"] == "array"
    values = schema["items"] if has_many else schema
    titled = values.get("oneOf") or values.get("anyOf") or ()
    choices = {str(row.get("title", row["const"])): str(row["const"]) for row in titled}
    if "enum" in values:
        labels = values.get("enumNames") or values["enum"]
        choices = {
            str(label): str(value) for label, value in zip(labels, values["enum"], strict=False)
        }
    kind = str(values.get("type", "string"))
    if kind not in _KINDS or (has_many and not choices):
        raise TypeError(kind)
    default = schema.get("default", "")
    if isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, list):
        default = ", ".join(map(str, default))
    named = {value: label for label, value in choices.items()}
    label = ": ".join(str(schema[key]) for key in ("title", "description") if schema.get(key))
    return QuestionField(
        name=name,
        label=label or name,
        kind=kind,
        choices=choices,
        has_many=has_many,
        default=named.get(str(default), str(default)),
        is_required=is_required,
    )
