"""A prompt and its answer, from Enter to the disk, also when one of them breaks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from lmchat.base.errors import (
    RequestInvalid,
    ServerUnavailable,
    StoreUnavailable,
)
from lmchat.core.chat.events import AnswerStarted, MessageAdded, TurnEnded, TurnStarted
from lmchat.core.chat.turn import shown_error
from lmchat.core.servers.events import (
    RefusalDelta,
    RequestSent,
    Rethought,
    StreamFinished,
    TextDelta,
)
from lmchat.core.sessions.journal_entries import RESET
from lmchat.core.sessions.message import AnswerState, RefusalPart, Role
from lmchat.core.sessions.prompts import PendingPrompt, Prompt
from tests.support.chat_turns import ChatTurns
from tests.support.programs import until
from tests.support.scripted_backend import ScriptedBackend, answer_steps, hold
from tests.support.scripted_tools import calls, toolbox

END = StreamFinished(reason="stop")
OFFLINE = ServerUnavailable("Nothing answers at 127.0.0.1:1234.")
FULL = StoreUnavailable("The disk is full.")


async def test_a_prompt_is_shown_then_on_the_disk_then_sent_and_its_answer_is_kept_with_stats(
    store,
):
    class Watching(ScriptedBackend):
        async def stream(self, request):
            self.on_disk = [message.text for message in await chat.on_disk()]
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    yield event

    server = Watching(answer_steps("Lettuce does well.", thought="hm"), answer_steps())
    chat = ChatTurns(store, server=server, system_prompt="Be brief.")
    write = hold(store, "append")
    await chat.start("What grows in shade?", MessageAdded)
    assert not await store.list_sessions()
    assert not server.requests
    write.set()
    await chat.wait()
    assert server.on_disk[:2] == ["Be brief.", "What grows in shade?"]
    kinds = [type(event) for event in chat.events]
    assert kinds[:4] == [TurnStarted, MessageAdded, MessageAdded, AnswerStarted]
    assert kinds[-2:] == [StreamFinished, TurnEnded]
    _, prompt, reply = await chat.on_disk()
    assert (reply.text, reply.reasoning) == ("Lettuce does well.", "hm")
    assert (reply.state, reply.parent_id) == (AnswerState.COMPLETE, prompt.message_id)
    assert reply.stats.completion_tokens == 3
    assert chat.session.header.title == "What grows in shade?"
    assert not chat.session.is_running
    await chat.send("And in the sun?")  # without the thought
    assert chat.sent() == ["Be brief.", prompt.text, reply.text, "And in the sun?"]


async def test_the_preview_of_a_prompt_is_the_request_that_the_server_gets(store):
    chat = ChatTurns(store, box=toolbox(), system_prompt="Be brief.", seed=42)
    chat.session.set_prefill("Ferns", chat.sessions.turn_options.target)
    (*_, untyped, begun) = (await chat.sessions.next_request(chat.session, Prompt(""))).messages
    assert (untyped.text, begun.text) == ("", "Ferns")
    for text in ("What grows in shade?", "And in the sun?"):
        preview = await chat.sessions.next_request(chat.session, Prompt(text))
        plan = chat.sessions.context_window.select(chat.session, text)
        await chat.send(text)
        sent = chat.server.requests[-1]
        for messages in (preview.messages, plan.messages):
            assert chat.sent() == [message.text for message in messages]
        assert sent.tools
        # ids of messages are new each time
        assert replace(preview, messages=()) == replace(sent, messages=(), message_id="")


async def test_a_disk_that_fails_stops_no_answer_and_all_is_written_in_order_when_it_is_back(store):
    chat = ChatTurns(store)
    queue = chat.sessions.save_queue
    real = store.append, store.start_answer, store.end_answer
    store.append = store.start_answer = store.end_answer = AsyncMock(side_effect=FULL)
    await chat.send("one")
    await chat.send("two")
    assert len(chat.server.requests) == 2
    assert queue.warning is FULL
    unsaved = chat.session
    chat.sessions.open_sessions.switch_to_new()
    assert await chat.sessions.open_sessions.find_or_load(unsaved.session_id) is unsaved
    assert [header.title for header in chat.sessions.open_sessions.unsaved()] == ["one"]
    chat.sessions.open_sessions.switch_to(unsaved)
    store.append, store.start_answer, store.end_answer = real
    await chat.sessions.close()
    assert queue.warning is None
    assert chat.sessions.open_sessions.unsaved() == []
    assert await chat.on_disk() == chat.path
    assert chat.texts == ["one", "Lettuce does well.", "two", "Lettuce does well."]


async def test_a_stop_before_the_request_keeps_the_prompt_once(store):
    chat = ChatTurns(store)
    write = hold(store, "append")
    await chat.start("What grows in shade?", MessageAdded)
    stopping = asyncio.ensure_future(chat.stop())
    await asyncio.sleep(0)
    write.set()
    await stopping
    await until(lambda: not chat.sessions.open_sessions.unsaved(), "the saved prompt")
    assert [message.text for message in await chat.on_disk()] == ["What grows in shade?"]
    assert chat.server.requests == []


@pytest.mark.rule("R-30")
async def test_a_stopped_answer_keeps_its_text_and_a_second_stop_does_not_cut_its_saving(store):
    chat = ChatTurns(store, [RequestSent(), TextDelta(text="Let"), asyncio.Event()])
    may_save = hold(store, "end_answer")
    await chat.start("x", TextDelta)
    stopping = asyncio.ensure_future(chat.stop())
    await may_save.reached.wait()
    again = asyncio.ensure_future(chat.sessions.close())
    await asyncio.sleep(0)
    assert chat.path[-1].state is AnswerState.STOPPED  # the screen does not wait for the disk
    may_save.set()
    await stopping
    await again
    await chat.sessions.close()
    reply = (await chat.on_disk())[-1]
    assert (reply.text, reply.state, reply.failure) == ("Let", AnswerState.STOPPED, None)
    assert chat.server.stopped == 1


async def test_the_log_has_the_id_of_a_failed_answer_and_no_words_of_an_exception(store, caplog):
    chat = ChatTurns(store, [ZeroDivisionError("ours")])
    await chat.send("x")
    failure = chat.path[-1].failure
    assert "ours" not in failure.message
    assert f"id {failure.failure_id}" in caplog.messages[-1]
    shown_error(KeyError("secret words"))
    assert "secret words" not in caplog.messages[-1]


@pytest.mark.parametrize("kind", [TurnStarted, MessageAdded, TurnEnded])
async def test_a_prompt_is_saved_although_its_turn_cannot_be_shown_and_the_error_is_raised(
    store, kind
):
    chat = ChatTurns(store, answer_steps("There."))
    chat.breaks_at = kind
    with pytest.raises(BrokenPipeError):
        await chat.send("x")
    await chat.session.wait_until_saved()
    assert chat.returned == []
    assert (await chat.on_disk())[0].text == "x"


async def test_a_changed_system_prompt_holds_for_another_version_of_what_is_above_it(store):
    chat = ChatTurns(store, system_prompt="Be kind.")
    await chat.send("one")
    await chat.session.set_system_prompt("Be brief.")
    await chat.regenerate(chat.path[2])
    assert chat.sent() == ["Be brief.", "one"]
    roles = [message.role for message in chat.path]
    assert roles == [Role.SYSTEM, Role.USER, Role.SYSTEM, Role.ASSISTANT]
    assert (chat.path[1].version, chat.path[1].versions) == (2, 2)
    await chat.session.set_system_prompt("Be rude.")
    await chat.edit(chat.path[1], "two")
    assert chat.sent() == ["Be rude.", "two"]
    await chat.send("three")
    assert chat.sent()[::3] == ["Be rude.", "three"]
    for version, text in enumerate(("Be shy.", "Be glad."), 2):  # the second follows the first
        await chat.session.set_system_prompt(text)
        await chat.regenerate(chat.path[-2])
        assert (chat.sent()[::3], chat.path[-3].version) == ([text, "three"], version)
    await chat.session.set_system_prompt("Be calm.")
    await chat.continue_answer(chat.path[-2])
    answer = "Lettuce does well."
    assert chat.sent() == ["Be calm.", "two", answer, "three", answer]
    assert chat.path[-1].text == answer * 2
    assert list(await chat.on_disk()) == list(chat.path)


async def test_a_changed_system_prompt_holds_for_another_answer_to_the_results_of_tools(store):
    script = calls(("files__read_text", {"path": "a"}))
    chat = ChatTurns(store, script, answer_steps(), answer_steps(), box=toolbox())
    await chat.send("Read")
    await chat.session.set_system_prompt("Be brief.")
    await chat.regenerate(chat.path[-2])
    assert chat.sent() == ["Be brief.", "Read", "", ""]
    assert [message.role for message in chat.path[-3:]] == [
        Role.TOOL,
        Role.SYSTEM,
        Role.ASSISTANT,
    ]
    assert list(await chat.on_disk()) == list(chat.path)


async def test_a_second_turn_in_a_session_is_refused_and_an_answer_may_stream_in_another(store):
    gate = asyncio.Event()
    chat = ChatTurns(store, [RequestSent(), TextDelta(text="Let"), gate, TextDelta(text="."), END])
    await chat.start("one", TextDelta)
    first = chat.session
    with pytest.raises(RequestInvalid):
        await chat.regenerate(chat.path[0])
    chat.sessions.open_sessions.switch_to_new()
    assert chat.sessions.open_sessions.running_ids == {first.session_id}
    await chat.send("two")
    assert chat.texts == ["two", "Lettuce does well."]
    assert await chat.sessions.open_sessions.find_or_load(first.session_id) is first
    back = chat.sessions.open_sessions.switch_to_path(await store.open_session(first.session_id))
    assert back is first
    assert [message.text for message in first.messages_so_far] == ["one", "Let"]
    gate.set()
    await chat.wait()
    assert chat.texts == ["one", "Let."]
    prompts = [message.text for message in await chat.on_disk() if message.role is Role.USER]
    assert prompts == ["one"]


async def test_a_path_that_is_shown_while_its_answer_streams_or_is_saved_has_the_answer_once(store):
    may_save = hold(store, "end_answer")
    gate = asyncio.Event()
    text = "lettuce " * 50
    chat = ChatTurns(store, [RequestSent(), TextDelta(text=text), gate, END])
    use = chat.sessions.context_window.context_use
    open_sessions = chat.sessions.open_sessions

    async def show() -> None:
        last_id = chat.path[-1].message_id
        open_sessions.switch_to_path(
            await open_sessions.choose_path(chat.session.session_id, last_id)
        )

    await chat.start("one", TextDelta)
    before = use(chat.session)
    await show()
    assert use(chat.session) == before, "its tokens are counted once"
    assert chat.session.messages_so_far[-1].text == text
    gate.set()
    await may_save.reached.wait()
    await show()
    assert chat.texts == ["one", text], "the disk does not have its end yet"
    may_save.set()
    await chat.wait()
    assert chat.path == await chat.on_disk()


async def test_an_ended_session_is_read_from_the_disk_again_and_unread_until_it_is_shown(store):
    chat = ChatTurns(store)
    first = chat.session
    chat.sessions.send(first, PendingPrompt(draft="one"))
    chat.sessions.open_sessions.switch_to_new()
    await chat.sessions.wait(first)
    assert chat.sessions.open_sessions.unread == {first.session_id}
    again = await chat.open(first.session_id)
    assert chat.sessions.open_sessions.unread == set()
    assert again is not first
    assert chat.texts == ["one", "Lettuce does well."]


async def test_without_server_or_model_a_prompt_is_refused_with_the_next_step(store):
    chat = ChatTurns(store)
    target = chat.sessions.turn_options.target
    chat.sessions.turn_options.target = None
    with pytest.raises(RequestInvalid, match="No model is ready") as refused:
        await chat.send("x")
    assert "/model" in refused.value.next_step
    chat.sessions.turn_options.target = type(target)(endpoint=target.endpoint, product="LM Studio")
    with pytest.raises(RequestInvalid, match=r"^No LM Studio model selected"):
        await chat.send("x")
    assert chat.path == ()
    chat.sessions.turn_options.target = target
    gate = asyncio.Event()
    load = chat.server.model_lists.load(target.model, lambda _: gate.wait())
    with pytest.raises(RequestInvalid, match="is still loading its model"):
        await chat.compact()
    gate.set()
    await load


# Text that turns out to be thought

LATE = [TextDelta(text="Let me see: 2+2"), Rethought(), TextDelta(text="Four")]


@pytest.mark.rule("R-17")
async def test_an_answer_is_kept_as_what_it_turned_out_to_be(store):
    for events, thought, text in (
        (LATE, "Let me see: 2+2", "Four"),
        ([TextDelta(text="hm"), Rethought()], "hm", ""),
    ):
        chat = ChatTurns(store, [*events, END])
        await chat.send("x")
        assert await chat.on_disk() == chat.path
        reply = chat.path[-1]
        assert (reply.reasoning, reply.text) == (thought, text)
        assert (reply.stats.reasoning_ms is not None) == bool(thought)


@pytest.mark.rule("R-17")
async def test_thought_and_text_are_separate_on_the_disk_while_the_answer_streams(store):
    gate = asyncio.Event()
    written = asyncio.Queue()
    add_entries = store.add_entries

    async def noticing(message_id, pieces):
        await add_entries(message_id, pieces)
        written.put_nowait(pieces)

    store.add_entries = noticing
    first, *rest = LATE
    chat = ChatTurns(store, [first, gate, *rest, asyncio.Event()])
    await chat.start("x", TextDelta)
    assert await written.get() == (("text", "Let me see: 2+2"),)
    gate.set()
    assert (await written.get())[0] == RESET
    reply = (await chat.on_disk())[-1]
    assert (reply.reasoning, reply.text, reply.state) == (
        "Let me see: 2+2",
        "Four",
        AnswerState.STREAMING,
    )
    shown = chat.session.messages_so_far[-1]
    assert (shown.reasoning, shown.text) == ("Let me see: 2+2", "Four")
    assert chat.session.current(chat.path[-1]).text == "Four"
    assert chat.session.current(chat.path[0]).text == "x"
    with suppress(asyncio.CancelledError):
        await chat.stop()


async def test_a_refusal_is_kept_apart_and_is_what_was_said(store):
    chat = ChatTurns(store, [RefusalDelta(text="I can"), RefusalDelta(text="not."), END])
    await chat.send("x")
    reply = (await chat.on_disk())[-1]
    assert reply.parts == (RefusalPart(text="I cannot."),)
    assert (reply.text, reply.state) == ("I cannot.", AnswerState.COMPLETE)
    (found,) = await store.search("cannot")
    assert found.session_id == chat.session.session_id
