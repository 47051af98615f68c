from __future__ import annotations

import asyncio

import pytest
from textual import events

from lmchat.config.settings import ChatSettings, Profile
from lmchat.errors import ServerUnavailable
from lmchat.tui.app import LMChatApp
from lmchat.tui.commands import COMMANDS, Scope, is_command
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.doctor_screen import DoctorScreen
from lmchat.tui.screens.help_screen import HelpScreen
from lmchat.tui.screens.model_picker import ModelPicker
from lmchat.tui.screens.palette import Palette
from lmchat.tui.screens.text_dialog import TextDialog
from lmchat.tui.screens.theme_dialog import ThemeDialog
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from tests.support.desktop import calm, gone, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps
from tests.support.tui_host import text_of


async def test_a_wide_screen_has_three_columns_and_keys_hide_two(desk):
    await shown(desk, "/ search")
    await desk.press("ctrl+b", hides="/ search")
    assert isinstance(desk.app.focused, PromptInput)
    await desk.press("ctrl+t", hides="Requests")
    assert (desk.remembered[-1].has_sessions, desk.remembered[-1].has_telemetry) == (False, False)
    await desk.press("ctrl+b", sees="/ search")
    await desk.until(lambda: desk.session_list.has_focus_within, "the focus in the list")


async def test_hidden_panels_are_still_hidden_in_the_next_run(tmp_path):
    async with ready_desktop(tmp_path) as desk:
        await desk.press("ctrl+b")
        await desk.until(lambda: bool(desk.remembered) and not desk.remembered[-1].has_sessions)
        last = desk.remembered[-1]
    async with ready_desktop(tmp_path, remembered=last) as desk:
        assert "/ search" not in desk.text


async def test_narrow_screens_show_less_and_those_that_grow_show_their_columns_again(tmp_path):
    async with ready_desktop(tmp_path, size=(60, 24)) as desk:
        for width, height, has_sessions, has_telemetry in (
            (130, 40, True, True),
            (109, 24, False, True),
            (80, 24, False, True),
            (79, 24, False, False),
            (40, 12, False, False),
        ):
            await desk.pilot.resize_terminal(width, height)
            await (shown if has_sessions else gone)(desk, "/ search")
            await (shown if has_telemetry else gone)(desk, "Requests")
            await shown(desk, "qwen3-8b")


@pytest.mark.parametrize("width", [100, 60, 40])
async def test_ctrl_b_lays_the_sessions_over_a_narrow_chat_and_esc_leaves_them(tmp_path, width):
    async with ready_desktop(tmp_path, asked=["one"], size=(width, 20)) as desk:
        await desk.press("a", "ctrl+b", sees="/ search")
        await desk.until(lambda: desk.session_list.has_focus_within, "the focus in the list")
        await desk.press("escape", hides="/ search")
        assert isinstance(desk.app.focused, PromptInput)
        assert desk.prompt_input.text == "a"
        await desk.press("f2", "f2", hides="/ search")
        assert desk.remembered[-1].has_sessions


async def test_ctrl_t_lays_the_telemetry_over_a_narrow_chat_and_esc_leaves_it(tmp_path):
    async with ready_desktop(tmp_path, size=(60, 24)) as desk:
        await desk.press("ctrl+t", sees="Requests")
        await desk.press("escape", hides="Requests")


async def test_opening_a_session_from_the_overlay_closes_it(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"], size=(60, 24)) as desk:
        await desk.press("ctrl+n", "ctrl+b")
        await desk.until(
            lambda: desk.session_list.has_focus_within and bool(desk.session_list.chosen_id)
        )
        await desk.press("enter", hides="/ search")
        await shown(desk, "Lettuce")


async def test_the_share_of_the_window_counts_what_is_typed_but_no_command(desk):
    desk.backend.tokens = 41
    desk.prompt_input.put("word " * 2000)
    await desk.until(
        lambda: "tok" in status(desk) and "·\u00a00\u00a0%" not in status(desk), "an estimate"
    )
    assert int(status(desk).split("·")[-1].strip(" \u00a0%▌")) > 10
    assert desk.backend.counts == [], "it is an estimate"
    desk.prompt_input.put("/find " + "word " * 100)
    await desk.until(lambda: "tok" not in status(desk), "no estimate of a command")


def status(desk) -> str:
    """The row under the prompt."""
    return text_of(desk.chat.widgets.prompt.status)


@pytest.mark.parametrize(("size", "count"), [((80, 24), 6), ((40, 12), 4)])
async def test_the_list_of_commands_has_rows_that_tell_what_they_do_even_where_it_is_small(
    tmp_path, size, count
):
    async with ready_desktop(tmp_path, size=size) as desk:
        await desk.press("slash", sees="/model")
        await shown(desk, "● qwen3-8b")
        rows = desk.text.rstrip().split("\n")
        listed = [
            row for row in rows if row.lstrip(" ▌").startswith("/") and "  " in row.strip(" ▌/")
        ]
        assert len(listed) == count
        assert all(len(row[:50].split()) > 2 for row in listed)
        assert "▌ ● qwen3-8b" in rows[-2]


async def test_an_unknown_command_stays_in_the_prompt(desk):
    await desk.say("/nothing", sees="Unknown command")
    assert desk.prompt_input.text == "/nothing"
    assert desk.backend.requests == []


async def test_system_prompt_by_command_holds_from_the_next_turn(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        await desk.say("/system Answer in one word.", sees="Answer in one word.")
        await desk.ask("two", 2)
        first = desk.backend.requests[1].messages[0]
        assert (first.role, first.text) == ("system", "Answer in one word.")
        assert desk.backend.requests[0].messages[0].role == "user"
        assert [m.role for m in await desk.on_disk()] == [
            "user",
            "assistant",
            "system",
            "user",
            "assistant",
        ]
        await desk.say('/system ""', sees="No system prompt")
        await desk.ask("three", 3)
        assert desk.backend.requests[2].messages[0].role == "user"


async def test_the_configured_system_prompt_opens_a_session(tmp_path):
    settings = calm(chat=ChatSettings(system_prompt="Be kind."))
    async with ready_desktop(tmp_path, asked=["one"], settings=settings) as desk:
        assert [m.text for m in desk.backend.requests[0].messages] == ["Be kind.", "one"]
        stored = await desk.store.open_session(desk.session_id)
        assert stored.header.title == "one"


async def test_a_profile_changes_how_the_next_turn_is_asked(tmp_path):
    settings = calm(profiles={"calm": Profile(temperature=0.1, max_tokens=50)})
    async with ready_desktop(tmp_path, settings=settings) as desk:
        await desk.say("/profile calm")
        await desk.ask("one")
        sampling = desk.backend.requests[0].sampling
        assert (sampling.temperature, sampling.max_tokens) == (0.1, 50)
        await desk.say("/profile wild", sees="Configured: calm")


async def test_an_effort_holds_from_the_next_turn_on_and_default_takes_it_back(tmp_path):
    settings = calm(profiles={"calm": Profile(temperature=0.1)})
    async with ready_desktop(tmp_path, settings=settings) as desk:
        lines = (
            ("/effort low", "effort: low", "low"),
            ("/profile calm", "", "low"),
            ("/effort default", "", ""),
            ("/effort 500", "effort: 500 tokens", "500"),
            ("/effort 0", "effort: none", "none"),
        )
        for count, (line, told, sent) in enumerate(lines, 1):
            await desk.say(line, sees=told)
            await desk.ask("and now?", count)
            assert desk.backend.requests[-1].sampling.reasoning_effort == sent
        for wrong in ("hard", "-5", "1.5", "99999999999"):
            await desk.say(f"/effort {wrong}", sees="The levels are none, minimal")
            assert desk.prompt_input.text == f"/effort {wrong}"
            await desk.press("ctrl+u")


async def test_a_failed_answer_without_a_text_is_copied_as_its_failure(tmp_path):
    async with ready_desktop(tmp_path, [ServerUnavailable("It broke.", hint="Mend it.")]) as desk:
        await desk.say("one", sees="It broke.")
        await desk.say("/copy")
        await desk.until(lambda: len(desk.copied) == 1, "the copy")
        assert desk.copied[0].startswith("It broke.\nMend it.")


async def test_new_clear_copy_fork_and_retry_by_command(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Alpha."), answer_steps("Beta."), asked=["one"]
    ) as desk:
        await desk.say("/copy")
        await desk.until(lambda: desk.copied == ["Alpha."], "the copy")
        await desk.say("/retry", sees="Beta.")
        await desk.at_rest()
        old = desk.session_id
        await desk.say("/fork")
        await desk.until(lambda: desk.session_id != old, "the fork")
        assert desk.texts == ["one", "Beta."]
        for command in ("/new", "/clear"):
            await desk.say(command)
            await desk.until(lambda: not desk.conversation.messages, "an empty session")


async def test_commands_that_show_a_text_or_models(desk):
    for command, dialog, sees in (
        ("/stats", TextDialog, "requests"),
        ("/log", TextDialog, "lmchat.log"),
        ("/model", ModelPicker, "qwen3-8b"),
    ):
        await desk.say(command, leads_to=dialog, sees=sees)
        await desk.press("escape", leads_to=ChatScreen)


async def _counted(desk, turns: int) -> None:
    """Wait for the figures of so many turns: they are written after the answer is shown."""
    async with asyncio.timeout(10):
        while len(await desk.store.ledger_rows()) < turns:  # noqa: ASYNC110 - a thread writes them
            await asyncio.sleep(0.01)


async def test_the_figures_tell_how_fast_each_model_was_in_earlier_runs_too(tmp_path):
    async with ready_desktop(tmp_path, asked=["one", "two"]) as desk:
        await _counted(desk, 2)
    async with ready_desktop(tmp_path, asked=["three"]) as desk:
        await _counted(desk, 3)
        await desk.say("/stats", leads_to=TextDialog, sees="3, 3 ok")
        assert "Last 90 days (median, 95th percentile)" in desk.text


async def test_help_by_command_and_by_keys(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        await desk.say("/help", leads_to=HelpScreen)
        await desk.press("escape", "f1", leads_to=HelpScreen)
        await desk.press("escape", "alt+up", "question_mark", leads_to=HelpScreen)
        await desk.press("escape", "escape", "question_mark")
        assert desk.prompt_input.text == "?"


async def test_quit_by_command(desk):
    await desk.say("/quit")
    await desk.until(lambda: desk.app._exit, "the end")


async def test_themes_change_by_command_and_are_remembered(desk):
    before = desk.app.theme
    await desk.say("/theme LIGHT", sees="Theme: light.")
    assert desk.app.theme == "lmchat-light"
    assert desk.remembered[-1].theme == "lmchat-light"
    await desk.say("/theme sunny", sees="Unknown theme: sunny.")
    assert desk.prompt_input.text == "/theme sunny"
    assert before == "lmchat-dark"


async def test_the_panel_warns_until_a_choice_can_be_written_again(desk):
    desk.has_full_disk = True
    await desk.press("ctrl+b", sees="! state.toml cannot be")
    desk.has_full_disk = False
    await desk.press("ctrl+b", hides="state.toml")
    assert desk.remembered[-1].has_sessions


async def offered(desk, title: str) -> None:
    """Wait until the palette has found a command, and Enter would run it."""

    def is_first() -> bool:
        dialog = desk.app.screen
        return isinstance(dialog, Palette) and title in "".join(
            word for word, _ in dialog.list.rows[0].pieces[0]
        )

    await desk.until(is_first, f"“{title}” in the palette")


async def test_the_palette_lists_what_there_is_and_runs_it(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Alpha."), answer_steps("Beta."), asked=["one"]
    ) as desk:
        await desk.press("ctrl+p", sees="Choose the model")
        await desk.press(*"regenerate")
        await offered(desk, "Regenerate the last answer")
        await desk.press("enter", sees="Beta.")


async def test_the_palette_stays_shut_over_a_dialog(desk):
    await desk.press("ctrl+o", leads_to=ModelPicker)
    await desk.press("ctrl+p", "f1")
    await desk.pilot.pause()
    assert isinstance(desk.app.screen, ModelPicker)


async def test_a_command_without_its_argument_says_what_to_type(desk):
    await desk.type("/title")
    await desk.press("enter", sees="Type TEXT after /title.")
    assert desk.prompt_input.text == "/title "


async def test_the_palette_knows_every_command_that_makes_sense_and_no_other(tmp_path):
    useless = {
        f"message.{name}"
        for name in (
            "copy_code",
            "resume",
            "previous_version",
            "next_version",
            "compare",
            "fold",
            "links",
        )
    }
    async with ready_desktop(tmp_path, asked=["one"], size=(120, 140)) as desk:
        await desk.press("ctrl+p", sees="Choose the model")
        text = desk.text
        of_message = [one for one in COMMANDS if one.action.startswith("message(")]
        others = [one for one in COMMANDS if one.is_offered and one.scope.name in ("CHAT", "APP")]
        assert [one.title for one in others if one.title not in text] == []
        assert "Last answer: Edit and resend" in text
        assert "Last answer: Regenerate" not in text  # Ctrl+R stands among the others
        await desk.press("escape", "alt+up", "ctrl+p", sees="This message: Edit and resend")
        text = desk.text
        assert {one.command_id for one in of_message if one.title not in text} == useless


async def test_a_row_of_the_palette_acts_on_the_last_answer_where_no_message_has_the_focus(
    tmp_path,
):
    async with ready_desktop(tmp_path, answer_steps("It is **bold** here."), asked=["one"]) as desk:
        await desk.press("ctrl+p")
        await desk.type("source")
        await shown(desk, "Last answer: Show source or rendered text")
        await desk.press("enter", sees="**bold**")


@pytest.mark.parametrize(
    ("typed", "title", "screen"),
    [
        ("all", "All commands", HelpScreen),
        ("choose", "Choose the model", ModelPicker),
        ("theme", "Change the theme", ThemeDialog),
        ("doctor", "Check everything and show what to do next", DoctorScreen),  # its slash name
    ],
)
async def test_the_palette_reaches_app_and_chat(desk, typed, title, screen):
    await desk.press("ctrl+p", sees="Choose the model")
    await desk.press(*typed)
    await offered(desk, title)
    await desk.press("enter", leads_to=screen)


async def test_a_command_of_the_palette_that_wants_words_keeps_what_is_typed(desk):
    await desk.press(*"hello")
    desk.chat.action_slash("/system ")
    assert desk.prompt_input.text == "/system "
    await desk.say("Be brief.")
    await desk.prompt_is("hello")


async def test_esc_leaves_such_a_command_for_what_was_typed_before_also_a_mistyped_one(desk):
    await desk.press(*"hello")
    desk.chat.action_slash("/system ")
    await desk.press("B", "e", "escape")
    assert desk.prompt_input.text == "hello"
    desk.chat.action_slash("/system ")
    desk.prompt_input.put("")
    await desk.say("/nonsense", sees="Unknown command")
    assert desk.prompt_input.text == "/nonsense"
    await desk.press("escape")
    assert desk.prompt_input.text == "hello"


async def test_quitting_keeps_what_was_typed_before_such_a_command(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        session_id = desk.session_id
        await desk.press(*"hello")
        desk.chat.action_slash("/system ")
        await desk.press(*"Be brief.")
    async with ready_desktop(tmp_path, resume_id=session_id) as desk:
        typed = "hello\n\n/system Be brief."
        await desk.prompt_is(typed)


async def test_find_with_the_words_of_the_last_search_searches_again(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Lettuce and lettuce."), asked=["one"]) as desk:
        await desk.say("/find lettuce", sees="1/2")
        await desk.press("escape", hides="1/2")
        await desk.say("/find lettuce", sees="1/2")


async def test_find_marks_steps_and_leaves(tmp_path):
    backend = ScriptedBackend(answer_steps("Lettuce and lettuce."), answer_steps("No more."))
    async with ready_desktop(tmp_path, asked=["one", "two"], backend=backend) as desk:
        await desk.press("x", "ctrl+f", *"lettuce", sees="1/2")
        await desk.press("enter", sees="2/2")
        await desk.press("down", sees="1/2")
        await desk.press("up", sees="2/2")
        await desk.press("escape", hides="2/2")
        assert isinstance(desk.app.focused, PromptInput)
        assert desk.prompt_input.text == "x"


async def test_keys_of_ones_own_replace_ours_and_a_command_without_a_key_can_be_given_one(tmp_path):
    settings = calm(keys={"model": "f8", "new": "ctrl+y", "theme": "f9"})
    async with ready_desktop(tmp_path, settings=settings) as desk:
        await desk.press("ctrl+o")
        assert isinstance(desk.app.screen, ChatScreen)
        await desk.press("f8", leads_to=ModelPicker)
        await desk.press("escape", "f9", leads_to=ThemeDialog)
        await desk.press("escape", sees="F8 model")
        assert "^O model" not in desk.text
        await desk.press("f1", sees="^Y")
        await desk.press("escape", "ctrl+p", sees="F8   /model [N]")


PLACES = {
    Scope.APP: LMChatApp,
    Scope.CHAT: ChatScreen,
    Scope.MESSAGE: ChatLog,
    Scope.SESSIONS: SessionList,
    Scope.PICKER: ModelPicker,
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command_id)
def test_every_command_has_its_action_where_it_works(command):
    for action in (command.action, *([command.typed] if command.typed else [])):
        _, place, name = f".{action.partition('(')[0]}".rpartition("app.")
        owner = LMChatApp if place else PLACES[command.scope]
        assert callable(getattr(owner, f"action_{name.removeprefix('.')}"))


async def test_the_editor_changes_the_prompt(desk):
    await desk.press("a")
    await desk.press("ctrl+g")
    await desk.prompt_is("a edited")


async def test_a_path_at_the_start_is_a_message(desk):
    text = "/var/x is full, why?"
    desk.prompt_input.post_message(events.Paste(text))
    await desk.prompt_is(text)
    desk.prompt_input.submit()
    await desk.answered()
    assert desk.backend.requests[0].messages[-1].text == text
    assert desk.prompt_input.text == ""


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("/model qwen", True),
        ("/exi", True),
        ("/exp out.md", True),
        ("/nothing", True),
        ("/q", True),
        ("/set temperature 0.2", True),
        ("/var is full", False),
        ("/2 of it", False),
        ("/etc/hosts", False),
        ("/export this\nand that", False),
        ("/ what?", False),
        ("tell /model", False),
    ],
)
def test_a_command_is_a_known_name_or_a_word_of_letters_that_is_no_path(line, is_one):
    assert is_command(line) is is_one
