from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding

from lmchat.tui.commands import COMMANDS
from lmchat.tui.widgets.keys_row import KeysRow, fitting, key_name, written
from tests.support.look_data import KEYS, LAST_KEYS
from tests.support.tui_host import Host, drawn, text_of

TOO_SMALL = ("40", "×", "12", "needed")


class Noting(Host):
    """Notes which of its keys were pressed."""

    noted = ()

    def action_note(self, word: str) -> None:
        self.noted = (*self.noted, word)


def test_whole_hints_go_from_the_right_and_the_last_ones_stay():
    left, right = fitting(KEYS, LAST_KEYS, 76)
    assert [word for _, word in left] == ["stop", "model", "new", "find", "export"]
    assert [word for _, word in right] == ["commands", "help"]


def test_at_last_help_alone_is_left():
    assert fitting(KEYS, LAST_KEYS, 8) == ([], [("F1", "help")])
    assert fitting(KEYS, LAST_KEYS, 3) == ([], [])


async def test_no_hint_is_ever_cut():
    row = KeysRow()
    whole = {*(part for hint in (*KEYS, *LAST_KEYS) for part in hint), *TOO_SMALL}
    async with Host(last=row).run_test(size=(160, 12)) as pilot:
        row.show(KEYS, LAST_KEYS)
        for width in (120, 80, 60, 40, 20, 8):
            await pilot.resize_terminal(width, 12)
            await pilot.pause()
            words = text_of(row).split()
            assert set(words) <= whole
            assert len(words) % 2 == 0


async def test_a_click_on_a_hint_presses_its_key():
    class Pressed(Noting):
        BINDINGS: ClassVar = [Binding("ctrl+o", "note('model')"), Binding("f1", "note('help')")]

    row = KeysRow()
    async with drawn(Pressed(last=row), (120, 20)) as (app, pilot):
        row.show(KEYS, LAST_KEYS)
        await pilot.pause()
        await pilot.click(row, offset=(13, 0))
        await pilot.click(row, offset=(116, 0))
        await pilot.click(row, offset=(90, 0))
        await pilot.pause()
        assert app.noted == ("model", "help")


def test_keys_are_written_as_people_do():
    assert written("ctrl+b,f2") == "^B, F2"
    assert written("escape") == "Esc"
    assert written("alt+up") == "Alt+↑"
    assert written("left_square_bracket") == "["
    assert written("") == ""


def test_a_written_key_can_be_read_back():
    for key in [
        "escape",
        "ctrl+o",
        "f5",
        "y",
        "enter",
        "delete",
        "up",
        "left_square_bracket",
        "alt+up",
    ]:
        assert key_name(written(key)) == key


def test_a_hint_for_two_keys_stands_for_none():
    assert key_name("↑ ↓") == ""
    assert key_name("[ ]") == ""
    assert key_name("Alt+1 … 9") == ""


def test_every_key_of_a_command_can_be_written():
    assert all(written(command.keys) for command in COMMANDS if command.keys)
