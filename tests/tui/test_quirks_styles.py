"""An app that begins with a theme parses its styles once, and looks as if the theme had been assigned."""

from __future__ import annotations

from collections import Counter

import pytest
from textual.app import App, ComposeResult
from textual.css import stylesheet
from textual.widgets import Static

from lmchat.tui.quirks.styles import begin_with_theme
from lmchat.tui.themes import THEMES


class Themed(App[None]):
    CSS = "Static { color: $primary; background: $panel; } Static:ansi { text-style: bold; }"

    def __init__(self, name: str, *, is_assigned: bool) -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        if is_assigned:
            self.theme = name
        else:
            begin_with_theme(self, name)

    def compose(self) -> ComposeResult:
        yield Static("words")


async def _look(app):
    async with app.run_test() as pilot:
        await pilot.pause()
        style = app.query_one(Static).rich_style
        filters = [(type(one).__name__, one.enabled) for one in app._filters]
        return style, app.classes, app.theme, app.theme_variables, filters


@pytest.mark.parametrize("name", [theme.name for theme in THEMES])
async def test_the_look_is_that_of_an_assigned_theme(name):
    assert await _look(Themed(name, is_assigned=False)) == await _look(Themed(name, is_assigned=True))


async def test_no_style_is_parsed_twice(monkeypatch):
    parsed = Counter()
    parse = stylesheet.parse

    def counted(scope, css, read_from, **options):
        parsed[read_from] += 1
        return parse(scope, css, read_from, **options)

    monkeypatch.setattr(stylesheet, "parse", counted)
    await _look(Themed(THEMES[0].name, is_assigned=False))
    assert {
        name: count for (_, name), count in parsed.items() if name in ("Themed.CSS", "App.DEFAULT_CSS")
    } == {
        "Themed.CSS": 1,
        "App.DEFAULT_CSS": 1,
    }
