from __future__ import annotations

import time
from functools import partial
from unittest.mock import AsyncMock

from textual import events
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from lmchat.app.commands.table import COMMANDS
from lmchat.app.tui.dialogs.ask_dialog import (
    AskDialog,
    ConfirmDialog,
    QuitDialog,
    host_question,
    key_dialog,
)
from lmchat.app.tui.dialogs.commands_dialog import CommandItem, CommandsDialog, help_groups, item_of
from lmchat.app.tui.dialogs.text_dialog import TextDialog
from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.widgets.row_list import text_row
from lmchat.core.servers.endpoint import Endpoint
from tests.support.programs import until
from tests.support.scripted_backend import probed
from tests.support.tui_host import Host, confirm, drawn, screen_text


async def test_an_answer_is_taken_without_blanks_around_or_lines_and_what_cannot_be_taken_is_told():
    async def attempt(typed: str) -> str | list[str]:
        return [typed] if typed == "okay" else "This file already exists"

    async with drawn(Host(screen=lambda: AskDialog("Title"))) as (app, pilot):
        await pilot.press("enter")
        assert "! Type something, or press Esc." in screen_text(app)
        assert app.results == []
        await pilot.press("space", *"one", "space", "enter")
        assert app.results == ["one"]
        app.push_screen(AskDialog("File", value="oka", attempt=attempt), app.results.append)
        await pilot.press("enter")
        assert "! This file already exists" in screen_text(app)
        await pilot.press("y")
        assert "This file already exists" not in screen_text(app)
        await pilot.press("enter")
        assert app.results == ["one", ["okay"]]
        app.push_screen(AskDialog("Title", value="old "), app.results.append)
        await pilot.pause()
        app.focused.post_message(
            Paste("n\x1b]52;c;aGk=\x07e\x9b31m\u202ew\r\n\nof\u2028all\rlines\n")
        )
        await pilot.pause()
        assert "old n␛]52;c;aGk=␇e" in screen_text(app)
        assert not set("\x1b\x07\x9b\u202e") & set(screen_text(app))
        await pilot.press("enter")
        assert app.results[-1].endswith("w of all lines")


async def test_a_question_takes_its_key_for_yes_escape_for_no_and_running_text_for_nothing():
    async with drawn(Host()) as (app, pilot):
        for make, text in (
            (partial(ConfirmDialog, "Open this link?"), "so be it, yes\n"),
            (partial(ConfirmDialog, "Attach it?", key="f7"), "any day, yes\n"),
        ):
            dialog = make()
            app.push_screen(dialog, app.results.append)
            await pilot.pause()
            dialog.ready_s = time.monotonic() - 10  # however long it has been open
            for number, letter in enumerate(text):
                event = events.Key("enter" if letter == "\n" else letter, letter)
                event.time = time.monotonic() + number * 0.1
                event.set_sender(app)
                app._driver.send_message(event)
                await pilot.pause()
            assert app.screen is dialog
            confirm(app)
            await pilot.pause()
            assert app.results.pop() is True
            app.push_screen(make(), app.results.append)
            await pilot.press("escape")
            assert app.results.pop() is None


async def test_a_question_says_which_key_is_for_yes_and_that_enter_came_too_early():
    async with drawn(Host()) as (app, pilot):
        app.push_screen(ConfirmDialog("Attach?", verb="attach"), app.results.append)
        await pilot.pause()
        app.screen.ready_s = time.monotonic() + 60  # as if other keys had come just now
        await pilot.press("enter")
        assert "Press Enter again to attach" in screen_text(app)
        await pilot.press("y")
        assert "Press Enter to attach" in screen_text(app)
        confirm(app)
        await pilot.pause()
        app.push_screen(ConfirmDialog("Open?", verb="open it", key="f7"), app.results.append)
        await pilot.pause()
        await pilot.press("enter")
        assert "Press F7 to open it" in screen_text(app)
        await pilot.press("f7")
        assert app.results == [True, True]


async def test_the_question_before_an_end_without_saving_takes_its_letters_and_names_them():
    async with drawn(Host()) as (app, pilot):
        for key, result in (("q", QuitDialog.QUIT), ("e", QuitDialog.EXPORT), ("escape", None)):
            app.push_screen(QuitDialog("one message", None), app.results.append)
            await pilot.press("x", "enter")
            assert "Press q to quit without saving" in screen_text(app)
            await pilot.press(key)
            assert app.results.pop() == result


async def test_a_text_scrolls_is_safe_on_the_screen_and_copied_as_it_was_given():
    raw = "raw \x1b[2J [b]text[/b]"
    long = "\n".join([raw, *(f"line {n}" for n in range(200))])
    async with drawn(Host(screen=lambda: TextDialog("Title [b]x", long)), (80, 24)) as (app, pilot):
        assert "raw ␛[2J [b]text[/b]" in screen_text(app)
        assert "Title [b]x" in screen_text(app)
        await pilot.press("end")
        await pilot.pause()
        assert "line 199" in screen_text(app)
        assert "Esc close" in screen_text(app)
        await pilot.press("y")
        await pilot.pause()
        assert app.clipboard == long
        await pilot.press("escape")
        app.push_screen(TextDialog("Log file", "one\ntwo"))

        def heights() -> list[int]:
            return [dialog.size.height for dialog in app.screen.query(".dialog")]

        await until(lambda: heights() == [6], "all its rows")
        app.push_screen(TextDialog("Log file", "x" * 70_000))
        await pilot.press("end")
        await until(lambda: app.screen.query_one(VerticalScroll).max_scroll_y > 700, "its ends")
        shown = str(app.screen.query(".text Static").first(Static).content)
        assert "10 000 characters more; a copy has all of them" in shown.replace("\u00a0", " ")


def test_a_question_about_a_server_says_what_is_open_to_others_and_what_was_wrong():
    wrong = "The previous API key was rejected."
    for question, words, is_told in (
        (host_question(Endpoint.parse("http://gpu-box:8000")), "unencrypted", True),
        (host_question(Endpoint.parse("https://gpu-box:8000")), "unencrypted", False),
        (key_dialog(probed("auth"), AsyncMock()), wrong, False),
        (key_dialog(probed("key_rejected"), AsyncMock()), wrong, True),
    ):
        assert (words in question.text) is is_told


def all_commands() -> CommandsDialog:
    return CommandsDialog("Keys and commands", help_groups({}))


async def test_help_lists_every_command_can_be_filtered_and_scrolled_also_without_a_choice():
    async with drawn(Host(screen=all_commands), (120, 200)) as (app, pilot):
        text = screen_text(app)
        numbered = [command for command in COMMANDS if command.command_id.startswith("model_")]
        assert [c.title for c in COMMANDS if c not in numbered and c.title not in text] == []
        assert "Alt+1 … Alt+9" in text
        assert "/model [N]" in text
        assert "^B, F2" in text
        await pilot.resize_terminal(80, 24)
        await pilot.press(*["pagedown"] * 9)
        await pilot.pause()
        assert "Refresh the lists" in screen_text(app)
        await pilot.press(*"export")
        await pilot.pause()
        assert "Export this session" in screen_text(app)
        assert "Start a new session" not in screen_text(app)
        await pilot.press(*"zzz")
        assert "No command matches “exportzzz”." in screen_text(app)
        await pilot.press("enter")
        assert app.results == []
        app.screen.list.show([text_row(str(number)) for number in range(99)])
        await pilot.pause()
        await pilot.press("down", "down", "down", "up")
        await pilot.pause()
        assert app.screen.list.scroll_offset.y == 2
        await pilot.press("escape")
        assert app.results == [None]


async def test_a_command_is_found_by_the_words_of_other_programs_but_not_by_scattered_letters():
    items = [item_of(command, {}) for command in COMMANDS if command.is_offered]
    dialog = partial(CommandsDialog, "Commands", {"Chat": items})
    async with drawn(Host(screen=dialog)) as (app, pilot):
        for typed, slash in (
            *(("temperature", "/set"), ("settings", "/set"), ("config", "/doctor")),
            *(("regenerate", "/retry"), ("history", "/sessions"), ("shortcut", "/help")),
            *(("speed", ""), ("clear", "/new"), ("exit", "/quit"), ("dark", "/theme")),
            *(("/clear", "/new"), ("set", "/set"), ("a theme", "/theme"), ("thm", None)),
            ("summarize", "/compact"),
        ):
            app.screen.query_one(Input).value = typed
            await pilot.pause()
            found = app.screen.list.key
            assert (found and found.slash.partition(" ")[0]) == slash, typed


async def test_a_long_title_goes_on_in_a_second_row_where_its_columns_leave_no_room():
    item = CommandItem(
        "Show what the next request holds, and take other messages out", "^A", "/context"
    )
    dialog = partial(CommandsDialog, "Commands", {"Chat": [item]})
    for size, pieces in (
        ((120, 40), ["take other messages out     "]),
        ((60, 20), ["holds, and take ", " ^A", "messages out"]),
        ((40, 12), ["Show what the next request", "holds, and take other mess"]),
    ):
        async with drawn(Host(screen=dialog), size) as (app, pilot):
            text = screen_text(app)
            assert [piece for piece in pieces if piece not in text] == []
            await pilot.press(*"messages", "enter")
            assert app.results == [item]
