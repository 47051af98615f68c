from __future__ import annotations

import asyncio
import gc

import pytest
from textual.pilot import Pilot

from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.core.sessions.message import FilePart
from lmchat.core.sessions.prompts import file_line
from tests.support.programs import until
from tests.support.tui_host import PromptApp, drawn, screen_text, type_at_once, unpainted

NOTES = FilePart(name="notes.md", media_type="text/plain", digest="0" * 64, size=12)
HISTORY = ("newest", "two\nlines", "oldest")


@pytest.fixture(autouse=True)
def _unpainted():
    with unpainted():
        yield


@pytest.fixture
async def pilot():
    async with PromptApp().run_test() as pilot:
        yield pilot


async def write(pilot: Pilot, text: str) -> None:
    await pilot.press(
        *("space" if char == " " else "slash" if char == "/" else char for char in text)
    )


def sent(app: PromptApp) -> list[str]:
    return [fact.prompt.draft for fact in app.of(PromptInput.Submitted)]


def ran(app: PromptApp) -> list[str]:
    return [fact.line for fact in app.of(PromptInput.CommandEntered)]


async def test_enter_sends_once_and_other_enters_break_the_line(app, pilot):
    for text in ("", "   ", "\n\n"):
        app.prompt_area.input.put(text)
        await pilot.press("enter")
        assert sent(app) == []
    app.prompt_area.input.put("")
    await write(pilot, "a")
    for key in ("ctrl+j", "alt+enter", "shift+enter"):
        await pilot.press(key)
    await write(pilot, "b")
    assert app.prompt_area.input.text == "a\n\n\nb"
    assert sent(app) == []
    await pilot.press("enter", "enter")
    assert sent(app) == ["a\n\n\nb"]
    assert not app.prompt_area.input.cursor_blink  # nothing may move here


async def test_it_grows_with_its_rows_to_ten_and_then_scrolls():
    async with drawn(PromptApp(), (80, 40)) as (app, pilot):
        prompt = app.prompt_area.input
        for lines in (1, 2, 5, 10, 11, 30):
            prompt.put("\n".join("line" for _ in range(lines)))
            await pilot.pause()
            assert prompt.size.height == min(lines, 10)
        assert prompt.max_scroll_y == 20
        await pilot.resize_terminal(40, 12)
        app.prompt_area.show_queue(["Which herbs go with them?"])
        await pilot.pause()
        assert app.screen.query_one("#log").size.height >= 2
        assert "next" in screen_text(app)


async def test_ctrl_u_clears_the_line_before_the_cursor_with_all_its_rows_then_the_break(
    app, pilot
) -> None:
    prompt = app.prompt_area.input
    prompt.put("first\n" + "word " * 60)
    await pilot.press("left", "ctrl+u")
    assert prompt.text == "first\n "
    await pilot.press("ctrl+u")
    assert prompt.text == "first "
    await pilot.press("ctrl+z", "ctrl+z")
    assert prompt.text.endswith("word word ")


async def test_undo_and_redo_change_a_prompt_that_scrolls(app, pilot):
    prompt = app.prompt_area.input
    for _line in range(11):
        await pilot.press("a", "ctrl+j")
    await pilot.pause()
    assert prompt.scroll_offset.y == prompt.max_scroll_y  # the last line has the cursor
    written = prompt.text
    await pilot.press(*["ctrl+z"] * 22)
    assert prompt.text == ""
    await pilot.press(*["ctrl+y"] * 22)
    assert prompt.text == written
    prompt.put("\ncress")
    await pilot.press("up")
    prompt.post_message(Paste("peas\nbeans"))
    await pilot.press("a", "ctrl+z", "b", "ctrl+z", "c", "ctrl+z", "ctrl+z")
    assert prompt.text == "\ncress"
    assert prompt.wrapped_document.height == 2


@pytest.mark.parametrize("key", ["ctrl+u", "backspace"])
async def test_a_deletion_at_the_start_of_the_row_below_a_file_removes_its_whole_line(
    app, pilot, key
) -> None:
    prompt = app.prompt_area.input
    prompt.attach("", [file_line(NOTES)])
    await pilot.press(key, *"peas")
    assert prompt.text == "peas"
    await pilot.press("ctrl+z", "ctrl+z")
    assert prompt.full_text == file_line(NOTES)


async def test_up_in_an_empty_prompt_brings_earlier_prompts_and_down_comes_back(app, pilot):
    prompt = app.prompt_area.input
    prompt.earlier.remember_older(HISTORY)
    seen = []
    for key in ("up", "up", "up", "up", "down", "down", "down", "down"):
        await pilot.press(key)
        seen.append(prompt.text)
    assert seen == ["newest", "two\nlines", "oldest", "oldest", "two\nlines", "newest", "", ""]
    prompt.show_draft("")
    prompt.earlier.remember_newest("older")
    prompt.earlier.remember_newest("/new")
    await pilot.press("up", "up")
    assert prompt.text == "older"
    await pilot.press("x", "enter")
    assert sent(app) == ["olderx"]
    await pilot.press("up")
    assert prompt.text == "/new"
    prompt.earlier.remember_newest("newer")  # while another is shown
    await pilot.press("up")
    assert prompt.text == "older"


async def test_a_changed_earlier_prompt_is_a_draft_that_no_arrow_takes_away(app, pilot):
    prompt = app.prompt_area.input
    prompt.earlier.remember_older(HISTORY)
    for changes, text in (
        (("x",), "newestx"),
        (("backspace",), "newes"),
        (("ctrl+j",), "newest\n"),
        (("home", "y"), "ynewest"),
    ):
        await pilot.press("up", *changes)
        for _ in range(3):
            await pilot.press("down", "up", "up", "down", "down")
            assert prompt.text == text
        prompt.put("")
    await pilot.press("up", "x", "backspace", "up")  # as it was
    assert prompt.text == "two\nlines"
    await pilot.press("ctrl+u", "down")
    assert prompt.text == "\nlines"


async def test_up_leaves_a_long_prompt_at_once(app, pilot):
    prompt = app.prompt_area.input
    prompt.earlier.remember_older(("many words " * 40, "older"))
    await pilot.press("up")
    assert prompt.wrapped_document.height > 1
    await pilot.press("down", "up")  # within it
    assert prompt.text.startswith("many")
    await pilot.press("up")
    assert prompt.text == "older"


async def test_what_comes_from_disk_editor_or_clipboard_cannot_write_to_the_terminal(app, pilot):
    prompt = app.prompt_area.input
    for load in (prompt.put, prompt.show_draft, lambda text: prompt.post_message(Paste(text))):
        load("a\x1b]52;c;aGk=\x07b\x9b31m\u202ec\x00\nd\te")
        await pilot.pause()
        assert "a␛]52;c;aGk=␇b" in screen_text(app)
        assert not set("\x1b\x07\x9b\u202e\x00") & set(screen_text(app))
        assert prompt.text.endswith("\nd\te")
        prompt.put("")


async def test_a_huge_paste_is_folded_to_a_line_and_sent_in_full(app, pilot):
    prompt = app.prompt_area.input
    text = "words and words\n" * 10_000
    prompt.post_message(Paste(text))
    await pilot.pause()
    assert prompt.text == "[pasted, 10001 lines, 160\u00a0kB]\n"
    await pilot.press("enter")
    assert sent(app) == [text.rstrip()]
    await write(pilot, "so:")
    prompt.post_message(Paste("a" * 160_000))
    await pilot.pause()
    assert prompt.text == "so:\n[pasted, 1 line, 160\u00a0kB]\n"
    prompt.put("[pasted, 10001 lines, 160\u00a0kB]\n")
    assert prompt.full_text == prompt.text, "a block that was sent is forgotten"


async def test_enter_takes_the_first_name_of_a_command_unless_one_is_typed(app, pilot):
    prompt = app.prompt_area.input
    prompt.argument_names = {"/profile": ["french", "fr"]}
    await write(pilot, "/profile ")
    await pilot.press("enter")
    assert prompt.text == "/profile french "
    await pilot.press("enter")
    await write(pilot, "/profile fr")
    await pilot.press("enter")
    assert ran(app) == ["/profile french", "/profile fr"]


async def test_a_slash_offers_commands_and_tab_completes_the_chosen_one(app, pilot):
    prompt = app.prompt_area.input
    await write(pilot, "/s")
    await pilot.pause()
    assert "/search " in screen_text(app)
    await pilot.press("down", "down", "down", "tab")
    assert prompt.text == "/system "
    await pilot.pause()
    assert "/search" not in screen_text(app)
    await write(pilot, "be brief")
    await pilot.press("enter")
    await type_at_once(app, "/mo\t2\r/ne\r")
    await until(lambda: len(ran(app)) > 2, "the last command")
    await write(pilot, "/fil")
    await pilot.press("enter")  # asks for its argument
    assert prompt.text == "/file "
    prompt.put("")
    await write(pilot, "/rename")  # of other programs; also a word of `/sessions`
    await pilot.press("enter")
    assert ran(app) == ["/system be brief", "/model 2", "/new", "/title"]
    await write(pilot, "/s")
    await pilot.pause()
    await pilot.click("CompletionList", offset=(5, 3))
    assert prompt.text == "/system "
    prompt.choose("/gone")  # a click on a row that is no longer there
    assert prompt.text == "/system "
    assert app.focused is prompt


async def test_escape_closes_the_list_only_and_it_stays_closed(app, pilot):
    await write(pilot, "/s")
    await pilot.press("escape")
    assert app.commands == []
    assert app.prompt_area.input.text == "/s"
    await write(pilot, "t")
    assert not app.prompt_area.input.completion.rows
    await pilot.press("escape")
    assert app.commands == ["stop"]
    for text in ("a /s", "/model x", "/etc/passwd", "/s\nx"):  # offer nothing
        app.prompt_area.input.put("")
        app.prompt_area.input.post_message(Paste(text))
        await pilot.pause()
        assert not app.prompt_area.input.completion.rows, text


async def test_end_behind_the_text_is_the_end_of_the_log_and_pages_turn_it(app, pilot):
    await pilot.press("end", "pageup", "pagedown", "a", "left", "end")
    actions = [fact.action for fact in app.of(PromptInput.ScrollRequested)]
    assert actions == ["scroll_end", "page_up", "page_down"]
    await pilot.press("end")
    assert [fact.action for fact in app.of(PromptInput.ScrollRequested)][3:] == ["scroll_end"]


SHELL = "! shell command"


async def test_an_exclamation_mark_in_an_empty_prompt_begins_the_shell_mode_of_one_line(app, pilot):
    prompt = app.prompt_area.input
    await pilot.press("exclamation_mark")
    await pilot.pause()
    assert SHELL in screen_text(app)
    await pilot.press("backspace")
    await pilot.pause()
    assert SHELL not in screen_text(app)
    await pilot.press("exclamation_mark", "space", "l", "escape")
    assert (prompt.text, prompt.is_shell) == ("! l", True)
    await pilot.press("backspace", "escape")
    assert (prompt.text, prompt.is_shell) == ("", False)
    await write(pilot, "a")
    await pilot.press("exclamation_mark", "enter")
    assert sent(app) == ["a!"]
    prompt.attach("", [file_line(NOTES)])
    await pilot.press("exclamation_mark", "escape")
    assert prompt.text == "[notes.md (12 B)]\n"
    await pilot.press("exclamation_mark", "l", "s", "enter")
    assert ran(app) == ["!ls"]
    assert prompt.text == "[notes.md (12 B)]\n"
    await pilot.pause()
    assert SHELL not in screen_text(app)
    prompt.put("")
    await pilot.press("exclamation_mark")
    prompt.post_message(Paste("ls\nrm x"))
    await pilot.pause()
    assert SHELL not in screen_text(app)
    await pilot.press("enter")
    assert sent(app) == ["a!", "!ls\nrm x"]
    assert ran(app) == ["!ls"]


async def test_a_command_for_the_shell_that_was_not_typed_is_seen_before_it_runs(
    app, pilot
) -> None:
    prompt = app.prompt_area.input
    line = "!touch x"
    prompt.earlier.remember_newest(line)

    async def paste() -> None:
        prompt.post_message(Paste(line))
        await pilot.pause()

    async def paste_half() -> None:
        await pilot.press("exclamation_mark")
        prompt.post_message(Paste(line[1:], is_whole=False))
        await pilot.pause()

    async def recall() -> None:
        await pilot.press("up")

    async def undo() -> None:
        prompt.put(line)
        await pilot.press("ctrl+u", "exclamation_mark", "ctrl+z", "ctrl+z")

    async def attach() -> None:
        await pilot.press("exclamation_mark", "t")
        prompt.attach("t", [file_line(NOTES)], "touch x")

    async def editor() -> None:
        prompt.put(line)

    async def restart() -> None:
        prompt.show_draft(line)

    for bring in (paste, paste_half, recall, undo, editor, restart, attach):
        await bring()
        text = prompt.text
        assert text.endswith(line), bring
        assert not prompt.is_shell, bring
        await pilot.press("enter")
        await pilot.pause()
        assert prompt.text == text, bring
        assert SHELL in screen_text(app), bring
        prompt.put("")
    assert ran(app) == sent(app) == []


async def test_files_are_searched_for_the_last_of_letters_that_come_at_once(recwarn):
    asked: list[str] = []
    gate = asyncio.Event()
    gate.set()

    async def find(typed: str) -> tuple[str, ...]:
        asked.append(typed)
        await gate.wait()
        return f"{typed}.md", "my beds.md"

    async with drawn(PromptApp()) as (app, pilot):
        app.prompt_area.input.find_files = find
        await type_at_once(app, "see @beds")
        await until(lambda: "beds.md" in screen_text(app), "the found file")
        assert asked[-1] == "beds"
        prompt = app.prompt_area.input
        prompt.put(" now")
        prompt.move_cursor((0, 0))
        await type_at_once(app, "@b")
        await until(lambda: "b.md" in prompt.completion.rows, "the found files")
        gate.clear()
        await type_at_once(app, "e")
        await until(lambda: asked[-1] == "be", "another search")
        await pilot.press("down")
        chosen = prompt.completion.row
        gate.set()
        await until(lambda: "be.md" in prompt.completion.rows, "the files of this search")
        await pilot.press("enter")
        assert chosen == "my beds.md"
        assert prompt.text == '@"my beds.md" now'
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == [], "of searches that never began"


@pytest.mark.parametrize("beginning", ["", "/etc/hosts: "])
async def test_a_closed_list_of_files_opens_for_the_next_name(beginning: str):
    async def find(typed: str) -> tuple[str, ...]:
        return tuple(name for name in ("beds.md", "plan.md") if name.startswith(typed))

    async with drawn(PromptApp()) as (app, pilot):
        prompt = app.prompt_area.input
        prompt.find_files = find
        await type_at_once(app, f"{beginning}see @be")
        await until(lambda: "beds.md" in screen_text(app), "the found file")
        await pilot.press("escape")
        await write(pilot, "d")
        assert not prompt.completion.rows
        await type_at_once(app, " @pl")
        await until(lambda: prompt.completion.rows, "the list for the next name")
        await pilot.press("down", "enter")
        assert app.of(PromptInput.FileNamed)[-1].path == "plan.md"
        await type_at_once(app, "and @be")
        await until(lambda: prompt.completion.rows, "the list for the name after it")
        prompt.attach("@plan.md", [file_line(NOTES)], "plan.md")  # read only now
        await pilot.pause()
        await write(pilot, "d")
        await until(lambda: prompt.completion.rows, "the list is still open")
        assert prompt.text.endswith("see @bed plan.md and @bed")
