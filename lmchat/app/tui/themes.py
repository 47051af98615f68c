"""Themes: dark, light, and one with the terminal's own 16 colours.

A variable is a colour, or in some an attribute such as `dim`, that style sheets and styles of texts
name with a `$`, as `$muted`. `accent` is the model, `primary` is where the keys go. `label-row` is
the tint of the first row of code, and of a message in passing; `speed` and `speed-fill` draw the
graph of the speed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from textual.color import Color
from textual.theme import Theme

_PREFIX = "lmchat-"
DARK = Theme(
    name="lmchat-dark",
    dark=True,
    background="#15171c",
    surface="#1b1e24",
    panel="#23272f",
    foreground="#d9dde4",
    primary="#8fb8ff",
    secondary="#7fc8d8",
    accent="#c8a8f5",
    success="#86d39b",
    warning="#e8bf6a",
    error="#f48c84",
    variables={
        "label-row": "#2c313b",
        "block-cursor-background": "#313947",
        "muted": "#9fa8b6",
        "text": "#d9dde4",
        "text-muted": "#9fa8b6",
        "text-disabled": "#626c7d",
        "speed": "#8f80b0",
        "speed-fill": "#4a4360",
        "spark": "#626c7d",
        "meter": "#9fa8b6",
        "scrollbar": "#303745",
        "scrollbar-background": "#15171c",
    },
)
LIGHT = Theme(
    name="lmchat-light",
    dark=False,
    background="#fcfbf8",
    surface="#f4f2ec",
    panel="#ebe8e0",
    foreground="#23262c",
    primary="#1f55b5",
    secondary="#0b6272",
    accent="#7238a8",
    success="#1b6b36",
    warning="#7d5000",
    error="#ad2019",
    variables={
        "label-row": "#e0dcd2",
        "block-cursor-background": "#d8dfec",
        "muted": "#565d69",
        "text": "#23262c",
        "text-muted": "#565d69",
        "text-disabled": "#8a8984",
        "speed": "#8d75ad",
        "speed-fill": "#cdc2da",
        "spark": "#767570",  # a terminal of 16 colours makes light grey of lighter ones
        "meter": "#565d69",
        "scrollbar": "#d8d5ce",
        "scrollbar-background": "#fcfbf8",
    },
)
ANSI = Theme(
    name="lmchat-ansi",
    ansi=True,
    foreground="ansi_default",
    background="ansi_default",
    primary="ansi_bright_blue",
    secondary="ansi_cyan",
    accent="ansi_magenta",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    variables={
        "label-row": "ansi_default",
        "block-cursor-background": "ansi_default",
        "muted": "dim",  # of text only: in CSS it is `text-style: dim`
        "text-disabled": "ansi_bright_black",
        "speed": "ansi_magenta",
        "speed-fill": "ansi_magenta",
        "spark": "ansi_default",  # some palettes hardly show bright black
        "meter": "ansi_default",
        "scrollbar": "ansi_bright_black",
        "scrollbar-background": "ansi_default",
        "ansi-background": "ansi_black",  # an own ansi theme must define these two
        "ansi-foreground": "ansi_white",
    },
)
# of words
_OF_WORDS = ("primary", "secondary", "accent", "success", "warning", "error")
THEMES = (DARK, LIGHT, ANSI)  # the first is the default


def theme_named(name: str, names: Iterable[str]) -> str:
    """Return "" if the name means none of `names`; `dark` means `lmchat-dark`."""
    full_names = {full_name.lower(): full_name for full_name in names}
    return full_names.get(name.lower()) or full_names.get(f"{_PREFIX}{name.lower()}", "")


def short_name(name: str) -> str:
    return name.removeprefix(_PREFIX)


def fitted(theme: Theme) -> Theme:
    """Copy a theme of Textual with all variables that lmchat's styles use.

    The colour of the chosen row is replaced: lmchat's text cannot be read on it.
    """
    mixed = ANSI.variables if theme.ansi else _variables_from(theme)
    chosen_row = {"block-cursor-background": mixed["block-cursor-background"]}
    return replace(theme, variables=mixed | theme.variables | chosen_row)


def _variables_from(theme: Theme) -> dict[str, str]:
    """Mix variables; the factor of `blend` is the share of the second colour.

    The colours `_OF_WORDS` get a share of the text's colour, a larger one in a light theme: its
    colours are made to fill areas, and many have a contrast below 2 as words.
    """
    colours = theme.to_color_system().generate()
    text = Color.parse(colours["foreground"])
    ground = Color.parse(colours["background"])
    panel = Color.parse(colours["panel"])
    surface = Color.parse(colours["surface"])
    accent = Color.parse(colours["accent"])
    muted = ground.blend(text, 0.85).hex
    share = 0.3 if theme.dark else 0.5
    return {
        "label-row": panel.blend(text, 0.05).hex,
        "block-cursor-background": panel.blend(Color.parse(colours["primary"]), 0.1).hex,
        "muted": muted,
        "text": text.hex,
        "text-muted": muted,
        "text-disabled": ground.blend(text, 0.45).hex,
        "speed": surface.blend(accent, 0.66).hex,
        "speed-fill": surface.blend(accent, 0.27).hex,
        "spark": ground.blend(text, 0.5).hex,
        "meter": muted,
        "scrollbar": ground.blend(text, 0.2).hex,
        "scrollbar-background": ground.hex,
        **{name: Color.parse(colours[name]).blend(text, share).hex for name in _OF_WORDS},
    }
