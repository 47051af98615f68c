from __future__ import annotations

from contextlib import aclosing

from lmchat.storage.store import Store
from lmchat.tui import dispatcher
from lmchat.tui.app import LMChatApp
from tests.support.chats import faults_in, fill
from tests.support.desktop import ready_desktop
from tests.support.faults import spoil
from tests.support.scripted_backend import ScriptedBackend, answer_steps


async def test_damage_that_was_not_met_before_is_reported_and_the_chat_works(tmp_path, monkeypatch):
    backend = ScriptedBackend(answer_steps("Two."))
    path = tmp_path / "sessions.db"
    async with aclosing(Store(path)) as store:
        await fill(store, 200)
    spoil(path, "parts")
    monkeypatch.setattr(dispatcher, "CHECK_AFTER_S", 0.05)
    told: list[str] = []  # also what is no longer shown
    monkeypatch.setattr(LMChatApp, "notify", lambda _, message, **more: told.append(message))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.until(lambda: "was damaged" in " ".join(told), "what was found")
        await desk.ask("second")
        assert desk.texts == ["second", "Two."]
        assert faults_in(path) == ""
    assert list(path.parent.glob("sessions.db.damaged-*"))
