"""The screen with `NO_COLOR`: Textual then takes the colours out of what each widget has drawn."""

from __future__ import annotations

from rich.color import Color

from lmchat.core.config.settings import Settings, UiSettings
from tests.support.desktop import ready_desktop


async def test_with_no_color_the_screen_shows_all_words_in_shades_of_grey(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with ready_desktop(tmp_path, asked=["Show `code`."]) as desk:
        assert "Show `code`." in desk.text
        await desk.press("f1")
        await desk.press("escape")
        for strip in desk.app.screen._compositor.render_strips():
            for segment in strip:
                colour = segment.style.color if segment.style else None
                if isinstance(colour, Color) and colour.triplet is not None:
                    assert len(set(colour.triplet)) == 1, segment


async def test_with_no_color_the_terminals_own_colours_are_its_default_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("ansi", "ansi-dark", "ansi-light"):
        settings = Settings(ui=UiSettings(theme=name, reduced_motion=True))
        async with ready_desktop(tmp_path / name, settings=settings, asked=["Say `no`."]) as desk:
            await desk.press("alt+up")
            strips = desk.app.screen._compositor.render_strips()
            segments = [segment for strip in strips for segment in strip if segment.style]
            for segment in segments:
                for colour in (segment.style.color, segment.style.bgcolor):
                    assert colour is None or colour.is_default, (name, segment)
            await desk.say("/theme dark", sees="Theme: dark.")
            strips = desk.app.screen._compositor.render_strips()
            segments = [segment for strip in strips for segment in strip if segment.style]
            assert any(segment.style.color.triplet for segment in segments if segment.style.color)
