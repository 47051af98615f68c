"""What is typed while a message has the focus goes into the prompt, unless it is a message key."""

from __future__ import annotations

from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps


async def test_what_no_command_has_goes_to_the_prompt_with_what_follows(tmp_path):
    code = "```\na\n```\n\n```\nb\n```"
    async with ready_desktop(tmp_path, answer_steps(code), asked=["one"]) as desk:
        for text in ("hello", "1", "!", "/doctor", "x"):
            await desk.press("alt+up")
            await desk.type(text)
            await desk.prompt_is(text)
            assert isinstance(desk.app.focused, PromptInput)
            desk.prompt_input.put("")
        await desk.press("alt+up", "space")  # a blank alone is not typed
        assert desk.prompt_input.text == ""
        assert not isinstance(desk.app.focused, PromptInput)
        await desk.type("cc")  # each press of a key is a command; a copy ends the one before it
        await shown(desk, "Block 2 of 2: copied.")
        assert desk.copied[-1].strip() == "b"
        assert desk.prompt_input.text == ""
