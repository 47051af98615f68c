"""How the screen looks: its theme and its panels."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.tui.messages import ReadSessions
from lmchat.tui.screen_services import ScreenServices
from lmchat.tui.themes import THEMES, fitted, short_name, theme_named


class Appearance:
    """Changes the theme, shows and hides the panels, and remembers the user's choice."""

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui

    def use_theme(self, name: str = "") -> None:
        """Without a name, a list shows all. Raises `WrongUse` for an unknown name."""
        app = self._ui.app
        other_names = sorted(app.available_themes.keys() - {theme.name for theme in THEMES})
        # lmchat's styles use variables that the themes of Textual do not have
        for other_name in other_names:
            app.register_theme(fitted(app.available_themes[other_name]))
        if not name:
            themes = [*THEMES, *(app.available_themes[other_name] for other_name in other_names)]
            self._ui.open_dialog(ThemeDialog(themes, app.theme), self._use)
            return
        full_name = theme_named(name, app.available_themes)
        if not full_name:
            words = f"Unknown theme: {safe_line(name, limit=40)}."
            raise WrongUse(words, hint="/theme lists all themes.")
        self._use(full_name)

    def _use(self, theme: str | None) -> None:
        if theme is not None:
            self._ui.app.theme = theme
            self._ui.remember(lambda state: replace(state, theme=theme))
            self._ui.notify(f"Theme: {short_name(theme)}.")

    def toggle_sessions(self) -> None:
        """Show the list of sessions, and focus it; if it has the focus, hide it."""
        screen, session_list = self._ui.screen, self._ui.widgets.session_list
        if session_list.has_focus_within or not session_list.display:
            # a `-mid` screen has room for one column, which is the telemetry panel
            self._toggle_panel(
                "sessions", covers_chat=screen.has_class("-narrow") or screen.has_class("-mid")
            )
        if session_list.display:
            screen.post_message(ReadSessions())
            session_list.focus()
        else:
            self._ui.widgets.prompt_input.focus()

    def toggle_telemetry(self) -> None:
        self._toggle_panel("telemetry", covers_chat=self._ui.screen.has_class("-narrow"))

    def _toggle_panel(self, name: str, *, covers_chat: bool) -> None:
        """Show a panel, or hide it if it is shown, and remember that for the next run.

        With `covers_chat`, the screen is too narrow for a column: the panel is shown over the chat,
        or hidden again, and nothing is remembered.
        """
        screen = self._ui.screen
        if covers_chat:
            screen.toggle_class(f"-{name}-over")
            return
        is_shown = not screen.query_one(f"#{name}").display
        screen.set_class(not is_shown, f"-{name}-hidden")  # by it, the style sheets hide the column
        screen.remove_class(f"-{name}-over")  # left from a narrower screen, it would be shown
        self._ui.remember(lambda state: replace(state, **{f"has_{name}": is_shown}))
