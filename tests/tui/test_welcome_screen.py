from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from textual import events

from lmchat.servers.discovery.probe_result import Verdict
from lmchat.services.server_rows import MachineState, server_rows
from lmchat.tui.dialogs.ask_dialog import AskDialog
from lmchat.tui.welcome.welcome_rows import welcome_rows
from lmchat.tui.welcome.welcome_screen import WelcomeScreen
from tests.support.look_data import PLACES
from tests.support.start_desk import NotedConnect, bare_page
from tests.support.tui_host import Host, drawn, screen_text

SIZE = (120, 34)


def rows_of(*results, here=MachineState(), width=96):  # noqa: B008 - it never changes
    return welcome_rows(here, server_rows(results, here), width)


@pytest.fixture
def connect():
    return NotedConnect()


@asynccontextmanager
async def page(connect=None, places=PLACES, *, size=SIZE, clock=lambda: 0.0):
    """Run the page, and show it what was found 2 s ago."""
    host = Host(screen=lambda: bare_page(clock=clock, connect=connect))
    async with drawn(host, size) as (app, pilot):
        if places:
            app.screen.show(places, 2.0, 3.0)
            await pilot.pause()
        yield app, pilot


async def test_every_place_is_told_with_its_verdict_and_next_step():
    async with page(places=()) as (app, pilot):
        assert "Checking" in screen_text(app)
        assert "Type an address" in screen_text(app)
        app.screen.show(PLACES, 2.0, 3.0)
        await pilot.pause()
        text = screen_text(app)
        assert "LM Studio runs, but its server is off." in text
        for place in PLACES:
            line = [line for line in text.split("\n") if place.next_step in line][-1]
            assert place.product in line
            assert str(place.endpoint.port) in line
            assert place.verdict.value in line
        assert "7 addresses checked 2 s ago; next check in 3 s" in text
        await pilot.press("enter")  # no place can be chosen: none has a server
        await pilot.pause()
        assert isinstance(app.screen, AskDialog)


async def test_a_letter_opens_no_dialog_and_a_pasted_address_does(connect):
    async with page(connect) as (app, pilot):
        await pilot.press(*"gpu-box")
        await pilot.pause()
        assert isinstance(app.screen, WelcomeScreen)
        app.screen.post_message(events.Paste("http://localhost:9\n"))
        await pilot.pause()
        assert isinstance(app.screen, AskDialog)
        await pilot.press("enter")
        await pilot.pause()
        assert connect.of("try_address") == [["http://localhost:9"]]


async def test_what_is_no_address_is_told_under_the_input(connect):
    async with page(connect, ()) as (app, pilot):
        await pilot.press("f5", "ctrl+k")
        await pilot.pause()
        assert connect.of("check_now") == [[]]
        assert connect.of("search_sessions") == [[]]
        await pilot.press("enter", *"ftp://x", "enter")
        assert "! Endpoint not allowed: only http:// and https:// are" in screen_text(app)
        await pilot.press("escape")
        assert connect.of("try_address") == []


def test_every_verdict_has_a_sign_and_a_word_at_every_width():
    for verdict in Verdict:
        for width in (96, 74, 56, 36, 10):
            rows = rows_of(replace(PLACES[0], verdict=verdict), width=width)
            text = "\n".join(
                "".join(text for piece in (*row.pieces, row.right) for text, _ in piece)
                for row in rows
            )
            assert verdict.value in text
            assert any(sign in text for sign in "●◆×·")
