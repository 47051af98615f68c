"""What is typed while a message has the focus goes into the prompt, unless it is a message key."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps


@asynccontextmanager
async def focused(folder, text: str = "Alpha."):
    """The app with the focus on an answer."""
    async with ready_desktop(folder, answer_steps(text), asked=["one"]) as desk:
        await desk.press("alt+up")
        yield desk


@pytest.mark.parametrize("text", ["hello", "1", "!", "/doctor", "x"])
async def test_what_no_command_has_goes_to_the_prompt_with_what_follows(tmp_path, text):
    async with focused(tmp_path) as desk:
        await desk.type(text)
        await desk.prompt_is(text)
        assert isinstance(desk.app.focused, PromptInput)


async def test_each_press_of_a_key_is_a_command(tmp_path):
    code = "```\na\n```\n\n```\nb\n```"
    async with focused(tmp_path, code) as desk:
        await desk.type("cc")
        await desk.until(lambda: [one.strip() for one in desk.copied] == ["a", "b"], "two copies")
        await shown(desk, "Block 2 of 2: copied (test-copy)")
        assert desk.prompt_input.text == ""


async def test_a_blank_alone_is_not_typed(tmp_path):
    async with focused(tmp_path) as desk:
        await desk.press("space")
        assert desk.prompt_input.text == ""
        assert not isinstance(desk.app.focused, PromptInput)
