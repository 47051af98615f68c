from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from msgspec.structs import replace
from textual import events

from lmchat.servers.discovery.status import STATUS
from lmchat.tui.messages import ShowChat
from lmchat.tui.welcome.server_rows import MachineState, server_rows, welcome_rows
from lmchat.tui.welcome.welcome_screen import WelcomeScreen
from tests.support.look_data import PLACES
from tests.support.start_desk import bare_page, found
from tests.support.tui_host import Host, drawn, screen_text

SIZE = (120, 34)


def rows_of(*results, here=MachineState(), width=96):  # noqa: B008 - it never changes
    return welcome_rows(here, server_rows(results, here), width)


@asynccontextmanager
async def page(what=None, *, size=SIZE):
    host = Host(screen=lambda: bare_page(what))
    async with drawn(host, size) as (app, pilot):
        yield app, pilot


async def test_every_place_is_told_with_its_verdict_and_next_step():
    async with page() as (app, pilot):
        assert "Checking" in screen_text(app)
        assert "Type an address" in screen_text(app)
        app.screen.show(found(PLACES))
        await pilot.pause()
        text = screen_text(app)
        assert "LM Studio runs, but its server is off." in text
        assert all(place.next_step in text for place in PLACES)
        assert "Checked 2 s ago; next check in 3 s" in text
        await pilot.press("enter")  # no place can be chosen: none has a server
        await pilot.pause()
        assert [wish.choice for wish in app.of(WelcomeScreen.Chosen)] == ["address"]


async def test_a_letter_and_a_sentence_are_for_the_chat_and_a_pasted_word_is_an_address():
    async with page() as (app, pilot):
        await pilot.press("g", "slash")
        for pasted in ("http://localhost:9\n", "two words"):
            app.screen.post_message(events.Paste(pasted))
        await pilot.pause()
        typed = [wish.typed for wish in app.of(ShowChat)]
        assert [event.key for event in typed[:2]] == ["g", "slash"]
        assert [event.text for event in typed[2:]] == ["two words"]
        wishes = [(wish.choice, wish.typed) for wish in app.of(WelcomeScreen.Chosen)]
        assert wishes == [("address", "http://localhost:9")]


async def test_a_search_that_ends_while_the_page_closes_does_no_harm():
    async with page() as (app, _):
        closed = app.screen
        closed.leave()
        while closed.is_attached:
            closed.show(found(PLACES))
            await asyncio.sleep(0)


def test_every_verdict_has_a_sign_and_a_word_at_every_width():
    for reason, meaning in STATUS.items():
        for width in (96, 56, 10):
            rows = rows_of(replace(PLACES[0], reason=reason), width=width)
            text = "\n".join(
                "".join(text for piece in (*row.pieces, row.right) for text, _ in piece)
                for row in rows
            )
            assert meaning.word in text or "not allowed" in text
            assert any(sign in text for sign in "●◆×·")
