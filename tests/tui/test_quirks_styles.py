"""An app that begins with a theme parses its styles once, and looks as if the theme had been assigned."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.css import stylesheet
from textual.screen import ModalScreen
from textual.widgets import Static

from lmchat.tui.quirks.styles import LateComponents, begin_with_theme
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


class Worded(LateComponents):
    COMPONENT_CLASSES: ClassVar[set[str]] = {"worded--word"}
    DEFAULT_CSS = "Worded > .worded--word { color: $primary; }"


class WordedApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Worded()


async def test_component_styles_are_made_when_they_are_wanted_and_then_follow_the_theme():
    async with WordedApp().run_test() as pilot:
        view = pilot.app.query_one(Worded)
        with pytest.raises(KeyError):
            view.get_component_rich_style("worded--word")
        view.make_component_styles()
        seen = set()
        for theme in ("textual-dark", "textual-light"):
            pilot.app.theme = theme
            await pilot.pause()
            seen.add(view.get_component_rich_style("worded--word").color)
        assert len(seen) == 2


class Closed(ModalScreen[None]):
    def compose(self) -> ComposeResult:
        yield Static("words")


async def test_nothing_that_was_painted_of_a_closed_dialog_is_kept():
    app = Themed(THEMES[0].name, is_assigned=False)
    async with app.run_test() as pilot:
        await app.push_screen(Closed())
        await pilot.pause()
        painted = [weakref.ref(one._styles_cache) for one in app.screen.walk_children(with_self=True)]
        await app.pop_screen()
        await pilot.pause()
        gc.collect()
        assert [one() for one in painted] == [None] * 2
