"""Presets: prompts of the configuration with places for what the user types."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date

from lmchat.config.settings import Preset
from lmchat.errors import WrongUse
from lmchat.text import safe_line

_HOW_TO_CONFIGURE = "Add [prompts.NAME] to config.toml and start lmchat again."
_PLACEHOLDER = re.compile(r"\{\{ *(input|clipboard|date) *\}\}")  # as in "Translate: {{input}}"


async def filled(
    presets: Mapping[str, Preset],
    name: str,
    typed: str,
    read_clipboard: Callable[[], Awaitable[str]],
) -> str:
    """Return the text of the preset `name` with its placeholders filled in.

    `typed` takes the place of {{input}}; without this placeholder, it follows after a blank line.
    `read_clipboard` is called only for a preset with {{clipboard}}. A placeholder in an inserted
    text stays as it is. Raises `WrongUse` for an unknown name, or if {{input}} has no text.
    """
    preset = presets.get(name)
    if preset is None:
        raise _unknown_preset(name, presets)
    placeholders = set(_PLACEHOLDER.findall(preset.text))
    has_input = bool(typed.strip())
    if "input" in placeholders and not has_input:
        raise WrongUse(f"The preset {name} needs a text.", hint="Type it after the name.")

    values = {
        "input": typed,
        "date": f"{date.today():%Y-%m-%d}",  # noqa: DTZ011 - the user's day
        "clipboard": "",
    }
    if "clipboard" in placeholders:
        values["clipboard"] = await read_clipboard()
    prompt = _PLACEHOLDER.sub(lambda placeholder: values[placeholder[1]], preset.text)
    if has_input and "input" not in placeholders:
        return f"{prompt.rstrip()}\n\n{typed}"
    return prompt


def _unknown_preset(name: str, presets: Mapping[str, Preset]) -> WrongUse:
    """Return the error for a name without a preset; `name` is empty where none was typed."""
    problem = "Type a name after /p."
    if name:
        problem = f"Unknown preset: {safe_line(name, limit=40)}."
    hint = _HOW_TO_CONFIGURE
    if presets:
        hint = f"Configured: {', '.join(presets)}."
    return WrongUse(problem, hint=safe_line(hint))
