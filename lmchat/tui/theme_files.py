"""Themes in files of the user, and the contrast of themes; imported late."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from textual.color import Color, ColorParseError
from textual.theme import Theme

from lmchat.config.sections import Row
from lmchat.files import read_plain
from lmchat.text import safe_line, similar
from lmchat.tui.themes import fitted

_COLOURS = (
    *("primary", "secondary", "warning", "error", "success", "accent"),
    *("foreground", "background", "surface", "panel", "boost"),
)
_SHARE = Annotated[float, Meta(ge=0, le=1)]
_ROWS: Mapping[str, Row] = {
    **{name: Row(name, Annotated[str, Meta()]) for name in ("name", *_COLOURS)},
    **{name: Row(name, Annotated[bool, Meta()]) for name in ("dark", "ansi")},
    **{name: Row(name, _SHARE) for name in ("luminosity_spread", "text_alpha")},
    "variables": Row("variables", Annotated[Mapping[str, str], Meta()]),
}
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LEAST_CONTRAST = 4.5
_LINEAR_BELOW = 0.04045  # as WCAG defines luminance
_WORDS: Mapping[str, tuple[str, ...]] = {
    "text": ("foreground",),
    "labels": ("muted",),
    "states": ("success", "warning", "error"),
    "links": ("primary",),
    "code": ("secondary", "accent"),
}
"""What is written in which colours."""
_GROUNDS = ("background", "surface", "panel", "block-cursor-background")


def read_themes(folder: Path) -> tuple[list[Theme], list[str]]:
    """Return the themes in the files of a folder, and a sentence for each file that has none."""
    themes: list[Theme] = []
    problems: list[str] = []
    for file in sorted(folder.glob("*.toml")):
        try:
            table = {"name": file.stem} | tomllib.loads(read_plain(file).decode("utf-8-sig"))
        except OSError as error:
            problem = f"it cannot be read: {error.strerror or error}"
        except (ValueError, RecursionError) as error:  # also what is no UTF-8
            problem = f"it is not valid TOML: {error}"
        else:
            problem = _problem(table)
            themes += [] if problem else [fitted(Theme(**table))]
        if problem:
            problems.append(safe_line(f"Theme {file.parent.name}/{file.name}: {problem}."))
    return themes, problems


def _problem(table: Mapping[str, Any]) -> str:
    """Return what is wrong with the first wrong key of a theme, else ""."""
    if "primary" not in table:
        return "primary is missing"
    for name, value in table.items():
        if name not in _ROWS:
            meant = similar(name, tuple(_ROWS))
            return f"{name} is unknown" + (f" (did you mean {meant}?)" if meant else "")
        if fault := _ROWS[name].fault(value):
            return f"{name} {fault}"
    colours = {name: table[name] for name in _COLOURS if name in table}
    colours |= {f"variables.{name}": value for name, value in table.get("variables", {}).items()}
    wrong = next((name for name, value in colours.items() if not _is_colour(value)), "")
    if wrong:
        return f'{wrong} must be a colour, such as "#8fb8ff"'
    return "" if _NAME.fullmatch(table["name"]) else "name may have only letters, digits, - and _"


def _is_colour(value: str) -> bool:
    try:
        Color.parse(value)
    except ColorParseError:
        return False
    return True


def low_contrast(theme: Theme) -> str:
    """Return what is hard to read in a theme, as `states, code`; nothing for the terminal's own colours."""
    if theme.ansi:
        return ""
    names = theme.to_color_system().generate() | theme.variables
    grounds = [Color.parse(names[name]) for name in _GROUNDS]
    weak = [
        word
        for word, colours in _WORDS.items()
        if any(
            contrast(Color.parse(names[c]), one) < _LEAST_CONTRAST
            for c in colours
            for one in grounds
        )
    ]
    return ", ".join(weak)


def contrast(one: Color, other: Color) -> float:
    """Return the ratio of two luminances (WCAG), 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    channels = [channel / 255 for channel in color.rgb]
    linear = [c / 12.92 if c <= _LINEAR_BELOW else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
