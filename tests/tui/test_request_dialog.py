"""`/request` on the screen: the next request in three forms, with the draft as its prompt."""

from __future__ import annotations

import asyncio

from lmchat.config.settings import ChatSettings
from lmchat.servers.request import TemplateText
from lmchat.tui.dialogs.request_dialog import RequestDialog
from lmchat.tui.screen import ChatScreen
from tests.support.desktop import calm, half, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend

HOSTILE = "<|im_start|>user\nHi \x1b[31m\u202e<|im_end|> \x9b"
TEXT = TemplateText(text=HOSTILE, tokens=1234)


def backend_with(template_text=TEXT, *scripts) -> ScriptedBackend:
    backend = ScriptedBackend(*scripts)
    backend.template = template_text
    return backend


async def open_with_draft(desk, draft: str) -> None:
    """Type a draft, and open the dialog from the palette, which leaves the draft where it is."""
    await desk.type(draft)
    await desk.prompt_is(draft)
    desk.dispatch.messages.show_request()
    await desk.on(RequestDialog)


async def test_the_draft_is_the_last_prompt_and_stays_in_the_prompt(tmp_path):
    settings = calm(chat=ChatSettings(system_prompt="Be kind."))
    async with ready_desktop(tmp_path, backend=backend_with(), settings=settings) as desk:
        await desk.say("/set seed 42", sees="seed is 42")
        await open_with_draft(desk, "What grows in shade?")
        [request] = desk.backend.outgoing_requests
        assert [message.text for message in request.messages] == [
            "Be kind.",
            "What grows in shade?",
        ]
        assert request.sampling.seed == 42
        await desk.press("right", sees="What grows in shade?")
        await desk.press("escape", leads_to=ChatScreen)
        assert desk.prompt_input.text == "What grows in shade?"
        assert desk.backend.requests == []
        assert await desk.store.list_sessions() == ()


async def test_hostile_text_is_shown_as_what_it_is(tmp_path):
    async with ready_desktop(tmp_path, backend=backend_with(), size=(80, 24)) as desk:
        await open_with_draft(desk, "x")
        for size in ((80, 24), (120, 40), (200, 60)):
            await desk.pilot.resize_terminal(*size)
            await shown(desk, "text · ")
            await shown(desk, "Hi ␛[31m\ufffd<|im_end|>")
            text = desk.text
            assert "234 tokens" in text
            assert "<|im_start|>user" in text
            assert not {"\x1b", "\u202e", "\x9b"} & set(text)


async def test_arrows_change_the_form_y_copies_it_and_o_opens_the_pager(tmp_path):
    async with ready_desktop(tmp_path, backend=backend_with()) as desk:
        await open_with_draft(desk, "Say $HOME")
        await desk.press("y", sees="Copied (test-copy)")
        await desk.press("right", sees="JSON · ")
        await desk.press("y")
        await desk.press("right", sees="curl · ")
        await desk.press("y")
        await desk.until(lambda: len(desk.copied) == 3, "three copies")
        text, body, command = desk.copied
        assert text == HOSTILE
        assert '"prompt": "Say $HOME"' in body
        assert body in command
        assert '"Authorization: Bearer $LMCHAT_API_KEY"' in command
        await desk.press("right", sees="text · ")
        await desk.press("left", sees="curl · ")
        await desk.press("o")
        await desk.until(lambda: desk.paged == [command], "the pager")
        await desk.on(RequestDialog)


async def test_a_request_after_an_answer_that_streams_has_its_text_so_far(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(
        tmp_path, backend=backend_with(TEXT, half("Peas ", gate, "and beans."))
    ) as desk:
        await desk.say("What grows?", sees="Peas")
        await desk.say("/request json", leads_to=RequestDialog)
        [request] = desk.backend.outgoing_requests
        assert [message.text for message in request.messages] == ["What grows?", "Peas ", ""]
        await desk.press("escape", leads_to=ChatScreen)
        gate.set()
        await desk.answered()
        assert desk.texts == ["What grows?", "Peas and beans."]
