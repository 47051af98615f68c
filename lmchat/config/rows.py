"""Rows of the configuration, one for each key, and the commented example file made of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, get_args, get_type_hints

from msgspec import Struct, ValidationError, convert

from lmchat.config.settings import (
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    McpSettings,
    Preset,
    Profile,
    Setting,
    Settings,
    TimeoutSettings,
    ToolSettings,
    UiSettings,
)
from lmchat.text import header_value

WORDS = {
    str: "a string in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of strings, for example ["a", "b"]',
    TimeoutSettings: "a table like [timeouts]",
    Mapping[str, str]: 'a table of strings, for example { NAME = "value" }',
}
"""Types of settings in messages."""
KEYS_HELP = 'Your own keyboard keys: COMMAND = "key" or "key,key". F1 lists the commands.'
APPROVAL_HELP = (
    "Whether the tools of a server run, or one of them; `python` is the server of tools.py."
)


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
        if not (
            isinstance(value, dict) if self.type is TimeoutSettings else _has_type(value, self.type)
        ):
            return f"must be {WORDS[self.type]}"
        if about.is_required and not value:
            return "must not be empty"
        if about.is_secret:
            return _fault_of_key(value)
        if about.within and not about.within[0] <= value <= about.within[1]:
            return f"must be {self.limits}"
        unknown = [one for one in (value if is_list else [value]) if one not in about.words]
        if not about.words or not unknown:
            return ""
        return f'"{unknown[0]}" is not {self.limits}' if is_list else f"must be {self.limits}"


def _fault_of_key(value: str) -> str:
    """Return why a key cannot be sent, without the key, else ""."""
    try:
        header_value(value)
    except ValueError as error:
        return str(error)
    return ""


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
TIMEOUTS = Section(name="timeouts", help="Timeouts in seconds.", settings=TimeoutSettings)
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
    TIMEOUTS,
    Section(name="ui", help="Look of the screen.", settings=UiSettings),
    Section(
        name="local",
        help="The built-in engine, which `lmchat --local` starts.",
        settings=LocalSettings,
    ),
    Section(
        name="tools", help="Tools that models can call, with your approval.", settings=ToolSettings
    ),
)
"""Tables of fixed keys that appear once; neither `[keys]` nor `[tools.approval]` is one."""


_HEAD = """\
# Configuration of lmchat. Every setting is optional; commented-out lines show the default or an example.
# `lmchat config path` prints where this file belongs, `lmchat config check` finds problems in it,
# `lmchat config show` prints the effective settings and where each comes from (flag, environment, this file).
"""
_COLUMN = 44  # where help begins
_WIDE = 110


def example_text() -> str:
    """Return the text of the example file."""
    blocks = [_HEAD]
    for section in SECTIONS:
        head = [f"# {section.help}", f"[{section.name}]"] if section.name else []
        blocks.append(_block(head, section.rows.values(), section.settings()))
    approvals = '# "files/read_text" = "always"\n# python = "always"\n'
    blocks.append(f"# {APPROVAL_HELP}\n[tools.approval]\n{approvals}")
    *of_command, url, headers = MCP.rows.values()
    blocks.append(_block([f"# {MCP.help}", "# [[mcp]]"], of_command))
    blocks.append(_block(["# [[mcp]]", '# name = "wiki"'], (url, headers)))
    blocks.append(f'# {KEYS_HELP}\n[keys]\n# search = "ctrl+k"\n')
    others = (
        (ENDPOINT, "[[endpoints]]"),
        (PROFILE, "[profiles.short]"),
        (PROMPT, "[prompts.french]"),
    )
    for section, name in others:
        blocks.append(_block([f"# {section.help}", f"# {name}"], section.rows.values()))
    return "\n".join(blocks)


def toml_value(value: object) -> str:
    """Return a value as TOML; except for tables that equals JSON."""
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items()) + " }"
        )
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _block(head: list[str], rows: Iterable[Row], defaults: object = None) -> str:
    return "\n".join([*head, *(_line(row, getattr(defaults, row.name, "")) for row in rows)]) + "\n"


def _line(row: Row, default: object) -> str:
    help_, example = row.about.help, row.about.example
    value = example if default in (None, "", ()) and example is not None else default
    setting = f"# {row.name} = {toml_value(value)}"
    line = f"{setting:<{_COLUMN}}  # {help_}"
    return line if len(setting) <= _COLUMN and len(line) <= _WIDE else f"# {help_}:\n{setting}"
