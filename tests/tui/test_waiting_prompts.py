"""What is said before there is a server: it waits above the prompt, and is lost on no way."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.server import LoadState, Verdict
from lmchat.storage.store import SqliteStore
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.screens.model_picker import ModelPicker
from lmchat.tui.screens.welcome.welcome_screen import WelcomeScreen
from tests.support.chats import header, prompt
from tests.support.desktop import desktop, gone, hold, ready_desktop, sent, shown
from tests.support.scripted_backend import ScriptedBackend, candidate, model


def slow_backend(**more):
    """A backend that finds nothing out before it is told to."""
    backend = ScriptedBackend(**more)
    backend.gate = hold(backend, "detect")
    return backend


def off():
    return candidate(Verdict.REFUSED, next_step="Open its Developer tab, then Start server.")


async def test_what_is_said_while_a_server_is_looked_for_goes_out_when_it_is_found(tmp_path):
    backend = slow_backend()
    async with desktop(tmp_path, backend) as desk:
        await desk.say("one", sees="next  one")
        assert desk.prompt_input.text == ""
        await desk.say("two", sees="next  two")
        backend.gate.set()
        await desk.answered(2)
        assert sent(backend) == ["one", "two"]
        await gone(desk, "next  ")


async def test_escape_takes_what_waits_back_before_what_is_typed(tmp_path):
    backend = slow_backend()
    async with desktop(tmp_path, backend) as desk:
        await desk.say("one", sees="Esc cancel")
        await desk.type("two")
        await desk.press("escape")
        assert desk.prompt_input.text == "one\n\ntwo"
        await gone(desk, "next  one")
        backend.gate.set()
        await desk.ready()
        await shown(desk, "qwen3-8b")
        assert sent(backend) == []


async def test_the_page_without_a_server_says_that_a_message_waits_and_it_goes_out_with_the_server(
    tmp_path,
):
    backend = slow_backend(candidates=[off()])
    async with desktop(tmp_path, backend, size=(40, 12)) as desk:
        await desk.say("one")
        backend.gate.set()
        await desk.on(WelcomeScreen)
        await shown(desk, "Your message waits")
        await desk.pilot.resize_terminal(120, 40)
        desk.app.screen.dismiss(None)
        await desk.on(ChatScreen)
        await desk.say("two", sees="is sent when a")
        backend.candidates = (candidate(Verdict.READY, model()),)
        desk.app.connect.check_now()
        await desk.answered(2)
        assert sent(backend) == ["one", "two"]


@pytest.mark.parametrize(
    "found",
    [
        candidate(Verdict.NEEDS_KEY),
        candidate(Verdict.NO_MODEL, model(state=LoadState.NOT_LOADED)),
    ],
    ids=["a server that wants a key", "a server without a model"],
)
async def test_what_is_found_while_a_prompt_is_written_takes_no_key_of_it(tmp_path, found):
    backend = slow_backend(candidates=[found])
    async with desktop(tmp_path, backend) as desk:
        await desk.type("what grows ")
        await desk.prompt_is("what grows ")
        backend.gate.set()
        await shown(desk, "You can type; your messages wait")
        await desk.say("in shade?", sees="next  what grows in shade?")
        desk.app.connect.check_now()
        await desk.until(lambda: not isinstance(desk.app.screen, ChatScreen), "what is asked for")


async def test_what_waits_when_lmchat_ends_is_in_the_prompt_the_next_time(tmp_path):
    async with desktop(tmp_path, slow_backend()) as desk:
        await desk.say("one", sees="next  one")
        await desk.type("two")
        await desk.prompt_is("two")
    backend = slow_backend(candidates=[off()])
    async with desktop(tmp_path, backend) as desk:
        await desk.prompt_is("one\n\ntwo")
        backend.gate.set()  # a draft does not hide that there is no server
        await desk.on(WelcomeScreen)


async def test_without_the_key_a_sentence_says_what_the_message_waits_for(tmp_path):
    backend = ScriptedBackend(candidates=[candidate(Verdict.NEEDS_KEY)])
    async with desktop(tmp_path, backend) as desk:
        await shown(desk, "needs an API key")
        await desk.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, Dialog), "no dialog")
        if not isinstance(desk.app.screen, ChatScreen):
            desk.app.screen.dismiss(None)
        await desk.on(ChatScreen)
        await desk.say("one", sees="once the API key is set")


async def test_it_waits_until_a_model_that_is_chosen_in_the_picker_is_loaded(tmp_path):
    backend = slow_backend(
        candidates=[candidate(Verdict.NO_MODEL, model(state=LoadState.NOT_LOADED))]
    )
    begun, loaded = asyncio.Event(), asyncio.Event()

    async def load(wanted, **_more):
        begun.set()
        await loaded.wait()
        backend.candidates = (candidate(Verdict.READY, model()),)

    backend.load = load
    async with desktop(tmp_path, backend) as desk:
        await desk.say("one", sees="next  one")
        backend.gate.set()
        await desk.on(ModelPicker)
        await shown(desk, "qwen3-8b")
        await desk.press("enter")
        await desk.until(begun.is_set, "the model is being loaded")
        await shown(desk, "next  one")
        assert sent(backend) == []
        loaded.set()
        await desk.answered()
        assert sent(backend) == ["one"]


async def test_what_has_gone_out_is_no_draft_any_more(tmp_path):
    backend = slow_backend()
    async with desktop(tmp_path, backend) as desk:
        await desk.say("one")
        await desk.until(
            lambda: desk.app.open_sessions.drafts._on_disk.get("") == "one", "a draft on the disk"
        )
        backend.gate.set()
        await desk.answered()
    store = SqliteStore(tmp_path / "sessions.db")
    assert await store.draft("") == ""
    await store.aclose()


async def test_what_is_said_before_a_session_is_resumed_is_meant_for_it(tmp_path):
    store = SqliteStore(tmp_path / "sessions.db")
    old = header("Garden")
    await store.append(old, prompt("what grows?"))
    backend = slow_backend()
    gate = hold(store, "open_session")
    async with desktop(tmp_path, backend, store=store, resume_id=old.session_id) as desk:
        await desk.say("and in shade?", sees="next  and in shade?")
        gate.set()
        await shown(desk, "what grows?", "next  and in shade?")
        backend.gate.set()
        await desk.answered()
        assert (await desk.texts_on_disk())[:2] == ["what grows?", "and in shade?"]


async def test_an_edit_that_cannot_go_out_yet_is_still_an_edit(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        desk.chat.messages.act_on("edit", desk.conversation.messages[0])
        desk.app.open_sessions.next_turn.target = None
        await desk.press("x", "enter", sees="No model server found yet.")
        assert desk.prompt_input.text == "onex"
        await desk.press("escape")
        assert desk.prompt_input.text == ""
