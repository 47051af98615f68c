"""A part of the screen that cannot be drawn is replaced by a card, and all else goes on."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

from lmchat.app.tui.chat_log.painter import Painter
from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.widgets.row_list import RowList
from lmchat.core.sessions.message import AnswerState
from tests.support.desktop import click, gone, ready_desktop, shown
from tests.support.scripted_backend import half
from tests.support.tui_host import painted

SENTENCE = "This part of the screen could not be drawn (error id "


def failing(owner: type, method: str):
    return patch.object(owner, method, side_effect=ValueError("a private word"))


async def test_a_log_that_fails_while_an_answer_streams_is_a_card_until_it_is_retried(
    tmp_path, internal_errors
):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce.")) as desk:
        with painted():
            await desk.say("What grows in shade?", sees="Let")
            with failing(Painter, "rows"):
                desk.log_view.refresh()
                await shown(desk, SENTENCE, "Retry  Copy details", "qwen3-8b")
                await click(desk, "Retry")
                await desk.until(lambda: len(internal_errors) == 2, "a failure after the retry")
                await shown(desk, SENTENCE)
                await desk.press(*"next", sees="▌ next")
                gate.set()
                await desk.answered(1)
            answer = (await desk.store.open_session(desk.session_id)).messages[-1]
            assert (answer.text, answer.state) == ("Lettuce.", AnswerState.COMPLETE)
            assert "Lettuce." not in desk.text

            await click(desk, "Copy details")
            await desk.until(lambda: desk.copied, "a copy")
            error_id = desk.text.partition(SENTENCE)[2][:4]
            assert desk.copied[-1].startswith(f"error id {error_id}: ValueError\n")
            assert "chat_log.py" in desk.copied[-1]
            assert "a private word" not in desk.copied[-1]

            await click(desk, "Retry")
            await shown(desk, "Lettuce.", "What grows in shade?")
            await gone(desk, SENTENCE)
            assert desk.prompt_input.text == "next"
            assert desk.log_view.viewport.is_at_end
    assert [str(error) for error in internal_errors] == ["a private word"] * 2
    internal_errors.clear()


async def test_a_list_of_a_dialog_that_fails_is_drawn_again_by_a_command(tmp_path, internal_errors):
    async with ready_desktop(tmp_path) as desk:
        with painted():
            with failing(RowList, "render_line"):
                await desk.press("ctrl+p", leads_to=CommandsDialog, sees=SENTENCE)
                await desk.press(*"whole screen", "enter", leads_to=ChatScreen)
            await desk.press("ctrl+p", leads_to=CommandsDialog, sees="Choose the model")
            await gone(desk, SENTENCE)
    assert internal_errors
    internal_errors.clear()
