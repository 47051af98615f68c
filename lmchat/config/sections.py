"""Tables of the configuration file and their keys, derived from the annotations of the settings.

A `Section` is a table, and a `Row` one key of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert

from lmchat.config.settings import (
    EFFORT,
    EFFORTS,
    SECRET,
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    McpSettings,
    Preset,
    Profile,
    SamplingSettings,
    ServeSettings,
    Settings,
    TimeoutSettings,
    ToolSettings,
    UiSettings,
)
from lmchat.text import header_value

TYPE_WORDS = {
    str: "a string in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of strings, for example ["a", "b"]',
    TimeoutSettings: "a table like [timeouts]",
    Mapping[str, str]: 'a table of strings, for example { NAME = "value" }',
    Mapping[str, float]: 'a table of token numbers and biases, for example { "15043" = 5 }',
}
"""Words for the types of settings, for messages."""
KEYS_HELP = 'Your own keyboard keys: COMMAND = "key" or "key,key". F1 lists the commands.'
APPROVAL_HELP = (
    "Whether the tools of a server run, or one of them; `python` is the server of tools.py."
)


class Row(Struct, frozen=True):
    """One key of a table: its type, limits and help."""

    name: str  # also the field in the settings
    annotation: Any  # `Annotated[TYPE, META]`, with the limits and the help in a `Meta`

    @property
    def _declared_type(self) -> Any:
        """Type of the annotation without its `Meta`."""
        declared_type, _ = get_args(self.annotation)
        return declared_type

    @property
    def meta(self) -> Meta:
        """Limits and help, as `setting` returns them."""
        meta: Meta
        _, meta = get_args(self.annotation)
        return meta

    @property
    def is_list(self) -> bool:
        """Whether the key takes a list; settings hold lists as tuples."""
        return get_origin(self._declared_type) is tuple

    @property
    def choices(self) -> tuple[str, ...]:
        """The only valid values, or the only valid items of a list; empty: any are valid.

        Among them, "" means unset. A reasoning effort may also be a number of tokens.
        """
        if self.is_effort:
            return ("", *EFFORTS)
        declared = self._declared_type
        item = get_args(declared)[0] if self.is_list else declared
        return get_args(item) if get_origin(item) is Literal else ()

    @property
    def type(self) -> Any:
        """One of the types of `TYPE_WORDS`: choices count as `str`, and so do items of lists."""
        if self.is_list:
            return tuple[str, ...]
        return str if self.choices else self._declared_type

    @property
    def help(self) -> str:
        return self.meta.description or ""

    @property
    def example(self) -> Any:
        """Value for the example file where the key has no default; None without one."""
        return self.meta.examples[0] if self.meta.examples else None

    @property
    def is_secret(self) -> bool:
        """Whether the value is an API key."""
        return self.meta.extra == SECRET

    @property
    def is_effort(self) -> bool:
        """Whether the value is a reasoning effort."""
        return self.meta.extra == EFFORT

    @property
    def limits(self) -> str:
        """Words for what a value of the right type must be; "" without choices or a range."""
        if self.choices:
            words = "one of " + ", ".join(f'"{choice}"' for choice in self.choices if choice)
            if self.is_effort:
                words += ", or a number of tokens"
            return words
        # every number that has a smallest value has a largest one too
        return "" if self.meta.ge is None else f"from {self.meta.ge} to {self.meta.le}"

    def fault(self, value: Any) -> str:
        """Return what is wrong with a value, as words that follow the name of the key.

        Return "" if it is valid. Of a table of timeouts only the type is checked: its keys have
        rows of their own.
        """
        if self.type is TimeoutSettings:
            return "" if isinstance(value, dict) else self._type_fault
        if self.is_effort:
            value = str(value)  # a number of tokens may be written without quotes
        if not _fits(value, self.type):
            return self._type_fault
        if self.is_secret:
            return _api_key_fault(value)
        if _fits(value, self.annotation):
            return ""
        if self.is_list:  # it has the right type, so an item is not among the choices
            unknown_items = [item for item in value if item not in self.choices]
            return f'"{unknown_items[0]}" is not {self.limits}'
        # the only limit of a text without choices is `min_length`
        return f"must be {self.limits}" if self.limits else "must not be empty"

    @property
    def _type_fault(self) -> str:
        """Words for a value of a wrong type."""
        return f"must be {TYPE_WORDS[self.type]}"


class Section(Struct, frozen=True, kw_only=True):
    """One table of the file; `settings` is the struct that holds its values."""

    name: str  # empty for top-level keys
    help: str
    settings: type[Struct]

    def key(self, name: str) -> str:
        """Return the full name of a key of the table: `chat.seed`."""
        return f"{self.name}.{name}" if self.name else name

    @property
    def rows(self) -> Mapping[str, Row]:
        """Rows by the names of their keys."""
        return _rows(self.settings)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the keys without which the table cannot be used.

        They have a `min_length`, as they must not be empty; other keys have a default.
        """
        return tuple(name for name, row in self.rows.items() if row.meta.min_length)


@cache
def _rows(settings: type[Struct]) -> Mapping[str, Row]:
    """Return a row for each annotated field of a struct; its other fields are other tables."""
    rows: dict[str, Row] = {}
    for name, hint in get_type_hints(settings, include_extras=True).items():
        # the annotation is the whole hint, or the first type of `Annotated[…] | None`
        for annotation in (hint, *get_args(hint)):
            if get_origin(annotation) is Annotated:
                rows[name] = Row(name, annotation)
    return rows


def _fits(value: object, annotation: Any) -> bool:
    """Return whether a value has an annotated type and is within its limits.

    Infinite numbers and NaN, which TOML can write, are never valid.
    """
    try:
        converted = convert(value, annotation)
    except ValidationError:
        return False
    return not isinstance(converted, float) or math.isfinite(converted)


def _api_key_fault(api_key: str) -> str:
    """Return why an API key cannot be sent, without a quote of it; "" if it can be sent."""
    try:
        header_value(api_key)
    except ValueError as error:
        return str(error)
    return ""


TOP = Section(name="", help="", settings=Settings)
TIMEOUTS = Section(name="timeouts", help="Timeouts in seconds.", settings=TimeoutSettings)
TOOLS = Section(
    name="tools",
    help="Tools that models can call, with your approval.",
    settings=ToolSettings,
)
ENDPOINT = Section(
    name="endpoints",
    help="A server to check before the usual addresses; repeat this section for more servers.",
    settings=EndpointSettings,
)
MCP = Section(
    name="mcp",
    help="A server of tools (MCP) to start or to connect to; repeat this section for more servers.",
    settings=McpSettings,
)
MODEL = Section(
    name="models",
    help="Sampling for models whose name fits the pattern, in place of that in [chat]; the first "
    "pattern that fits counts.",
    settings=SamplingSettings,
)
PROFILE = Section(
    name="profiles",
    help="A named set of options that overrides [chat]; select it with --profile NAME.",
    settings=Profile,
)
PROMPT = Section(
    name="prompts",
    help="A prompt to send by its name (a preset): /p NAME on the screen, or lmchat ask -p NAME.",
    settings=Preset,
)
SECTIONS = (
    TOP,
    Section(
        name="chat",
        help="Options for the model; unset options are not sent.",
        settings=ChatSettings,
    ),
    Section(name="limits", help="Limits on requests.", settings=LimitSettings),
    Section(name="serve", help="Limits of `lmchat serve`.", settings=ServeSettings),
    TIMEOUTS,
    Section(name="ui", help="Look of the screen.", settings=UiSettings),
    Section(
        name="local",
        help="The built-in engine, which `lmchat --local` starts.",
        settings=LocalSettings,
    ),
    TOOLS,
)
"""Tables of fixed keys that appear once; neither `[keys]` nor `[tools.approval]` is one."""
