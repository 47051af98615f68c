from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.tui.dialogs.search_dialog import SearchDialog
from lmchat.tui.widgets.row_list import RowList
from tests.support.look_data import HITS, NOW, SilentStore
from tests.support.tui_host import Host, drawn, screen_text

WIDE = (120, 40)


@pytest.fixture
def store():
    return SilentStore()


def host(store: object, query: str = "") -> Host:
    return Host(screen=lambda: SearchDialog(store, query))


@pytest.fixture
async def pilot(store):
    async with host(store).run_test(size=WIDE) as pilot:
        yield pilot


async def test_hits_are_shown_with_who_when_and_the_words_around(store, app, pilot):
    await pilot.press(*"sha", "backspace")
    await pilot.pause()
    assert store.searches[-1] == ("sh", 100)  # every change is searched
    app.screen.show_problem("The store cannot be read\x1b[2J")
    await pilot.pause()
    assert "The store cannot be read␛[2J" in screen_text(app)
    await pilot.press(*"ade")
    dialog = app.screen
    dialog.show_hits(HITS, now=NOW)
    await pilot.pause()
    text = screen_text(app)
    assert "4 hits in 3 sessions" in text
    assert "you · today 14:02" in text
    assert "gemma-3-4b · 3 November" in text
    assert "… takes the widest rows first; those that bear shade go last …" in text
    await pilot.click(RowList, offset=(10, 4))  # the second row of a hit
    await pilot.pause()
    assert app.results == [HITS[1]]
    dialog.show_hits(HITS, now=NOW)
    dialog.show_problem("too late")


async def test_a_hundred_hits_are_shown_and_more_are_told_by_a_sign(store):
    many = [replace(HITS[0], message_id=f"m{number}") for number in range(100)]
    async with drawn(host(store, "shade")) as (app, pilot):
        for count, words in ((99, "99 hits in 1 session"), (100, "100+ hits in 1 session")):
            app.screen.show_hits(many[:count], now=NOW)
            await pilot.pause()
            assert words in screen_text(app)
        await pilot.press(*["pagedown"] * 40, "enter")
        assert app.results == [many[99]]


async def test_nothing_found_says_what_may_help_and_enter_takes_nothing(app, pilot):
    await pilot.press(*"shade", "space", *"has:code")
    app.screen.show_hits((), now=NOW)
    await pilot.pause()
    assert "No hits for “shade has:code”. Try without has:code." in screen_text(app)
    await pilot.press("enter", "down")
    assert app.results == []
