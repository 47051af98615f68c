"""Themes in files of the user.

A file is TOML with colours; it is checked key by key, and made a `Theme`. The module is imported
only when themes are listed, or when the theme in use is not one of lmchat's own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from textual.color import Color, ColorParseError
from textual.theme import Theme

from lmchat.config.file import Row
from lmchat.files.disk import read_plain
from lmchat.matching import closest_word
from lmchat.safe_text import safe_line
from lmchat.tui.themes import fitted

_COLOURS = (
    *("primary", "secondary", "warning", "error", "success", "accent"),
    *("foreground", "background", "surface", "panel", "boost"),
)
_SHARE = Annotated[float, Meta(ge=0, le=1)]
# The keys that a theme's file may have. A `Row`, as of a setting, checks the type of a value; it
# demands `Annotated` with a `Meta`, which is empty for a type without limits.
_ROWS: Mapping[str, Row] = {
    **{name: Row(name, Annotated[str, Meta()]) for name in ("name", *_COLOURS)},
    **{name: Row(name, Annotated[bool, Meta()]) for name in ("dark", "ansi")},
    **{name: Row(name, _SHARE) for name in ("luminosity_spread", "text_alpha")},
    "variables": Row("variables", Annotated[Mapping[str, str], Meta()]),
}
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def read_themes(folder: Path) -> tuple[list[Theme], list[str]]:
    """Return the themes in the files of a folder, and a sentence for each file that has none."""
    themes: list[Theme] = []
    problems: list[str] = []
    for file in sorted(folder.glob("*.toml")):
        table, problem = _read(file)
        problem = problem or _problem(table)
        if problem:
            problems.append(safe_line(f"Theme {file.parent.name}/{file.name}: {problem}."))
        else:
            themes.append(fitted(Theme(**table), is_textuals=False))
    return themes, problems


def _read(file: Path) -> tuple[dict[str, Any], str]:
    """Return the table of a TOML file and "", or an empty table and why it cannot be read.

    The table has the name of the file as `name`, unless the file sets another.
    """
    try:
        text = read_plain(file).decode("utf-8-sig")
        return {"name": file.stem} | tomllib.loads(text), ""
    except OSError as error:
        return {}, f"it cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError) as error:  # also bytes that are not UTF-8
        return {}, f"it is not valid TOML: {error}"


def _problem(table: Mapping[str, Any]) -> str:
    """Return the first fault of a theme's table in words, as `primary is missing`; else "".

    A theme must have `primary`. Then all keys and their types are checked, then that all colours
    can be parsed, and last the name.
    """
    if "primary" not in table:
        return "primary is missing"
    for name, value in table.items():
        if name not in _ROWS:
            meant = closest_word(name, tuple(_ROWS))
            return f"{name} is unknown" + (f" (did you mean {meant}?)" if meant else "")
        if fault := _ROWS[name].fault(value):
            return f"{name} {fault}"
    colours = {name: table[name] for name in _COLOURS if name in table}
    for name, value in table.get("variables", {}).items():
        colours[f"variables.{name}"] = value
    for name, value in colours.items():
        if not _is_colour(value):
            return f'{name} must be a colour, such as "#8fb8ff"'
    if not _NAME.fullmatch(table["name"]):
        return "name may have only letters, digits, - and _"
    return ""


def _is_colour(value: str) -> bool:
    try:
        Color.parse(value)
    except ColorParseError:
        return False
    return True
