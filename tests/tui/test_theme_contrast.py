from __future__ import annotations

import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from lmchat.tui.themes import ANSI, DARK, LIGHT, fitted

TEXT = ("foreground", "muted", "primary", "secondary", "accent", "success", "warning", "error")
GROUNDS = ("background", "surface", "panel", "block-cursor-background")


def contrast(colour: Color, other: Color) -> float:
    """Return the contrast of two colours in either order, as WCAG defines it: from 1 to 21."""
    dark, light = sorted((luminance(colour), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: Color) -> float:
    """Return the relative luminance of a colour in WCAG, from 0 for black to 1 for white."""
    shares = [channel / 255 for channel in colour.rgb]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def colours(theme) -> dict[str, str]:
    return theme.to_color_system().generate() | theme.variables


def test_text_has_a_contrast_of_at_least_4_5_on_every_tint():
    for text in TEXT:
        for ground in GROUNDS:
            for theme in [DARK, LIGHT]:
                names = colours(theme)
                assert contrast(Color.parse(names[text]), Color.parse(names[ground])) >= 4.5


def test_the_chosen_row_of_a_theme_of_textual_can_be_read():
    nord = fitted(BUILTIN_THEMES["nord"])
    chosen = Color.parse(nord.variables["block-cursor-background"])
    assert contrast(chosen, Color.parse("#D8DEE9")) >= 4.5


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("ground", ["background", "surface"])
def test_rules_and_sparks_have_a_contrast_of_at_least_3(theme, ground):
    names = colours(theme)
    for drawn in ("text-disabled", "spark"):
        assert contrast(Color.parse(names[drawn]), Color.parse(names[ground])) >= 3.0


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_sparks_and_meters_can_be_seen_in_a_terminal_of_16_colours(theme):
    names = colours(theme)
    ground, rest, used, spark = (
        in_16_colours(names[name]) for name in ("background", "text-disabled", "meter", "spark")
    )
    assert contrast(spark, ground) >= 2.5
    assert used != rest


def in_16_colours(value: str) -> Color:
    """Return the colour to which Rich changes a value for such a terminal."""
    number = RichColor.parse(value).downgrade(ColorSystem.STANDARD).number
    return Color(*RichColor.from_ansi(number or 0).get_truecolor())


def test_sparks_and_meters_do_not_depend_on_the_grey_of_the_palette():
    """Some palettes have nearly the colour of the ground there."""
    assert {ANSI.variables["spark"], ANSI.variables["meter"]} == {"ansi_default"}


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_muted_text_is_the_same_colour_in_styles_and_in_css(theme):
    assert colours(theme)["muted"] == colours(theme)["text-muted"]


def test_the_theme_of_16_colours_names_no_colour_of_its_own():
    given = [ANSI.primary, ANSI.secondary, ANSI.accent, ANSI.success, ANSI.warning, ANSI.error]
    given += [value for name, value in ANSI.variables.items() if name != "muted"]
    assert [value for value in given if not str(value).startswith("ansi_")] == []
