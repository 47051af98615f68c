"""A key that comes before a dialog has its rows, or while they go, ends nothing."""

from __future__ import annotations

import asyncio

from lmchat.tui.dialogs.commands_dialog import CommandsDialog, help_groups
from lmchat.tui.dialogs.text_dialog import LinksDialog
from tests.support.look_data import search_dialog
from tests.support.tui_host import Host

KEYS = ("up", "down", "pageup", "pagedown", "home", "end", "enter")
DIALOGS = (
    lambda: CommandsDialog("Keys and commands", help_groups({})),
    search_dialog,
    lambda: LinksDialog({}),
)


async def test_keys_that_are_faster_than_a_dialog_end_nothing_else():
    app = Host()
    async with app.run_test() as pilot:
        for make in DIALOGS:
            app.push_screen(make(), app.results.append)
            for key in KEYS:
                await app._check_bindings(
                    key
                )  # pressed before, on the chat, which had no use for it
            await pilot.pause()
            await pilot.press("escape")
            app.push_screen(make(), app.results.append)
            await app._check_bindings("escape")  # before it is there
            await pilot.pause()
            assert len(app.screen_stack) == 1
        assert app.results == [None] * 2 * len(DIALOGS)


async def test_a_key_behind_the_one_that_leaves_ends_nothing():
    app = Host()
    async with app.run_test() as pilot:
        for make in DIALOGS:
            app.push_screen(make(), app.results.append)
            await pilot.pause()
            dialog = app.screen
            dialog.dismiss(None)
            while dialog.children:
                for key in KEYS:
                    await app._check_bindings(key)
                await asyncio.sleep(0)
        assert app.results == [None] * len(DIALOGS)
