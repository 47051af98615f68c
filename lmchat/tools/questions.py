"""Questions of tool servers to the user, for values or to open an address (elicitation)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sized
from typing import Any, Protocol

from msgspec import Struct

from lmchat.errors import RequestInvalid
from lmchat.safe_text import safe_line

_TYPES: Mapping[str, Callable[[str], object]] = {"string": str, "integer": int, "number": float}
_MAX_ROWS = 100  # fields of a question, and choices of a field
_LABEL_CHARS = 600
_FIELD_CHARS = 4000  # about two screens of 80 columns
_EXPECTED = {"integer": "a whole number", "number": "a number"}


class QuestionField(Struct, frozen=True, kw_only=True):
    """A value that is asked for."""

    name: str
    label: str
    kind: str = "string"  # a key of `_TYPES`
    choices: Mapping[str, Any] = {}  # values by the words for them; empty: any value
    has_many: bool = False  # whether several choices may be named, with commas between them
    default: str = ""
    is_required: bool = False

    @property
    def words(self) -> str:
        """The label, and what may be typed."""
        hints = (
            ", ".join(self.choices) or _EXPECTED.get(self.kind),
            "one or more" if self.has_many else "",
            "" if self.is_required else "may be empty",
        )
        hint = "; ".join(filter(None, hints))
        return f"{self.label} ({hint})" if hint else self.label

    def answer(self, typed: str) -> Mapping[str, Any]:
        """Return the value by the name of the field, or nothing if it may be and is empty.

        Raises `RequestInvalid` if the text is no value.
        """
        if not (typed or self.is_required):
            return {}
        try:
            if self.has_many:
                value: object = [self.choices[part.strip()] for part in typed.split(",")]
            else:
                value = self.choices[typed] if self.choices else _TYPES[self.kind](typed)
        except (KeyError, ValueError):
            expected = f"one of {', '.join(self.choices)}"
            raise RequestInvalid(f"Type {_EXPECTED.get(self.kind, expected)}.") from None
        return {self.name: value}


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

    Raises `RequestInvalid` for another one, and for one that would fill the screen.
    """
    try:
        properties = schema.get("properties", {}).items()
        _require_few(properties, "fields")
        required = schema.get("required", [])
        return tuple(
            _field(name, value, is_required=name in required) for name, value in properties
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise RequestInvalid("The question has a form that lmchat cannot show.") from error


def _require_few(rows: Sized, noun: str) -> None:
    if len(rows) > _MAX_ROWS:
        raise RequestInvalid(f"The question has more than {_MAX_ROWS} {noun}.")


def _field(name: str, schema: Mapping[str, Any], *, is_required: bool) -> QuestionField:
    """Raises `KeyError` or `TypeError` for a schema that lmchat does not know.

    Also `RequestInvalid` for one that is too long.
    """
    has_many = schema["type"] == "array"
    values = schema["items"] if has_many else schema
    kind = values.get("type", "string")
    rows = values.get("oneOf") or values.get("anyOf")
    rows = rows or [{"const": value} for value in values.get("enum", ())]
    _require_few(rows, "choices")
    choices = {str(row.get("title", row["const"])): row["const"] for row in rows}
    if kind == "boolean":
        choices = {"yes": True, "no": False}
    if not choices and (has_many or kind not in _TYPES):
        raise TypeError(kind)
    given = schema.get("default", "")
    words = {value: label for label, value in choices.items()}
    label = ": ".join(str(schema[key]) for key in ("title", "description") if schema.get(key))
    field = QuestionField(
        name=name,
        label=safe_line(label or name, limit=_LABEL_CHARS),
        kind=kind,
        choices=choices,
        has_many=has_many,
        default=", ".join(str(words.get(one, one)) for one in (given if has_many else [given])),
        is_required=is_required,
    )
    if len(field.words) + len(field.default) > _FIELD_CHARS:
        raise RequestInvalid("The question has a field that is too long to show.")
    return field


class AskUserThen(Protocol):
    """Asks the user, then awaits what `then` returns, within the user's time; None is a no."""

    async def __call__(
        self, question: ServerQuestion, then: Callable[[], Awaitable[Any]] | None = None
    ) -> Any: ...
