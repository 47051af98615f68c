from __future__ import annotations

from contextlib import asynccontextmanager

from msgspec.structs import replace

from lmchat.sessions.message import AnswerState, AnswerStats, TextPart
from lmchat.storage.store import Store
from tests.support.chats import answer, header, reply, say
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps

ELSEWHERE = "another lmchat is writing this"


class Writer:
    """The other lmchat: a store of its own on the same file."""

    def __init__(self, folder):
        self.store = Store(folder / "sessions.db")
        self.session = header("Elsewhere")

    async def begin(self, text, *, before=()):
        parent = None
        for words in before:
            asked = await say(self.store, self.session, words, parent)
            parent = await reply(self.store, self.session, f"Reply to {words}", asked)
        asked = await say(self.store, self.session, "Go on.", parent)
        self.answer = answer(parent=asked, state=AnswerState.STREAMING)
        await self.store.begin_answer(self.session.session_id, self.answer)
        await self.store.add_entries(self.answer.message_id, [("text", text)])

    async def end(self, text, *, state=AnswerState.COMPLETE):
        stats = AnswerStats(completion_tokens=3, is_estimated=False, finish_reason="stop")
        final = replace(self.answer, parts=(TextPart(text=text),), state=state, stats=stats)
        await self.store.finish(self.session.session_id, final)


@asynccontextmanager
async def watching(folder, text, *, backend=None, before=()):
    writer = Writer(folder)
    await writer.begin(text, before=before)
    more = {"resume_id": writer.session.session_id}
    async with ready_desktop(
        folder, backend=backend or ScriptedBackend(answer_steps("mine")), **more
    ) as desk:
        await shown(desk, ELSEWHERE)
        yield desk, writer
    await writer.store.aclose()


async def test_opened_again_it_can_be_continued_where_it_lacks_its_end(tmp_path):
    async with watching(tmp_path, "half of ") as (desk, writer):
        await desk.press("ctrl+n")
        await writer.end("half of ", state=AnswerState.STOPPED)
        desk.dispatch.sessions.switch_to(writer.session.session_id)
        await shown(desk, "/continue")
        await desk.press("alt+up", "a")
        await desk.until(lambda: desk.shown.messages[-1].text == "half of mine", "the rest")
