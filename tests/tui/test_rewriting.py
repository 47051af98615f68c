"""Answers that the user rewrites or begins, in the whole app."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.config.settings import Preset
from lmchat.domain.event import StreamFinished, TextDelta
from tests.support.desktop import calm, gone, half, ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps, llama

NOTE = "Rewriting an answer"
END = StreamFinished(reason="stop")


async def rewrite(desk, ending: str) -> None:
    """Write other words at the end of the last answer."""
    await desk.press("alt+up", "E", sees=NOTE)
    await desk.type(ending)
    await desk.press("enter", hides=NOTE)


async def test_e_rewrites_an_answer_and_keeps_the_old_version(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Ferns do"), asked=["one"]) as desk:
        await desk.press("x", "alt+up", "E", sees=NOTE)
        assert desk.prompt_input.text == "Ferns do"
        await desk.type(" well")
        await desk.press("enter", hides=NOTE)
        await shown(desk, "Ferns do well", "edited", "2/2", "rewritten")
        assert await desk.texts_on_disk() == ["one", "Ferns do well"]
        assert desk.prompt_input.text == "x"  # what had been typed before
        assert len(desk.backend.requests) == 1
        await desk.press("u", sees="Nothing to undo")
        await desk.press("left_square_bracket")
        await desk.until(lambda: desk.texts == ["one", "Ferns do"], "the old version")


async def test_esc_leaves_the_answer_and_the_draft_as_they_were(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Ferns do"), asked=["one"]) as desk:
        await desk.press("x", "alt+up", "E", "!", "escape", hides=NOTE)
        assert desk.prompt_input.text == "x"
        assert desk.texts == ["one", "Ferns do"]
        assert len(await desk.store.tree(desk.session_id)) == 2


async def test_a_rewritten_text_that_was_not_saved_is_there_after_a_restart(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Ferns do"), asked=["one"]) as desk:
        await desk.press("x", "alt+up", "E", sees=NOTE)
        await desk.type(" well")
    async with ready_desktop(tmp_path, resume_id="last") as desk:
        await desk.prompt_is("x\n\nFerns do well")
        assert desk.texts == ["one", "Ferns do"]


@pytest.mark.parametrize("key", ["E", "e"])
async def test_a_message_that_was_not_changed_is_no_draft(tmp_path, key):
    async with ready_desktop(tmp_path, answer_steps("Ferns do"), asked=["one"]) as desk:
        await desk.press("x", "alt+up", key)
        await desk.until(lambda: desk.prompt_input.text in {"Ferns do", "one"}, "the message")
    async with ready_desktop(tmp_path, resume_id="last") as desk:
        await desk.prompt_is("x")


async def test_a_preset_is_not_sent_in_place_of_the_answer(tmp_path):
    prompts = {"french": Preset(text="In French: {{input}}")}
    settings = calm(prompts=prompts)
    async with ready_desktop(tmp_path, answer_steps("A"), settings=settings, asked=["one"]) as desk:
        await desk.press("alt+up", "E", "backspace")
        await desk.say("/p french cats", sees="You are rewriting an answer")
        await desk.press("escape", hides=NOTE)
        assert desk.texts == ["one", "A"]
        assert len(desk.backend.requests) == 1


async def test_an_answer_without_a_text_is_not_saved(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("A"), asked=["one"]) as desk:
        await desk.press("alt+up", "E", "backspace", sees="An answer cannot be empty.")
        await desk.press("enter", "escape", hides=NOTE)
        assert desk.texts == ["one", "A"]


async def test_an_answer_is_not_saved_before_the_running_one_has_ended(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, answer_steps("A"), half("Let", gate), asked=["one"]) as desk:
        await desk.say("two", sees="Let")
        await desk.press("alt+up", "alt+up", "alt+up", "E", "!", "enter", sees="still streaming")
        assert desk.prompt_input.text == "A!"
        gate.set()
        await desk.answered(2)
        await desk.press("enter", hides=NOTE)
        assert desk.texts == ["one", "A!"]


async def test_a_rewritten_text_becomes_the_draft_of_its_session_when_another_one_is_shown(
    tmp_path,
):
    async with ready_desktop(tmp_path, answer_steps("A"), asked=["one"]) as desk:
        session_id = desk.session_id
        await desk.press("alt+up", "E", "!", "ctrl+n", hides=NOTE)
        assert desk.prompt_input.text == ""
        desk.chat.sessions.switch_to(session_id)
        await desk.prompt_is("A!")
        assert desk.texts == ["one", "A"]


async def test_a_rewritten_text_comes_back_after_the_edit_of_another_message(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("A"), asked=["one"]) as desk:
        await desk.press("x", "alt+up", "E", "!", sees=NOTE)
        await desk.press("alt+up", "alt+up", "e", hides=NOTE)
        await desk.press("?", "escape")
        await desk.prompt_is("x\n\nA!")


async def test_a_continues_a_rewritten_answer(tmp_path):
    backend = llama(answer_steps("Ferns do"), [TextDelta(text=" well."), END])
    async with ready_desktop(tmp_path, backend=backend, asked=["one"]) as desk:
        await rewrite(desk, " quite")
        await shown(desk, "a continue")
        await desk.press("a")
        await shown(desk, "Ferns do quite well.", "3/3")
        assert backend.requests[1].messages[-1].text == "Ferns do quite"


async def test_start_lets_the_next_answer_begin_with_words(tmp_path):
    backend = llama([TextDelta(text=" do well."), END], answer_steps("B."))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("/start Ferns", sees="Next answer: Ferns")
        await desk.say("one", sees="Ferns do well.")
        await gone(desk, "Next answer")
        await desk.answered(1)
        await desk.ask("two", 2)
        assert desk.texts == ["one", "Ferns do well.", "two", "B."]


async def test_start_alone_takes_the_words_back(tmp_path):
    async with ready_desktop(tmp_path, backend=llama(answer_steps("A."))) as desk:
        await desk.say("/start", sees="Type a text after /start.")
        desk.prompt_input.put("")
        await desk.say("/start Ferns", sees="Next answer: Ferns")
        await desk.say("/start ", hides="Next answer")
        await desk.ask("one")
        assert desk.texts == ["one", "A."]


async def test_start_waits_with_its_session_for_the_next_queued_prompt(tmp_path):
    gate = asyncio.Event()
    backend = llama(half("A", gate, "."), [TextDelta(text=" well."), END])
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("one", sees="A")
        await desk.say("/start Ferns", sees="Next answer: Ferns")
        await desk.say("two", sees="next  two")
        session_id = desk.session_id
        await desk.press("ctrl+n", hides="Next answer")
        gate.set()
        await desk.until(lambda: not desk.app.open_sessions.busy, "the end of both")
        path = (await desk.store.open_session(session_id)).messages
        assert [message.text for message in path] == ["one", "A.", "two", "Ferns well."]


async def test_start_at_a_server_that_cannot_continue_sends_nothing(tmp_path):
    async with ready_desktop(tmp_path) as desk:
        await desk.say("/start Ferns", sees="LM Studio cannot continue a text")
        assert desk.prompt_input.text == "/start Ferns"
        assert "begins with" not in desk.text
        assert sent(desk.backend) == []
