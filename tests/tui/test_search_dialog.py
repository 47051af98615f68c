from __future__ import annotations

from msgspec.structs import replace

from lmchat.errors import StoreUnavailable
from lmchat.tui.dialogs.search_dialog import SearchDialog
from lmchat.tui.widgets.row_list import RowList
from tests.support.look_data import HITS, NOW, search_dialog
from tests.support.tui_host import Host, drawn, screen_text


async def test_hits_are_shown_with_who_when_and_the_words_around():
    searches = []

    async def search(query, *, limit):
        searches.append((query, limit))
        if query == "sh":
            raise StoreUnavailable("The store cannot be read\x1b[2J")
        return HITS

    async with drawn(Host(screen=lambda: SearchDialog(search, lambda: NOW))) as (app, pilot):
        await pilot.press(*"sha", "backspace")
        await pilot.pause()
        assert searches[-1] == ("sh", 100)  # every change is searched
        assert "The store cannot be read␛[2J" in screen_text(app)
        await pilot.press(*"ade")
        await pilot.pause()
        text = screen_text(app)
        assert "4 hits in 3 sessions" in text
        assert "you · today 14:02" in text
        assert "gemma-3-4b · 3 November" in text
        assert "… takes the widest rows first; those that bear shade go last …" in text
        await pilot.click(RowList, offset=(10, 4))  # the second row of a hit
        await pilot.pause()
        assert app.results == [HITS[1]]


async def test_a_hundred_hits_are_shown_and_more_are_told_by_a_sign():
    many = [replace(HITS[0], message_id=f"m{number}", title="") for number in range(101)]
    async with drawn(Host(screen=lambda: search_dialog(many))) as (app, pilot):
        await pilot.press(*"shade")
        await pilot.pause()
        assert "100+ hits in 1 session" in screen_text(app)
        assert "Untitled" in screen_text(app)
        await pilot.press(*["pagedown"] * 40, "enter")
        assert app.results == [many[99]]


async def test_nothing_found_says_what_may_help_and_enter_takes_nothing():
    async with drawn(Host(screen=lambda: search_dialog(()))) as (app, pilot):
        await pilot.press(*"shade", "space", *"has:code")
        await pilot.pause()
        assert "No hits for “shade has:code”. Try fewer words." in screen_text(app)
        await pilot.press("enter", "down")
        assert app.results == []
