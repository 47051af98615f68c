"""Answers that their server keeps while lmchat is away, and sessions that are read piece by piece."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.chat.kept_answers import replay_request, target_of_kept
from lmchat.errors import ServerRejected, ServerUnavailable, StoreUnavailable
from lmchat.servers import products
from lmchat.servers.events import RequestSent, StreamFinished, TextDelta
from lmchat.servers.products.product import Product
from lmchat.sessions.message import AnswerState, ChatMessage
from lmchat.sessions.session import MESSAGES_PER_READ, MessagePath
from tests.support.chat_turns import ChatTurns
from tests.support.chats import GatedStore, fill_long

END = StreamFinished(reason="stop")
SHORT = "Forty characters are less than sixty-four."
LONG = SHORT * 5
OFFLINE = ServerUnavailable("It is gone.", kind="offline")
COUNT = 300


async def broken_off(store, text: str, *script) -> ChatTurns:
    """Return a session whose answer broke off behind a text; its server plays `script` next."""
    chat = ChatTurns(store, [RequestSent(is_kept=True), TextDelta(text=text), OFFLINE], script)
    await chat.send("Hello")
    chat.server.kept.add(chat.path[-1].replay_id)
    return chat


async def fetched(store, text: str, *script) -> ChatMessage:
    chat = await broken_off(store, text, *script)
    assert await chat.fetch_kept()
    return (await chat.on_disk())[-1]


@pytest.mark.rule("R-42")
async def test_fetching_that_breaks_off_loses_no_text(store):
    unknown = ServerRejected("It has no such answer.", kind="not_found")
    begun = TextDelta(text="Forty")
    for text in (SHORT, LONG):
        for script in ([OFFLINE], [begun, OFFLINE], [unknown], [begun, unknown]):
            saved = await fetched(store, text, *script)
            assert (saved.state, saved.text) == (AnswerState.INTERRUPTED, text)
            assert saved.replay_id


@pytest.mark.rule("R-42")
async def test_a_complete_fetched_answer_takes_the_place_of_what_was_saved(store):
    saved = await fetched(store, "Plan it.</thi", TextDelta(text="Plan it. And more."), END)
    assert (saved.state, saved.text) == (AnswerState.COMPLETE, "Plan it. And more.")
    # the server has dropped the beginning of a very long one
    saved = await fetched(store, LONG, TextDelta(text=f"dropped {LONG}"), END)
    assert (saved.state, saved.text) == (AnswerState.INTERRUPTED, LONG)


@pytest.mark.rule("R-42")
async def test_an_answer_that_the_server_has_forgotten_stays_and_is_not_asked_for_again(store):
    chat = await broken_off(store, SHORT)
    chat.server.kept.clear()
    assert not await chat.fetch_kept()
    for kept in (chat.path[-1], (await chat.on_disk())[-1]):
        assert (kept.state, kept.text) == (AnswerState.INTERRUPTED, SHORT)
        assert kept.replay_id == ""


async def test_an_answer_that_is_deleted_while_its_server_is_asked_is_not_fetched(
    store, monkeypatch
):
    chat = await broken_off(store, SHORT)

    async def delete_all(_request):
        chat.opened.messages = MessagePath()
        return True

    monkeypatch.setattr(chat.server, "has_kept_answer", delete_all)
    assert not await chat.fetch_kept()


@pytest.mark.rule("R-42")
async def test_a_stop_gives_a_kept_answer_up_a_hang_up_does_not_and_a_fork_fetches_none(store):
    script = [RequestSent(is_kept=True), TextDelta(text="Let"), asyncio.Event()]
    for is_gone in (False, True):
        chat = ChatTurns(store, script)
        await chat.begin("x", TextDelta)
        if is_gone:
            chat.sessions.leave_answers()
        await chat.stop()
        kept = (await chat.on_disk())[-1]
        state = AnswerState.INTERRUPTED if is_gone else AnswerState.STOPPED
        assert (kept.state, kept.text, bool(kept.replay_id)) == (state, "Let", is_gone)
        assert chat.server.is_leaving_answers is is_gone
        copy = await store.fork(chat.opened.session_id, kept.message_id)
        assert copy.messages[-1].replay_id == ""


@pytest.mark.rule("R-42")
async def test_a_stop_while_a_kept_answer_is_fetched_keeps_what_has_arrived_and_gives_it_up(store):
    chat = await broken_off(store, "Forty", TextDelta(text=SHORT), asyncio.Event())
    chat.events.clear()
    assert await chat.sessions.fetch_kept(chat.opened)
    await chat.until(TextDelta)
    await chat.stop()
    for kept in (chat.path[-1], (await chat.on_disk())[-1]):
        assert (kept.state, kept.text) == (AnswerState.STOPPED, SHORT)
        assert kept.replay_id == ""


KEEPER = Product(name="Keeper", can_keep_answers=True)


@pytest.mark.rule("R-42")
async def test_a_running_answer_names_the_product_that_keeps_it_and_is_fetched_as_its(
    store, monkeypatch
):
    monkeypatch.setitem(products._BY_NAME, KEEPER.name, KEEPER)
    script = [RequestSent(is_kept=True), TextDelta(text="Let"), asyncio.Event()]
    chat = ChatTurns(store, script, product=KEEPER.name)
    await chat.begin("x", TextDelta)
    running = (await chat.on_disk())[-1]
    assert running.state is AnswerState.STREAMING
    assert target_of_kept(running).product == replay_request(running).product == KEEPER.name
    await chat.stop()


@pytest.mark.rule("R-42")
async def test_with_detach_off_as_in_a_temporary_chat_no_answer_is_kept_or_fetched(store):
    chat = await broken_off(store, SHORT)
    other = ChatTurns(store, detach=False)
    await other.open(chat.opened.session_id)
    other.server.kept.add(other.path[-1].replay_id)
    assert not await other.fetch_kept()
    await other.send("And?")
    assert other.server.requests[0].replay_id == ""


# Long sessions


@pytest.fixture
async def gated(tmp_path):
    store = GatedStore(tmp_path / "long.db")
    yield store
    await store.aclose()


async def opened(store) -> tuple[ChatTurns, list[ChatMessage]]:
    """Return a front end that shows the end of a long session, and all its messages."""
    talk = await fill_long(store, COUNT)
    (header,) = await store.list_sessions()
    chat = ChatTurns(store, window=100_000)
    await chat.open(header.session_id)
    return chat, talk


async def test_a_long_session_is_opened_with_its_end_and_a_prompt_waits_for_the_rest(gated):
    chat, talk = await opened(gated)
    window = chat.sessions.context_window
    assert not chat.opened.has_all_messages
    assert list(chat.path) == talk[-MESSAGES_PER_READ:]
    assert window.plan(chat.opened, "more") is None
    assert window.context_use(chat.opened) is None
    turn = asyncio.create_task(chat.send("and now?"))
    await gated.asked.wait()
    assert not chat.server.requests
    gated.gate.set()
    await turn
    assert chat.sent() == [*(one.text for one in talk), "and now?"]
    assert len(chat.path) == COUNT + 2
    assert window.plan(chat.opened, "more").left_out == 0
    assert window.context_use(chat.opened) is not None


async def test_an_answer_is_regenerated_and_a_prompt_edited_in_its_place(gated):
    chat, talk = await opened(gated)
    gated.gate.set()
    for place in (COUNT - 1, 1):
        await chat.regenerate(talk[place])
        assert chat.sent() == [one.text for one in talk[:place]]
        assert list(chat.path[:-1]) == talk[:place]
        assert (chat.path[-1].version, chat.path[-1].versions) == (2, 2)
    await chat.open(chat.opened.session_id)
    await chat.edit(talk[0], "in other words")
    assert chat.sent() == ["in other words"]


async def test_another_path_shown_while_older_messages_are_read_is_not_mixed_with_them(gated):
    chat, talk = await opened(gated)
    filling = asyncio.create_task(chat.opened.load_older(chat.sessions.store))
    await gated.asked.wait()
    chat.sessions.in_memory.switch_to_path(
        await gated.choose_path_through(chat.opened.session_id, talk[-1].message_id)
    )
    gated.gate.set()
    await filling
    assert list(chat.path) == talk


async def test_a_failing_disk_refuses_a_prompt_and_the_next_try_continues(gated):
    chat, talk = await opened(gated)
    gated.gate.set()
    gated.error = StoreUnavailable("The disk is away.")
    with pytest.raises(StoreUnavailable):
        await chat.send("lost?")
    assert list(chat.path) == talk[-MESSAGES_PER_READ:]
    gated.error = None
    message = await chat.sessions.changes.set_system_prompt(chat.opened, "be brief")
    await chat.opened.load_older(chat.sessions.store)
    assert list(chat.path) == [*talk, message]
    await chat.send("found")
    assert chat.sent() == ["be brief", *(one.text for one in talk), "found"]
