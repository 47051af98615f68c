"""The screen with `NO_COLOR`: Textual then takes the colours out of what each widget has drawn."""

from __future__ import annotations

from rich.color import Color

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
