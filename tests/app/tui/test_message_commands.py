"""Every key of a message on every kind of message, in the whole app: nothing fails, and nothing is lost."""

from __future__ import annotations

from unittest.mock import AsyncMock

from lmchat.app.commands.table import BY_ID
from lmchat.base.errors import StoreUnavailable
from lmchat.core.sessions.message import now
from tests.support.chats import ACTS
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps, hold

KEYS = {name: BY_ID[f"message.{name}"].keys for name in ACTS}


async def test_deletions_are_undone_one_after_the_other_and_after_a_new_answer(tmp_path):
    scripts = [answer_steps(text) for text in ("Alpha.", "Beta.", "Gamma.")]
    async with ready_desktop(tmp_path, *scripts, asked=["one", "two"]) as desk:
        await desk.press("alt+up", sees="y copy")
        assert "u undo" not in desk.text
        await desk.press("d", sees="u undo  y copy", hides="Beta.")
        await desk.press("d", hides="two")
        await desk.press("u", sees="two")
        assert "Beta." not in desk.text
        await desk.press("u", sees="Beta.", hides="u undo")
        await desk.press("u", sees="Nothing to undo.")
        await desk.press("escape")
        await desk.say("/delete", hides="Beta.")
        await desk.say("/retry", sees="Gamma.")
        await desk.at_rest()
        await desk.say("/undo", sees="Beta.")
        await shown(desk, "1/2")
        tree = await desk.store.tree(desk.session_id)
        assert [m.text for m in tree] == ["one", "Alpha.", "two", "Beta.", "Gamma."]


async def test_what_the_disk_refuses_or_another_window_has_removed_is_reported_and_costs_nothing(
    tmp_path, monkeypatch
):
    scripts = [answer_steps(text) for text in ("Alpha.", "Beta.", "Gamma.")]
    full = AsyncMock(
        side_effect=StoreUnavailable("The disk is full.", next_step="Free some space.")
    )
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await desk.press("ctrl+r", sees="Beta.")
        await desk.at_rest()
        for name, method in (
            ("delete", "delete_message"),
            ("fork", "fork"),
            ("next_version", "tree"),
        ):
            desk.app.passing = None
            with monkeypatch.context() as patched:
                patched.setattr(desk.store, method, full)
                await desk.press("alt+up", KEYS[name], sees="The disk is full. Free some space.")
            assert "Beta." in desk.text
            assert desk.texts == ["one", "Beta."]
            await desk.press("escape")

        session_id = desk.session_id
        await desk.store.update_session(session_id, {"deleted_at": now()})
        await desk.store.purge(session_id)
        told = []
        desk.app.watch(desk.app, "passing", lambda note: told.append(note.text if note else ""))
        for name in ("delete", "fork", "next_version", "tree", "undo"):
            await desk.press("alt+up", BY_ID[f"message.{name}"].keys)
            await desk.pilot.pause()
            while len(desk.app.screen_stack) > 1:
                await desk.press("escape")
        assert not any("internal error" in one for one in told)
        assert "Beta." in desk.text
        await desk.press("escape")
        await desk.say("two", sees="Gamma.")


async def test_a_deletion_that_takes_long_sends_nothing_and_brings_no_session_back_that_was_left(
    tmp_path,
):
    async with ready_desktop(tmp_path, answer_steps("Ferns."), asked=["one"]) as desk:
        gate = hold(desk.store, "delete_message")
        await desk.press("alt+up", "d", "escape")
        await desk.say("next", sees="being changed")
        await desk.prompt_is("next")
        gate.set()
        await shown(desk, "Deleted, with everything after it.")
        await desk.press("enter")
        await desk.answered()
        assert desk.texts[:2] == ["one", "next"]
        gate.clear()
        await desk.press("alt+up", "d", "ctrl+n", hides="next")
        gate.set()
        await shown(desk, "Deleted, with everything after it.")
        assert desk.texts == []
