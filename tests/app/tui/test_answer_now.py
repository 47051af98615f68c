"""Answer now on the screen: the hint beside the thought, the key and the command."""

from __future__ import annotations

import asyncio

from lmchat.core.chat.followers import NOT_THINKING
from lmchat.core.servers.events import ReasoningDelta, RequestSent, StreamFinished, TextDelta
from tests.support.desktop import gone, ready_desktop
from tests.support.scripted_backend import llama

HINT = "Ctrl+S answer now"


async def test_the_key_or_the_command_ends_the_thought_of_the_shown_session(tmp_path):
    gates = [asyncio.Event(), asyncio.Event()]
    more = [ReasoningDelta(text="So."), TextDelta(text="Four beds."), StreamFinished(reason="stop")]
    backend = llama(*([RequestSent(), ReasoningDelta(text="Hm. "), gate, *more] for gate in gates))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("How many beds?", sees=HINT)
        await desk.type("next")
        await desk.press("ctrl+s")
        await gone(desk, HINT)
        gates[0].set()
        await desk.answered()
        assert desk.prompt_input.text == "next"
        await desk.press("enter", sees=HINT)
        await desk.say("/now")
        await gone(desk, HINT)
        hidden = desk.active
        await desk.press("ctrl+n")
        await desk.press("ctrl+s", sees=NOT_THINKING)
        gates[1].set()
        await desk.until(lambda: not hidden.is_running, "the end of the hidden answer")
        assert len(backend.thoughts_to_end) == 2
