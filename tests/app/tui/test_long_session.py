from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

from lmchat.app.tui.dialogs.export_dialog import ExportDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.sessions.message import Role
from tests.support.chats import GatedStore, fill_long
from tests.support.desktop import ready_desktop
from tests.support.desktop import shown as on_screen

COUNT = 600


@asynccontextmanager
async def long_session(folder, count=COUNT):
    """Run the app with a long session resumed whose beginning comes once the gate of the store opens."""
    store = GatedStore(folder / "sessions.db")
    talk = await fill_long(store, count)
    async with ready_desktop(folder, store=store, resume_id="last") as desk:
        await desk.until(lambda: desk.active.messages, "the session")
        await desk.until(store.asked.is_set, "the reading of the rest")
        await desk.pilot.pause()
        desk.talk = talk
        yield desk


def shown(desk):
    return [row for line in desk.log_rows if (row := line.strip(" ▌"))]


async def test_the_end_is_shown_before_the_beginning_is_read_and_stays_where_it_is(tmp_path):
    async with long_session(tmp_path, COUNT + 1) as desk:
        before = shown(desk)
        assert any(row.startswith(f"prompt {COUNT}") for row in before)
        first = desk.active.messages[0]
        assert first.role is Role.ASSISTANT
        edit = partial(
            desk.dispatcher.controllers.message_actions.edit, first
        )  # its prompt was not read yet
        desk.dispatcher.ui.start(edit, "message")
        assert not desk.prompt_input.text
        desk.store.gate.set()
        await desk.until(lambda: len(desk.log_view.document) == COUNT + 1, "all of it in the log")
        await desk.pilot.pause()
        assert shown(desk) == before
        await desk.prompt_is(f"prompt {COUNT - 64}")


async def test_stopping_before_it_was_sent_gives_it_back_and_leaving_keeps_it_as_a_draft(tmp_path):
    async with long_session(tmp_path) as desk:
        session_id = desk.session_id
        await desk.say("so")
        await desk.until(lambda: desk.chat.active.is_running, "the turn")
        await desk.press("escape")
        await desk.prompt_is("so")
        await desk.press("enter")
        await desk.until(lambda: desk.chat.active.is_running, "the turn")
        await desk.app.stop_and_save()
        assert not desk.backend.requests
        assert await desk.store.draft(session_id) == "so"
        desk.store.gate.set()


async def test_an_export_is_whole(tmp_path):
    async with long_session(tmp_path) as desk:
        await desk.press("ctrl+e", leads_to=ExportDialog)
        assert " messages" not in desk.text, "their number is not known"
        await desk.press("escape", leads_to=ChatScreen)
        desk.dispatcher.commands.run_line(
            f"/export {tmp_path / 'out.md'}", desk.prompt_input.prompt
        )
        desk.store.gate.set()
        await on_screen(desk, "Exported to")
        text = (tmp_path / "out.md").read_text(encoding="utf-8")
        assert all(f"prompt {n}\n" in text for n in range(0, COUNT, 2))
