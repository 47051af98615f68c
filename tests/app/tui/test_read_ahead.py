"""Reading ahead on the screen: what the panel shows, and what ends it."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.core.servers.events import PromptProgress
from tests.support.desktop import ready_desktop
from tests.support.scripted_backend import llama

LONG = "The lettuce grows between the beans. " * 100
READING = PromptProgress(fraction=0.62, processed_tokens=620, total_tokens=1000)


@pytest.fixture
async def desk(tmp_path):
    """The app on a server that stops in each reading at 62 %, until it is cancelled."""
    backend = llama(context_loaded=100_000)
    backend.reading_script = [READING, asyncio.Event()]
    async with ready_desktop(tmp_path, backend=backend) as desk:
        yield desk


async def start_reading(desk) -> None:
    """Give the session about 900 tokens to read, and type until the server reads them."""
    desk.dispatcher.commands.run_line(f"/system {LONG}", desk.prompt_input.prompt)
    await desk.until(lambda: desk.chat.active.messages)
    desk.prompt_input.put("What ")
    await desk.backend.is_reading.wait()


async def test_enter_ends_the_reading_before_the_prompt_is_sent(desk):
    await start_reading(desk)
    await desk.press("enter")
    await desk.answered()
    assert desk.backend.cancelled_read_aheads == 1
    assert len(desk.backend.read_ahead_requests) == 1
    assert len(desk.backend.requests) == 1
