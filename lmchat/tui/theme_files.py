"""Themes in files of the user, and the contrast of themes.

A file is TOML with colours; it is checked key by key, and made a `Theme`. The module is imported
only when themes are listed, or when the theme in use is not one of lmchat's own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from textual.color import Color, ColorParseError
from textual.theme import Theme

from lmchat.config.sections import Row
from lmchat.files import read_plain
from lmchat.text import closest_word, safe_line
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
_LEAST_CONTRAST = 4.5  # of text and background, as WCAG asks for
_LINEAR_BELOW = 0.04045  # share of a channel, in WCAG's definition of luminance
_COLOURS_OF_TEXT: Mapping[str, tuple[str, ...]] = {
    "text": ("foreground",),
    "labels": ("muted",),
    "states": ("success", "warning", "error"),
    "links": ("primary",),
    "code": ("secondary", "accent"),
}
"""The kinds of text, and the colours in which they are written."""
_BACKGROUNDS = ("background", "surface", "panel", "block-cursor-background")


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


def low_contrast(theme: Theme) -> str:
    """Return which kinds of text are hard to read, as `states, code`.

    Empty for a theme in the terminal's own colours, which lmchat does not know.
    """
    if theme.ansi:
        return ""
    colours = theme.to_color_system().generate() | theme.variables
    backgrounds = [Color.parse(colours[name]) for name in _BACKGROUNDS]
    weak_kinds = []
    for kind, names in _COLOURS_OF_TEXT.items():
        contrasts = [_least_contrast(Color.parse(colours[name]), backgrounds) for name in names]
        if min(contrasts) < _LEAST_CONTRAST:
            weak_kinds.append(kind)
    return ", ".join(weak_kinds)


def _least_contrast(colour: Color, backgrounds: Iterable[Color]) -> float:
    """Return the contrast of a colour with the background that it differs least from."""
    return min(contrast(colour, background) for background in backgrounds)


def contrast(colour: Color, other: Color) -> float:
    """Return the contrast of two colours in either order, as WCAG defines it: from 1 to 21."""
    dark, light = sorted((_luminance(colour), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Color) -> float:
    """Return the relative luminance of a colour in WCAG, from 0 for black to 1 for white."""
    red, green, blue = (_linear(channel / 255) for channel in colour.rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(share: float) -> float:
    """Return the light of a channel of sRGB by WCAG's formula; both values are from 0 to 1."""
    return share / 12.92 if share <= _LINEAR_BELOW else ((share + 0.055) / 1.055) ** 2.4
