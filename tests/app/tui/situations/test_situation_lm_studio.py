from __future__ import annotations

from unittest.mock import Mock

import psutil

from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.config.settings import Settings
from lmchat.core.sessions.message import AnswerState
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import CHAT, lm_studio
from tests.support.scripted_server import Gate


async def test_with_a_model_the_first_question_can_be_typed_at_once(tmp_path, start, small_picture):
    server = start(lm_studio)
    async with desktop.run(tmp_path, {1234: server}) as seen:
        await seen.goes_on()
        await shown(seen, "● LM Studio ready", "localhost:1234", "● qwen3-8b · LM Studio")
        await seen.rests()
        await seen.chats()
        await small_picture(seen, "answered")
    assert server.seen(CHAT)[0].json["model"] == "qwen3-8b"


async def test_with_its_server_off_it_is_told_from_a_program_that_does_not_run(
    tmp_path, start, monkeypatch
):
    program = [Mock(info={"name": "LM Studio"})]
    monkeypatch.setattr(psutil, "process_iter", lambda _: iter(program))
    async with desktop.run(tmp_path) as seen:
        await seen.on(WelcomeScreen)
        await shown(
            seen,
            "LM Studio runs, but its server is off.",
            "Next: Open LM Studio: Developer, Start server.",
        )
        assert seen.status_at(1234).word == "server off"
        await seen.rests()
        await seen.at_size(desktop.SMALL)
        seen.places(1234, start(lm_studio))
        seen.time_passes()
        await seen.chats()


async def test_without_a_model_enter_opens_the_picker_and_enter_loads_one(
    tmp_path, start, picture, small_picture
):
    gate = Gate()
    server = start(lm_studio, loaded=(), loading=gate)
    async with desktop.run(tmp_path, {1234: server}) as seen:
        await seen.on(WelcomeScreen)
        await shown(
            seen, "LM Studio answers, but no model is loaded.", "Press Enter to choose one."
        )
        await seen.press("enter", leads_to=ModelPicker)
        await shown(seen, "· qwen3-8b", "Enter use")
        await small_picture(seen, "picker")
        await seen.at_size(desktop.WIDE)
        await seen.press("enter")
        await seen.goes_on()
        await shown(seen, "◆ loading", "qwen3-8b · LM Studio")
        await seen.until(gate.reached.is_set, "the load")
        await seen.say("Hello?")
        seen.time_passes(12)
        await shown(seen, "◆ loading 12 s qwen3-8b · LM Studio", "loading 12 s", "next Hello?")
        assert server.seen(CHAT) == [], "it waits"
        await picture(seen, "loading", while_busy="load")
        gate.open()
        await shown(seen, "● LM Studio ready")
        assert (await seen.answered()).text == "Hello there."


async def test_with_jit_loading_off_the_failure_names_the_command_and_loading_asks_again(
    tmp_path, start, small_picture
):
    server = start(lm_studio, loaded=(), has_jit=False)
    wanted = Settings(model="qwen3-8b")
    async with desktop.run(tmp_path, {1234: server}, settings=wanted) as seen:
        await seen.goes_on()
        await seen.say("Hello?")
        await shown(
            seen,
            "× LM Studio says: No models loaded.",
            "Load it with /model, Enter; your message is then sent",
            "again.",
            "not loaded",
        )
        failed = seen.active.messages[-1]
        assert (failed.state, failed.failure.kind) == (AnswerState.FAILED, "model_not_loaded")
        await small_picture(seen, "jit-off")
        await seen.press("ctrl+o", leads_to=ModelPicker, sees="3 models on 1 server")
        await seen.press("enter", leads_to=ChatScreen)
        assert (await seen.answered()).text == "Hello there."
        await shown(seen, "Hello there.", "● qwen3-8b · LM Studio")
    assert [seen.json["messages"][-1]["content"] for seen in server.seen(CHAT)] == [
        "Hello?",
        "Hello?",
    ]
