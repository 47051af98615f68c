"""How the screen looks: its theme and its panels."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from lmchat.app.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.app.tui.messages import ReadSessions
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.themes import THEMES, fitted, short_name, theme_named
from lmchat.app.tui.widgets.telemetry_panel import has_columns
from lmchat.base.errors import WrongUse
from lmchat.base.safe_text import safe_line


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
            raise WrongUse(
                f"Unknown theme: {safe_line(name, limit=40)}.", next_step="/theme lists all themes."
            )
        self._use(full_name)

    def _use(self, theme: str) -> None:
        self._ui.app.theme = self._ui.app.wanted_theme = theme
        self._ui.remember(lambda state: replace(state, theme=theme))
        self._ui.notify(f"Theme: {short_name(theme)}.")

    def toggle_sessions(self) -> None:
        """Show the list of sessions, and focus it; if it has the focus, hide it."""
        screen = self._ui.screen
        session_list = self._ui.widgets.session_list
        if session_list.has_focus_within or not session_list.display:
            if has_columns(screen):
                is_shown = not session_list.display
                screen.set_class(not is_shown, "-sessions-hidden")
                self._ui.remember(lambda state: replace(state, has_sessions=is_shown))
            else:
                self._lay_over("-sessions-over")
        if session_list.display:
            screen.post_message(ReadSessions())
            session_list.focus()
        else:
            self._ui.widgets.prompt_input.focus()

    def toggle_telemetry(self) -> None:
        """Show the telemetry panel short, then with all figures, then not at all."""
        screen = self._ui.screen
        panel = self._ui.widgets.telemetry
        if not has_columns(screen):
            self._lay_over("-telemetry-over")
            return
        was_hidden = screen.has_class("-telemetry-hidden")
        shows_all = not was_hidden and not panel.shows_all
        is_shown = was_hidden or shows_all
        panel.shows_all = shows_all
        screen.set_class(not is_shown, "-telemetry-hidden")
        self._ui.widgets.prompt_area.status.refresh()  # it has the figures of a hidden panel
        self._ui.remember(
            lambda state: replace(state, has_telemetry=is_shown, has_all_figures=shows_all or UNSET)
        )

    def _lay_over(self, class_name: str) -> None:
        """Lay a panel over the chat, or take it away; nothing is remembered."""
        screen = self._ui.screen
        is_over = screen.has_class(class_name)
        screen.remove_class("-sessions-over", "-telemetry-over")
        screen.set_class(not is_over, class_name)
