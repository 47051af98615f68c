"""`!COMMAND` in the prompt of the whole app, with real commands."""

from __future__ import annotations

import re

import pytest
from textual import events

from lmchat.config.settings import Preset
from tests.support.desktop import calm, ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps

NOT_TYPED = "was not typed here"


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELL", "/bin/sh")


async def until_prompt(desk, text: str) -> None:
    """Wait until the prompt shows a text; the sizes of its blocks are not compared."""
    await desk.until(
        lambda: re.sub(r" \(\d+ bytes\)", "", desk.prompt_input.text) == text, f"{text!r}"
    )


async def paste(desk, text: str) -> None:
    desk.prompt_input.post_message(events.Paste(text))
    await desk.pilot.pause()


async def refuses(desk) -> None:
    """Press Enter after a command that must not run, and forget the text."""
    text = desk.prompt_input.text
    await desk.press("enter", sees=NOT_TYPED)
    assert desk.prompt_input.text == text


def has_run(desk) -> bool:
    return (desk.folder / "ran").exists()


async def test_it_runs_and_its_output_is_a_folded_block_until_it_is_sent(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Beans.")) as desk:
        await desk.type("!printf 'a\\nb'; exit 3")
        await desk.prompt_is("!printf 'a\\nb'; exit 3")
        assert desk.chat.prompt_text.new_prompt == ""  # nothing is read ahead or counted
        await desk.press("enter")
        await until_prompt(desk, "[$ printf 'a\\nb'; exit 3, exit code 3]\n")
        assert desk.backend.requests == []
        await desk.say("Why?")
        await desk.answered()
        head = "$ printf 'a\\nb'; exit 3, exit code 3 (42 bytes):"
        text = "$ printf 'a\\nb'; exit 3\na\nb\n[exit code 3]"
        assert sent(desk.backend) == [f"{head}\n```\n{text}\n```\nWhy?"]
        await shown(desk, "+ $ printf 'a\\nb'; exit 3, exit code 3 · 42 B")


async def test_the_next_command_is_typed_below_the_blocks_of_those_before(desk):
    (desk.folder / "notes.md").write_text("words")
    await paste(desk, "!echo one\n")
    await desk.press("enter")
    await until_prompt(desk, "[$ echo one]\n")
    await desk.press("backspace", "backspace", "up")  # recalled, changed, and run again
    await until_prompt(desk, "!echo one")
    await desk.say("s")
    await until_prompt(desk, "[$ echo ones]\n")
    await desk.say("!echo @notes")  # no files are listed
    await until_prompt(desk, "[$ echo ones]\n[$ echo @notes]\n")
    await desk.say("/effort low", sees="Reasoning effort: low.")
    await desk.say("/nonsense", sees="Unknown command")
    await until_prompt(desk, "[$ echo ones]\n[$ echo @notes]\n/nonsense")
    assert desk.backend.requests == []


async def test_while_it_runs_the_screen_says_so_and_takes_text_and_esc_or_ctrl_c_stops_it(desk):
    await desk.say("!echo begun; sleep 600", sees="Running: echo begun; sleep 600")
    await shown(desk, "Esc stops it")
    await desk.type("and then")
    await desk.press("escape", hides="Running:")
    await until_prompt(desk, "[$ echo begun; sleep 600, stopped]\nand then")
    desk.prompt_input.put("")
    await desk.say("!sleep 600", sees="Running: sleep 600")
    await desk.press("ctrl+c", hides="Running:")
    await until_prompt(desk, "[$ sleep 600, stopped]\n")
    assert desk.app.is_running


async def test_a_blank_before_it_sends_it_and_so_do_several_lines_and_the_mark_alone(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("A"), answer_steps("B"), answer_steps("C")
    ) as desk:
        await desk.ask("!", 1)
        await desk.ask(" !touch ran", 2)
        await paste(desk, "!touch ran\n!touch ran")
        await desk.press("enter")
        await desk.answered(3)
        assert sent(desk.backend) == ["!", " !touch ran", "!touch ran\n!touch ran"]
        assert not has_run(desk)


async def test_what_undo_or_several_pasted_lines_leave_behind_does_not_run(desk):
    await paste(desk, "!touch ran\nx")
    await desk.press("backspace", "backspace")
    await until_prompt(desk, "!touch ran")
    await refuses(desk)
    await desk.press("ctrl+u")
    await until_prompt(desk, "")
    desk.prompt_input.put("!touch ran")
    await desk.press("ctrl+u")
    await until_prompt(desk, "")
    await desk.press("ctrl+z")
    await until_prompt(desk, "!touch ran")
    await refuses(desk)
    await desk.press("ctrl+u")
    await desk.say("!echo one")  # what is typed after it does
    await until_prompt(desk, "[$ echo one]\n")
    assert not has_run(desk)


async def test_a_saved_draft_does_not_run_in_the_next_run(tmp_path):
    async with ready_desktop(tmp_path) as desk:
        await desk.type("!touch ran")
    async with ready_desktop(tmp_path) as desk:
        await until_prompt(desk, "!touch ran")
        await refuses(desk)
        assert not has_run(desk)


async def test_an_earlier_prompt_does_not_run_when_it_is_recalled_edited_or_rewritten(tmp_path):
    scripts = [answer_steps("!touch ran"), answer_steps("B")]
    async with ready_desktop(tmp_path, *scripts) as desk:
        desk.chat.turns.submit("!touch ran")  # as a preset or an import may have left it
        await desk.answered()
        desk.prompt_input.history_of_prompts = ("!touch ran",)
        await desk.press("up")
        await until_prompt(desk, "!touch ran")
        await refuses(desk)
        await desk.press("ctrl+u", "alt+up", "E", sees="Rewriting an answer")
        await desk.press("enter", hides="Rewriting an answer")
        await desk.press("alt+up", "alt+up", "e")
        await until_prompt(desk, "!touch ran")
        await desk.press("enter")
        await desk.until(lambda: len(desk.backend.requests) == 2, "the edited prompt")
        assert sent(desk.backend) == ["!touch ran"] * 2
        assert not has_run(desk)


async def test_a_preset_and_a_queued_prompt_do_not_run(tmp_path):
    presets = {"evil": Preset(text="!touch ran")}
    settings = calm(prompts=presets)
    async with ready_desktop(tmp_path, answer_steps("A"), settings=settings) as desk:
        desk.chat.sessions.opened.queue.append("!touch ran")
        desk.chat.sessions.show_queue()
        await desk.press("up")
        await until_prompt(desk, "!touch ran")
        await refuses(desk)
        await desk.press("ctrl+u")
        await desk.say("/p evil")
        await desk.answered()
        assert sent(desk.backend) == ["!touch ran"]
        assert not has_run(desk)


async def test_a_chosen_file_puts_no_name_into_a_command(desk):
    (desk.folder / "x; touch ran").write_text("words")
    await desk.type("see @touch")
    await shown(desk, "x; touch ran")
    await desk.press("tab")
    await until_prompt(desk, "[x; touch ran]\nsee x; touch ran")
    await desk.press(*["left"] * 16, "!")
    assert desk.prompt_input.typed_command == "!see x; touch ran"
    await refuses(desk)
    assert not has_run(desk)


async def test_an_output_that_comes_later_is_in_the_prompt_of_its_session_and_changes_no_edit(
    tmp_path,
):
    async with ready_desktop(tmp_path, answer_steps("A"), asked=["first"]) as desk:
        await desk.say("!until [ -e x ];do :;done", sees="Running:")
        await desk.type("Why?")
        await desk.press("alt+up", "alt+up", "e")
        await until_prompt(desk, "first")
        (desk.folder / "x").touch()
        await desk.press(hides="Running:")
        await until_prompt(desk, "first")
        await desk.press("escape")
        await until_prompt(desk, "[$ until [ -e x ];do :;done]\nWhy?")
        desk.prompt_input.put("")

        await desk.say("!until [ -e go ]; do sleep 0.01; done; echo gone", sees="Running:")
        session_id = desk.session_id
        await desk.press("ctrl+n")
        await desk.until(lambda: not desk.conversation.messages, "a new session")
        (desk.folder / "go").touch()
        await desk.press(hides="Running:")
        assert desk.prompt_input.text == ""
        desk.chat.sessions.switch_to(session_id)
        await desk.until(lambda: "gone" in desk.prompt_input.full_text, "the output")
        assert len(desk.backend.requests) == 1


async def test_two_commands_run_side_by_side_and_one_that_is_half_typed_meanwhile_runs(desk):
    await desk.say("!until [ -e x ];do sleep 0.01;done", sees="Running:")
    await desk.type("!touch ")
    await desk.say("x", hides="Running:")
    await desk.until(lambda: desk.prompt_input.text.count("[$ ") == 2, "both blocks")
    desk.prompt_input.put("")
    (desk.folder / "x").unlink()
    await desk.say("!until [ -e x ];do :;done", sees="Running:")
    await desk.type("!echo tw")
    (desk.folder / "x").touch()
    await desk.until(lambda: desk.prompt_input.text.endswith("]\n!echo tw"), "the output")
    await desk.say("o")
    await desk.until(lambda: "[$ echo two (" in desk.prompt_input.text, "the second one")
