"""Reading ahead on the screen: what the panel shows, and what ends it."""

from __future__ import annotations

import asyncio

from lmchat.core.servers.events import PromptProgress
from tests.support.desktop import ready_desktop
from tests.support.scripted_backend import llama

LONG = "The lettuce grows between the beans. " * 100
READING = PromptProgress(fraction=0.62, processed_tokens=620, total_tokens=1000)


async def test_enter_ends_the_reading_before_the_prompt_is_sent(tmp_path):
    backend = llama(context_loaded=100_000)
    backend.reading_script = [READING, asyncio.Event()]  # it stops there until it is cancelled
    async with ready_desktop(tmp_path, backend=backend) as desk:
        desk.dispatcher.commands.run_line(f"/system {LONG}", desk.prompt_input.prompt)
        await desk.until(lambda: desk.chat.active.messages)
        desk.prompt_input.put("What ")
        await backend.is_reading.wait()
        await desk.press("enter")
        await desk.answered()
    assert backend.cancelled_read_aheads == 1
    assert len(backend.read_ahead_requests) == len(backend.requests) == 1
