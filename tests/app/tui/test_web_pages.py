"""`/file https://…` in the prompt of the whole app, with real sockets."""

from __future__ import annotations

import threading

import pytest

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.screen import ChatScreen
from tests.support.desktop import shown
from tests.support.page_host import PageHost, reply_of


@pytest.fixture
def host():
    with PageHost() as pages:
        yield pages


async def test_a_question_takes_enter_only_if_the_users_own_enter_has_opened_it(desk, host):
    is_typed = threading.Event()

    def leads_elsewhere():
        is_typed.wait(10)
        yield reply_of(b"", status="302 Found", extra="Location: http://localhost:9/\r\n")

    address = host.put("/beans", leads_elsewhere())
    await desk.say(f"/file {address}", leads_to=ConfirmDialog, sees="Enter download")
    await desk.confirm(leads_to=ChatScreen)
    await desk.type("x")
    is_typed.set()
    await desk.on(ConfirmDialog)
    await shown(desk, "http://localhost:9/", "F7 download")
    await desk.press("enter", sees="Press F7 to download")
    await desk.press("escape", leads_to=ChatScreen)
    assert desk.prompt_input.text == "x"


async def test_esc_stops_a_slow_page(desk, host):
    is_over = threading.Event()

    def chunks():
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
        while not is_over.wait(0.01):
            yield b"x"

    address = host.put("/slow", chunks())
    await desk.say(f"/file {address}", leads_to=ConfirmDialog)
    await desk.at_rest()
    assert "Downloading:" not in desk.text, "the user has not agreed yet"
    await desk.confirm()
    await shown(desk, f"Downloading: {address}", "Esc stops it")
    await desk.press("escape", hides="Downloading")
    is_over.set()
    assert desk.prompt_input.text == ""
