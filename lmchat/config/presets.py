"""Prompts and profiles of the configuration, which is read again when it changes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from pathlib import Path

from lmchat.config.load import load
from lmchat.config.settings import Preset, Profile, Settings
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line


class NamedTables:
    """The `[prompts.NAME]` and `[profiles.NAME]` of a file, as they are in it now.

    While one of them is wrong, or the file cannot be read, all stay as they were before.
    """

    def __init__(self, file: Path, settings: Settings) -> None:
        """Begin with the tables of `settings`; the first look reads `file`.

        It may have changed since the settings were read.
        """
        self._problem = ""
        self._settings = settings
        self._file = file
        self._version: tuple[int, ...] = ()

    def presets(self) -> Mapping[str, Preset]:
        """Return the presets by name, after a look at the file."""
        self._read_if_changed()
        return self._settings.prompts

    def profiles(self) -> Mapping[str, Profile]:
        """Return the profiles by name, after a look at the file."""
        self._read_if_changed()
        return self._settings.profiles

    def problem(self) -> str:
        """Return a sentence about the first wrong table; empty if all are right."""
        self._read_if_changed()
        return self._problem

    def _read_if_changed(self) -> None:
        """Read the file if it has changed since the last look; a missing file changes nothing.

        Some editors remove a file for a moment when they save it.
        """
        try:
            status = self._file.stat()
        except OSError:
            return
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        if version == self._version:
            return
        self._version = version
        loaded = load(self._file, {})  # environment and flags have no such tables
        # a problem without a key is about the file as a whole
        wrong = [
            problem.sentence
            for problem in loaded.problems
            if not problem.key or problem.key.startswith(("prompts", "profiles"))
        ]
        self._problem = wrong[0] if wrong else ""
        if not wrong:
            self._settings = loaded.settings


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
    preset = preset_named(presets, name)
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


def preset_named(presets: Mapping[str, Preset], name: str) -> Preset:
    """Return the preset with this name; `name` is empty where none was typed. Raises `WrongUse`."""
    if name in presets:
        return presets[name]
    problem = "Type a name after /p."
    if name:
        problem = f"Unknown preset: {safe_line(name, limit=40)}."
    hint = _HOW_TO_CONFIGURE
    if presets:
        hint = f"Configured: {', '.join(presets)}."
    raise WrongUse(problem, hint=safe_line(hint))
