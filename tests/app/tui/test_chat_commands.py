from __future__ import annotations

from pathlib import Path

from lmchat.app.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog
from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.dialogs.text_dialog import RequestDialog, TextDialog
from lmchat.app.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.base.metrics import Metrics
from lmchat.core.config.settings import Profile
from tests.support.desktop import calm, gone, ready_desktop, sent, shown
from tests.support.programs import PYTHON
from tests.support.scripted_backend import ScriptedBackend, answer_steps, half
from tests.support.tui_host import text_of


async def test_keys_and_the_width_show_and_hide_the_columns(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        await shown(desk, "/ filter", "localhost:1234")
        await desk.press("ctrl+b", sees="Enter open")  # the list is shown: the key leads into it
        await desk.until(lambda: desk.session_list.has_focus_within, "the focus in the list")
        await desk.press("ctrl+b", hides="/ filter")
        assert isinstance(desk.app.focused, PromptInput)
        await desk.press("ctrl+t", sees="left per min")
        assert desk.state[-1].has_all_figures
        await desk.press("ctrl+t", hides="localhost:1234")
        last = desk.state[-1]
        assert (last.has_sessions, last.has_telemetry) == (False, False)
        await desk.press("ctrl+t", sees="localhost:1234", hides="left per min")
        await desk.press("ctrl+b", sees="/ filter")
        await desk.until(lambda: desk.session_list.has_focus_within, "the focus in the list")
        for width, height, has_columns in (
            (79, 24, False),
            (130, 40, True),
            (109, 24, False),
            (110, 24, True),
            (40, 12, False),
        ):
            await desk.pilot.resize_terminal(width, height)
            await (shown if has_columns else gone)(desk, "/ filter")
            await (shown if has_columns else gone)(desk, "localhost:1234")
            await shown(desk, "qwen3-8b")


async def test_in_a_very_low_window_the_prompt_comes_first(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        await desk.type("hello")
        for height in (7, 6, 5, 4, 3, 2, 1):
            await desk.pilot.resize_terminal(80, height)
            await shown(desk, "▌ hello")
            await (shown if height > 1 else gone)(desk, "qwen3-8b ·")
            await (shown if height > 3 else gone)(desk, "F1 help")
            assert desk.text.split("\n")[0].strip().startswith("one") is (height == 7)
        desk.prompt_input.put("\n".join(f"line {number}" for number in range(9)))
        for height in (6, 5, 4, 3, 2):
            await desk.pilot.resize_terminal(80, height)
            await shown(desk, "line 8")  # where the cursor is
        desk.prompt_input.put("hello")
        await desk.pilot.resize_terminal(80, 5)
        desk.app.notify("One went wrong.")
        await shown(desk, "One went wrong.\n ▌ hello", "F1 help")


async def test_over_a_narrow_chat_the_columns_lie_until_esc_or_a_choice(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"], size=(100, 20)) as desk:
        await desk.press("a")
        for width in (100, 60):
            await desk.pilot.resize_terminal(width, 20)
            await desk.press("ctrl+b", sees="/ filter")
            await desk.until(lambda: desk.session_list.has_focus_within, "the focus in the list")
            await desk.pilot.resize_terminal(120, 20)
            await desk.until(lambda: desk.log_view.region.x == 26, "the columns beside")
            await desk.pilot.resize_terminal(width, 20)
            await desk.press("escape", hides="/ filter")
            assert isinstance(desk.app.focused, PromptInput)
            assert desk.prompt_input.text == "a"
            await desk.press("f2", "f2", hides="/ filter")
            assert desk.state[-1].has_sessions
        await desk.press("ctrl+b", "ctrl+t", sees="Requests", hides="/ filter")
        await desk.press("escape", hides="Requests")
        await desk.press("ctrl+n", "ctrl+b")
        await desk.until(
            lambda: desk.session_list.has_focus_within and bool(desk.session_list.chosen_id)
        )
        await desk.press("enter", hides="/ filter", sees="Lettuce")


async def test_the_next_run_knows_hidden_columns_and_resumes_with_its_own_system_prompt(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        await desk.press("ctrl+b", "ctrl+b", hides="/ filter")
    more = {"state": desk.state[-1], "resume_id": "last", "system_prompt": "Be brief."}
    async with ready_desktop(tmp_path, **more) as desk:
        await shown(desk, "System prompt: Be brief.")
        assert "/ filter" not in desk.text
        await desk.ask("two", 1)
        assert [m.text for m in desk.backend.requests[0].messages][::3] == ["Be brief.", "two"]


async def test_the_palette_resets_the_counters_of_this_run_and_of_all_runs(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"]) as desk:
        await desk.workspace.stats_store.count(Metrics(total_requests=3))  # of an earlier run
        await desk.press("ctrl+p", leads_to=CommandsDialog)
        await desk.type("metrics")
        await offered(desk, "Reset metrics: set the counters of requests to 0")
        await desk.press("enter", leads_to=ChatScreen, sees="Metrics reset successfully")
        assert await desk.workspace.stats_store.counters() == Metrics()
        await desk.say("/stats", leads_to=TextDialog, sees=" requests   ")
        (requests,) = [row for row in desk.text.split("\n") if " requests   " in row]
        assert requests.split()[:2] == ["requests", "0"]


async def test_the_share_of_the_window_counts_what_is_typed_but_no_command(desk):
    desk.backend.tokens = 41
    desk.prompt_input.put("word " * 2500)
    await desk.until(lambda: "~2\u00a0500\u00a0tok" in status(desk), "an estimate")
    await shown(desk, "~2 500 of 8 192 tok")  # in the panel
    [head] = [row for row in desk.text.split("\n") if "Context" in row]
    await desk.pilot.resize_terminal(100, 40)  # without a panel, the row has the share
    await desk.until(lambda: "%" in status(desk), "the share")
    assert status(desk).split()[-2:] == head.split()[-2:] == ["31", "%"]
    assert desk.backend.counts == [], "it is an estimate"
    desk.prompt_input.put("/find " + "word " * 100)
    await desk.until(lambda: "8k window" in status(desk), "no estimate of a command")
    await desk.press("ctrl+u", "ctrl+g")
    await desk.prompt_is(" edited")


def status(desk) -> str:
    """The row under the prompt."""
    return text_of(desk.chat_screen.widgets.prompt_area.status)


async def test_a_command_that_cannot_run_leaves_the_prompt_and_others_show_a_dialog(desk):
    for line, told, left in (
        ("/sys", "/system", "/system "),
        ("/temperat", "/set", "/set "),  # another word for it: Enter only inserts the command
    ):
        await desk.type(line)
        await desk.press("enter", sees=told)
        await desk.prompt_is(left)
        await desk.press("ctrl+u")
    assert desk.backend.requests == []
    for command, dialog, sees in (
        ("/stats", TextDialog, "requests"),
        ("/log", TextDialog, "lmchat.log"),
        ("/model", ModelPicker, "qwen3-8b"),
        ("/servers", WelcomeScreen, "Type an address"),
        ("/tools", TextDialog, "No tools were configured when lmchat started."),
        ("/help", CommandsDialog, "Keys and commands"),
        ("/system", AskDialog, "Change the system prompt"),
        ("/file", AskDialog, "Enter OK"),
    ):
        await desk.say(command, leads_to=dialog, sees=sees)
        await desk.press("escape", leads_to=ChatScreen)
    for typed, row in (("/effort ", "/effort minimal"), ("/theme dr", "/theme dracula")):
        await desk.type(typed)
        await shown(desk, row)
        await desk.press("ctrl+u")
    desk.has_full_disk = True
    await desk.press("ctrl+b", "ctrl+b", sees="! state.toml cannot be")
    desk.has_full_disk = False
    await desk.press("ctrl+b", hides="state.toml")
    assert desk.state[-1].has_sessions
    await desk.press("escape")
    for word in (":q", "q", "exit"):
        await desk.say(word, sees="Quit lmchat?")
        await desk.press("escape", leads_to=ChatScreen)
        await desk.press("up")
        await desk.prompt_is(word)
        await desk.press("ctrl+u")
    await desk.say(" exit")
    await desk.until(lambda: desk.backend.requests, "the word with a blank at the model")
    await desk.say("exit", leads_to=ConfirmDialog)
    await desk.confirm()
    await desk.until(lambda: desk.app._exit, "the end")


async def test_a_system_prompt_a_profile_and_an_effort_hold_from_the_next_turn(tmp_path):
    settings = calm(profiles={"calm": Profile(temperature=0.1, max_tokens=50)})
    async with ready_desktop(tmp_path, settings=settings, asked=["one"]) as desk:
        await desk.say("/system Answer in one word.", sees="Answer in one word.")
        await desk.say("/effort low", sees="effort: low")
        await desk.say("/profile calm", sees="Profile: calm.")
        await desk.ask("two", 2)
        request = desk.backend.requests[-1]
        assert request.messages[0].text == "Answer in one word."
        assert (request.sampling.temperature, request.sampling.max_tokens) == (0.1, 50)
        assert request.sampling.reasoning_effort == "low"
        await desk.say('/system ""', sees="No system prompt")
        await desk.ask("three", 3)
        assert desk.backend.requests[-1].messages[0].role == "user"
        async with desk.chat.save_queue._lock:  # the disk is slow
            await desk.say("/system Be slow.")
            await desk.press("ctrl+n")
        await desk.at_rest()
        assert not desk.log_view.document.entries


async def offered(desk, title: str) -> None:
    """Wait until the palette has found a command, and Enter would run it."""

    def is_first() -> bool:
        dialog = desk.app.screen
        if not isinstance(dialog, CommandsDialog) or dialog.list.key is None:
            return False
        return title in dialog.list.key.title

    await desk.until(is_first, f"“{title}” in the palette")


async def test_palette_and_help_reach_app_and_chat_but_open_over_no_dialog(desk):
    await shown(desk, "^B sessions", "Ask qwen3-8b…")
    for typed, title, screen in (
        ("shortcut", "Keys and commands", CommandsDialog),
        ("choose", "Choose the model", ModelPicker),
        ("theme", "Change the theme", ThemeDialog),
        ("doctor", "Check everything and show what to do next", TextDialog),  # its slash name
        ("request", "Show the next request as JSON", RequestDialog),  # a word of other titles, too
    ):
        await desk.press("ctrl+p", leads_to=CommandsDialog)
        await desk.type(typed)
        await offered(desk, title)
        await desk.press("enter", leads_to=screen)
        await desk.press("escape", leads_to=ChatScreen)
    await desk.press("ctrl+o", leads_to=ModelPicker)
    await desk.press("ctrl+p", "f1")
    await desk.pilot.pause()
    assert isinstance(desk.app.screen, ModelPicker)
    await desk.press("escape", leads_to=ChatScreen)
    await desk.ask("one")
    await desk.press("f1", leads_to=CommandsDialog, sees="Keys and commands")
    assert "The focused message" not in desk.text
    await desk.press("escape", "alt+up", "question_mark", leads_to=CommandsDialog)
    await shown(desk, "The focused message")  # on the first page, as it was asked for there
    await desk.press("escape", leads_to=ChatScreen)
    await desk.press("escape", "ctrl+b", "question_mark", leads_to=CommandsDialog)
    await shown(desk, "The list of sessions")
    await desk.press("escape", "escape", "alt+up", leads_to=ChatScreen)
    await desk.press("ctrl+p", leads_to=CommandsDialog, sees="This message")
    await desk.press("escape", "escape", "question_mark")
    assert desk.prompt_input.text == "?", "where something can be typed it is a letter"


async def test_the_palette_leaves_out_what_cannot_run_now(tmp_path):
    need_messages = ("Find in this session", "Export this session", "Retry the last answer")
    async with ready_desktop(tmp_path, answer_steps("Ferns."), half("Let")) as desk:
        for prompt, hidden, seen in (
            ("", (*need_messages, "Stop the answer"), ()),
            ("one", ("Stop the answer",), need_messages),
            ("two", (need_messages[-1],), (*need_messages[:-1], "Stop the answer")),
        ):
            if prompt:
                await desk.say(prompt, sees="Let" if prompt == "two" else "Ferns")
                if prompt == "one":
                    await desk.answered()
            await desk.press("ctrl+p", leads_to=CommandsDialog, sees="Choose the model")
            await desk.pilot.resize_terminal(120, 90)
            await desk.pilot.pause()
            assert [title for title in (*hidden, "End the thought") if title in desk.text] == []
            assert [title for title in seen if title not in desk.text] == []
            await desk.press("escape", leads_to=ChatScreen)


async def test_the_list_of_commands_lies_over_the_end_of_the_log_which_does_not_move(tmp_path):
    answer = answer_steps("\n\n".join(f"Line {number}" for number in range(40)))
    own = calm(keys={"search": "f8,f9"})
    async with ready_desktop(tmp_path, answer, asked=["one"], settings=own) as desk:
        for size, most in (((120, 40), 8), ((40, 12), 4)):
            await desk.pilot.resize_terminal(*size)
            await desk.pilot.pause()
            before = desk.text.split("\n")
            for typed, count in (("/", most), ("/se", 4)):
                await desk.type(typed)
                await shown(desk, f"▌ {typed}", "/s" if typed != "/" else "/model")
                await desk.pilot.pause()
                lines = desk.text.split("\n")
                prompt = max(y for y, line in enumerate(lines) if f"▌ {typed} " in f"{line} ")
                rows = lines[prompt - count : prompt]
                assert all(" /" in row for row in rows)
                assert lines[: prompt - count] == before[: prompt - count]
                assert typed == "/" or ("^B" in rows[0] and "F8" in rows[1])
                desk.prompt_input.put("")
                await desk.pilot.pause()
                assert desk.text.split("\n") == before


async def test_find_marks_steps_and_leaves_and_searches_the_same_words_again(tmp_path):
    backend = ScriptedBackend(answer_steps("Lettuce and lettuce."), answer_steps("No more."))
    async with ready_desktop(tmp_path, asked=["one", "two"], backend=backend) as desk:
        await desk.press("x", "ctrl+f", *"lettuce", sees="1/2")
        await desk.press("enter", sees="2/2")
        await desk.press("down", sees="1/2")
        await desk.press("up", sees="2/2")
        await desk.press("escape", hides="2/2")
        assert isinstance(desk.app.focused, PromptInput)
        assert desk.prompt_input.text == "x"
        desk.prompt_input.put("")
        for _ in range(2):
            await desk.say("/find lettuce", sees="1/2")
            await desk.press("escape", hides="1/2")


async def test_hints_and_sentences_name_the_keys_that_the_user_has_configured(tmp_path):
    own = {
        "stop": "f9",
        "copy_or_stop": "f8",
        "help": "f7",
        "session.undo": "x",
        "message.undo": "z",
        "theme": "f10",
    }
    async with ready_desktop(
        tmp_path, answer_steps("Ferns do"), settings=calm(keys=own), asked=["one"]
    ) as desk:
        await desk.press("f10", leads_to=ThemeDialog)
        await desk.press("escape", "f1", leads_to=ChatScreen)
        assert isinstance(desk.app.screen, ChatScreen)
        await desk.press("alt+up", "e", sees="F9 cancel edit")
        await desk.press("f9", "alt+up", "E", sees="Enter saves · F9 cancels")
        await desk.press("ctrl+u", sees="or press F9 to")
        await desk.press("alt+up", "shift+up", sees="F8 copy  F9 cancel edit")
        await desk.press("f9", sees="F8 copy  F9 clear selection")
        await desk.press("f9", "alt+up", "d", sees="z or /undo restores it.")
        await desk.press("z", sees="Ferns do")
        await desk.say(f'!"{PYTHON}" -c "import time; time.sleep(600)"', sees="F9 stops it")
        await desk.press("f9", hides="Running:")
        await desk.go_to_list()
        await desk.press("d", sees="In the trash; x restores it.")
        await desk.press("f8", sees="Press F8 again to quit.")
        await desk.press("f9")
        await desk.say("/nothing", sees="F7 lists the commands.")


async def test_a_sentence_that_begins_like_a_command_is_sent_and_runs_nothing(desk):
    await desk.ask("one")
    for count, (line, told) in enumerate(
        (
            ("/tree of life, what is it?", "/tree takes no words, so this was sent"),
            ("/usr and garden?", ""),
        ),
        2,
    ):
        await desk.say(line, sees=told)
        await desk.answered(count)
        assert isinstance(desk.app.screen, ChatScreen)
        assert sent(desk.backend)[-1] == line
        assert desk.prompt_input.text == ""
    assert len(desk.backend.requests[-1].messages) == 5  # no turn is gone, no system prompt


async def test_what_is_typed_after_a_failed_command_is_never_joined_to_it(desk, tmp_path):
    failing = (
        ("/theme sunny", "Unknown theme: sunny."),
        ("/copy that", "Unknown argument: that."),
        ("/request tea", "The forms are"),
        ("/set nothing 3", "nothing"),
        ("/effort hard", "The levels are"),
        ("/profile wild", "Add [profiles.NAME] to config.toml"),
        ("/model nowhere", "/model lists the models."),
        ("/export /dev/null/a.md", str(Path("/dev/null"))),
        ("/continue", "This answer is complete"),
        ("/start Tea", "cannot continue"),
        ("/modle x", "Unknown command: /modle"),
    )
    await desk.ask("one")
    for line, told in failing:
        await desk.say(line, sees=told)
        await desk.pilot.pause()
        await desk.type("2 cups?")
        await desk.until(lambda: desk.prompt_input.text.endswith("cups?"), "the prompt")
        assert desk.prompt_input.text == "2 cups?", line
        await desk.press("ctrl+u", "up")
        assert desk.prompt_input.text == line
        await desk.press("ctrl+u")
        desk.app.passing = None
