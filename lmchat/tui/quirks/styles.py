"""What Textual does with styles before the first paint, done once instead of twice."""

from __future__ import annotations

from typing import Any

from textual.app import App


def begin_with_theme(app: App[Any], name: str) -> None:
    """Give an app the theme it begins with; to be called before it runs.

    Assigning `theme` parses all styles, forgets what was parsed, and parses them again with the first widget.
    """
    app.set_reactive(App.theme, name)
    theme = app.current_theme
    app.add_class(f"-theme-{theme.name}", update=False)
    app.set_class(theme.dark, "-dark-mode", update=False)
    app.set_class(not theme.dark, "-light-mode", update=False)
    app._refresh_truecolor_filter(app.ansi_theme)
    app.stylesheet.set_variables(app.get_css_variables())
