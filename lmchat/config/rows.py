"""Rows of the configuration, one for each key, read from the annotations of the settings."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, get_args, get_type_hints

from msgspec import Struct, ValidationError, convert

from lmchat.config.settings import (
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    Profile,
    Setting,
    Settings,
    TimeoutSettings,
    UiSettings,
)

WORDS = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of texts, as in ["a", "b"]',
    TimeoutSettings: "a table like [timeouts]",
}
"""Types of settings in messages."""
KEYS_HELP = 'Other keys for commands: COMMAND = "key" or "key,key"; F1 lists the commands.'


class Row(Struct, frozen=True):
    """One key."""

    name: str  # also the field in the settings
    type: Any  # one of `WORDS`
    about: Setting

    @property
    def limits(self) -> str:
        """Words for what a value of the right type must be; empty without limits."""
        if self.about.within:
            low, high = (int(one) if one == int(one) else one for one in self.about.within)
            return f"from {low} to {high}"
        words = ", ".join(f'"{word}"' for word in self.about.words if word)
        return f"one of {words}" if words else ""

    def fault(self, value: Any) -> str:
        """Return what is wrong with a value, else ""."""
        about, is_list = self.about, isinstance(value, list | tuple)
        if not (isinstance(value, dict) if self.type is TimeoutSettings else _has_type(value, self.type)):
            return f"must be {WORDS[self.type]}"
        if about.is_required and not value:
            return "must not be empty"
        if about.within and not about.within[0] <= value <= about.within[1]:
            return f"must be {self.limits}"
        unknown = [one for one in (value if is_list else [value]) if one not in about.words]
        if not about.words or not unknown:
            return ""
        return f'"{unknown[0]}" is not {self.limits}' if is_list else f"must be {self.limits}"


class Section(Struct, frozen=True, kw_only=True):
    """One table of the file."""

    name: str  # empty for top-level keys
    help: str
    settings: type[Struct]

    def key(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name

    @property
    def rows(self) -> dict[str, Row]:
        """Rows by name."""
        return _rows(self.settings)


@cache
def _rows(settings: type[Struct]) -> dict[str, Row]:
    hints = get_type_hints(settings, include_extras=True)
    known = {name: get_args(hint) for name, hint in hints.items() if hasattr(hint, "__metadata__")}
    return {
        name: Row(name, hint if hint in WORDS else get_args(hint)[0], about)
        for name, (hint, about) in known.items()
    }


def _has_type(value: object, type_: Any) -> bool:
    try:
        converted = convert(value, type_)
    except ValidationError:
        return False
    return not isinstance(converted, float) or math.isfinite(converted)


TOP = Section(name="", help="", settings=Settings)
TIMEOUTS = Section(name="timeouts", help="How long to wait, in seconds.", settings=TimeoutSettings)
ENDPOINT = Section(
    name="endpoints",
    help="A server of your own, looked at first; as many as you like.",
    settings=EndpointSettings,
)
PROFILE = Section(
    name="profiles",
    help="A named way to talk, for --profile; what is set here wins over [chat].",
    settings=Profile,
)
SECTIONS = (
    TOP,
    Section(name="chat", help="How to talk to a model; what is unset is not sent.", settings=ChatSettings),
    Section(name="limits", help="What lmchat allows itself.", settings=LimitSettings),
    TIMEOUTS,
    Section(name="ui", help="How the screen looks and moves.", settings=UiSettings),
    Section(name="local", help="The built-in engine, which `lmchat --local` starts.", settings=LocalSettings),
)
"""Tables that appear once; not `[keys]`, `[[endpoints]]` and `[profiles.NAME]`."""
