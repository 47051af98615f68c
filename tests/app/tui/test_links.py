from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.dialogs.text_dialog import LinksDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.base.markdown.links import ascii_host
from tests.support.desktop import click, ready_desktop, shown
from tests.support.scripted_backend import answer_steps

LONG = f"https://other.example/{'x' * 9_000}"


async def test_l_lists_the_links_with_their_words_and_enter_asks_before_it_opens_one(tmp_path):
    two = answer_steps(f"See [the guide](https://guide.example/a) and {LONG}")
    async with ready_desktop(tmp_path, two, asked=["hello"]) as desk:
        await desk.press("alt+up", "l", leads_to=LinksDialog)
        await shown(desk, "the guide", "https://guide.example/a", "https://other.example/x")
        await desk.press("y")
        await desk.until(lambda: desk.copied == ["https://guide.example/a"])
        await desk.press("down", "enter", leads_to=ConfirmDialog, sees="at other.example")
        await desk.press("escape", leads_to=ChatScreen)
        assert desk.opened == []
        await desk.press("alt+up", "l", leads_to=LinksDialog)
        await desk.press("down", "enter", leads_to=ConfirmDialog)
        await desk.confirm(leads_to=ChatScreen)
        assert desk.opened == [LONG]
        desk.has_browser = False
        await desk.press("alt+up", "l", leads_to=LinksDialog)
        await desk.press("enter", leads_to=ConfirmDialog)
        await desk.confirm(sees="No browser is available")
        await desk.until(lambda: desk.copied == ["https://guide.example/a"] * 2)


async def test_what_is_no_page_of_the_web_is_never_opened_and_a_click_on_a_page_asks_too(tmp_path):
    text = "HTTP and https. [a](javascript:alert(1)) [b](file:///etc/passwd) [e](vscode://open) <ftp://d.example> [f](/relative)"
    async with ready_desktop(tmp_path, answer_steps(text), asked=["hello"]) as desk:
        await desk.press("alt+up", "l", sees="This message has no links.")
        assert desk.opened == []
        assert "l links" not in desk.text
        await desk.press("escape")
        desk.backend.scripts = [answer_steps("`https://code.example` [b](file:///etc/passwd)")]
        await desk.ask("hello", 2)
        await desk.press("alt+up", "l", sees="This message has no links.")
        await desk.press("escape")
        desk.backend.scripts = [answer_steps("Here: https://one.example/x")]
        await desk.ask("hello", 3)
        await shown(desk, "Here: https")
        await click(desk, "one.ex")
        await desk.on(ConfirmDialog)
        assert desk.opened == []


def test_an_address_that_pretends_to_be_another_tells_its_host():
    for address, host in (
        ("https://bank.example@evil.example/", "evil.example"),
        ("https://b\u0430nk.example/", "xn--bnk-6cd.example"),
        ("https://stra\u00dfe.example/", "xn--strae-oqa.example"),
        ("https://\u2603.example/", "xn--n3h.example"),
    ):
        assert ascii_host(address) == host
