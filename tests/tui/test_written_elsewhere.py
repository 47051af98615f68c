"""An answer that another lmchat writes: what is shown of it, what can be done with it, what it costs."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ReasoningPart, Receipt, TextPart, ToolCallPart
from lmchat.domain.turn import ANEW
from lmchat.errors import StoreUnavailable
from lmchat.storage.store import SqliteStore
from lmchat.tui.screens import chat_elsewhere
from tests.support.chats import answer, header, reply, say
from tests.support.desktop import desktop
from tests.support.screen_steps import gone, half, shown
from tests.support.scripted_backend import ScriptedBackend
from tests.support.scripted_backend import answer as answered
from tests.support.tui_host import screen_text
from tests.tui.test_chat_reading import LONG, log_rows

ELSEWHERE = "another lmchat writes this"


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(chat_elsewhere, "LOOK_AGAIN_S", 0.02)


class Counting(SqliteStore):
    """Counts the looks at single answers."""

    looks = 0
    is_broken = False

    async def answer_now(self, session_id, message_id):
        self.looks += 1
        if self.is_broken:
            raise StoreUnavailable("The disk is away.")
        return await super().answer_now(session_id, message_id)


class Writer:
    """The other lmchat: a store of its own on the same file."""

    def __init__(self, folder):
        self.store = SqliteStore(folder / "sessions.db")
        self.session = header("Elsewhere")

    async def begin(self, text, *, before=()):
        parent = None
        for words in before:
            asked = await say(self.store, self.session, words, parent)
            parent = await reply(self.store, self.session, f"Reply to {words}", asked)
        asked = await say(self.store, self.session, "Go on.", parent)
        self.answer = answer(parent=asked, state=AnswerState.STREAMING)
        await self.store.begin_answer(self.session.session_id, self.answer)
        await self.add(("text", text))

    async def add(self, *pieces):
        await self.store.add_pieces(self.answer.message_id, pieces)

    async def end(self, *parts, state=AnswerState.COMPLETE):
        final = replace(
            self.answer,
            parts=tuple(TextPart(text=one) if isinstance(one, str) else one for one in parts),
            state=state,
            receipt=Receipt(completion_tokens=3, is_estimated=False, finish_reason="stop"),
        )
        await self.store.finish(self.session.session_id, final)


@asynccontextmanager
async def watching(folder, text, *, backend=None, before=()):
    writer = Writer(folder)
    await writer.begin(text, before=before)
    store = Counting(folder / "sessions.db")
    more = {"resume_id": writer.session.session_id, "store": store}
    async with desktop(folder, backend or ScriptedBackend(answered("mine")), **more) as desk:
        await desk.ready()
        await shown(desk, ELSEWHERE)
        yield desk, writer
    await writer.store.aclose()


async def test_the_row_that_is_read_stays_where_it_is_from_the_first_word_to_the_end(tmp_path):
    async with watching(tmp_path, LONG) as (desk, writer):
        await desk.pilot.press("pageup", "pageup")
        await desk.pilot.pause()
        before = log_rows(desk)
        await writer.add(("text", "\n\n# More\n\nand more"))
        await shown(desk, "more below")
        assert log_rows(desk) == before
        await writer.end(LONG + "\n\n# More\n\nand more of it")
        await desk.until(lambda: "of it" in desk.conversation.messages[-1].text, "the end")
        await desk.pilot.pause()
        assert log_rows(desk) == before
        await desk.pilot.press("end")
        await shown(desk, "and more of it")
        await gone(desk, ELSEWHERE)


async def test_it_can_be_found_selected_and_copied_while_it_comes_and_when_it_has_ended(tmp_path):
    async with watching(tmp_path, "it begins") as (desk, writer):
        await writer.add(("text", " with a heron"))
        await shown(desk, "with a heron")
        await desk.pilot.press("ctrl+f", *"heron")
        await shown(desk, "1/1")
        await desk.pilot.press("escape", "alt+up", "y")
        await desk.until(lambda: desk.copied == ["it begins with a heron"], "the copy")
        await writer.end("it begins with a heron and a crane")
        await gone(desk, ELSEWHERE)
        await desk.pilot.press("y")
        await desk.until(lambda: desk.copied[1:] == ["it begins with a heron and a crane"], "the copy")
        await desk.pilot.press("escape", "ctrl+f", *"crane")
        await shown(desk, "1/1")


async def test_thought_text_and_calls_come_each_as_what_they_are(tmp_path):
    async with watching(tmp_path, "") as (desk, writer):
        await writer.add(("reasoning", "Hmm"))
        await shown(desk, "Thought")
        await writer.add(("reasoning", ", so"), ("text", "The answer"))
        await shown(desk, "The answer")
        await writer.add(("tool_call 0 name", "look"), ("tool_call 0 arguments", '{"a": '))
        await shown(desk, "asks for the tool look")
        await writer.add(("tool_call 0 arguments", "17}"))
        await shown(desk, '{"a": 17}')
        assert "Hmm" not in screen_text(desk.app)
        assert screen_text(desk.app).count("The answer") == 1
        await writer.end(
            ReasoningPart(text="Hmm, so"),
            "The answer",
            ToolCallPart(call_id="", name="look", arguments='{"a": 17}'),
        )
        await gone(desk, ELSEWHERE)
        assert screen_text(desk.app).count("The answer") == 1


async def test_text_that_turns_out_to_be_thought_there_is_thought_here(tmp_path):
    async with watching(tmp_path, "Let me think.") as (desk, writer):
        await writer.add(ANEW, ("reasoning", "Let me think."))
        await gone(desk, "Let me think.")
        await writer.add(("text", "The answer."))
        await shown(desk, "The answer.")
        assert "Thought" in screen_text(desk.app)


async def test_once_it_lacks_its_end_the_ways_on_are_offered_and_a_goes_on(tmp_path):
    async with watching(tmp_path, "half of ") as (desk, writer):
        assert "continue" not in screen_text(desk.app)
        await desk.pilot.press("alt+up", "a")
        await shown(desk, "This answer is still on its way.")
        await desk.pilot.press("escape")
        await writer.end("half of ", state=AnswerState.STOPPED)
        await shown(desk, "/continue it")
        assert ELSEWHERE not in screen_text(desk.app)
        await desk.pilot.press("alt+up", "a")
        await desk.until(lambda: desk.conversation.messages[-1].text == "half of mine", "the rest")


async def test_an_answer_of_ones_own_below_it_ends_in_its_own_place_whichever_ends_first(tmp_path):
    async with watching(tmp_path, "theirs begins", backend=ScriptedBackend(answered("mine"))) as (
        desk,
        writer,
    ):
        await desk.say("Below it.")
        await desk.until(lambda: desk.conversation.messages[-1].text == "mine", "my answer")
        await desk.until(lambda: not desk.conversation.is_running, "its end")
        await shown(desk, ELSEWHERE)
        await writer.add(("text", " and goes on"))
        await shown(desk, "theirs begins and goes on")
        await writer.end("theirs begins and goes on to its end")
        await gone(desk, ELSEWHERE)
        text = screen_text(desk.app)
        assert text.index("to its end") < text.index("Below it.") < text.index("mine")
        states = [message.state for message in desk.conversation.messages]
        assert set(states) == {AnswerState.COMPLETE}


async def test_above_an_answer_of_ones_own_that_is_read_it_grows_without_moving_a_row(tmp_path):
    backend = ScriptedBackend(half(LONG))
    async with watching(tmp_path, "theirs begins", backend=backend) as (desk, writer):
        await desk.say("Below it.")
        await shown(desk, "Paragraph 79")
        await desk.pilot.press("pageup")
        await desk.pilot.pause()
        before = log_rows(desk)
        await writer.add(("text", "\n\n" + LONG.replace("Paragraph", "Theirs")))
        place = desk.conversation.messages.place(writer.answer.message_id)
        await desk.until(lambda: "Theirs 79" in desk.conversation.messages[place].text, "more of theirs")
        await desk.pilot.pause()
        assert log_rows(desk) == before
        await desk.pilot.press("pageup")
        await desk.pilot.pause()
        before = log_rows(desk)
        await writer.add(("text", " and more of theirs\n\n" * 30))
        await desk.until(lambda: "of theirs" in desk.conversation.messages[place].text, "still more")
        await desk.pilot.pause()
        assert log_rows(desk) == before
        await writer.end("short")
        await desk.until(lambda: desk.conversation.messages[place].text == "short", "their end")
        await desk.pilot.pause()
        assert log_rows(desk) == before


async def test_nothing_is_looked_at_once_it_has_ended_or_another_session_is_shown(tmp_path):
    async with watching(tmp_path, "it begins") as (desk, writer):
        store = desk.store
        await desk.until(lambda: store.looks > 3, "looks")  # they go on as long as it comes
        await desk.pilot.press("ctrl+n")
        await desk.until(lambda: desk.chat._looking is None, "no timer")
        looks = store.looks
        desk.chat.open_session(writer.session.session_id)
        await desk.until(lambda: store.looks > looks, "looks again")
        await writer.end("it begins and ends")
        await shown(desk, "and ends")
        await desk.until(lambda: desk.chat._looking is None, "no timer")


async def test_an_answer_of_ones_own_is_never_looked_at(tmp_path):
    store = Counting(tmp_path / "sessions.db")
    async with desktop(tmp_path, ScriptedBackend(half("Half of it")), store=store) as desk:
        await desk.ready()
        await desk.say("hello")
        await shown(desk, "Half of it")
        session_id = desk.chat.conversation_id
        await desk.pilot.press("ctrl+n")
        await gone(desk, "Half of it")
        desk.chat.open_session(session_id)
        await shown(desk, "Half of it")
        assert "Esc stop" in screen_text(desk.app)
        assert (store.looks, desk.chat._looking) == (0, None)


async def test_one_that_was_deleted_there_is_waited_for_no_longer(tmp_path):
    async with watching(tmp_path, "it begins", before=["First."]) as (desk, writer):
        await writer.store.purge(writer.session.session_id)
        await gone(desk, ELSEWHERE)
        await shown(desk, "stopped")
        assert "it begins" in screen_text(desk.app)
        await desk.until(lambda: desk.chat._looking is None, "no timer")


async def test_esc_does_not_stop_it_and_leads_to_the_prompt_as_ever(tmp_path):
    async with watching(tmp_path, "it begins") as (desk, writer):
        assert "Esc stop" not in screen_text(desk.app)
        await desk.pilot.press("alt+up", "escape")
        assert desk.app.focused is desk.chat.prompt_input
        await writer.add(("text", " and goes on"))
        await shown(desk, "it begins and goes on")


async def test_where_the_disk_cannot_be_read_it_is_looked_at_again_and_nobody_is_told(tmp_path):
    async with watching(tmp_path, "it begins") as (desk, writer):
        desk.store.is_broken = True
        await writer.end("it begins and ends")
        looks = desk.store.looks
        await desk.until(lambda: desk.store.looks > looks + 2, "looks")
        assert "The disk is away" not in screen_text(desk.app)
        desk.store.is_broken = False
        await shown(desk, "it begins and ends")
