from __future__ import annotations

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from lmchat.services.library import SessionGroup
from lmchat.tui.screens.message_tree import MessageTree
from lmchat.tui.widgets.session_list import SessionList
from tests.support.look_data import GROUPS, UNREAD, header
from tests.support.look_pictures import PATH, SIZES, TREE, panels, steps
from tests.support.tui_host import Host, screen_text

SIZE = ["80x24"]


def made(dialog, *data):
    def make():
        dialog.call_later(dialog.show, *data)
        return dialog

    return make


@pytest.mark.parametrize("size", SIZE)
def test_a_tree_of_three_levels(snap_compare, size):
    app = panels(made(MessageTree(), TREE, PATH))
    assert snap_compare(
        app, terminal_size=SIZES[size], run_before=steps(sees="└ And in full shade?")
    )


TAGGED = (
    replace(header(1, "Beds"), tags=("garden", "plans")),
    replace(header(2, "A title as long as the row"), tags=("garden",)),
    replace(header(3, "Bread"), tags=("kitchen",)),
    *(header(number, f"Letter {number}") for number in range(4, 14)),
)


def test_a_list_with_tags_and_figures(snap_compare):
    sessions = SessionList()
    groups = (*GROUPS[:1], SessionGroup(name="Today", headers=TAGGED))

    async def see(pilot: Pilot) -> None:
        sessions.focus()
        await pilot.press("down")
        await pilot.pause()
        assert "Beds #garden #plans" in screen_text(pilot.app)

    app = Host(sessions, before=lambda _: sessions.show(groups, TAGGED[2].session_id, (), UNREAD))
    assert snap_compare(app, terminal_size=SIZES["120x40"], run_before=see)
