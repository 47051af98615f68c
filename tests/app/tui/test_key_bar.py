from __future__ import annotations

import asyncio

from lmchat.app.commands.table import COMMANDS
from lmchat.app.tui.messages import RunCommand
from lmchat.app.tui.widgets.key_bar import KeyBar, written
from tests.support.desktop import ready_desktop
from tests.support.look_data import KEYS, LAST_KEYS
from tests.support.scripted_backend import answer_steps, half
from tests.support.tui_host import Host, text_of


async def test_keys_are_offered_only_where_they_act(tmp_path):
    gate = asyncio.Event()
    scripts = answer_steps("Lettuce does well."), half("Chard", gate)
    async with ready_desktop(tmp_path, *scripts) as desk:
        hints = desk.app.screen.query_one(KeyBar)
        await desk.press("ctrl+k", sees="Search all sessions")
        assert "Enter open there" not in desk.text, "there is no hit yet"
        await desk.press("escape")
        await desk.say("/context", sees="(empty)")
        assert "Space take out" not in desk.text, "there is no message yet"
        await desk.press("escape")
        await desk.ask("carrots", 1)
        await desk.press("ctrl+f")
        await desk.type("lettuce")
        await desk.until(
            lambda: text_of(hints).lstrip().startswith("Tab go to hit"), "no second hit"
        )
        await desk.type("x")
        await desk.until(lambda: text_of(hints).lstrip().startswith("Esc close"), "no hit at all")
        await desk.press("escape")
        await desk.say("/context", sees="Space take out")
        await desk.press("escape")
        await desk.say("beans", sees="Chard")
        await desk.press("alt+up", "alt+up", "e")
        assert text_of(hints).lstrip().startswith("Esc stop"), (
            "an edit cannot be sent while one streams"
        )
        assert "send again" not in text_of(hints)
        gate.set()
        await desk.until(lambda: "Enter send again" in text_of(hints), "it can now")


async def test_no_hint_is_ever_cut_and_the_first_is_shown_before_the_keys_that_act_everywhere():
    row = KeyBar()
    hints = [*KEYS, *LAST_KEYS]
    whole = {*(written(key) for key, _ in hints), *(word for _, word in hints)}
    async with Host(last=row).run_test(size=(160, 12)) as pilot:
        row.show(KEYS, LAST_KEYS)
        for width in (120, 80, 60, 20, 8, 40):
            await pilot.resize_terminal(width, 12)
            await pilot.pause()
            words = text_of(row).split()
            assert set(words) <= whole
            assert len(words) % 2 == 0
        row.show([("escape", "cancel edit"), ("enter", "send again")], LAST_KEYS)
        await pilot.pause()
        assert text_of(row).lstrip().startswith("Esc cancel edit  ")
        assert text_of(row).rstrip().endswith("  F1 help")
        row.show([("ctrl+o", "model"), ("ctrl+n", "new")], LAST_KEYS)
        await pilot.pause()
        assert text_of(row).split() == ["^O", "model", "^P", "commands", "F1", "help"]
        row.show([("message.copy", "copy it"), ("new", "new session")], [])
        await pilot.pause()
        await pilot.click(KeyBar, offset=(text_of(row).index("new session"), 0))
        await pilot.click(KeyBar, offset=(38, 0))  # beside the hints
        await pilot.pause()
        assert [wish.command_id for wish in pilot.app.of(RunCommand)] == ["new"]


def test_keys_are_written_as_people_do():
    assert written("ctrl+b,f2") == "^B, F2"
    assert written("escape") == "Esc"
    assert written("alt+up") == "Alt+↑"
    assert written("left_square_bracket") == "["
    assert written("") == ""


def test_every_key_of_a_command_can_be_written():
    assert all(written(command.keys) for command in COMMANDS if command.keys)
