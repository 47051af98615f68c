"""`@https://…` and `/file https://…` in the prompt of the whole app, with real sockets."""

from __future__ import annotations

import threading

import pytest
from textual import events

from lmchat.config.settings import Settings, UiSettings
from lmchat.tui.screens.ask_dialog import PageDialog
from tests.support.desktop import ready_desktop, sent, shown
from tests.support.page_host import PageHost, reply_of
from tests.support.scripted_backend import answer

PAGE = reply_of(b"<script>evil()</script><p>Beans like <b>sun</b>.")


@pytest.fixture
def host():
    with PageHost() as pages:
        yield pages


async def asks(desk) -> None:
    await desk.on(PageDialog)


async def until_prompt(desk, text: str) -> None:
    await desk.until(lambda: desk.prompt_input.text == text, f"{text!r}")


async def test_a_blank_makes_a_block_once_the_question_is_answered(desk, host):
    address = host.put("/beans", PAGE)
    await desk.type(f"Sum up @{address}")
    assert desk.app.screen is desk.chat
    await desk.press("space")
    await asks(desk)
    await shown(desk, "Download this page?", address, f"Host: 127.0.0.1, port {host.port}")
    assert host.connections == 0
    await desk.press("enter")
    assert host.connections == 0
    await desk.confirm()
    await until_prompt(desk, f"[{address} (15 bytes)]\nSum up {address} ")
    assert host.connections == 1
    assert desk.backend.requests == []


async def test_enter_waits_for_the_answer_and_then_sends(tmp_path, host):
    address = host.put("/beans", PAGE)
    async with ready_desktop(tmp_path, answer("Yes.")) as desk:
        await desk.type(f"Is @{address}, right?")
        await desk.press("enter")
        await asks(desk)
        assert (host.connections, desk.backend.requests) == (0, [])
        await desk.confirm()
        await desk.answered()
        block = f"{address} (15 bytes):\n```\nBeans like sun.\n```\n"
        assert sent(desk.backend) == [f"{block}Is {address}, right?"]


async def test_a_refused_page_stays_as_typed_and_the_next_enter_sends_it(tmp_path, host):
    address = host.put("/beans", PAGE)
    async with ready_desktop(tmp_path, answer("Yes.")) as desk:
        text = f"Why @{address}"
        await desk.type(text)
        await desk.press("enter")
        await asks(desk)
        await desk.press("escape")
        await shown(desk, "Nothing was downloaded from", "Enter sends the text as it is.")
        assert (desk.prompt_input.text, desk.backend.requests) == (text, [])
        await desk.press("enter")
        await desk.answered()
        assert (sent(desk.backend), host.connections) == ([text], 0)


async def test_after_a_refused_page_enter_tries_the_others(tmp_path, host):
    refused, wanted = host.put("/peas", PAGE), host.put("/beans", PAGE)
    async with ready_desktop(tmp_path, answer("Yes.")) as desk:
        desk.prompt_input.post_message(events.Paste(f"Why @{refused} or @{wanted}?"))
        await desk.until(lambda: "or" in desk.prompt_input.text, "the text")
        await desk.press("enter")
        await asks(desk)
        await desk.press("escape")
        await shown(desk, "Enter tries the other pages.")
        await desk.press("enter")
        await asks(desk)
        await desk.confirm()
        await desk.answered()
        [prompt] = sent(desk.backend)
        assert f"@{refused}" in prompt
        assert f"@{wanted}" not in prompt


async def test_a_page_that_is_no_text_stays_as_typed(desk, host):
    address = host.put("/zip", reply_of(b"PK", "application/zip"))
    await desk.type(f"Why @{address}")
    await desk.press("enter")
    await asks(desk)
    await desk.confirm()
    await shown(desk, "The page is application/zip, which is")
    assert desk.prompt_input.text == f"Why @{address}"
    assert desk.backend.requests == []


async def test_the_next_page_of_a_host_is_fetched_without_a_question(desk, host):
    first, second = host.put("/a", PAGE), host.put("/b", PAGE)
    await desk.say(f"/file {first}")
    await asks(desk)
    await desk.confirm()
    await until_prompt(desk, f"[{first} (15 bytes)]\n")
    await desk.say(f"/file {second}")
    await until_prompt(desk, f"[{first} (15 bytes)]\n[{second} (15 bytes)]\n")


async def test_a_refused_page_of_the_command_gives_the_command_back(desk, host):
    address = host.put("/a", PAGE)
    await desk.say(f"/file {address}")
    await asks(desk)
    await desk.press("escape")
    await until_prompt(desk, f"/file {address}")
    assert host.connections == 0


async def test_a_pasted_text_with_several_pages_is_fetched_with_enter_only(tmp_path, host):
    one, two = host.put("/a", PAGE), host.put("/ab", PAGE)
    settings = Settings(allowed_hosts=("127.0.0.1",), ui=UiSettings(reduced_motion=True))
    async with ready_desktop(tmp_path, answer("Yes."), settings=settings) as desk:
        desk.prompt_input.post_message(events.Paste(f"@{one} or @{two}?\nWhich, a@{one}?"))
        await desk.pilot.pause()
        assert host.connections == 0
        await desk.press("enter")
        await desk.answered()
        [text] = sent(desk.backend)
        assert text.endswith(f"```\n{one} or {two}?\nWhich, a@{one}?")
        assert text.count("Beans like sun.") == host.connections == 2


async def test_esc_stops_a_slow_page_and_typing_keeps_the_prompt(desk, host):
    is_over = threading.Event()

    def chunks():
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
        while not is_over.wait(0.01):
            yield b"x"

    address = host.put("/slow", chunks())
    await desk.type(f"Why @{address}")
    await desk.press("enter")
    await asks(desk)
    await desk.confirm()
    await shown(desk, f"Downloading: {address}", "Esc stops it")
    await desk.press("escape", hides="Downloading")
    is_over.set()
    assert desk.prompt_input.text == f"Why @{address}"
    assert desk.backend.requests == []


@pytest.mark.parametrize("typed", ["/title @{} ", "Mail a@{} ", "Look at {} "])
async def test_other_addresses_are_only_text(desk, host, typed):
    await desk.type(typed.format(host.put("/a", PAGE)))
    assert desk.app.screen is desk.chat
    assert host.connections == 0
