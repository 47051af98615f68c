"""`!COMMAND` in the prompt of the whole app, with real commands."""

from __future__ import annotations

import re

import pytest

from tests.support.desktop import ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps

pytestmark = pytest.mark.posix  # its commands are for sh


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELL", "/bin/sh")


async def until_prompt(desk, text: str) -> None:
    """Wait until the prompt shows a text; the sizes of its blocks are not compared."""
    await desk.until(lambda: re.sub(r" \(\d+ B\)", "", desk.prompt_input.text) == text, f"{text!r}")


async def run(desk, line: str, **then) -> None:
    """Type a line, each letter as a key, and press Enter."""
    await desk.type(line)
    await desk.press("enter", **then)


async def test_it_runs_and_its_output_is_a_folded_block_until_it_is_sent(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Beans.")) as desk:
        await desk.type("!printf 'a\\nb'; exit 3")
        await desk.prompt_is("!printf 'a\\nb'; exit 3")
        assert (
            desk.dispatcher.controllers.prompt_text.typed_prompt == ""
        )  # nothing is read ahead or counted
        await desk.press("enter")
        await until_prompt(desk, "[$ printf 'a\\nb'; exit 3, exit code 3]\n")
        assert desk.backend.requests == []
        await desk.say("Why?")
        await desk.answered()
        head = "$ printf 'a\\nb'; exit 3, exit code 3 (42 bytes):"
        text = "$ printf 'a\\nb'; exit 3\na\nb\n[exit code 3]"
        assert sent(desk.backend) == [f"{head}\n```\n{text}\n```\nWhy?"]
        await shown(desk, "+ $ printf 'a\\nb'; exit 3, exit code 3 (42 B)")


async def test_while_it_runs_the_screen_says_so_and_takes_text_and_esc_or_ctrl_c_stops_it(desk):
    for key in ("escape", "ctrl+c"):
        await run(desk, "!echo begun; sleep 600", sees="Running: echo begun; sleep 600")
        await shown(desk, "Esc stops it")
        await desk.type("and then")
        await desk.press(key, hides="Running:")
        await until_prompt(desk, "[$ echo begun; sleep 600, stopped]\nand then")
        desk.prompt_input.put("")
    assert desk.app.is_running


async def test_an_output_that_comes_during_an_edit_is_kept_at_once_with_the_draft(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("A"), asked=["first"]) as desk:
        await run(desk, "!until [ -e go ]; do sleep 0.01; done; echo gone", sees="Running:")
        await desk.type("/edit")
        await desk.press("enter")
        await desk.until(lambda: desk.prompt_input.text == "first", "the edit")
        (desk.folder / "go").touch()
        drafts = desk.dispatcher.chat.drafts
        await desk.until(lambda: "$ until " in drafts.text(desk.session_id), "the output")
        assert desk.prompt_input.text == "first"
