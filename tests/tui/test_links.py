from __future__ import annotations

import pytest

from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.text_dialog import LinksDialog
from tests.support.desktop import desktop, shown
from tests.support.scripted_backend import ScriptedBackend, answer
from tests.support.tui_host import screen_text

TWO = "See [the guide](https://guide.example/a) and https://other.example/b."


async def answered(desk, keys=("alt+up", "l")):
    await desk.ready()
    await desk.ask("hello", 1)
    await desk.press(*keys)


def is_on_top(desk, kind):
    return isinstance(desk.app.screen, kind)


async def test_l_lists_the_links_with_their_words_and_enter_asks_before_it_opens_one(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer(TWO))) as desk:
        await answered(desk)
        await desk.until(lambda: is_on_top(desk, LinksDialog))
        for words in ("the guide", "https://guide.example/a", "https://other.example/b"):
            await shown(desk, words)
        await desk.press("down", "enter")
        await desk.until(lambda: is_on_top(desk, ConfirmDialog))
        await shown(desk, "This page is at other.example")
        assert desk.opened == []
        await desk.press("enter")
        await desk.until(lambda: desk.opened == ["https://other.example/b"])


async def test_esc_opens_nothing(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("https://one.example"))) as desk:
        await answered(desk)
        await desk.until(lambda: is_on_top(desk, ConfirmDialog))
        await desk.press("escape")
        await desk.until(lambda: not is_on_top(desk, ConfirmDialog))
        await answered_again(desk)
        assert desk.opened == []


async def answered_again(desk):
    """What comes after the question shows that it did nothing."""
    await desk.press("l")
    await desk.until(lambda: is_on_top(desk, ConfirmDialog))


async def test_a_link_can_be_copied_from_the_list(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer(TWO))) as desk:
        await answered(desk)
        await desk.until(lambda: is_on_top(desk, LinksDialog))
        await desk.press("y")
        await desk.until(lambda: desk.copied == ["https://guide.example/a"])


async def test_without_a_browser_the_address_is_copied_and_that_is_told(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("https://one.example/x"))) as desk:
        desk.has_browser = False
        await answered(desk)
        await desk.until(lambda: is_on_top(desk, ConfirmDialog))
        await desk.press("enter")
        await desk.until(lambda: desk.copied == ["https://one.example/x"])
        await shown(desk, "No browser is available")


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:alert(1)) [b](file:///etc/passwd) [c](data:text/html,x) <ftp://d.example>",
        "[e](vscode://open) [f](/relative) [g](#part) [h](mailto:i@j.example) [k](http://)",
        "no link at all",
    ],
)
async def test_what_is_no_page_of_the_web_is_text_and_never_opened(tmp_path, text):
    async with desktop(tmp_path, ScriptedBackend(answer(text))) as desk:
        await answered(desk)
        await shown(desk, "This message has no links.")
        assert desk.opened == []


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[https://bank.example](https://evil.example/x)", "evil.example"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("https://b\u0430nk.example/", "xn--bnk-6cd.example"),
    ],
)
async def test_an_address_that_pretends_to_be_another_tells_its_host(tmp_path, text, host):
    async with desktop(tmp_path, ScriptedBackend(answer(text))) as desk:
        await answered(desk)
        await desk.until(lambda: is_on_top(desk, ConfirmDialog))
        await shown(desk, f"This page is at {host}")


async def test_a_click_on_a_link_asks_too(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("Here: https://one.example/x"))) as desk:
        await answered(desk, keys=())
        await shown(desk, "Here: https")
        y, line = next(
            (y, line) for y, line in enumerate(screen_text(desk.app).split("\n")) if "Here: https" in line
        )
        await desk.pilot.click(offset=(line.index("https") + 3, y))
        await desk.until(lambda: is_on_top(desk, ConfirmDialog))
        assert desk.opened == []


async def test_an_address_without_end_leaves_room_for_the_question(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("https://one.example/" + "x" * 9_000))) as desk:
        await answered(desk)
        await desk.until(lambda: is_on_top(desk, ConfirmDialog))
        await shown(desk, "This page is at one.example", "open it")
