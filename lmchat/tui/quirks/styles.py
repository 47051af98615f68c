"""What Textual does with styles before the first paint, done once instead of twice; what it keeps."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from textual._styles_cache import StylesCache
from textual.app import App
from textual.color import Color
from textual.scroll_view import ScrollView
from textual.style import Style


def begin_with_theme(app: App[Any], name: str) -> None:
    """Give an app the theme it begins with; to be called before it runs.

    Assigning `theme` parses all styles, forgets what was parsed, and parses them again with the first widget.
    """
    _keep_no_widgets()
    app.set_reactive(App.theme, name)
    theme = app.current_theme
    app.add_class(f"-theme-{theme.name}", update=False)
    app.set_class(theme.dark, "-dark-mode", update=False)
    app.set_class(not theme.dark, "-light-mode", update=False)
    app._refresh_truecolor_filter(app.ansi_theme)
    app.stylesheet.set_variables(app.get_css_variables())


def _keep_no_widgets() -> None:
    """Keep the grounds of widgets by their colours alone.

    Textual 8.2.8 keeps them by the widgets too: the last 1 024, with every row that they had painted, of
    dialogs long closed, 0.1 to 0.7 MB each.
    """
    setattr(StylesCache, "get_inner_outer", lambda _, base, ground: _grounds(base, ground))  # noqa: B010 - mypy


@lru_cache(1024)
def _grounds(base: Color, ground: Color) -> tuple[Style, Style]:
    return Style(background=base + ground), Style(background=base)


class LateComponents(ScrollView):
    """A view that gets the styles of its component classes when it first wants them.

    Textual makes them with the first style of a widget, and again with each later one: 0.1 ms for each class.
    """

    _has_components = False

    def _get_component_classes(self) -> frozenset[str]:  # type: ignore[override]  # of the class there
        return super()._get_component_classes() if self._has_components else frozenset()

    def make_component_styles(self) -> None:
        """Make the styles, if they are not made yet; from now on they follow the theme."""
        if not self._has_components:
            self._has_components = True
            self.app.stylesheet._process_component_classes(self)
