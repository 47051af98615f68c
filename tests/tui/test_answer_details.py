"""`i`: the details of an answer on the screen."""

from __future__ import annotations

import asyncio

from lmchat.servers.events import (
    ModelNamed,
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.tui.dialogs.text_dialog import TextDialog
from lmchat.tui.screen import ChatScreen
from tests.support.desktop import ready_desktop, shown
from tests.support.hostile import EVIL, OBEYED

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
            await shown(desk, "Details")
            assert not OBEYED & set(desk.text)
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert not OBEYED & set(desk.copied[0])
        assert desk.copied[0].startswith("Model ")
        assert "20 tokens: 3 cached, 17 read" in desk.copied[0]
        await desk.press("escape", leads_to=ChatScreen)


async def test_of_an_answer_that_streams_the_state_is_told(tmp_path):
    gate = asyncio.Event()
    streaming = [
        RequestSent(sampling={"temperature": 0.7}),
        ModelNamed(model="qwen3-8b"),
        TextDelta(text="Peas "),
        gate,
        TextDelta(text="grow."),
        UsageReported(prompt_tokens=20, completion_tokens=2),
        StreamFinished(reason="stop"),
    ]
    async with ready_desktop(tmp_path, streaming) as desk:
        await desk.say("one", sees="Peas")
        await desk.say("/details", leads_to=TextDialog, sees="streaming")
        await desk.press("escape", leads_to=ChatScreen)
        gate.set()
        await desk.answered()
        await desk.say("/details", leads_to=TextDialog, sees="20 tokens")
