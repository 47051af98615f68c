"""A key that comes before a dialog has its rows, or while they go, ends nothing."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.tui.screens.help_screen import HelpScreen
from lmchat.tui.screens.palette import Palette
from lmchat.tui.screens.search_dialog import SearchDialog
from lmchat.tui.screens.text_dialog import LinksDialog
from tests.support.look_data import SilentStore
from tests.support.tui_host import Host

KEYS = ("up", "down", "pageup", "pagedown", "home", "end", "enter")
DIALOGS = (HelpScreen, lambda: SearchDialog(SilentStore()), lambda: LinksDialog({}), Palette)
pytestmark = pytest.mark.parametrize("make", DIALOGS, ids=["help", "search", "links", "palette"])


async def test_a_key_that_is_faster_than_a_dialog_ends_nothing(make):
    app = Host()
    async with app.run_test() as pilot:
        app.push_screen(make(), app.results.append)
        for key in KEYS:
            await app._check_bindings(key)  # pressed before, on the chat, which had no use for it
        await pilot.pause()
        await pilot.press("escape")
        assert app.results == [None]


async def test_a_dialog_that_is_left_before_it_is_there_ends_nothing_else(make):
    app = Host()
    async with app.run_test() as pilot:
        app.push_screen(make(), app.results.append)
        await app._check_bindings("escape")
        await pilot.pause()
        assert len(app.screen_stack) == 1


async def test_a_key_behind_the_one_that_leaves_ends_nothing(make):
    app = Host()
    async with app.run_test() as pilot:
        app.push_screen(make(), app.results.append)
        await pilot.pause()
        dialog = app.screen
        dialog.dismiss(None)
        while dialog.children:
            for key in KEYS:
                await app._check_bindings(key)
            await asyncio.sleep(0)
        assert app.results == [None]
