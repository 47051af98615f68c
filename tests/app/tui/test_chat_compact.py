from __future__ import annotations

import asyncio

from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.core.config.settings import COMPACT_PROMPT
from lmchat.core.config.state import State
from lmchat.core.servers.events import RequestSent, StreamFinished
from lmchat.core.sessions.prompts import PendingPrompt
from tests.support.desktop import ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps, half

TALK = ["a", "A.", "b", "B.", "c", "C."]
ANSWERS = (answer_steps("A."), answer_steps("B."), answer_steps("C."))


async def talk(desk) -> None:
    for count, prompt in enumerate("abc", 1):
        await desk.ask(prompt, count)


async def test_a_summary_streams_below_the_session_and_the_tree_opens_the_old_messages(tmp_path):
    gate = asyncio.Event()
    state = State(has_all_figures=True)  # with what was done last
    async with ready_desktop(
        tmp_path, *ANSWERS, half("They ", gate, "spoke."), answer_steps("D."), state=state
    ) as desk:
        await talk(desk)
        await desk.say("/compact", sees="They")
        await shown(desk, "summarising")
        shown_texts = [message.text for message in desk.active.messages_so_far]
        assert shown_texts[:-1] == [*TALK, COMPACT_PROMPT]
        assert await desk.texts_on_disk() == TALK
        gate.set()
        await shown(desk, "They spoke.", "compacted")
        assert await desk.texts_on_disk() == [COMPACT_PROMPT, "They spoke.", *TALK[2:]]
        await desk.ask("d", 4)
        assert sent(desk.backend)[-1] == "d"
        await desk.say("/undo", sees="Nothing to undo")
        await desk.say("/tree", leads_to=PickDialog, sees="2 branches")
        await desk.press("home", "enter")
        await desk.until(lambda: desk.texts == TALK, "the old branch")
    async with ready_desktop(tmp_path) as desk:
        for earlier in "dcba":  # lmchat's own prompt was not typed
            await desk.press("up")
            await desk.prompt_is(earlier)


async def test_a_summary_that_fails_is_told_and_one_of_another_session_ends_unseen(tmp_path):
    gate = asyncio.Event()
    end = asyncio.Event()
    empty = [RequestSent(), end, StreamFinished(reason="stop")]
    async with ready_desktop(tmp_path, *ANSWERS, empty, half("They ", gate, "spoke.")) as desk:
        await talk(desk)
        await desk.say("/compact")
        await desk.until(lambda: desk.active.is_running, "the summary")
        end.set()
        await desk.rests()
        assert desk.texts == TALK
        await desk.say("/compact", sees="They")
        old = desk.active
        await desk.press("ctrl+n", hides="They")
        gate.set()
        await shown(desk, "A summary takes the place of the older messages.")
        assert desk.log_view.document.entries == []
        desk.dispatcher.controllers.prompt_text.put_back(old, PendingPrompt(draft="returned"))
        assert desk.prompt_input.text == ""
        desk.dispatcher.controllers.session_view.switch_to(old.session_id)
        await shown(desk, "They spoke.")
        await desk.prompt_is("returned")
