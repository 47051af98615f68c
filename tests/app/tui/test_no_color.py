"""The screen with `NO_COLOR`: Textual then takes the colours out of what each widget has drawn."""

from __future__ import annotations

from rich.style import Style

from lmchat.core.config.settings import Settings, UiSettings
from tests.support.desktop import Desktop, ready_desktop


def styles_of(desk: Desktop) -> list[Style]:
    strips = desk.app.screen._compositor.render_strips()
    return [segment.style for strip in strips for segment in strip if segment.style]


async def test_with_no_color_the_screen_shows_all_words_in_shades_of_grey(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with ready_desktop(tmp_path, asked=["Show `code`."]) as desk:
        assert "Show `code`." in desk.text
        triplets = [style.color.triplet for style in styles_of(desk) if style.color]
        assert all(len(set(triplet)) == 1 for triplet in triplets if triplet is not None)


async def test_with_no_color_the_terminals_own_colours_are_its_default_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("ansi", "ansi-dark"):
        settings = Settings(ui=UiSettings(theme=name, reduced_motion=True))
        async with ready_desktop(tmp_path / name, settings=settings, asked=["Say `no`."]) as desk:
            await desk.press("alt+up")
            for style in styles_of(desk):
                for colour in (style.color, style.bgcolor):
                    assert colour is None or colour.is_default, (name, style)
            await desk.say("/theme dark", sees="Theme: dark.")
            assert any(style.color.triplet for style in styles_of(desk) if style.color)
