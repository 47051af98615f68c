"""What is said before there is a server: it waits above the prompt, and is lost on no way."""

from __future__ import annotations

import pytest

from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.storage.store import Store
from tests.support.chats import header, prompt
from tests.support.desktop import desktop, gone, is_shown, ready_desktop, sent, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps, half, hold, model, probed


def slow_backend(*scripts, **more):
    """A backend that finds nothing out before it is told to."""
    backend = ScriptedBackend(*scripts, **more)
    backend.gate = hold(backend, "detect")
    return backend


async def test_the_page_without_a_server_says_that_a_message_waits_and_it_goes_out_with_the_server(
    tmp_path,
):
    backend = slow_backend(results=[probed("offline")])
    async with desktop(tmp_path, backend, size=(40, 12)) as desk:
        await desk.say("one")
        backend.gate.set()
        await desk.on(WelcomeScreen)
        await shown(desk, "Your message waits")
        await desk.pilot.resize_terminal(120, 40)
        desk.app.screen.dismiss(None)
        await desk.on(ChatScreen)
        await desk.say("two", sees="is sent when a")
        backend.results = (probed("", model()),)
        desk.dispatcher.controllers.server_search.check_now()
        await desk.answered(2)
        assert sent(backend) == ["one", "two"]
        assert not is_shown(desk, "is sent when a")
    keyless = ScriptedBackend(results=[probed("key_rejected")])
    async with desktop(tmp_path / "keyless", keyless) as desk:
        await desk.on(WelcomeScreen)
        desk.app.screen.dismiss(None)
        await desk.on(ChatScreen)
        await desk.say("one", sees="is sent once the API key is set")


async def test_what_waits_when_lmchat_ends_is_in_the_prompt_the_next_time(tmp_path):
    async with desktop(tmp_path, slow_backend()) as desk:
        await desk.say("one", sees="next  one")
        await desk.type("two")
        await desk.prompt_is("two")
    backend = slow_backend(results=[probed("offline")])
    async with desktop(tmp_path, backend) as desk:
        await desk.prompt_is("one\n\ntwo")
        backend.gate.set()  # a draft does not hide that there is no server
        await desk.on(WelcomeScreen)


@pytest.mark.parametrize("is_server_ready", [False, True])
async def test_what_is_said_before_a_session_is_resumed_is_meant_for_it(tmp_path, is_server_ready):
    store = Store(tmp_path / "sessions.db")
    old = header("Garden")
    await store.append(old, prompt("what grows?"))
    backend = slow_backend()
    gate = hold(store, "open_session")
    async with desktop(tmp_path, backend, store=store, resume_id=old.session_id) as desk:
        await desk.say("and in shade?", sees="next  and in shade?")
        first, second = (backend.gate, gate) if is_server_ready else (gate, backend.gate)
        first.set()
        await shown(desk, "next  and in shade?")
        second.set()
        await desk.answered()
        assert (await desk.texts_on_disk())[:2] == ["what grows?", "and in shade?"]


async def test_what_is_typed_before_a_session_is_resumed_follows_its_draft(tmp_path):
    store = Store(tmp_path / "sessions.db")
    old = header("Garden")
    await store.append(old, prompt("what grows?"))
    for draft, shown_text in (("", "and in shade"), ("and in sun", "and in sun\n\nand in shade")):
        if draft:
            async with desktop(tmp_path, slow_backend(), resume_id=old.session_id) as desk:
                await shown(desk, "what grows?")
                await desk.press("ctrl+u")
                await desk.type(draft)
                await desk.prompt_is(draft)
        store = Store(tmp_path / "sessions.db")
        gate = hold(store, "open_session")
        async with desktop(tmp_path, slow_backend(), store=store, resume_id=old.session_id) as desk:
            await desk.type("and in shade")
            await desk.prompt_is("and in shade")
            gate.set()
            await shown(desk, "what grows?")
            await desk.prompt_is(shown_text)
            await desk.type("?")
            await desk.prompt_is(f"{shown_text}?")
            await desk.press("ctrl+n")
            await desk.prompt_is("")


async def test_prompts_wait_in_a_session_that_cannot_be_deleted_until_esc_or_a_new_one_has_them(
    tmp_path,
):
    backend = slow_backend()
    async with desktop(tmp_path, backend) as desk:
        await desk.say("one", sees="Esc cancel")
        await desk.type("two")
        await desk.press("escape")
        assert desk.prompt_input.text == "one\n\ntwo"  # before what is typed
        await gone(desk, "next  one")
        desk.prompt_input.put("")
        await desk.say("one", sees="next  one")
        await desk.type("typed")
        waiting = desk.active
        await desk.press("ctrl+n", hides="next  one")
        await shown(desk, "Not saved")
        await desk.go_to_list()
        await desk.press("d", sees="This session is empty.")
        for key in ("p", "a", "n"):
            await desk.press(key)
        assert waiting.queue.drafts == ("one",)
        assert isinstance(desk.app.screen, ChatScreen)
        desk.chat.return_waiting()
        await desk.prompt_is("one\n\ntyped")
        await gone(desk, "Not saved")
        backend.gate.set()
        await desk.ready()
        await shown(desk, "qwen3-8b")
        assert sent(backend) == []


async def test_an_answer_is_neither_continued_nor_retried_before_a_server_is_found(tmp_path):
    async with ready_desktop(tmp_path, half("Sow ")) as desk:
        await desk.say("when?", sees="Sow")
        await desk.press("escape", sees="stopped")
    backend = slow_backend(answer_steps("in May."))
    async with desktop(tmp_path, backend, resume_id="last") as desk:
        await shown(desk, "stopped")
        await desk.say("/retry", sees="No model is ready yet.")
        backend.gate.set()
        await desk.ready()
        await desk.say("/continue", sees="in May.")
