from __future__ import annotations

from contextlib import aclosing

import pytest

from lmchat.app.tui import dispatcher
from lmchat.app.tui.app import LMChatApp
from lmchat.core.storage.store import Store
from tests.support.chats import fill
from tests.support.desktop import ready_desktop, shown
from tests.support.faults import spoil
from tests.support.scripted_backend import ScriptedBackend, answer_steps


async def test_damage_that_was_not_met_before_is_told_and_the_chat_goes_on_in_memory(
    tmp_path, monkeypatch
):
    backend = ScriptedBackend(answer_steps("Two."))
    path = tmp_path / "sessions.db"
    async with aclosing(Store(path)) as store:
        await fill(store, 200)
    spoil(path)
    monkeypatch.setattr(dispatcher, "CHECK_AFTER_S", 0.05)
    told: list[str] = []  # also what is no longer shown
    monkeypatch.setattr(LMChatApp, "notify", lambda _, message, **more: told.append(message))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.until(lambda: "sessions.db is damaged" in " ".join(told), "what was found")
        await desk.ask("second")
        assert desk.texts == ["second", "Two."]
        await shown(desk, "Nothing is saved:", "sessions.db is damaged.")
    assert not list(path.parent.glob("sessions.db.damaged-*"))


@pytest.fixture
async def damaged(tmp_path):
    """A damaged file, with a backup of two sessions."""
    path = tmp_path / "sessions.db"
    async with aclosing(Store(path)) as store:
        await fill(store, 2)
        await store.daily_check()
    path.write_bytes(b"damaged" * 1000)
    return path


@pytest.mark.parametrize(("moves", "titles"), [(0, ["prompt 1", "prompt 0"]), (1, [])])
async def test_the_screen_asks_once_what_takes_the_place_of_a_damaged_file(
    tmp_path, damaged, moves, titles
):
    """A sentence with its Enter, typed meanwhile, is no answer."""
    async with ready_desktop(tmp_path, answer_steps("Yes.")) as desk:
        await shown(desk, "Damaged sessions.db", "with 2 sessions", "an empty file")
        await desk.press("h", "i")
        await desk.press("enter")
        await shown(desk, "F7 use this")
        await desk.press(*["down"] * moves)
        await desk.press("f7", hides="Damaged")
        await shown(desk, "sessions.db was damaged and is kept as")
        [kept] = tmp_path.glob("sessions.db.damaged-*")
        assert kept.read_bytes() == b"damaged" * 1000
        listed = await desk.store.list_sessions()
        assert [session.title for session in listed] == titles
        assert desk.prompt_input.text == "hi"
        await desk.ask("there")
        assert len(await desk.store.list_sessions()) == len(titles) + 1


async def test_a_damaged_file_may_be_left_as_it_is(tmp_path, damaged):
    async with ready_desktop(tmp_path, answer_steps("Yes.")) as desk:
        await shown(desk, "Damaged sessions.db")
        await desk.press("escape", hides="Damaged")
        await desk.ask("hello")
        await shown(desk, "Nothing is saved:", "sessions.db is damaged.")
    assert damaged.read_bytes() == b"damaged" * 1000
