from __future__ import annotations

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from lmchat.tui.commands import COMMANDS
from lmchat.tui.widgets.prompt import Pill
from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.tui_host import PromptApp, drawn, screen_text
from tests.tui.test_quirks_typing import type_at_once

HISTORY = ("newest", "two\nlines", "oldest")


@pytest.fixture
async def pilot():
    async with PromptApp().run_test() as pilot:
        yield pilot


async def write(pilot: Pilot, text: str) -> None:
    await pilot.press(
        *("space" if char == " " else "slash" if char == "/" else char for char in text)
    )


def sent(app: PromptApp) -> list[str]:
    return [fact.text for fact in app.of(PromptInput.Submitted)]


async def test_two_quick_enters_send_once(app, pilot) -> None:
    await write(pilot, "a")
    await pilot.press("enter", "enter")
    assert sent(app) == ["a"]


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
async def test_a_blank_prompt_is_not_sent(app, pilot, text: str) -> None:
    app.prompt.input.put(text)
    await pilot.press("enter")
    assert sent(app) == []


@pytest.mark.parametrize("key", ["ctrl+j", "alt+enter", "shift+enter"])
async def test_other_enters_break_the_line_and_never_send(app, pilot, key: str) -> None:
    await write(pilot, "a")
    await pilot.press(key)
    await write(pilot, "b")
    assert app.prompt.input.text == "a\nb"
    assert sent(app) == []
    await pilot.press("enter")
    assert sent(app) == ["a\nb"]


async def test_it_grows_with_its_rows_to_ten_and_then_scrolls() -> None:
    async with drawn(PromptApp(), (80, 40)) as (app, pilot):
        assert app.prompt.input.size.height == 1
        for lines in (2, 5, 10, 11, 30):
            app.prompt.input.put("\n".join("line" for _ in range(lines)))
            await pilot.pause()
            assert app.prompt.input.size.height == min(lines, 10)
        assert app.prompt.input.max_scroll_y == 20


async def test_wrapped_rows_count_and_a_narrower_screen_wraps_anew() -> None:
    async with drawn(PromptApp(), (80, 40)) as (app, pilot):
        app.prompt.input.put("word " * 30)
        await pilot.pause()
        assert app.prompt.input.size.height == 3
        await pilot.resize_terminal(50, 40)
        await pilot.pause()
        assert app.prompt.input.size.height == 4


async def test_ctrl_u_clears_the_line_before_the_cursor_with_all_its_rows_then_the_break(
    app, pilot
) -> None:
    prompt = app.prompt.input
    prompt.put("first\n" + "word " * 60)
    await pilot.press("left", "ctrl+u")
    assert prompt.text == "first\n "
    await pilot.press("ctrl+u")
    assert prompt.text == "first "
    await pilot.press("ctrl+z", "ctrl+z")
    assert prompt.text.endswith("word word ")


async def test_forty_by_twelve_still_shows_log_and_prompt() -> None:
    async with drawn(PromptApp(), (40, 12)) as (app, pilot):
        app.prompt.input.put("\n".join("line" for _ in range(30)))
        await app.prompt.show_queue(["Which herbs go with them?"])
        await pilot.pause()
        assert app.screen.query_one("#log").size.height >= 2
        assert "next" in screen_text(app)


async def test_wide_characters_wrap_where_they_end() -> None:
    async with drawn(PromptApp(), (40, 30)) as (app, pilot):
        app.prompt.input.put("漢字" * 20)
        await pilot.pause()
        shown = [line for line in screen_text(app).splitlines() if "漢" in line]
        assert "".join(shown).count("漢") == 20
        assert len(shown) == app.prompt.input.size.height == 3


async def test_up_in_an_empty_prompt_brings_earlier_prompts_and_down_comes_back(app, pilot) -> None:
    prompt = app.prompt.input
    prompt.history_of_prompts = HISTORY
    seen = []
    for key in ("up", "up", "up", "up", "down", "down", "down", "down"):
        await pilot.press(key)
        seen.append(prompt.text)
    assert seen == ["newest", "two\nlines", "oldest", "oldest", "two\nlines", "newest", "", ""]


async def test_a_recalled_prompt_of_two_lines_is_left_at_its_edges_only(app, pilot) -> None:
    prompt = app.prompt.input
    prompt.history_of_prompts = HISTORY
    await pilot.press("up", "up")
    assert prompt.cursor_location == (0, 3)
    await pilot.press("down")
    assert prompt.text == "two\nlines"
    assert prompt.cursor_location[0] == 1
    await pilot.press("down")
    assert prompt.text == "newest"


async def test_up_in_a_prompt_that_was_typed_only_moves_the_cursor(app, pilot) -> None:
    app.prompt.input.history_of_prompts = HISTORY
    await write(pilot, "mine")
    await pilot.press("up")
    assert app.prompt.input.text == "mine"


async def test_what_was_changed_while_browsing_is_kept_on_the_way_back(app, pilot) -> None:
    app.prompt.input.history_of_prompts = ("one", "two")
    await pilot.press("up", "x", "up", "down")
    assert app.prompt.input.text == "onex"
    await pilot.press("enter")
    assert sent(app) == ["onex"]
    await pilot.press("up")
    assert app.prompt.input.text == "one"


async def test_a_slash_command_from_the_history_does_not_catch_the_arrows(app, pilot) -> None:
    app.prompt.input.history_of_prompts = ("/new", "older")
    await pilot.press("up", "up")
    assert app.prompt.input.text == "older"


async def test_undo_brings_back_what_a_recall_or_the_editor_replaced(app, pilot) -> None:
    await write(pilot, "mine")
    app.prompt.input.put("from the editor")
    await pilot.press("ctrl+z")
    assert app.prompt.input.text == "mine"


async def test_the_draft_of_another_session_cannot_be_undone_into_this_one(app, pilot) -> None:
    await write(pilot, "secret")
    app.prompt.input.load_draft("other")
    await pilot.press("ctrl+z")
    assert app.prompt.input.text == "other"
    await write(pilot, "s")
    assert app.prompt.input.text == "others"


@pytest.mark.parametrize("how", ["put", "load_draft"])
async def test_what_comes_back_from_disk_or_editor_cannot_write_to_the_terminal(
    app, pilot, how
) -> None:
    getattr(app.prompt.input, how)("a\x1b]52;c;aGk=\x07b\x9b31m\u202ec\x00\nd\te")
    await pilot.pause()
    assert "a␛]52;c;aGk=␇b" in screen_text(app)
    assert not set("\x1b\x07\x9b\u202e\x00") & set(screen_text(app))
    assert app.prompt.input.text.endswith("c␀\nd\te")


async def test_a_paste_is_made_safe_and_replaces_the_selection(app, pilot) -> None:
    await write(pilot, "old")
    app.prompt.input.select_all()
    app.prompt.input.post_message(events.Paste("a\x1b[31m\u202eb\r\nc\tt"))
    await pilot.pause()
    assert app.prompt.input.text == "a\u241b[31m\ufffdb\nc\tt"
    await write(pilot, "z")
    assert app.prompt.input.text.endswith("tz")


async def test_a_file_is_folded_to_a_line_and_sent_in_full(app, pilot) -> None:
    block = "notes.md (12 bytes):\n```md\n# Notes\n```\n"
    await write(pilot, "Read this")
    app.prompt.input.insert_block(block)
    await write(pilot, "please")
    assert app.prompt.input.text == "Read this\n[notes.md (12 bytes)]\nplease"
    await pilot.press("enter")
    assert sent(app) == [f"Read this\n{block}please"]
    assert [fact.text for fact in app.of(PromptInput.Drafted)][-2] == sent(app)[0]


async def test_a_file_stays_whole_when_the_breaks_beside_its_line_are_deleted(app, pilot) -> None:
    await write(pilot, "See")
    app.prompt.input.insert_block("the file\n", "notes.md")
    await pilot.press("backspace")
    await write(pilot, "and tell")
    app.prompt.input.move_cursor((1, 0))
    await pilot.press("backspace", "enter")
    assert sent(app) == ["See\nthe file\nand tell"]


async def test_two_files_of_one_name_are_two_and_a_deleted_one_is_not_sent(app, pilot) -> None:
    prompt = app.prompt.input
    prompt.insert_block("one", "same")
    prompt.insert_block("two", "same")
    prompt.insert_block("one", "same")
    assert prompt.text == "[same]\n[same #2]\n[same]\n"
    assert prompt.full_text == "one\ntwo\none\n"
    prompt.put("nothing")
    await pilot.press("enter")
    assert sent(app) == ["nothing"]


async def test_a_huge_paste_is_folded_with_its_size_told(app, pilot) -> None:
    text = "words and words\n" * 10_000
    app.prompt.input.post_message(events.Paste(text))
    await pilot.pause()
    assert app.prompt.input.text == "[pasted, 10001 lines, 160\u00a0kB]\n"
    await pilot.press("enter")
    assert sent(app) == [text.rstrip()]


KEYS = (
    ("ctrl+k", ("search_sessions",)),
    ("ctrl+e", ("manage_session", "export")),
    ("ctrl+f", ("find",)),
    ("ctrl+b", ("toggle_sessions",)),
    ("ctrl+t", ("toggle_telemetry",)),
    ("ctrl+n", ("new_session",)),
    ("ctrl+o", ("pick_model",)),
    ("ctrl+r", ("regenerate_last",)),
    ("ctrl+g", ("edit_prompt",)),
    ("f5", ("check_now",)),
    ("alt+up", ("focus_message", -1)),
    ("alt+down", ("focus_message", 1)),
    ("alt+1", ("pick_model", "1")),
    ("alt+9", ("pick_model", "9")),
    ("escape", ("stop_or_leave",)),
)


async def test_keys_that_an_editor_would_eat_reach_the_screen(app, pilot) -> None:
    await write(pilot, "ab")
    for key, _ in KEYS:
        await pilot.press("home", key)
    assert app.actions == [action for _, action in KEYS]
    assert app.prompt.input.text == "ab"


async def test_a_slash_offers_commands_and_tab_completes_the_chosen_one(app, pilot) -> None:
    await write(pilot, "/s")
    await pilot.pause()
    assert "/search [TEXT]" in screen_text(app)
    await pilot.press("down", "down", "tab")
    assert app.prompt.input.text == "/system "
    await pilot.pause()
    assert "/search [TEXT]" not in screen_text(app)
    await write(pilot, "be brief")
    await pilot.press("enter")
    assert sent(app) == ["/system be brief"]


async def test_enter_takes_the_chosen_command_or_asks_for_its_argument(app, pilot) -> None:
    await write(pilot, "/ne")
    await pilot.press("enter")
    assert sent(app) == ["/new"]
    await write(pilot, "/fil")
    await pilot.press("enter")
    assert sent(app) == ["/new"]
    assert app.prompt.input.text == "/file "


async def test_a_command_typed_in_one_go_is_the_one_that_was_typed(app, pilot) -> None:
    await type_at_once(app, "/mo\t2\r/ne\r")
    await pilot.pause()
    assert sent(app) == ["/model 2", "/new"]


async def test_arrows_go_round_in_the_list(app, pilot) -> None:
    await write(pilot, "/s")
    await pilot.press("up", "tab")
    assert (
        app.prompt.input.text == [one.slash for one in COMMANDS if one.slash.startswith("/s")][-1]
    )


async def test_escape_closes_the_list_only_and_it_stays_closed(app, pilot) -> None:
    await write(pilot, "/s")
    await pilot.press("escape")
    assert app.actions == []
    assert app.prompt.input.text == "/s"
    await write(pilot, "t")
    assert not app.prompt.input.completion.rows
    await pilot.press("escape")
    assert app.actions == [("stop_or_leave",)]


async def test_tab_moves_the_focus_when_no_list_is_open(app, pilot) -> None:
    await app.screen.mount(Input())
    await write(pilot, "a")
    await pilot.press("tab")
    assert app.focused is app.screen.query_one(Input)


@pytest.mark.parametrize("text", ["a /s", "/model x", "/etc/passwd", "/s\nx"])
async def test_other_slashes_offer_nothing(app, pilot, text: str) -> None:
    app.prompt.input.post_message(events.Paste(text))
    await pilot.pause()
    assert not app.prompt.input.completion.rows


async def test_a_click_on_a_command_completes_it() -> None:
    async with drawn(PromptApp(), (100, 30)) as (app, pilot):
        await write(pilot, "/s")
        await pilot.pause()
        await pilot.click("SlashList", offset=(5, 2))
        assert app.prompt.input.text == "/system "
        assert app.focused is app.prompt.input


async def test_end_behind_the_text_is_the_end_of_the_log_and_pages_turn_it(app, pilot) -> None:
    await pilot.press("end", "pageup", "pagedown", "a", "left", "end")
    assert [fact.key for fact in app.of(PromptInput.ScrollWanted)] == ["end", "pageup", "pagedown"]
    await pilot.press("end")
    assert [fact.key for fact in app.of(PromptInput.ScrollWanted)][3:] == ["end"]


async def test_home_in_an_empty_prompt_is_the_beginning_of_the_log(app, pilot) -> None:
    await pilot.press("home", "a", "home")
    assert [fact.key for fact in app.of(PromptInput.ScrollWanted)] == ["home"]


async def test_the_cursor_blinks_only_where_things_may_move(app) -> None:
    assert not app.prompt.input.cursor_blink


async def test_a_pill_that_shows_nothing_asks_for_nothing(app, pilot) -> None:
    await pilot.click(Pill)
    assert app.of(Pill.Pressed) == []
