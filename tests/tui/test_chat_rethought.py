"""The whole screen while text turns out to be thought, and thought to be text."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import Rethought, StreamFinished, TextDelta
from tests.support.desktop import gone, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend
from tests.tui.test_chat_sessions import open_in_list

END = StreamFinished(reason="stop")


@pytest.mark.rule("R-17")
async def test_text_that_turns_out_to_be_thought_is_folded_also_after_a_return_to_its_session(
    tmp_path,
):
    """What had come when the session was shown again is no older answer that is gone on with."""
    gates = [asyncio.Event(), asyncio.Event()]
    late = [TextDelta(text="Let me see"), gates[0], TextDelta(text=": 2+2"), Rethought()]
    async with ready_desktop(tmp_path, [*late, TextDelta(text="Four"), gates[1], END]) as desk:
        await desk.say("2+2?", sees="Let me see")
        first = desk.conversation
        await desk.press("ctrl+n", hides="Let me see")
        await open_in_list(desk, first.header.session_id)
        await shown(desk, "Let me see")
        gates[0].set()
        await shown(desk, "Four")
        await gone(desk, "Let me see")
        gates[1].set()
        await desk.answered()


@pytest.mark.rule("R-17")
async def test_thought_and_text_are_separate_also_in_a_session_that_is_not_shown(tmp_path):
    gate, end = asyncio.Event(), asyncio.Event()
    backend = ScriptedBackend(
        [TextDelta(text="Let me see"), gate, Rethought(), TextDelta(text="Four"), end, END]
    )
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("2+2?", sees="Let me see")
        first = desk.conversation
        await desk.press("ctrl+n", hides="Let me see")
        gate.set()
        await desk.until(
            lambda: first.shown_messages[-1].text == "Four", "the answer behind the screen"
        )
        assert "Four" not in desk.text
        await open_in_list(desk, first.header.session_id)
        await shown(desk, "Four")
        assert "Let me see" not in desk.text
        end.set()
        await desk.until(lambda: not first.is_running, "the end")
