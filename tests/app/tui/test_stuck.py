"""A model that repeats itself, on the screen: what is told, and what ends it."""

from __future__ import annotations

import asyncio

from lmchat.core.config.settings import ChatSettings, Settings
from lmchat.core.servers.events import (
    ModelNamed,
    ReasoningDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
)
from lmchat.core.sessions.message import AnswerState
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import Step, llama

LINE = "Wait, let me read the question again. The user wants a number, so I count. "
THOUGHT = "The thought has repeated itself 198 times."
ANSWER = "The answer has repeated itself 198 times."
NAMED: list[Step] = [RequestSent(), ModelNamed(model="tiny", answer_id="chatcmpl-7")]


def loop(kind: type[ReasoningDelta | TextDelta]) -> list[Step]:
    """Return pieces that make a period of 150 characters, until they have more than 8,000 tokens."""
    period = (LINE * 2)[:149] + "."
    return [kind(text=piece) for piece in (period[:50], period[50:100], period[100:]) * 250]


async def test_a_thought_and_an_answer_are_told_once_with_the_key_or_the_session_that_ends_each(
    tmp_path,
):
    gates = [asyncio.Event() for _ in range(3)]
    script = [*NAMED, *loop(ReasoningDelta), gates[0], *loop(ReasoningDelta)]
    script += [*loop(TextDelta), gates[1], StreamFinished(reason="stop")]
    hidden_script = [*NAMED, TextDelta(text="Four. "), gates[2], *loop(TextDelta), asyncio.Event()]
    backend = llama(script, hidden_script)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("How many beds?", sees=f"{THOUGHT} Ctrl+S answers now.")
        await desk.press("ctrl+s", hides=THOUGHT)
        gates[0].set()
        await shown(desk, f"{ANSWER} Esc stops it.")
        assert [answer_id for _, answer_id in backend.thoughts_to_end] == ["chatcmpl-7"]
        gates[1].set()
        await desk.answered()
        answer = (await desk.on_disk())[-1]
        assert answer.stats is not None
        assert (answer.state, answer.stats.finish_reason) == (AnswerState.COMPLETE, "stop")

        await desk.say("How many?", sees="Four.")
        hidden = desk.active
        await desk.press("ctrl+n")
        gates[2].set()
        await shown(desk, f"“How many beds?”: {ANSWER} Open its session to stop it.")
        hidden.stop()
        await desk.until(lambda: not hidden.is_running, "the end of the hidden answer")


async def test_lmchat_ends_the_thought_once_and_then_stops_the_answer_if_the_user_wants_that(
    tmp_path,
):
    gate = asyncio.Event()
    backend = llama([*NAMED, *loop(ReasoningDelta), gate, *loop(ReasoningDelta), asyncio.Event()])
    settings = Settings(chat=ChatSettings(stuck="act"))
    async with ready_desktop(tmp_path, backend=backend, settings=settings) as desk:
        await desk.say("How many beds?", sees=f"{THOUGHT} lmchat ends it.")
        gate.set()
        await shown(desk, f"{THOUGHT} lmchat stops it.")
        await desk.answered()
        assert len(backend.thoughts_to_end) == 1
        assert (await desk.on_disk())[-1].state is AnswerState.STOPPED
