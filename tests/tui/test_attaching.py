from __future__ import annotations

import asyncio

import pytest
from textual import events
from textual.widgets import Static

from lmchat.tui.screens.ask_dialog import ConfirmDialog, OutsideDialog
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.palette import Palette
from tests.support.desktop import calm, gone, ready_desktop, sent, shown
from tests.support.files_to_attach import image
from tests.support.scripted_backend import answer_steps


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"The words of {name}.\n")


@pytest.mark.parametrize("key", ["enter", "tab"])
async def test_an_at_sign_offers_files_and_the_chosen_one_is_attached(desk, tmp_path, key):
    made(tmp_path, "garden.md", "old/garden.md", "beds.txt")
    await desk.type("@grd")
    await shown(desk, "garden.md", "old/garden.md")
    assert "beds.txt" not in desk.text
    await desk.press("down", key)
    await desk.prompt_is("[garden.md (28 bytes)]\n")
    await gone(desk, "old/garden.md")
    await desk.ask("Shorten it.")
    assert "The words of old/garden.md." in sent(desk.backend)[0]
    assert sent(desk.backend)[0].endswith("Shorten it.")


async def test_backspace_behind_a_file_takes_it_away_as_a_whole(desk, tmp_path):
    made(tmp_path, "a.md")
    await desk.say("/file a.md")
    await desk.prompt_is("[a.md (19 bytes)]\n")
    await desk.press("backspace", "backspace")
    assert desk.prompt_input.text == ""
    await desk.press("ctrl+z")
    assert desk.prompt_input.full_text.startswith("a.md (19 bytes):")


async def test_in_a_sentence_the_name_stays_and_the_file_is_above_it(desk, tmp_path):
    made(tmp_path, "a.md", "b.md")
    await desk.type("Compare @a.m")
    await shown(desk, "a.md")
    await desk.press("enter")
    await desk.type(" with @b.m")
    await shown(desk, "b.md")
    await desk.press("tab")
    await desk.prompt_is("[a.md (19 bytes)]\n[b.md (19 bytes)]\nCompare a.md with b.md")
    await desk.type("!")
    await desk.until(lambda: desk.prompt_input.text.endswith("with b.md!"), "the end")
    await desk.press("ctrl+z", "ctrl+z")
    assert desk.prompt_input.text == "[a.md (19 bytes)]\nCompare a.md with @b.m"


async def test_the_texts_of_a_pattern_are_attached_with_a_line_about_them(desk, tmp_path):
    made(tmp_path, "src/b.py", "src/a.py", "src/notes.md")
    await desk.say("/file src/*.py")
    await desk.prompt_is("[src/a.py (23 bytes)]\n[src/b.py (23 bytes)]\n")
    await shown(desk, "Attached: 2 files, 46 B, ~12 tokens.")
    await desk.ask("Explain.")
    assert "src/a.py (23 bytes):\n```py\nThe words of src/a.py." in sent(desk.backend)[0]


async def test_many_files_are_attached_after_a_question_only(desk, tmp_path):
    made(tmp_path, *(f"notes/{number:02}.md" for number in range(51)))
    await desk.press(*"/file notes", "enter", leads_to=ConfirmDialog, sees="Attach 51 files?")
    await shown(desk, "51 files, 1 kB")
    await desk.press("enter")
    assert isinstance(desk.app.screen, ConfirmDialog)
    await desk.press("escape", hides="Attach 51 files?")
    assert desk.prompt_input.text == ""
    await desk.say("/file notes", leads_to=ConfirmDialog)
    await desk.confirm()
    await desk.until(lambda: "[notes/50.md" in desk.prompt_input.text, "the files")
    assert desk.prompt_input.text.count("[notes/") == 51


async def test_a_folder_outside_is_read_after_a_question_only(desk, tmp_path, monkeypatch):
    made(tmp_path, "inner/a.md", "other/b.md")
    monkeypatch.chdir(tmp_path / "inner")
    await desk.press(*"/file ../other", "enter", leads_to=OutsideDialog)
    await desk.press("escape")
    assert desk.prompt_input.text == ""


async def test_what_is_copied_is_attached_as_a_file(desk, tmp_path):
    desk.copied.append("Words of the clipboard.")
    await desk.say("/paste")
    await desk.prompt_is("[clipboard.txt (23 bytes)]\n")
    desk.copied_image = image()
    await desk.press(*"/paste", "enter")
    await shown(desk, "[clipboard.png (")
    await desk.ask("Compare.")
    assert "Words of the clipboard." in sent(desk.backend)[0]
    assert list(desk.backend.requests[0].files.values()) == [image()]


async def test_an_empty_clipboard_is_told_to_the_palette_and_a_key_too(tmp_path):
    settings = calm(keys={"paste": "f9"})
    async with ready_desktop(tmp_path, settings=settings) as desk:
        await desk.press("f9", sees="The clipboard is empty. Copy a text first.")
        desk.app.clear_notifications()
        await desk.press("ctrl+p", leads_to=Palette)
        await desk.press(*"clipboard", sees="Add the image or text of the clipboard")
        await desk.press("enter", leads_to=ChatScreen, sees="The clipboard is empty.")
        await desk.ask("hello")


async def test_an_empty_clipboard_is_told_and_keeps_the_prompt(desk):
    await desk.say("/paste", sees="The clipboard is empty. Copy a text first.")
    assert desk.prompt_input.text == "/paste"


async def test_typing_on_leaves_only_names_that_still_match(desk, tmp_path):
    made(tmp_path, "one.md", "other.md")
    await desk.type("Hello @o")
    await shown(desk, "one.md", "other.md")
    await desk.ask("x there")
    assert sent(desk.backend) == ["Hello @ox there"]


async def test_escape_closes_the_list_and_the_text_is_sent_as_it_is(tmp_path):
    made(tmp_path, "bob.md")
    async with ready_desktop(tmp_path, answer_steps("Hi."), answer_steps("Hi.")) as desk:
        await desk.type("Hi @bob")
        await shown(desk, "bob.md")
        await desk.press("escape", hides="bob.md")
        await desk.press("enter")
        await desk.answered()
        await desk.press("up")
        assert desk.prompt_input.text == "Hi @bob"
        await desk.press("enter")  # what is recalled offers nothing
        await desk.until(lambda: sent(desk.backend) == ["Hi @bob"] * 2, "both")


@pytest.mark.parametrize("text", ["me@a", "a@", "@a b"])
async def test_other_at_signs_offer_nothing(desk, tmp_path, text):
    made(tmp_path, "a.md")
    await desk.type(text)
    await desk.prompt_is(text)
    await desk.pilot.pause()
    assert not [worker for worker in desk.app.workers if worker.group == "files"]


async def test_keys_are_shown_while_files_are_still_looked_for(desk):

    async def find_never(_typed):
        await asyncio.Event().wait()

    desk.prompt_input.find_files = find_never
    await desk.ask("@gard")
    assert sent(desk.backend) == ["@gard"]


async def test_a_tab_before_the_files_are_found_completes_and_folders_lead_on(
    desk, tmp_path, monkeypatch
):
    made(tmp_path, "beds/peas.md")
    monkeypatch.setenv("HOME", str(tmp_path))
    for text, then in [("@~/b", "@~/beds/"), ("p", "[peas.md (27 bytes)]\n")]:
        await desk.type(text)
        await desk.press("tab")
        await desk.prompt_is(then)
    assert desk.app.focused is desk.prompt_input


async def test_the_command_completes_paths_with_tab_and_enter_takes_what_is_typed(desk, tmp_path):
    made(tmp_path, "todo.md", "x")
    await desk.type("/fil")
    await desk.press("tab")
    await desk.type("td")
    await shown(desk, "todo.md")
    await desk.press("enter", sees="td does not exist")
    await desk.prompt_is("/file td")
    desk.prompt_input.put("")
    await desk.type("/file td")
    await shown(desk, "todo.md")
    await desk.press("tab")
    assert desk.prompt_input.text == "/file todo.md"


async def test_enter_inserts_a_row_that_was_chosen_with_down_also_after_file(desk, tmp_path):
    made(tmp_path, "todo.md", "x")
    made(tmp_path, "todo.txt", "x")
    await desk.type("/file todo")
    await desk.until(lambda: len(desk.prompt_input.completion.rows) == 2, "both files")
    _, second = desk.prompt_input.completion.rows
    await desk.press("down", "enter")
    await desk.prompt_is(f"/file {second}")


@pytest.mark.parametrize(
    "text", ["{0}/my notes.md", "'{0}/my notes.md' ", "file://{0}/my%20notes.md"]
)
async def test_a_dropped_file_is_attached_and_undo_brings_its_path_back(desk, tmp_path, text):
    made(tmp_path, "my notes.md")
    text = text.format(tmp_path)
    desk.prompt_input.post_message(events.Paste(text))
    await desk.until(
        lambda: desk.prompt_input.text.startswith("[my notes.md (26 bytes)]\n"), "the block"
    )
    await desk.press("ctrl+z")
    assert desk.prompt_input.text == text


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """A file outside the working folder, and a link to it inside."""
    (tmp_path / "here").mkdir()
    (tmp_path / "id_rsa").write_text("PRIVATE KEY\n")
    (tmp_path / "here" / "notes.md").symlink_to(tmp_path / "id_rsa")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "id_rsa"


def files_with(text: str, folder) -> list[str]:
    """Return the files of a folder whose bytes hold a text."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path.name for path in files if text.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "name", ["{0}/id_rsa", "file://{0}/id_rsa", "{0}/here/notes.md", "{0}/here/../id_rsa"]
)
async def test_a_pasted_path_outside_the_folder_is_read_only_after_a_question(
    desk, tmp_path, secret, name
):
    text = name.format(tmp_path)
    desk.prompt_input.post_message(events.Paste(text))
    await desk.on(OutsideDialog)
    await shown(desk, "Attach from outside this folder?")
    assert "id_rsa" in str(desk.app.screen.query_one(".words", Static).content)
    await desk.press("enter")
    assert isinstance(desk.app.screen, OutsideDialog)
    await desk.press("escape")
    await desk.until(lambda: not isinstance(desk.app.screen, OutsideDialog), "the chat")
    assert desk.prompt_input.text == text
    await desk.chat.prompt_text.write()
    assert files_with("PRIVATE KEY", tmp_path) == ["id_rsa"]
    desk.prompt_input.put("")
    desk.prompt_input.post_message(events.Paste(text))
    await desk.on(OutsideDialog)
    await desk.confirm()
    await desk.until(lambda: "PRIVATE KEY" in desk.prompt_input.full_text, "the file")


@pytest.mark.parametrize("typed", ["/file ../id_rsa", "/file notes.md"])
async def test_the_command_asks_about_a_file_outside_the_folder_too(desk, secret, typed):
    await desk.say(typed)
    await desk.on(OutsideDialog)
    await desk.press("escape")
    await desk.until(lambda: not isinstance(desk.app.screen, OutsideDialog), "the chat")
    assert "PRIVATE KEY" not in desk.prompt_input.full_text


async def test_a_hidden_file_of_the_home_folder_is_asked_about(desk, tmp_path, monkeypatch):
    made(tmp_path, ".ssh/id_rsa", "notes.md")
    monkeypatch.setenv("HOME", str(tmp_path))
    desk.prompt_input.post_message(events.Paste("~/.ssh/id_rsa"))
    await desk.on(OutsideDialog)
    await desk.press("escape")
    await desk.until(lambda: not isinstance(desk.app.screen, OutsideDialog), "the chat")
    desk.prompt_input.put("")
    desk.prompt_input.post_message(events.Paste("~/notes.md"))
    await desk.prompt_is("[notes.md (23 bytes)]\n")


async def test_a_path_after_a_command_or_of_what_is_no_text_stays_a_path(desk, tmp_path):
    made(tmp_path, "notes.md")
    (tmp_path / "data.bin").write_bytes(b"\0" * 9)
    desk.prompt_input.post_message(events.Paste(f"{tmp_path}/data.bin"))
    await shown(desk, "data.bin is neither UTF-8 text")
    assert desk.prompt_input.text == f"{tmp_path}/data.bin"
    desk.prompt_input.put("/import ")
    desk.prompt_input.post_message(events.Paste(f"{tmp_path}/notes.md"))
    await desk.prompt_is(f"/import {tmp_path}/notes.md")
    await desk.pilot.pause()
    assert desk.prompt_input.text == f"/import {tmp_path}/notes.md"


async def test_typing_goes_on_where_it_was_when_a_slow_file_comes(desk, tmp_path):
    made(tmp_path, "a.md")
    prompt_input = desk.prompt_input
    prompt_input.put("Look at @a.m and say")
    prompt_input.attach("@a.m", ["a.md (3 bytes):\n```\nabc\n```\n"], "a.md")
    await desk.type(" why")
    await desk.prompt_is("[a.md (3 bytes)]\nLook at a.md and say why")
