"""Themes in files of the user: TOML with the fields of Textual's `Theme`.

The module is imported only when themes are listed, or when the theme in use is not one of lmchat's.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from lmchat.files.disk import read_plain
from lmchat.matching import closest_word
from lmchat.safe_text import safe_line
from lmchat.tui.themes import THEMES, fitted, short_name, theme_named


def read_themes(folder: Path) -> tuple[list[Theme], list[str]]:
    """Return the themes in the files of a folder, and a sentence for each file that has none."""
    themes: list[Theme] = []
    problems: list[str] = []
    for file in sorted(folder.glob("*.toml")):
        try:
            themes.append(_read(file))
        except (OSError, ValueError, RecursionError) as error:  # of TOML and msgspec, too
            words = f"Theme {file.parent.name}/{file.name} cannot be used: {error}"
            problems.append(safe_line(words))
    return themes, problems


def _read(file: Path) -> Theme:
    """Return the theme of a file; without a name of its own, it is called like the file."""
    table = tomllib.loads(read_plain(file).decode("utf-8-sig"))
    if unknown := table.keys() - Theme.__dataclass_fields__.keys():
        words = f"Unknown key: {min(unknown)}"
        raise ValueError(words)
    theme = msgspec.convert({"name": file.stem} | table, Theme)
    theme.name = re.sub(r"[^A-Za-z0-9_-]", "-", theme.name)
    for key, value in (table | theme.variables).items():
        if isinstance(value, str) and key != "name":
            try:
                Color.parse(value)
            except ColorParseError as error:
                words = f'Expected a colour such as "#8fb8ff" as {key}, got "{value}"'
                raise ValueError(words) from error
    return fitted(theme, is_textuals=False)


def missing_theme(name: str, folder: Path) -> tuple[str, str] | None:
    """Return why no theme has a name, and a name that is similar or ""; None if one has it.

    The themes are lmchat's, Textual's and those in the files of a folder. Blocks.
    """
    own_themes, _ = read_themes(folder)
    names = [theme.name for theme in (*THEMES, *BUILTIN_THEMES.values(), *own_themes)]
    if theme_named(name, names):
        return None
    suggestion = closest_word(name, (*names, *map(short_name, names)))
    reason = f'"{name}" is not a theme'
    return (reason if suggestion else f"{reason}; themes: {', '.join(names)}"), suggestion
