from __future__ import annotations

from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.config.settings import Settings
from lmchat.core.sessions.message import AnswerState
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import CHAT, lm_studio


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
