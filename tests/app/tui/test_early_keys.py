"""A key that comes before a dialog has its rows, or while they go, ends nothing."""

from __future__ import annotations

import asyncio
from itertools import cycle

from textual.events import AppBlur, AppFocus

from lmchat.app.tui.app import LMChatApp
from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog, help_groups
from lmchat.app.tui.dialogs.text_dialog import LinksDialog
from lmchat.app.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.app.tui.themes import THEMES
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import State
from tests.support.look_data import search_dialog
from tests.support.tui_host import Host

KEYS = ("up", "down", "pageup", "pagedown", "home", "end", "enter")
DIALOGS = (
    lambda: CommandsDialog("Keys and commands", help_groups({})),
    search_dialog,
    lambda: LinksDialog({}),
    lambda: ThemeDialog(THEMES, "lmchat-dark"),
)


async def test_keys_that_are_faster_than_a_dialog_end_nothing_else():
    app = Host()
    async with app.run_test() as pilot:
        for make in DIALOGS:
            app.push_screen(dialog := make(), app.results.append)
            # pressed before, on the chat, which had no use for it
            await app._check_bindings("enter")
            for key in cycle(KEYS[:-1]):
                if dialog.can_show and dialog.list.rows:
                    break
                await app._check_bindings(key)
                await asyncio.sleep(0)
            await pilot.pause()
            await pilot.press("escape")
            app.push_screen(make(), app.results.append)
            await app._check_bindings("escape")  # before it is there
            await pilot.pause()
            assert len(app.screen_stack) == 1
            app.push_screen(make(), app.results.append)
            await pilot.pause()
            dialog = app.screen
            dialog.dismiss(None)
            while dialog.children:  # behind the key that leaves
                for key in KEYS:
                    await app._check_bindings(key)
                await asyncio.sleep(0)
        assert app.results == [None] * 3 * len(DIALOGS)


async def test_before_the_controllers_are_there_the_app_ends_and_no_event_harms_it():
    app = LMChatApp(Settings(), State(), lambda _: asyncio.Event().wait())
    async with app.run_test() as pilot:
        app.post_message(AppBlur())
        app.post_message(AppFocus())
        await pilot.pause()
        assert app.is_focus_reported
        app.copy_to_clipboard("words")
        await app.push_screen(LinksDialog({}))
        assert app.check_action("run", ("help",)) is False  # over another dialog
        await pilot.press("escape")
        assert app.check_action("run", ("help",))
        await app.stop_and_save()
