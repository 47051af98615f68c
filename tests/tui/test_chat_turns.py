from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import ReasoningDelta, RequestSent, TextDelta
from lmchat.domain.message import AnswerState, Role
from lmchat.errors import ServerUnavailable, StreamInterrupted
from lmchat.tui.quirks.keys import KeyStream
from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.desktop import desktop, gone, half, hold, kept_as, ready_desktop, sent, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps


async def test_the_first_paint_waits_for_no_server_and_one_can_type(tmp_path):
    backend = ScriptedBackend()
    gate = hold(backend, "detect")
    async with desktop(tmp_path, backend) as desk:
        assert isinstance(desk.app.focused, PromptInput)
        await desk.press("h", "i")
        assert "looking for a server" in desk.text
        assert desk.prompt_input.text == "hi"
        gate.set()
        await desk.ready()
        await shown(desk, "qwen3-8b")
        assert desk.prompt_input.text == "hi"


async def test_a_prompt_is_answered_shown_and_saved(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Lettuce does well."), asked=["what grows?"]
    ) as desk:
        await shown(desk, "Lettuce does well.", "42.3")
        assert "what grows?" in desk.text
        assert sent(desk.backend) == ["what grows?"]
        assert [(m.text, m.state) for m in await desk.on_disk()] == [
            ("what grows?", AnswerState.COMPLETE),
            ("Lettuce does well.", AnswerState.COMPLETE),
        ]
        assert desk.prompt_input.text == ""


async def test_typing_works_while_an_answer_streams_and_prompts_wait(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce."), answer_steps("Chives.")) as desk:
        await desk.say("one", sees="Let")
        await desk.say("two", sees="next")
        assert sent(desk.backend) == ["one"]
        await desk.press("t", "h")
        gate.set()
        await desk.answered(2)
        assert sent(desk.backend) == ["one", "two"]
        assert desk.prompt_input.text == "th"
        assert "next" not in desk.text
        assert await desk.texts_on_disk() == ["one", "Lettuce.", "two", "Chives."]


async def test_a_prompt_sent_before_the_first_is_on_the_disk_waits_too(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("A", gate), answer_steps("B")) as desk:
        store_gate = hold(desk.store, "append")
        await desk.say("one")
        await desk.say("two")
        store_gate.set()
        gate.set()
        await desk.answered(2)
        assert sent(desk.backend) == ["one", "two"]
        assert await desk.texts_on_disk() == ["one", "A", "two", "B"]


async def test_after_a_failure_the_queue_returns_to_the_prompt_and_stays_saved(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    gate = asyncio.Event()
    broken = [TextDelta(text="Let"), gate, StreamInterrupted("The connection broke.")]
    (tmp_path / "beds.md").write_text("Two beds.")
    async with ready_desktop(tmp_path, broken, answer_steps("All."), answer_steps("More.")) as desk:
        await desk.say("one", sees="Let")
        await desk.say("/file beds.md", sees="[beds.md (9 bytes)]")
        await desk.say("two")
        await desk.say("three", sees="next  three")
        await desk.type("and")
        gate.set()
        typed = "[beds.md (9 bytes)]\ntwo\n\nthree\n\nand"
        await desk.prompt_is(typed)
        assert sent(desk.backend) == ["one"]
        await gone(desk, "next  ")
        await kept_as(desk, desk.session_id, desk.prompt_input.full_text)

        await desk.press("ctrl+r")
        await desk.answered()
        assert sent(desk.backend) == ["one", "one"]
        await desk.press("enter")
        await desk.answered(2)
        assert sent(desk.backend)[-1].endswith("Two beds.\n```\ntwo\n\nthree\n\nand")


@pytest.mark.parametrize("keys", [("/title x",), ("alt+up", "alt+up", "e")])
async def test_what_returns_is_not_sent_with_a_command_or_an_edit(tmp_path, keys):
    gate = asyncio.Event()
    broken = [TextDelta(text="Let"), gate, StreamInterrupted("The connection broke.")]
    async with ready_desktop(tmp_path, broken) as desk:
        await desk.say("one", sees="Let")
        await desk.say("two")
        for key in keys:
            await (desk.type(key) if key.startswith("/") else desk.press(key))
        typed = "/title x" if len(keys) == 1 else "one"
        await desk.prompt_is(typed)
        gate.set()
        await gone(desk, "next  two")
        assert desk.prompt_input.text == typed
        await desk.press("enter" if len(keys) == 1 else "escape")
        await desk.prompt_is("two")
        assert sent(desk.backend) == ["one"]


async def test_up_takes_a_waiting_prompt_back_and_del_drops_it(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("A", gate)) as desk:
        for text in ("one", "two", "three"):
            await desk.say(text)
        await desk.press("up")
        await desk.prompt_is("three")
        assert desk.app.open_sessions.shown.queue == ["two"]
        await desk.press("ctrl+u", "delete")
        await desk.until(lambda: not desk.app.open_sessions.shown.queue, "an empty queue")
        gate.set()
        await desk.answered()
        assert sent(desk.backend) == ["one"]


async def test_esc_stops_and_keeps_what_had_come(tmp_path):
    async with ready_desktop(tmp_path, half("Lettuce", asyncio.Event())) as desk:
        await desk.say("one", sees="Lettuce")
        await desk.press("escape")
        await desk.answered()
        assert desk.backend.stopped == 1
        assert (await desk.on_disk())[-1].state is AnswerState.STOPPED
        await shown(desk, "stopped")
        assert isinstance(desk.app.focused, PromptInput)


async def test_esc_that_comes_with_the_next_letter_stops_too(tmp_path):
    async with ready_desktop(tmp_path, half("Lettuce", asyncio.Event())) as desk:
        await desk.say("one", sees="Lettuce")
        for event in KeyStream().feed("\x1bn"):
            desk.prompt_input.post_message(event)
        await desk.answered()
        assert desk.backend.stopped == 1
        assert desk.prompt_input.text == "n"


async def test_ctrl_c_stops_too_and_twice_with_nothing_to_do_quits(tmp_path):
    async with ready_desktop(tmp_path, half("Lettuce", asyncio.Event())) as desk:
        await desk.say("one", sees="Lettuce")
        await desk.press("ctrl+c")
        await desk.answered()
        assert (await desk.on_disk())[-1].text == "Lettuce"
        await desk.press("ctrl+c")
        assert desk.app.is_running
        await desk.press("ctrl+c")
        await desk.until(lambda: not desk.app.is_running or desk.app._exit, "the end")


async def test_ctrl_c_copies_what_is_selected_in_the_prompt(desk):
    await desk.press("a", "b", "c", "shift+left", "shift+left", "ctrl+c")
    await desk.until(lambda: desk.copied == ["bc"], "the copy")
    assert desk.app._exit is False


async def test_quitting_while_an_answer_streams_saves_it_as_stopped_and_sends_nothing_more(
    tmp_path,
):
    async with ready_desktop(tmp_path, half("Lettuce", asyncio.Event())) as desk:
        await desk.say("one", sees="Lettuce")
        await desk.say("two")
        await desk.press("d", "ctrl+q")
        await desk.until(lambda: desk.app._exit, "the end")
        session_id = desk.session_id
        last = (await desk.store.open_session(session_id)).messages[-1]
        assert (last.text, last.state) == ("Lettuce", AnswerState.STOPPED)
        assert sent(desk.backend) == ["one"]
        assert await desk.store.draft(session_id) == "two\n\nd"


ERRORS = [
    ServerUnavailable("Nothing answers at 127.0.0.1:1234.", hint="Start the server."),
    StreamInterrupted("The connection broke.", hint="Press r."),
    ZeroDivisionError("inside"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_is_shown_in_the_log_with_its_next_step(tmp_path, error):
    async with ready_desktop(tmp_path, [RequestSent(), error], asked=["one"]) as desk:
        failure = desk.conversation.messages[-1].failure
        await shown(desk, failure.message)
        if failure.hint:
            assert failure.hint[:20] in desk.text
        assert "Traceback" not in desk.text
        await desk.press("alt+up", "y")
        await desk.until(lambda: bool(desk.copied), "the details")
        assert failure.failure_id in desk.copied[0]


async def test_a_regenerate_while_an_answer_streams_harms_nothing(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce.")) as desk:
        await desk.say("one", sees="Let")
        await desk.press("ctrl+r")
        gate.set()
        await desk.answered()
        assert sent(desk.backend) == ["one"]
        assert (await desk.on_disk())[-1].text == "Lettuce."
        assert [m.role for m in await desk.on_disk()] == [Role.USER, Role.ASSISTANT]


async def test_reasoning_alone_is_kept_when_stopped(tmp_path):
    async with ready_desktop(
        tmp_path, [RequestSent(), ReasoningDelta(text="Hm"), asyncio.Event()]
    ) as desk:
        await desk.say("one")
        await desk.until(lambda: desk.conversation.is_running and desk.conversation.turn.chars > 0)
        await desk.press("escape")
        await desk.answered()
        assert (await desk.on_disk())[-1].reasoning == "Hm"


async def test_enter_after_the_way_out_was_taken_sends_nothing_and_keeps_the_text(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        desk.app.workspace.is_leaving = True
        await desk.say("two")
        await desk.press("ctrl+q")
        await desk.until(lambda: desk.app._exit, "the end")
        assert sent(desk.backend) == ["one"]
        assert await desk.store.draft(desk.session_id) == "two"


async def test_stopping_lets_the_next_prompt_go_out(tmp_path):
    async with ready_desktop(
        tmp_path, half("Lettuce", asyncio.Event()), answer_steps("Chives.")
    ) as desk:
        await desk.say("one", sees="Lettuce")
        await desk.say("two")
        await desk.press("escape")
        await desk.answered(2)
        assert sent(desk.backend) == ["one", "two"]


async def test_esc_before_the_prompt_is_on_the_disk_keeps_the_prompt(desk):
    gate = hold(desk.store, "append")
    await desk.say("one")
    await desk.press("escape")
    gate.set()
    await desk.at_rest()
    await desk.app.open_sessions.save_all()
    assert await desk.texts_on_disk() == ["one"]
    await shown(desk, "one")
    assert desk.backend.requests == []
    await desk.press("ctrl+r")
    await desk.answered()
    assert sent(desk.backend) == ["one"]
