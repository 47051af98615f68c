from __future__ import annotations

from lmchat.commands.table import COMMANDS
from lmchat.tui.widgets.key_bar import KeyBar, written
from tests.support.look_data import KEYS, LAST_KEYS
from tests.support.tui_host import Host, text_of


async def test_no_hint_is_ever_cut():
    row = KeyBar()
    hints = [*KEYS, *LAST_KEYS]
    whole = {*(written(key) for key, _ in hints), *(word for _, word in hints)}
    async with Host(last=row).run_test(size=(160, 12)) as pilot:
        row.show(KEYS, LAST_KEYS)
        for width in (120, 80, 60, 40, 20, 8):
            await pilot.resize_terminal(width, 12)
            await pilot.pause()
            words = text_of(row).split()
            assert set(words) <= whole
            assert len(words) % 2 == 0


def test_keys_are_written_as_people_do():
    assert written("ctrl+b,f2") == "^B, F2"
    assert written("escape") == "Esc"
    assert written("alt+up") == "Alt+↑"
    assert written("left_square_bracket") == "["
    assert written("") == ""


def test_every_key_of_a_command_can_be_written():
    assert all(written(command.keys) for command in COMMANDS if command.keys)
