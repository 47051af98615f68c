"""The theme on the screen, and the choice of another one."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.tui.chat_view import Chat
from lmchat.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.tui.themes import THEMES, fitted, short_name, theme_named


class ThemeChoice:
    """Changes the theme and remembers it."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._app = chat.app

    def warn_if_unknown(self) -> None:
        """Warn if the wanted theme, which the app then does not use, is unknown."""
        wanted = self._app.wanted_theme
        if wanted and not theme_named(wanted, self._app.available_themes):
            words = safe_line(wanted, limit=40)
            self._chat.warn(f"Unknown theme: {words}. /theme lists all themes.")

    def use(self, name: str = "") -> None:
        """Use the named theme, or without a name the one chosen from a list, and remember it.

        Raises `WrongUse` for an unknown name.
        """
        own_names = [theme.name for theme in THEMES]
        other_names = sorted(self._app.available_themes.keys() - set(own_names))
        for other_name in other_names:
            self._app.register_theme(fitted(self._app.available_themes[other_name]))
        if not name:
            themes = [self._app.available_themes[each] for each in (*own_names, *other_names)]
            self._chat.show(ThemeDialog(themes, self._app.theme), self._use)
        elif full_name := theme_named(name, self._app.available_themes):
            self._use(full_name)
        else:
            words = f"Unknown theme: {safe_line(name, limit=40)}."
            raise WrongUse(words, hint="/theme lists all themes.")

    def _use(self, name: str | None) -> None:
        """Use a theme and remember it; None, after Esc, changes nothing."""
        if name is not None:
            self._app.theme = name
            self._chat.remember(lambda state: replace(state, theme=name))
            self._chat.notify(f"Theme: {short_name(name)}.")
