"""`i`: the details of an answer on the screen."""

from __future__ import annotations

import asyncio

from lmchat.app.tui.dialogs.text_dialog import TextDialog
from lmchat.core.servers.events import (
    ModelNamed,
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from tests.support.desktop import ready_desktop
from tests.support.hostile import EVIL, OBEYED


async def test_details_wait_for_the_end_of_an_answer_and_no_words_of_its_server_are_raw(tmp_path):
    gate = asyncio.Event()
    streaming = [
        RequestSent(sampling={f"extra.{EVIL}": EVIL}),
        ModelNamed(model=EVIL * 20, build=EVIL),
        TextDelta(text="Peas "),
        gate,
        TextDelta(text="grow."),
        UsageReported(prompt_tokens=20, completion_tokens=2, cached_tokens=3),
        StreamFinished(reason=EVIL),
    ]
    async with ready_desktop(tmp_path, streaming) as desk:
        await desk.say("one", sees="Peas")
        await desk.say("/details", sees="The answer has not ended yet.")
        gate.set()
        await desk.answered()
        await desk.press("alt+up", "i", leads_to=TextDialog, sees="from the cache")
        assert not OBEYED & set(desk.text)
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert " · today " in desk.copied[0].splitlines()[0]
        assert not OBEYED & set(desk.copied[0])
        desk.app.screen.text_select_all()
        await desk.press("ctrl+c")
        await desk.until(lambda: "from the cache" in desk.copied[-1], "the selected text")
        await desk.press("ctrl+c", sees="again to quit")
