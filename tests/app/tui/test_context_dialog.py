"""`/context` on the screen: the list, and messages that are taken out of requests."""

from __future__ import annotations

import asyncio

from lmchat.app.tui.dialogs.context_dialog import ContextDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.servers.events import StreamFinished, UsageReported
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps, half, model, probed


def used_cells(desk) -> int:
    return row(desk, "carrots").count("━")


def row(desk, words: str) -> str:
    """Return the row of the dialog with these words, which has a bar."""
    has_words = [line for line in desk.text.splitlines() if words in line]
    return next((line for line in has_words if "━" in line or "─" in line), "")


async def test_the_list_tells_the_tokens_and_space_takes_a_message_out_of_requests(tmp_path):
    gate = asyncio.Event()
    scripts = answer_steps("A."), answer_steps("B."), answer_steps("C."), half("D", gate, "d.")
    async with ready_desktop(tmp_path, *scripts) as desk:
        await desk.ask("carrots", 1)
        desk.backend.tokens = 77
        await desk.say("/context", leads_to=ContextDialog, sees="77 of 8 192 tokens")
        assert "~" in row(desk, "carrots"), "the server counts the sum alone"
        await desk.press("escape", leads_to=ChatScreen)

        await desk.ask("peas", 2)
        desk.backend.tokens = 100
        await desk.type("My words")
        await desk.prompt_is("My words")
        await desk.app.run_action("app.run('context')")
        await desk.on(ContextDialog)
        await shown(desk, "100 of 8 192 tokens")
        await desk.press("end", "home", "down", "enter", leads_to=ChatScreen)
        assert desk.log_view.focused_message.text == "A."
        await desk.press("escape")
        desk.prompt_input.put("")

        await desk.say("/context", leads_to=ContextDialog, sees="draft")
        await desk.press("home", "space")
        await desk.until(lambda: "not sent" in row(desk, "carrots"), "a message that is out")
        await desk.press("escape", leads_to=ChatScreen, sees="not sent")
        await desk.ask("third", 3)
        asked = [one.text for one in desk.backend.requests[-1].messages]
        assert asked == ["peas", "B.", "third"], "no answer without its prompt"
        assert [one.is_excluded for one in await desk.on_disk()] == [True, *[False] * 5]
        await desk.say("beans", sees="D")
        await desk.say("/context", leads_to=ContextDialog, sees="beans")
        await desk.press("home", "space", sees="has not ended")
        await desk.press("escape", leads_to=ChatScreen)
        gate.set()


async def test_bars_are_shares_of_a_known_window_and_the_choice_begins_where_space_acts(tmp_path):
    cached = UsageReported(prompt_tokens=60, completion_tokens=2, cached_tokens=40)
    second = [*answer_steps("B.")[:-2], cached, StreamFinished(reason="stop")]
    async with ready_desktop(tmp_path, answer_steps("A."), second) as desk:
        await desk.ask("carrots", 1)
        await desk.ask("peas", 2)
        desk.backend.tokens = 80  # of 8192
        await desk.say("/context", leads_to=ContextDialog, sees="draft")
        assert not used_cells(desk), "one per cent of the window is no full bar"
        assert [("cached" in row(desk, words)) for words in ("carrots", "peas")] == [True, False]
        await desk.press("space")
        await desk.until(lambda: "not sent" in row(desk, "B."), "the last message is out")
        await desk.press("space", "escape", leads_to=ChatScreen)

        desk.backend.tokens = 8000
        await desk.say("/context", leads_to=ContextDialog, sees="8 000 of 8 192")
        assert used_cells(desk) in range(2, 8)
        await desk.press("escape", leads_to=ChatScreen)
        desk.backend.results = (probed("", model(context_loaded=None, context_max=None)),)
        await desk.press("f5", hides="of 8 192 tok")
        await desk.say("/context", leads_to=ContextDialog, sees="draft")
        assert not row(desk, "carrots")
