"""`i`: the details of an answer on the screen."""

from __future__ import annotations

import asyncio

from lmchat.domain.event import ModelNamed, RequestSent, StreamFinished, TextDelta, UsageReported
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.text_dialog import TextDialog
from tests.support.desktop import half, ready_desktop, shown
from tests.support.hostile import EVIL, OBEYED
from tests.support.scripted_backend import answer_steps

HOSTILE = [
    RequestSent(sampling={"stop": (EVIL,), f"extra.{EVIL}": EVIL}),
    ModelNamed(model=EVIL * 20, build=EVIL),
    TextDelta(text="Peas."),
    UsageReported(prompt_tokens=20, completion_tokens=2, cached_tokens=3),
    StreamFinished(reason=EVIL),
]


async def test_words_of_servers_reach_neither_the_terminal_nor_the_clipboard_raw(tmp_path):
    async with ready_desktop(tmp_path, HOSTILE, asked=["one"]) as desk:
        await desk.press("alt+up", "i", leads_to=TextDialog)
        for size in ((80, 24), (120, 40), (200, 60)):
            await desk.pilot.resize_terminal(*size)
            await shown(desk, "20 tokens: 3 cached, 17 read")
            assert not OBEYED & set(desk.text)
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert not OBEYED & set(desk.copied[0])
        assert desk.copied[0].startswith("Model ")
        await desk.press("escape", leads_to=ChatScreen)


async def test_only_answers_that_have_ended_have_details_and_the_command_shows_the_last(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Peas", gate, "."), answer_steps()) as desk:
        await desk.say("one", sees="Peas")
        await desk.say("/details", sees="An answer is still streaming.")
        desk.prompt_input.put("")
        gate.set()
        await desk.answered()
        await desk.press("alt+up", "alt+up", "i", sees="Only answers have details.")
        assert isinstance(desk.app.screen, ChatScreen)
        await desk.press("escape")
        await desk.ask("two", 2)
        await desk.say("/details", leads_to=TextDialog, sees="42.3 tok/s")
