"""The whole screen while text turns out to be thought, and thought to be text."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import ReasoningDelta, RefusalDelta, Rethought, StreamFinished, TextDelta
from tests.support.desktop import gone, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend
from tests.support.tui_host import screen_text
from tests.tui.test_chat_sessions import open_in_list

END = StreamFinished(reason="stop")


@pytest.mark.rule("R-17")
async def test_text_that_turns_out_to_be_thought_is_folded_and_the_answer_follows(tmp_path):
    gates = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
    late = [TextDelta(text="Let me see"), gates[0], TextDelta(text=": 2+2"), Rethought(), gates[1]]
    backend = ScriptedBackend([*late, TextDelta(text="Four"), gates[2], TextDelta(text="."), END])
    async with ready_desktop(tmp_path, backend) as desk:
        await desk.say("2+2?")
        await shown(desk, "Let me see")
        gates[0].set()
        await shown(desk, "Thought for")
        assert "Let me see" not in screen_text(desk.app)
        gates[1].set()
        await shown(desk, "Four")
        assert "Let me see" not in screen_text(desk.app)
        gates[2].set()
        await desk.answered()
        await shown(desk, "Four.")
        await desk.pilot.press("alt+up", "enter")
        await shown(desk, "Let me see: 2+2")
        (_, reply) = await desk.on_disk()
        assert (reply.reasoning, reply.text) == ("Let me see: 2+2", "Four.")


@pytest.mark.rule("R-17")
async def test_who_comes_back_in_the_middle_sees_what_turns_out_to_be_thought_folded(tmp_path):
    """What had come when the session was shown again is no older answer that is gone on with."""
    gates = [asyncio.Event(), asyncio.Event()]
    late = [TextDelta(text="Let me see"), gates[0], TextDelta(text=": 2+2"), Rethought()]
    backend = ScriptedBackend([*late, TextDelta(text="Four"), gates[1], END])
    async with ready_desktop(tmp_path, backend) as desk:
        await desk.say("2+2?")
        await shown(desk, "Let me see")
        first = desk.conversation
        await desk.pilot.press("ctrl+n")
        await gone(desk, "Let me see")
        await open_in_list(desk, first.header.session_id)
        await shown(desk, "Let me see")
        gates[0].set()
        await shown(desk, "Four")
        await gone(desk, "Let me see")
        gates[1].set()
        await desk.answered()


@pytest.mark.rule("R-17")
async def test_what_turns_out_behind_another_session_is_told_apart_there_too(tmp_path):
    gate, end = asyncio.Event(), asyncio.Event()
    backend = ScriptedBackend(
        [TextDelta(text="Let me see"), gate, Rethought(), TextDelta(text="Four"), end, END]
    )
    async with ready_desktop(tmp_path, backend) as desk:
        await desk.say("2+2?")
        await shown(desk, "Let me see")
        first = desk.conversation
        await desk.pilot.press("ctrl+n")
        await gone(desk, "Let me see")
        gate.set()
        await desk.until(lambda: first.shown_messages[-1].text == "Four", "the answer behind the screen")
        assert "Four" not in screen_text(desk.app)
        await open_in_list(desk, first.header.session_id)
        await shown(desk, "Four")
        assert "Let me see" not in screen_text(desk.app)
        end.set()
        await desk.until(lambda: not first.is_running, "the end")


@pytest.mark.rule("R-17")
async def test_thought_that_turns_out_to_be_the_answer_is_shown(tmp_path):
    gate = asyncio.Event()
    backend = ScriptedBackend([ReasoningDelta(text="Just four"), gate, Rethought(is_thought=False), END])
    async with ready_desktop(tmp_path, backend) as desk:
        await desk.say("2+2?")
        await shown(desk, "Thinking")
        assert "Just four" not in screen_text(desk.app)
        gate.set()
        await desk.answered()
        await shown(desk, "Just four")
        assert "Th" not in screen_text(desk.app).partition("Just four")[0].partition("2+2?")[2]


async def test_a_refusal_says_so_above_its_words(tmp_path):
    backend = ScriptedBackend([RefusalDelta(text="I can\x1b[1mnot."), END])
    async with ready_desktop(tmp_path, backend) as desk:
        await desk.ask("how?")
        await shown(desk, "! refused")
        assert "I can␛[1mnot." in screen_text(desk.app)
