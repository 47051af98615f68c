"""The theme on the screen: its choice, and themes in files of the user."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.tui.chat_view import Chat
from lmchat.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.tui.theme_files import read_themes
from lmchat.tui.themes import THEMES, fitted, short_name, theme_named


class ThemeChoice:
    """Changes the theme and remembers it."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._app = chat.app

    async def use(self, name: str = "") -> None:
        """Use the named theme, or without a name the one chosen from a list, and remember it.

        Raises `WrongUse` for an unknown name.
        """
        await self._read_own()
        if not name:
            first_names = [theme.name for theme in THEMES]
            other_names = sorted(self._app.available_themes.keys() - set(first_names))
            themes = [self._app.available_themes[each] for each in (*first_names, *other_names)]
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

    async def use_wanted(self) -> None:
        """Use the wanted theme if it is in a file of the user; else warn that it is unknown.

        Do nothing if it is built in, as it is used already.
        """
        wanted = self._app.wanted_theme
        if not wanted or theme_named(wanted, self._app.available_themes):
            return
        await self._read_own()
        if full_name := theme_named(wanted, self._app.available_themes):
            self._app.theme = full_name
        else:
            words = safe_line(wanted, limit=40)
            self._chat.warn(f"Unknown theme: {words}. /theme lists all themes.")

    async def _read_own(self) -> None:
        """Register the themes in files of the user, and Textual's themes as fitted to our styles.

        A warning says for each file without a valid theme what is wrong.
        """
        for theme in self._app.available_themes.values():
            if theme not in THEMES:
                self._app.register_theme(fitted(theme))
        folder = self._chat.workspace.platform.themes_folder
        themes, problems = await asyncio.to_thread(read_themes, folder)
        for theme in themes:
            self._app.register_theme(theme)
        for problem in problems:
            self._chat.warn(problem)
