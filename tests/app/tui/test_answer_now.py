"""Answer now on the screen: the hint beside the thought, the key and the command."""

from __future__ import annotations

import asyncio

from lmchat.core.chat.followers import NOT_THINKING
from lmchat.core.servers.events import ReasoningDelta, RequestSent, StreamFinished, TextDelta
from tests.support.desktop import gone, ready_desktop, shown
from tests.support.scripted_backend import llama

HINT = "Ctrl+S answer now"


def thinking(gate: asyncio.Event):
    """Return the script of an answer whose thought goes on once the gate is open."""
    more = [ReasoningDelta(text="So."), TextDelta(text="Four beds."), StreamFinished(reason="stop")]
    return [RequestSent(), ReasoningDelta(text="Hm. "), gate, *more]


async def test_the_key_or_the_command_ends_the_thought_of_the_shown_session(tmp_path):
    gates = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
    backend = llama(*(thinking(gate) for gate in gates))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.press("ctrl+s", sees=NOT_THINKING)
        assert backend.requests == []
        desk.app.passing = None
        await desk.say("How many beds?", sees=HINT)
        await desk.type("next")
        await desk.press("ctrl+s")
        await gone(desk, HINT)
        await desk.press("ctrl+s")
        gates[0].set()
        await desk.answered()
        assert [target for target, _ in backend.thoughts_to_end] == [
            request.target for request in backend.requests
        ]
        assert desk.prompt_input.text == "next"
        await shown(desk, "Four beds.")
        answer = (await desk.on_disk())[-1]
        assert (answer.reasoning, answer.text) == ("Hm. So.", "Four beds.")

        await desk.press("enter", sees=HINT)
        await desk.say("/now")
        await gone(desk, HINT)
        gates[1].set()
        await desk.answered(2)
        assert len(backend.thoughts_to_end) == 2

        await desk.say("And now?", sees=HINT)
        hidden = desk.active
        await desk.press("ctrl+n")
        await desk.press("ctrl+s", sees=NOT_THINKING)
        gates[2].set()
        await desk.until(lambda: not hidden.is_running, "the end of the hidden answer")
        assert len(backend.thoughts_to_end) == 2
