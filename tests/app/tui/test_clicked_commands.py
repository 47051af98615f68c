from __future__ import annotations

import asyncio
import re

from lmchat.app.tui.widgets.key_bar import KeyBar
from lmchat.base.errors import StreamInterrupted
from lmchat.core.servers.events import RequestSent, TextDelta
from tests.support.desktop import click, ready_desktop, shown
from tests.support.scripted_backend import answer_steps, half


async def test_what_a_message_offers_can_be_clicked(tmp_path):
    scripts = (
        [RequestSent(), TextDelta(text="Let"), StreamInterrupted("The connection broke.")],
        answer_steps("tuce."),
        [StreamInterrupted("It broke again.")],
        answer_steps("Alpha."),
        answer_steps("Beta."),
        half("Gam ma", asyncio.Event()),
    )
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        assert "a continue" not in desk.text  # in the prompt, `a` is a letter
        await desk.press("alt+up", sees="a continue  r retry")
        await click(desk, "a continue")
        await shown(desk, "Lettuce.")
        await desk.at_rest()
        await desk.ask("two", 2)
        await desk.press("alt+up", sees="y copy details")
        await click(desk, "y copy details")
        await desk.until(lambda: "It broke again." in "".join(desk.copied), "a copy")
        await desk.until(
            lambda: "  retry    edit prompt    copy details" in desk.text, "no letters"
        )
        await click(desk, "retry    edit prompt")
        await shown(desk, "Alpha.")
        await desk.at_rest()
        await desk.press("escape", "ctrl+r", sees="Beta.")
        await desk.at_rest()
        await click(desk, "3/3")
        await shown(desk, "It broke again.")
        await click(desk, "1/3")
        await shown(desk, "Alpha.")
        await click(desk, "2/3")
        await shown(desk, "Beta.")

        async def click_key(words: str) -> None:
            row = desk.text.split("\n")[-1]
            await desk.pilot.click(KeyBar, offset=(row.index(words), 0))

        await click(desk, "Beta.")
        await shown(desk, "Alt+↑ keys  copy  retry")
        await click_key("Alt+↑ keys")
        await shown(desk, "[ ] versions")
        await click_key("[ ]")
        await shown(desk, "It broke again.")
        await desk.press("tab", sees="Alt+↑ keys")
        await click_key("versions")
        await shown(desk, "Alpha.")
        await click_key("edit prompt")
        await desk.prompt_is("two")
        await desk.press("escape")
        await desk.say("three", sees="Gam ma")
        await click(desk, "m ma", times=2)
        await shown(desk, "^C copy")
        await desk.press("ctrl+c", hides="^C copy")  # selected blanks, of an answer that goes on
        assert re.search("answering .*Esc stop", desk.text)  # not a second after the first text
        await click(desk, "Esc stop")
        await shown(desk, "stopped")


async def test_a_click_on_code_of_the_reasoning_copies_that_code(tmp_path):
    text = "```\nb\n```\n\n```\nd\n```"
    steps = answer_steps(text, thought="```\na = 1\n```\n\n```\nc\n```\n")
    async with ready_desktop(tmp_path, steps, asked=["one"]) as desk:
        await desk.press("alt+up", "enter", sees="a = 1")
        for nth, copied in ((0, "a = 1"), (2, "b"), (1, "c")):
            await click(desk, "   copy" if nth else "c copy", nth=nth)
            await desk.until(lambda copied=copied: desk.copied[-1:] == [copied], copied)
        await desk.press("alt+up", "c")  # continues in the text, where it was before
        await desk.until(lambda: desk.copied[-1:] == ["d"], "d")
