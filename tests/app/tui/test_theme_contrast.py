from __future__ import annotations

from textual.color import Color
from textual.theme import BUILTIN_THEMES

from lmchat.app.tui.themes import ANSI, DARK, LIGHT, fitted

TEXT = ("foreground", "muted", "primary", "secondary", "accent", "success", "warning", "error")
GROUNDS = ("background", "surface", "panel", "block-cursor-background")
ON_LABEL_ROW = ("foreground", "muted")


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
    pairs = [(text, ground) for text in TEXT for ground in GROUNDS]
    pairs += [(text, "label-row") for text in ON_LABEL_ROW]
    for text, ground in pairs:
        for theme in [DARK, LIGHT]:
            names = colours(theme)
            assert contrast(Color.parse(names[text]), Color.parse(names[ground])) >= 4.5


def test_the_line_of_the_speed_graph_has_a_contrast_of_at_least_3():
    for theme in [DARK, LIGHT]:
        names = colours(theme)
        assert contrast(Color.parse(names["speed"]), Color.parse(names["surface"])) >= 3


def test_every_theme_has_the_colours_of_all_roles():
    for theme in BUILTIN_THEMES.values():
        assert DARK.variables.keys() - {"text", "text-muted"} <= fitted(theme).variables.keys()
    assert DARK.variables.keys() == LIGHT.variables.keys()


def test_words_in_themes_of_textual_have_a_contrast_of_at_least_3():
    for theme in BUILTIN_THEMES.values():
        if not theme.ansi:
            names = colours(fitted(theme))
            ground = Color.parse(names["background"])
            assert all(contrast(Color.parse(names[text]), ground) >= 3 for text in TEXT), theme.name


def test_the_theme_of_16_colours_names_no_colour_of_its_own():
    given = [ANSI.primary, ANSI.secondary, ANSI.accent, ANSI.success, ANSI.warning, ANSI.error]
    given += [value for name, value in ANSI.variables.items() if name != "muted"]
    assert [value for value in given if not str(value).startswith("ansi_")] == []
