"""Prompts of the configuration that are sent by their names."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date

from lmchat.config.settings import Preset
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line

_PLACEHOLDER = re.compile(r"\{\{ *(input|clipboard|date) *\}\}")  # as in "Translate: {{input}}"


async def filled_preset(
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
    preset = preset_named(presets, name)
    placeholders = set(_PLACEHOLDER.findall(preset.text))
    has_input = bool(typed.strip())
    if "input" in placeholders and not has_input:
        raise WrongUse(f"The preset {name} needs a text.", hint="Type it after the name.")

    values = {
        "input": typed,
        "date": f"{date.today():%Y-%m-%d}",  # noqa: DTZ011 - the user's day
    }
    if "clipboard" in placeholders:
        values["clipboard"] = await read_clipboard()
    prompt = _PLACEHOLDER.sub(lambda placeholder: values[placeholder[1]], preset.text)
    if has_input and "input" not in placeholders:
        return f"{prompt.rstrip()}\n\n{typed}"
    return prompt


def preset_named(presets: Mapping[str, Preset], name: str) -> Preset:
    """Return the preset with this name; raises `WrongUse`. `name` is empty if none was typed."""
    if name in presets:
        return presets[name]
    problem = f"Unknown preset: {safe_line(name, limit=40)}." if name else "Type a name after /p."
    hint = "Add [prompts.NAME] to config.toml and start lmchat again."
    if presets:
        hint = f"Configured: {safe_line(', '.join(presets))}."
    raise WrongUse(problem, hint=hint)
