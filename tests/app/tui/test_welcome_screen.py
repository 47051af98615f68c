from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from msgspec.structs import replace
from textual.screen import Screen

from lmchat.app.tui.welcome.server_rows import LocalSetup, server_rows, welcome_rows
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.servers.discovery.status import STATUS
from lmchat.core.servers.local.demo import SMOLLM2
from lmchat.core.servers.local.installed import Installed
from tests.support.look_data import PLACES, place
from tests.support.start_desk import bare_page, found
from tests.support.tui_host import Host, drawn, screen_text

SIZE = (120, 34)


def rows_of(*results, here=LocalSetup(), width=96):  # noqa: B008 - it never changes
    return welcome_rows(here, server_rows(results, here), width)


def words_of(rows) -> str:
    pieces = ((*row.pieces, row.right) for row in rows)
    return "\n".join("".join(text for piece in row for text, _ in piece) for row in pieces)


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
        await pilot.press("9")  # there are fewer rows
        welcome = app.screen
        await app.push_screen(Screen())
        welcome.action_accept()  # by a click that came with the key for a dialog
        await pilot.pause()
        assert len(app.of(WelcomeScreen.Chosen)) == 1


async def test_a_search_that_ends_while_the_page_closes_does_no_harm():
    async with page() as (app, _):
        closed = app.screen
        closed.leave()
        while closed.is_attached:
            closed.show(found(PLACES))
            await asyncio.sleep(0)


def test_every_verdict_has_a_sign_and_a_word_at_every_width():
    for reason, meaning in STATUS.items():
        for width in (96, 56, 10, 0):  # 0: before the page is laid out
            rows = rows_of(replace(PLACES[0], reason=reason), width=width)
            text = words_of(rows)
            assert meaning.word in text
            assert any(sign in text for sign in "●◆×·")


JAN = place("Jan", 1337, "auth", "Copy it: Settings, Local API Server, API Key")
AWAY = (
    place("vLLM", 8000, "offline", "vllm serve MODEL"),
    place("Jan", 1337, "timeout", "Check it"),
)


async def test_the_servers_are_one_table_at_every_size_and_the_head_has_the_whole_step():
    for size, has_port, has_step in (
        ((120, 40), True, True),
        ((100, 30), True, True),
        ((80, 24), False, True),
        ((60, 20), False, True),
        ((40, 12), False, False),
    ):
        async with page(found((JAN, *PLACES)), size=size) as (app, pilot):
            lines = screen_text(app).split("\n")
            (head,) = (y for y, line in enumerate(lines) if " Server " in line)
            assert ("Port" in lines[head]) is has_port
            assert ("Next step" in lines[head]) is has_step
            assert lines[head + 1].strip("─ ") == ""
            rows = lines[head + 2 : head + 9 if size[1] > 12 else head + 5]
            assert all(row[lines[head].index("Result") :].strip() for row in rows)
            assert "needs key" in rows[0]
            assert rows[0].endswith("Enter")
            text = " ".join(screen_text(app).split())
            assert (JAN.next_step in text) is has_step
            await pilot.press("down", "up")
            await pilot.pause()
            text = " ".join(screen_text(app).split())
            assert (f"Jan: {JAN.next_step}" in text) is has_step


def test_servers_come_first_only_if_one_answers_or_is_a_step_away():
    engine = LocalSetup(offer=SMOLLM2)
    installed = Installed(product="vLLM", start=("/vllm",), how_to_start="vllm serve")
    near = LocalSetup(offer=SMOLLM2, installed=(installed,))
    for places, machine, is_first in (
        ((*AWAY, JAN), engine, True),
        (PLACES, engine, True),  # LM Studio runs
        (AWAY, near, True),  # Enter starts one
        (AWAY, engine, False),
        ((), engine, False),
    ):
        text = words_of(rows_of(*places, here=machine))
        assert ("Try the built-in engine" in text.partition("Server")[2]) is is_first
