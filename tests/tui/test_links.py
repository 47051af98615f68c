from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.text_dialog import LinksDialog
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps

TWO = "See [the guide](https://guide.example/a) and https://other.example/b."


@asynccontextmanager
async def links_of(folder, text, leads_to=ConfirmDialog):
    """The app with the links of an answer, or the question whether the only one shall be opened."""
    async with ready_desktop(folder, answer_steps(text), asked=["hello"]) as desk:
        await desk.press("alt+up", "l", leads_to=leads_to)
        yield desk


async def test_l_lists_the_links_with_their_words_and_enter_asks_before_it_opens_one(tmp_path):
    async with links_of(tmp_path, TWO, LinksDialog) as desk:
        await shown(desk, "the guide", "https://guide.example/a", "https://other.example/b")
        await desk.press(
            "down", "enter", leads_to=ConfirmDialog, sees="This page is at other.example"
        )
        assert desk.opened == []
        await desk.confirm()
        await desk.until(lambda: desk.opened == ["https://other.example/b"])


async def test_esc_opens_nothing(tmp_path):
    async with links_of(tmp_path, "https://one.example") as desk:
        await desk.press("escape", leads_to=ChatScreen)
        await desk.press(
            "l", leads_to=ConfirmDialog
        )  # what comes after it shows that it did nothing
        assert desk.opened == []


async def test_a_link_can_be_copied_from_the_list(tmp_path):
    async with links_of(tmp_path, TWO, LinksDialog) as desk:
        await desk.press("y")
        await desk.until(lambda: desk.copied == ["https://guide.example/a"])


async def test_without_a_browser_the_address_is_copied_and_that_is_told(tmp_path):
    async with links_of(tmp_path, "https://one.example/x") as desk:
        desk.has_browser = False
        await desk.confirm()
        await desk.until(lambda: desk.copied == ["https://one.example/x"])
        await shown(desk, "No browser is available")


async def test_what_is_no_page_of_the_web_is_never_opened(tmp_path):
    text = "[a](javascript:alert(1)) [b](file:///etc/passwd) [e](vscode://open) <ftp://d.example> [f](/relative)"
    async with links_of(tmp_path, text, ChatScreen) as desk:
        await shown(desk, "This message has no links.")
        assert desk.opened == []


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[https://bank.example](https://evil.example/x)", "evil.example"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("https://b\u0430nk.example/", "xn--bnk-6cd.example"),
        ("https://stra\u00dfe.example/", "xn--strae-oqa.example"),
        ("[a](https://\u2603.example/)", "xn--n3h.example"),
    ],
)
async def test_an_address_that_pretends_to_be_another_tells_its_host(tmp_path, text, host):
    async with links_of(tmp_path, text) as desk:
        await shown(desk, f"This page is at {host}")


async def test_a_click_on_a_link_asks_too(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Here: https://one.example/x"), asked=["hello"]
    ) as desk:
        await shown(desk, "Here: https")
        y, line = next(
            (y, line) for y, line in enumerate(desk.text.split("\n")) if "Here: https" in line
        )
        await desk.pilot.click(offset=(line.index("https") + 3, y))
        await desk.on(ConfirmDialog)
        assert desk.opened == []


async def test_an_address_without_end_leaves_room_for_the_question(tmp_path):
    async with links_of(tmp_path, "https://one.example/" + "x" * 9_000) as desk:
        await shown(desk, "This page is at one.example", "open it")
