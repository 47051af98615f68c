"""Questions about tool servers, such as a sign-in, as dialogs."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.base.errors import LMChatError
from lmchat.core.tools.questions import ServerQuestion
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_tools import ScriptedHost, toolbox

SIGN_IN = ServerQuestion(
    title="Sign in to garden?",
    text="The tool server garden wants you to sign in with your browser.",
    url="https://auth.example/authorize?response_type=code&client_id=0123456789&state=" + 300 * "x",
)


async def test_a_question_takes_no_sentence_is_declined_by_esc_and_closed_with_the_turn(tmp_path):
    host = ScriptedHost()
    async with ready_desktop(tmp_path, size=(80, 24), toolbox=toolbox(host)) as desk:

        async def ask(question: ServerQuestion = SIGN_IN) -> asyncio.Task[bool]:
            asked = asyncio.create_task(host.ask_user(question))
            await desk.on(ConfirmDialog)
            return asked

        await desk.type("yes")
        asked = await ask()
        await desk.type(", please\n")
        await desk.press("enter", sees="Press F7 to open it")
        await desk.paste(" yes")
        await desk.press("backspace", "escape")
        assert await asyncio.wait_for(asked, 10) is False
        await desk.prompt_is("yes, please yes")
        asked = await ask()
        asked.cancel()  # as a stop of the turn does
        await desk.until(lambda: len(desk.app.screen_stack) == 1, "the dialog is closed")
        asked = await ask(replace(SIGN_IN, url=""))
        assert "browser" not in desk.text.partition("your browser")[2]
        await desk.press("f7")
        assert await asyncio.wait_for(asked, 10) is True
        with pytest.raises(LMChatError, match="has a user name"):
            await host.ask_user(replace(SIGN_IN, url="https://garden.example@evil.example/a"))
        assert desk.opened == []
        desk.has_browser = False
        asked = await ask()
        await shown(desk, "Sign in to garden?", "This page is at auth.example")
        await desk.press("f7")
        assert await asyncio.wait_for(asked, 10) is True
        await shown(desk, "No browser is available; address")
        assert desk.opened == [SIGN_IN.url]
