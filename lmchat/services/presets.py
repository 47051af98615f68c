"""Presets: prompts from the configuration, filled with input, clipboard and date."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date

from lmchat.config.settings import Preset
from lmchat.errors import WrongUse
from lmchat.text import safe_line

_PLACEHOLDER = re.compile(r"\{\{ *(input|clipboard|date) *\}\}")


async def filled(
    presets: Mapping[str, Preset], name: str, typed: str, paste: Callable[[], Awaitable[str]]
) -> str:
    """Return the prompt that a preset makes of what was typed; raises `WrongUse` if it cannot.

    Input goes behind the text, after a blank line, where the preset has no place for it. `paste` is called
    only where the clipboard is wanted. What is filled in is not filled again.
    """
    if name not in presets:
        words = f"Unknown preset: {safe_line(name, limit=40)}." if name else "The preset has no name."
        hint = f"Configured: {', '.join(presets)}." if presets else "Add [prompts.NAME] to config.toml."
        raise WrongUse(words, hint=safe_line(hint))
    text = presets[name].text
    wanted = set(_PLACEHOLDER.findall(text))
    if "input" in wanted and not typed.strip():
        raise WrongUse(f"The preset {name} needs a text.", hint="Type it after the name.")
    values = {
        "input": typed,
        "date": f"{date.today():%Y-%m-%d}",  # noqa: DTZ011 - the user's day
        "clipboard": await paste() if "clipboard" in wanted else "",
    }
    prompt = _PLACEHOLDER.sub(lambda found: values[found[1]], text)
    return f"{prompt.rstrip()}\n\n{typed}" if typed.strip() and "input" not in wanted else prompt
