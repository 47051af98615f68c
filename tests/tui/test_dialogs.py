from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest
from textual import events

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.domain.web_page import PageAddress
from lmchat.tui.commands import COMMANDS
from lmchat.tui.screens.ask_dialog import (
    AskDialog,
    ConfirmDialog,
    OutsideDialog,
    PageDialog,
)
from lmchat.tui.screens.help_screen import HelpScreen
from lmchat.tui.screens.server_dialog import AllowDialog, KeyDialog
from lmchat.tui.screens.text_dialog import LinksDialog, TextDialog
from tests.support.tui_host import Host, confirm, drawn, screen_text

WIDE = (120, 40)
JAN = Endpoint.parse("127.0.0.1:1337")
PAGE = PageAddress(
    url="http://one.example/",
    scheme="http",
    host="one.example",
    port=80,
    origin="http://one.example",
)


async def test_an_answer_is_what_was_typed_without_blanks_around():
    async with drawn(Host(screen=lambda: AskDialog("Title", value="Old"))) as (app, pilot):
        await pilot.press("space", *"one", "space", "enter")
        assert app.results == ["Old one"]


async def test_an_empty_answer_is_not_taken():
    async with drawn(Host(screen=lambda: AskDialog("Title"))) as (app, pilot):
        await pilot.press("enter")
        assert "! Type something, or press Esc." in screen_text(app)
        assert app.results == []


async def test_a_paste_into_a_line_cannot_write_to_the_terminal():
    async with drawn(Host(screen=lambda: AskDialog("Title", value="old "))) as (app, pilot):
        app.focused.post_message(events.Paste("n\x1b]52;c;aGk=\x07e\x9b31m\u202ew\nsecond line"))
        await pilot.pause()
        assert "old n␛]52;c;aGk=␇e" in screen_text(app)
        assert not set("\x1b\x07\x9b\u202e") & set(screen_text(app))
        await pilot.press("enter")
        assert [one.endswith("w") for one in app.results] == [True]


async def test_what_cannot_be_taken_is_told_until_it_is_changed():
    def check(typed: str) -> str:
        return "" if typed == "okay" else "This file already exists"

    async with drawn(Host(screen=lambda: AskDialog("File", value="oka", check=check))) as (
        app,
        pilot,
    ):
        await pilot.press("enter")
        assert "! This file already exists" in screen_text(app)
        await pilot.press("y")
        assert "This file already exists" not in screen_text(app)
        await pilot.press("enter")
        assert app.results == ["okay"]


async def test_a_question_of_yes_or_no_takes_enter_for_yes_and_escape_for_no():
    async with drawn(
        Host(screen=lambda: ConfirmDialog("Allow gpu-box?", text="For this run.", verb="allow it"))
    ) as (app, pilot):
        assert "Enter allow it" in screen_text(app)
        confirm(app)
        await pilot.pause()
        app.push_screen(ConfirmDialog("Again?"), app.results.append)
        await pilot.press("escape")
        assert app.results == [True, None]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (partial(ConfirmDialog, "Open this link?"), "so be it\n"),
        (partial(AllowDialog, JAN), "and then\n"),
        (partial(OutsideDialog, [Path("/etc/passwd")]), "any day"),
        (partial(PageDialog, PAGE), "any day"),
    ],
)
async def test_running_text_answers_no_question_however_long_it_has_been_open(make, text):
    async with drawn(Host(screen=make)) as (app, pilot):
        dialog = app.screen
        dialog.ready_s = time.monotonic() - 10
        for number, letter in enumerate(text):
            event = events.Key("enter" if letter == "\n" else letter, letter)
            event.time = time.monotonic() + number * 0.1
            event.set_sender(app)
            app._driver.send_message(event)
            await pilot.pause()
        assert app.screen is dialog
        confirm(app)
        await pilot.pause()
        assert app.results == [True]


@pytest.mark.parametrize(
    "product", [one for one in Product if one is not Product.OPENAI_COMPATIBLE]
)
def test_every_product_has_a_place_where_its_key_is_shown(product):
    assert product.facts.where_key_is.endswith(".")
    assert product.facts.where_key_is != Product.OPENAI_COMPATIBLE.facts.where_key_is


async def wait(_typed: str) -> str:
    await asyncio.Event().wait()


async def refuse(_typed: str) -> str:
    return "Jan refused this key."


async def test_a_key_is_never_on_the_screen_while_it_is_tried():
    tried = []

    async def attempt(key: str) -> str:
        tried.append(key)
        return await wait(key)

    async with drawn(Host(screen=lambda: KeyDialog(Product.JAN, JAN, attempt))) as (app, pilot):
        await pilot.press(*"s3cret", "enter")
        await pilot.pause()
        text = screen_text(app)
        assert "Jan shows it under Settings, Local API Server" in text
        assert "http://127.0.0.1:1337" in text
        assert "s3cret" not in text
        assert "Checking the API key" in text
        assert tried == ["s3cret"]
        assert app.results == []


async def test_the_verdict_on_a_key_is_shown_until_another_is_typed():
    async with drawn(Host(screen=lambda: KeyDialog(Product.JAN, JAN, refuse))) as (app, pilot):
        await pilot.press("k", "enter")
        await pilot.pause()
        assert "! Jan refused this key." in screen_text(app)
        await pilot.press("e")
        assert "refused" not in screen_text(app)


async def test_a_text_scrolls_to_its_end():
    async with drawn(
        Host(screen=lambda: TextDialog("Lines", "\n".join(f"line {n}" for n in range(200)))),
        (80, 24),
    ) as (app, pilot):
        assert "line 0" in screen_text(app)
        await pilot.press("end")
        await pilot.pause()
        assert "line 199" in screen_text(app)
        assert "Esc close" in screen_text(app)


async def test_a_text_can_be_copied_as_it_was_given_and_is_safe_on_the_screen():
    app = Host(screen=lambda: TextDialog("Title [b]x", "raw \x1b[2J [b]text[/b]"))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("y")
        await pilot.pause()
        assert app.clipboard == "raw \x1b[2J [b]text[/b]"
        assert "raw ␛[2J [b]text[/b]" in screen_text(app)
        assert "Title [b]x" in screen_text(app)


async def test_a_short_text_makes_a_short_dialog():
    async with drawn(Host(screen=lambda: TextDialog("Log file", "one\ntwo"))) as (app, _):
        assert app.screen.query_one(".dialog").size.height == 6


async def test_help_lists_every_command():
    async with drawn(Host(screen=HelpScreen), (120, 200)) as (app, _):
        text = screen_text(app)
    numbered = [command for command in COMMANDS if command.command_id.startswith("model_")]
    assert [c.title for c in COMMANDS if c not in numbered and c.title not in text] == []
    assert "Alt+1 … Alt+9" in text
    assert "/model [N]" in text
    assert "^B, F2" in text


async def test_help_can_be_filtered_and_scrolled():
    async with drawn(Host(screen=HelpScreen), (80, 24)) as (app, pilot):
        await pilot.press(*["pagedown"] * 9)
        await pilot.pause()
        assert "Refresh the lists" in screen_text(app)
        await pilot.press(*"export")
        await pilot.pause()
        assert "Export this session as Markdown" in screen_text(app)
        assert "Start a new session" not in screen_text(app)
        await pilot.press(*"zzz")
        assert "No command has “exportzzz”." in screen_text(app)
        await pilot.press("escape")
        assert app.results == [None]


@pytest.mark.parametrize(
    "make",
    [
        lambda: AskDialog("Title", text="Some words about it, a whole sentence.", value="x"),
        lambda: ConfirmDialog("Sure?", text="Some words about it, a whole sentence."),
        lambda: KeyDialog(Product.LLAMA_CPP, JAN, wait),
        lambda: TextDialog("Title", "text"),
        HelpScreen,
    ],
)
async def test_the_way_out_is_shown_at_40_by_12(make):
    async with drawn(Host(screen=make), (40, 12)) as (app, pilot):
        assert "Esc " in screen_text(app)
        await pilot.press("escape")
        assert app.results == [None]


async def test_a_verdict_that_comes_too_late_harms_nobody():
    async with drawn(Host(screen=lambda: KeyDialog(Product.JAN, JAN, wait))) as (app, pilot):
        await pilot.press("k", "enter")
        dialog = app.screen
        await pilot.press("escape")
        dialog.show_problem("Too late.")
        dialog.dismiss("k")
        await pilot.pause()
        assert app.results == [None]
        assert len(app.screen_stack) == 1


async def test_what_is_told_before_a_dialog_is_there_harms_nobody():
    async with Host().run_test():
        AskDialog("Title").show_problem("Too early")
        KeyDialog(Product.JAN, JAN, wait).show_problem("Too early")


async def test_a_dialog_below_another_leaves_when_its_turn_comes():
    async with drawn(Host(screen=lambda: AskDialog("Below"))) as (app, pilot):
        below = app.screen
        above = AskDialog("Above")
        app.push_screen(above, app.results.append)
        await pilot.pause()
        below.dismiss("left")
        await pilot.pause()
        assert app.screen is above
        await pilot.press("escape")
        await pilot.pause()
        await pilot.pause()
        assert app.results == [None, "left"]
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("size", [(40, 12), (60, 20), (80, 24)])
async def test_the_keys_of_a_question_stay_in_sight_however_long_it_is(size):
    question = " ".join(f"word{number}" for number in range(60))
    async with drawn(
        Host(screen=lambda: ConfirmDialog("Download it?", text=question, verb="download it")), size
    ) as (app, _):
        assert "Enter download it" in screen_text(app)
        assert "word9" in screen_text(app)


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_list_is_as_high_as_its_rows_also_where_there_is_one(count):
    links = {f"https://{n}.example": "" for n in range(count)}
    async with drawn(Host(screen=lambda: LinksDialog(links))) as (app, _):
        assert app.screen.list.size.height == count
