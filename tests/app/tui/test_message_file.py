"""`w` on a message: a code block of it, or the message, becomes a file."""

from __future__ import annotations

from textual.widgets import Input

from lmchat.app.tui.controllers.message_actions import suggested_name
from lmchat.app.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog
from lmchat.app.tui.screen import ChatScreen
from tests.support.desktop import ready_desktop
from tests.support.scripted_backend import answer_steps

TWO_BLOCKS = "Here:\n\n```python garden.py\nprint(1)\n```\n\nand\n\n```sh\nls\n```\n"


def test_a_name_comes_from_the_first_words_and_the_language():
    long = "A plan for the garden, in spring and later"
    for info, words, name in (
        ("Python", long, "A-plan-for-the-garden-in.py"),
        ("", "Hello", "Hello.txt"),
        ("markdown", "# Hello there\n\nMore.", "Hello-there.md"),
        ("markdown", "\n\n", "message.md"),
        ("python ../../.ssh/id.py", "../x", "id.py"),
        (r"python C:\src\id.py", "x", "id.py"),
        ("python .bashrc", "../x", "x.py"),
        # as the first row of the code shows it
        ('python title="a.py"', "x", "a.py"),
        ("python title=src/a.py", "x", "a.py"),
        ("python:main.py", "x", "main.py"),
        ("{.c file=a.c}", "x", "a.c"),
        ("{.python}", "x", "x.py"),
        ('python title=".."', "x", "x.py"),
        ("python \x1b[31m.py", "\x1b[31mred", "31mred.py"),
    ):
        assert suggested_name(info, words) == name
    assert len(suggested_name("", "é漢字" * 40)) < 70


async def test_each_block_or_else_the_message_is_saved_and_an_existing_file_is_asked_about(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    existing = tmp_path / "garden.py"
    existing.write_text("old", encoding="utf-8")
    async with ready_desktop(tmp_path, answer_steps(TWO_BLOCKS), asked=["first"]) as desk:
        await desk.press("alt+up", "w", leads_to=AskDialog, sees="Block 1 of 2")
        name = desk.app.screen.query_one(Input)
        assert name.value == "garden.py"
        await desk.press("enter", leads_to=ConfirmDialog, sees="Overwrite this file?")
        await desk.press("escape", sees="garden.py already exists. Choose")
        assert existing.read_text(encoding="utf-8") == "old"
        await desk.press("enter", leads_to=ConfirmDialog)
        await desk.confirm(sees="Saved to")
        assert existing.read_text(encoding="utf-8") == "print(1)\n"
        await desk.press("f3", "w", leads_to=AskDialog, sees="Block 2 of 2")
        assert desk.app.screen.query_one(Input).value == "Here.sh"
        await desk.press("escape")
        await desk.press("alt+up", "w", leads_to=AskDialog, sees="Block 1 of 2")
        assert not (tmp_path / "Here.sh").exists()

        for script, block in (
            ("```sh\nls\n```", ""),
            (TWO_BLOCKS, "Block 1 of 2."),
            ("**Lettuce** grows.", ""),
        ):
            await desk.press("escape", leads_to=ChatScreen)
            await desk.press("escape")
            desk.backend.scripts = [answer_steps(script)]
            await desk.ask("again", len(desk.backend.requests) + 1)
            await desk.app.run_action("app.run('message.save')")  # from the prompt
            await desk.on(AskDialog)
            assert ("Block" in desk.text) is bool(block)
            assert block in desk.text
        await desk.press("enter", sees="Saved to")
        assert (tmp_path / "Lettuce-grows.md").read_text(encoding="utf-8") == "**Lettuce** grows.\n"
