"""`i`: the details of an answer on the screen."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import ModelNamed, RequestSent, StreamFinished, TextDelta, UsageReported
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.text_dialog import TextDialog
from tests.support.desktop import half, ready_desktop
from tests.support.scripted_backend import ScriptedBackend, answer_steps
from tests.tui.test_hostile_words import EVIL, OBEYED

HOSTILE = [
    RequestSent(sampling={"stop": (EVIL,), f"extra.{EVIL}": EVIL}),
    ModelNamed(model=EVIL * 20, build=EVIL),
    TextDelta(text="Peas."),
    UsageReported(prompt_tokens=20, completion_tokens=2, cached_tokens=3),
    StreamFinished(reason=EVIL),
]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_words_of_servers_reach_neither_the_terminal_nor_the_clipboard_raw(tmp_path, size):
    async with ready_desktop(tmp_path, HOSTILE, asked=["one"], size=size) as desk:
        await desk.press("alt+up", "i", leads_to=TextDialog, sees="20 tokens: 3 cached, 17 read")
        assert not OBEYED & set(desk.text)
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert not OBEYED & set(desk.copied[0])
        assert desk.copied[0].startswith("Model ")
        await desk.press("escape", leads_to=ChatScreen)


async def test_only_answers_that_have_ended_have_details(tmp_path):
    gate = asyncio.Event()
    backend = ScriptedBackend(half("Peas", gate, "."), answer_steps())
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("one", sees="Peas")
        await desk.say("/details", sees="An answer is still streaming.")
        gate.set()
        await desk.answered()
        await desk.press("alt+up", "alt+up", "i", sees="Only answers have details.")
        assert isinstance(desk.app.screen, ChatScreen)


async def test_the_slash_command_shows_the_last_answer(tmp_path):
    async with ready_desktop(tmp_path, asked=["one", "two"]) as desk:
        await desk.say("/details", leads_to=TextDialog, sees="42.3 tok/s")
