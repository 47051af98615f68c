"""Answer now on the screen: the hint beside the thought, the key and the command."""

from __future__ import annotations

import asyncio

from lmchat.domain.event import ReasoningDelta, RequestSent, StreamFinished, TextDelta
from lmchat.services.answer_now import NOT_THINKING
from tests.support.desktop import calm, gone, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend, llama
from tests.support.scripted_tools import ScriptedHost, calls, toolbox

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
        desk.app.clear_notifications()
        await desk.say("How many beds?", sees=HINT)
        await desk.type("next")
        await desk.press("ctrl+s")
        await gone(desk, HINT)
        await desk.press("ctrl+s")
        gates[0].set()
        await desk.answered()
        assert backend.thoughts_to_end == [backend.requests[0].request_id]
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
        hidden = desk.conversation
        await desk.press("ctrl+n")
        await desk.press("ctrl+s", sees=NOT_THINKING)
        gates[2].set()
        await desk.until(lambda: not hidden.is_running, "the end of the hidden answer")
        assert len(backend.thoughts_to_end) == 2


async def test_a_server_that_cannot_end_a_thought_shows_no_hint_and_says_what_to_do(tmp_path):
    gate = asyncio.Event()
    backend = ScriptedBackend(thinking(gate))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("How many beds?", sees="Thinking… 1")
        assert HINT not in desk.text
        await desk.press("ctrl+s", sees="LM Studio cannot end a thought")
        gate.set()
        await desk.answered()
        assert backend.thoughts_to_end == []


async def test_with_tools_the_thought_of_one_round_ends_and_the_turn_goes_on(tmp_path):
    gate = asyncio.Event()
    _, *call = calls(("files__read_text", {"path": "a.md"}))  # without its `RequestSent`
    first = [RequestSent(), ReasoningDelta(text="Hm. "), gate, ReasoningDelta(text="So."), *call]
    second = [RequestSent(), ReasoningDelta(text="Ah."), TextDelta(text="Four beds.")]
    backend = llama(first, [*second, StreamFinished(reason="stop")], capabilities=("tools",))
    settings = calm(keys={"now": "f9"})
    tools = toolbox(ScriptedHost(), approve="never")
    async with ready_desktop(tmp_path, backend=backend, toolbox=tools, settings=settings) as desk:
        await desk.say("How many beds?", sees="F9 answer now")
        await desk.press("f9")
        gate.set()
        await shown(desk, "Four beds.")
        assert backend.thoughts_to_end == [backend.requests[0].request_id]
        assert len(backend.requests) == 2
