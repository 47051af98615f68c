from __future__ import annotations

from contextlib import aclosing

from msgspec.structs import replace

from lmchat.sessions.message import AnswerState, AnswerStats, TextPart
from lmchat.storage.store import Store
from tests.support.chats import answer, header, say
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps


async def test_opened_again_it_can_be_continued_where_it_lacks_its_end(tmp_path):
    session = header("Elsewhere")
    async with aclosing(Store(tmp_path / "sessions.db")) as store:  # of the other lmchat
        asked = await say(store, session, "Go on.", None)
        theirs = answer(parent=asked, state=AnswerState.STREAMING)
        await store.begin_answer(session.session_id, theirs)
        await store.add_entries(theirs.message_id, [("text", "half of ")])
        async with ready_desktop(
            tmp_path, answer_steps("mine"), resume_id=session.session_id
        ) as desk:
            await shown(desk, "another lmchat is writing this")
            await desk.press("ctrl+n")
            parts, stats = (TextPart(text="half of "),), AnswerStats(finish_reason="stop")
            final = replace(theirs, parts=parts, state=AnswerState.STOPPED, stats=stats)
            await store.end_answer(session.session_id, final)
            desk.dispatcher.controllers.session_view.switch_to(session.session_id)
            await shown(desk, "/continue")
            await desk.press("alt+up", "a")
            await desk.until(lambda: desk.shown.messages[-1].text == "half of mine", "the rest")
