from __future__ import annotations

import pytest

from tests.support.desktop import ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


async def sent_a_file(desk) -> str:
    """Send a file with a question; return what the server got."""
    file = desk.folder / "notes.md"
    file.write_text("# Secret heading\n\nOne row.\n" * 3)
    await desk.say(f"/file {file}")
    await desk.until(lambda: "notes.md" in desk.prompt_input.text, "the block")
    await desk.say("What is in it?")
    await desk.answered()
    return sent(desk.backend)[0]


async def test_a_file_is_one_row_in_the_log_and_enter_unfolds_it(desk):
    assert "Secret heading" in await sent_a_file(desk)
    await shown(desk, "+ notes.md · 81 B", "What is in it?")
    assert "Secret heading" not in desk.text
    await desk.press("alt+up", "alt+up", "enter", sees="- notes.md · 81 B")
    await shown(desk, "# Secret heading")
    await desk.press("enter", hides="Secret heading")


async def test_its_session_is_called_by_what_was_typed(desk):
    await sent_a_file(desk)
    assert desk.conversation.header.title == "What is in it?"


async def test_an_edited_or_recalled_prompt_has_its_file_in_one_line_and_sends_it_whole(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Notes."), answer_steps("More."), answer_steps("Most.")
    ) as desk:
        first = await sent_a_file(desk)
        await desk.press("alt+up", "alt+up", "e")
        await desk.until(lambda: bool(desk.prompt_input.text), "the prompt")
        assert desk.prompt_input.text == "[notes.md (81 bytes)]\nWhat is in it?"
        await desk.press("enter")
        await desk.at_rest(requests=2)
        await desk.press("up")
        assert desk.prompt_input.text == "[notes.md (81 bytes)]\nWhat is in it?"
        await desk.press("enter")
        await desk.until(lambda: len(desk.backend.requests) == 3, "a request")
        assert sent(desk.backend) == [first, first, first]


async def test_a_file_with_the_line_of_another_one_is_sent_as_it_is(desk):
    names = desk.folder / "names.md"
    names.write_text("See [data.txt (3 bytes)] for more.")
    (desk.folder / "data.txt").write_text("abc")
    await desk.say(f"/file {names}")
    await desk.until(lambda: "names.md" in desk.prompt_input.text, "the first block")
    await desk.say(f"/file {desk.folder / 'data.txt'}")
    await desk.until(lambda: "data.txt" in desk.prompt_input.text, "the second block")
    await desk.say("Compare them.")
    await desk.answered()
    [prompt] = sent(desk.backend)
    assert "See [data.txt (3 bytes)] for more." in prompt
    assert prompt.count("abc") == 1


async def test_copying_such_a_prompt_takes_all_of_it(desk):
    first = await sent_a_file(desk)
    await desk.press("alt+up", "alt+up", "y")
    await desk.until(lambda: desk.copied == [first], "a copy")
