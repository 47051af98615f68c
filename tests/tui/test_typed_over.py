"""Words that are typed while a message has the focus go into the prompt; single keys are commands."""

from __future__ import annotations

from time import monotonic

import pytest
from textual import events

from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.desktop import desktop
from tests.support.screen_steps import gone, shown
from tests.support.scripted_backend import ScriptedBackend, answer
from tests.support.tui_host import screen_text

PATIENT_S = 60.0
"""No test is so slow that keys are further apart."""
SHORT_S = 0.01


async def focused(desk) -> None:
    """Have one turn behind one, and the focus on its answer."""
    await desk.ready()
    await desk.say("one")
    await desk.answered()
    await desk.pilot.press("alt+up")


@pytest.mark.parametrize(
    "word",
    [
        "delete",
        "retry",
        "edit",
        "a dragon",
        "fork",
        "tell me",
        "links",
        "open",
        "dad",
        "llama",
        "eerie",
    ],
)
async def test_a_word_runs_none_of_its_letters_as_a_command(tmp_path, word):
    async with desktop(tmp_path, ScriptedBackend(answer("Alpha.")), word_gap_s=PATIENT_S) as desk:
        await focused(desk)
        await desk.type(word)
        await desk.until(lambda: desk.chat.prompt_input.text == word, f"{word} in the prompt")
        assert isinstance(desk.app.focused, PromptInput)
        assert "Alpha." in screen_text(desk.app)
        assert len(desk.backend.requests) == 1


async def test_a_word_that_begins_with_a_harmless_command_is_whole_in_the_prompt(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("Alpha.")), word_gap_s=PATIENT_S) as desk:
        await focused(desk)
        await desk.type("yes please")
        await desk.until(lambda: desk.chat.prompt_input.text == "yes please", "the words")


@pytest.mark.parametrize("text", ["hello", "Hello", "1", "!", "word", "x"])
async def test_what_no_command_has_goes_to_the_prompt_at_once(tmp_path, text):
    async with desktop(tmp_path, ScriptedBackend(answer("Alpha."))) as desk:
        await focused(desk)
        await desk.type(text)
        await desk.until(lambda: desk.chat.prompt_input.text == text, "what was typed")


async def test_a_key_that_stays_alone_is_a_command(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("Alpha.")), word_gap_s=SHORT_S) as desk:
        await focused(desk)
        await desk.type("d")
        await gone(desk, "Alpha.")
        await shown(desk, "u brings it back")
        assert desk.chat.prompt_input.text == ""


async def test_a_key_that_waits_is_done_before_another_key_of_the_log(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("Alpha.")), word_gap_s=PATIENT_S) as desk:
        await focused(desk)
        await desk.pilot.press("e", "down")
        await desk.until(lambda: desk.chat.prompt_input.text == "one", "the prompt")


async def test_the_same_key_twice_is_no_word(tmp_path):
    code = "```\na\n```\n\n```\nb\n```"
    async with desktop(tmp_path, ScriptedBackend(answer(code)), word_gap_s=PATIENT_S) as desk:
        await focused(desk)
        await desk.type("cc")
        await desk.until(lambda: [one.strip() for one in desk.copied] == ["a", "b"], "two copies")
        await shown(desk, "Block 2 of 2: copied with test-copy")
        assert desk.chat.prompt_input.text == ""


async def test_what_changes_something_is_done_once_when_its_key_is_pressed_twice_or_held(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("Alpha.")), word_gap_s=PATIENT_S) as desk:
        await focused(desk)
        for letter in "dddd":
            await desk.pilot.press(letter)
        await shown(desk, "Alpha.")
        await desk.pilot.press("down")
        await gone(desk, "Alpha.")
        await desk.pilot.press("y")
        await desk.until(lambda: desk.copied == ["one"], "the question is still there")


async def test_a_key_that_is_held_until_it_repeats_does_once_what_it_does(tmp_path):
    def press(key: str, time: float) -> None:
        event = events.Key(key, key)
        event.time = time
        desk.app._driver.send_message(event)

    async with desktop(tmp_path, ScriptedBackend(answer("Alpha.")), word_gap_s=0.05) as desk:
        await focused(desk)
        pressed_s = monotonic()
        press("d", pressed_s)
        await gone(desk, "Alpha.")
        for repeat in range(20):
            press("d", pressed_s + 0.5 + 0.03 * repeat)
        await desk.pilot.press("down", "y")
        await desk.until(lambda: desk.copied == ["one"], "the question is still there")
        press("d", pressed_s + 1000)  # this time it is pressed
        await desk.until(lambda: not desk.conversation.messages, "an empty session")


async def test_a_blank_alone_is_not_typed(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("Alpha."))) as desk:
        await focused(desk)
        await desk.pilot.press("space")
        assert desk.chat.prompt_input.text == ""
        assert not isinstance(desk.app.focused, PromptInput)


async def test_a_key_that_was_pressed_before_is_no_part_of_a_word_that_comes_later(tmp_path):
    async with desktop(tmp_path, ScriptedBackend(answer("```\na\n```")), word_gap_s=SHORT_S) as desk:
        await focused(desk)
        await desk.pilot.press("c")  # the pilot rests longer than that behind it
        await desk.until(lambda: len(desk.copied) == 1, "a copy")
        await desk.type("hello")
        await desk.until(lambda: desk.chat.prompt_input.text == "hello", "the word alone")
