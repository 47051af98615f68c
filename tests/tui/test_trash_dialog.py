from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from lmchat.errors import SessionNotFound, StoreUnavailable
from lmchat.tui.messages import ChangeTrash
from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.trash_dialog import TrashDialog, kept_until
from tests.support.desktop import half, ready_desktop
from tests.support.look_data import NOW, header
from tests.support.scripted_backend import answer
from tests.support.tui_host import confirm, listing, screen_text

DELETED = tuple(
    replace(header(number, title), deleted_at=NOW - timedelta(days=number), message_count=number)
    for number, title in ((1, "Plan for the garden"), (2, ""), (29, "Old\x1b[2J one"))
)


class Asked:
    """A dialog, and what it asked for."""

    def __init__(self) -> None:
        self.dialog = TrashDialog()

    @property
    def acts(self) -> list[tuple[str, list[str]]]:
        return [(wanted.act, list(wanted.session_ids)) for wanted in self.app.of(ChangeTrash)]


@asynccontextmanager
async def asking(headers=DELETED, **more):
    asked = Asked()
    async with listing(asked.dialog, lambda: asked.dialog.show(headers, NOW), **more) as (
        asked.app,
        pilot,
    ):
        yield asked, pilot


async def test_what_is_in_the_trash_and_until_when_is_shown():
    async with asking() as (asked, _):
        rows = [row.split("  ") for row in screen_text(asked.app).split("\n")]
        found = {
            cells[0].strip(" ▌"): cells[-1].strip()
            for cells in ([c for c in row if c.strip()] for row in rows)
            if cells
        }
        assert found["Plan for the garden"] == "kept until 19 December"
        assert found["Untitled"] == "kept until 18 December"
        assert found["Old␛[2J one"] == "kept until 21 November"
        assert found["Trash"] == "3 sessions"


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (30, "kept until the next start"),
        (4000, "kept until the next start"),
        (-60, "kept until 18 February 2027"),
    ],
)
def test_a_time_that_is_over_or_far_ahead_is_told_too(days, words):
    assert kept_until(replace(DELETED[0], deleted_at=NOW - timedelta(days=days)), NOW) == words


async def test_enter_brings_the_chosen_one_back():
    async with asking() as (asked, pilot):
        await pilot.press("down", "enter")
        assert asked.acts == [("restore", [header(2, "").session_id])]


@pytest.mark.parametrize("key", ["d", "delete"])
async def test_removing_asks_and_escape_is_no(key):
    async with asking() as (asked, pilot):
        await pilot.press("end", key)
        await pilot.pause()
        assert "“Old␛[2J one” with 29 messages will be deleted." in screen_text(asked.app)
        await pilot.press("escape")
        assert asked.acts == []
        assert asked.app.screen is asked.dialog
        await pilot.press("home", key)
        confirm(asked.app)
        await pilot.pause()
        assert asked.acts == [("delete", [DELETED[0].session_id])]


async def test_emptying_asks_and_takes_only_what_was_listed():
    async with asking() as (asked, pilot):
        await pilot.press("e")
        await pilot.pause()
        assert "3 sessions will be deleted. This cannot be undone." in screen_text(asked.app)
        asked.dialog.show((header(99, "Deleted meanwhile"), *DELETED), NOW)
        confirm(asked.app)
        await pilot.pause()
        assert asked.acts == [("delete", [one.session_id for one in DELETED])]


async def test_an_empty_trash_says_so_and_takes_no_key():
    async with asking((), size=(40, 12)) as (asked, pilot):
        await pilot.press("enter", "d", "e", "down", "pagedown")
        assert "The trash is empty." in screen_text(asked.app)
        assert "delete permanently" not in screen_text(asked.app)
        assert asked.acts == []
        await pilot.press("escape")
        assert asked.app.results == [None]


async def in_trash(desk) -> str:
    """Say something, delete the session by the keys of the list, and open the trash."""
    await desk.say("Plan the garden")
    await desk.answered()
    session_id = desk.conversation.header.session_id
    desk.chat.widgets.session_list.focus()
    await desk.until(lambda: desk.chat.widgets.session_list.chosen_id == session_id, "the list")
    await desk.press("d")
    await desk.until(lambda: desk.conversation.header.session_id != session_id, "the deletion")
    desk.chat.widgets.session_list.focus()
    await desk.press("t", leads_to=TrashDialog, sees="Trash")
    await desk.until(lambda: desk.app.screen.list.key == session_id, "what is in it")
    return session_id


async def test_from_the_trash_a_session_comes_back_into_the_list(desk):
    session_id = await in_trash(desk)
    await desk.press("enter", sees="The trash is empty.")
    await desk.press("escape")
    await desk.until(
        lambda: desk.chat.widgets.session_list.chosen_id == session_id, "the session in the list"
    )
    assert (await desk.store.open_session(session_id)).messages[-1].text == "Lettuce does well."


async def test_what_is_removed_from_the_trash_is_gone_only_after_a_yes(desk):
    session_id = await in_trash(desk)
    await desk.press("d", leads_to=ConfirmDialog)
    assert (await desk.store.open_session(session_id)).messages
    await desk.confirm(sees="The trash is empty.")
    with pytest.raises(SessionNotFound):
        await desk.store.open_session(session_id)


async def test_what_another_window_has_restored_is_not_removed_by_a_yes(desk):
    session_id = await in_trash(desk)
    await desk.press("e", leads_to=ConfirmDialog)
    await desk.store.update_session(session_id, {"deleted_at": None})
    await desk.confirm(sees="It was not in the trash any more.")
    assert (await desk.store.open_session(session_id)).messages


async def test_a_disk_that_fails_is_told_and_the_trash_stays_as_it_was(desk):
    session_id = await in_trash(desk)
    desk.store.update_session = AsyncMock(side_effect=StoreUnavailable("The disk is full."))
    await desk.press("enter", sees="The disk is full.")
    assert desk.app.screen.list.key == session_id


async def test_the_trash_has_a_slash_command(desk):
    await desk.say("/trash", sees="The trash is empty.")
    await desk.press("escape", hides="The trash is empty.")


async def test_an_answer_that_still_streams_does_not_bring_a_deleted_session_back(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce."), answer("Two.")) as desk:
        await desk.say("first", sees="Let")
        session_id = desk.conversation.header.session_id
        await desk.say("second", sees="next")
        await desk.press("ctrl+n", hides="Let")
        await desk.chat.saved_sessions.act("delete", session_id)
        await desk.say("/trash", leads_to=TrashDialog, sees="first")
        await desk.press("d", leads_to=ConfirmDialog)
        await desk.confirm(sees="Deleted permanently.")
        gate.set()
        await desk.until(lambda: not desk.app.open_sessions.busy, "the end of all turns")
        await desk.app.open_sessions.save_all()
        assert not await desk.store.list_sessions()
        assert not await desk.store.list_sessions(is_trash=True)
