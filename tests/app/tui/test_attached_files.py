from __future__ import annotations

import pytest

from lmchat.app.tui.dialogs.text_dialog import TextDialog
from tests.support.desktop import sent, shown

FOLDED = "[notes.md (81 B)]\nWhat is in it?"


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


async def test_a_file_is_one_row_or_line_wherever_its_prompt_is_shown_and_is_sent_whole(desk):
    (desk.folder / "notes.md").write_text("# Secret heading\n\nOne row.\n" * 3, encoding="utf-8")
    await desk.say("/file notes.md")
    await desk.until(lambda: "notes.md" in desk.prompt_input.text, "the block")
    await desk.ask("What is in it?")
    first = sent(desk.backend)[0]
    assert "Secret heading" in first
    assert desk.active.header.title == "What is in it?"
    await shown(desk, "+ notes.md (81 B)", "What is in it?")
    assert "Secret heading" not in desk.text
    await desk.press("alt+up", "alt+up", "enter", leads_to=TextDialog, sees="# Secret heading")
    await desk.press("escape", hides="Secret heading")
    await desk.press("alt+up", "y")
    await desk.until(lambda: desk.copied == [first], "a copy")
    await desk.press("e")
    await desk.prompt_is(FOLDED)
    await desk.press("enter")
    await desk.at_rest(requests=2)
    assert sent(desk.backend) == [first, first]
    await desk.press("up")
    assert desk.prompt_input.text == FOLDED
