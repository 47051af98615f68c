"""The whole screen while text turns out to be thought, and thought to be text."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import Rethought, StreamFinished, TextDelta
from tests.support.desktop import gone, ready_desktop, shown

END = StreamFinished(reason="stop")


@pytest.mark.rule("R-17")
async def test_thought_and_text_are_separate_after_a_return_to_a_session_and_behind_another(
    tmp_path,
):
    """What had come when the session was shown again is no older answer that is gone on with."""
    gates = [asyncio.Event() for _ in range(4)]
    late = [TextDelta(text="Let me see"), gates[0], TextDelta(text=": 2+2"), Rethought()]
    hidden = [TextDelta(text="I wonder"), gates[2], Rethought(), TextDelta(text="Six")]
    async with ready_desktop(
        tmp_path, [*late, TextDelta(text="Four"), gates[1], END], [*hidden, gates[3], END]
    ) as desk:
        await desk.say("2+2?", sees="Let me see")
        first = desk.conversation
        await desk.press("ctrl+n", hides="Let me see")
        await desk.open_in_list(first.header.session_id)
        await shown(desk, "Let me see")
        gates[0].set()
        await shown(desk, "Four")
        await gone(desk, "Let me see")
        gates[1].set()
        await desk.answered()

        await desk.say("3+3?", sees="I wonder")
        await desk.press("ctrl+n", hides="I wonder")
        gates[2].set()
        await desk.until(
            lambda: first.shown_messages[-1].text == "Six", "the answer behind the screen"
        )
        assert "Six" not in desk.text
        await desk.open_in_list(first.header.session_id)
        await shown(desk, "Six")
        assert "I wonder" not in desk.text
        gates[3].set()
        await desk.until(lambda: not first.is_running, "the end")
