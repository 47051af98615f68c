from __future__ import annotations

import os

import pytest

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.quirks.keys import Paste
from tests.support.desktop import calm, gone, ready_desktop, sent, shown
from tests.support.files_to_attach import image


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"The words of {name}.\n", encoding="utf-8")


def paste(desk, text: str) -> None:
    desk.prompt_input.post_message(Paste(text))


async def test_an_at_sign_offers_files_and_the_chosen_one_is_attached(desk, tmp_path):
    made(tmp_path, "garden.md", "old/garden.md", "beds.txt", "a.md", "b.md")
    await desk.type("@grd")
    await shown(desk, "garden.md", "old/garden.md")
    assert "beds.txt" not in desk.text
    await shown(desk, "Tab")  # Enter would send what is typed
    await desk.press("down", hides="Tab")
    await desk.press("tab")
    await desk.prompt_is("[garden.md (28 B)]\n")
    await gone(desk, "old/garden.md")
    await desk.ask("Shorten it.")
    assert "The words of old/garden.md." in sent(desk.backend)[0]
    assert sent(desk.backend)[0].endswith("Shorten it.")

    await desk.type("Compare @a.md")  # as it is named
    await desk.until(lambda: desk.prompt_input.completion.rows, "the files")
    await desk.press("enter")
    await desk.prompt_is("[a.md (19 B)]\nCompare a.md ")
    await desk.type("with @b.m")
    await shown(desk, "b.md")
    await desk.press("tab")
    await desk.prompt_is("[a.md (19 B)]\n[b.md (19 B)]\nCompare a.md with b.md ")
    await desk.type("!")
    await desk.until(lambda: desk.prompt_input.text.endswith("with b.md !"), "the end")
    await desk.press("ctrl+z", "ctrl+z")
    assert desk.prompt_input.text == "[a.md (19 B)]\nCompare a.md with @b.md "
    desk.prompt_input.put("")
    await desk.type("Compare @a.m")
    await desk.until(lambda: "a.md" in desk.prompt_input.completion.rows, "the file")
    await desk.press("enter")
    await desk.prompt_is("")
    assert desk.active.messages[-2].text == "Compare @a.m", "no file was chosen: sent as typed"
    await desk.answered(2)

    await desk.say("@a.md, shorten it", leads_to=ConfirmDialog, sees="Attach a.md?")
    await desk.press("escape", sees="Not sent.")
    await desk.prompt_is("@a.md, shorten it")
    await desk.press("enter")
    await desk.answered(3)
    assert sent(desk.backend)[-1] == "@a.md, shorten it", "asked once"
    paste(desk, "Is @b.md like @a.md, @nobody and x@a.md?")
    await desk.press("enter", leads_to=ConfirmDialog, sees="Attach b.md, a.md?")
    await desk.confirm()
    await desk.answered(4)
    assert "The words of b.md." in sent(desk.backend)[-1]
    assert "The words of a.md." in sent(desk.backend)[-1]
    assert sent(desk.backend)[-1].endswith("Is b.md like a.md, @nobody and x@a.md?")


async def test_what_is_copied_is_attached_as_a_file_and_an_empty_clipboard_is_told(tmp_path):
    settings = calm(keys={"paste": "f9"})
    async with ready_desktop(tmp_path, settings=settings) as desk:
        await desk.press("f9", sees="The clipboard is empty. Copy a text first.")
        desk.app.passing = None
        await desk.say("/paste", sees="The clipboard is empty. Copy a text first.")
        assert desk.prompt_input.text == ""
        desk.copied.append("Words of the clipboard.")
        await desk.press("up")
        await desk.prompt_is("/paste")
        await desk.press("enter")
        await desk.prompt_is("[clipboard.txt (23 B)]\n")
        desk.copied_image = image()
        await desk.say("/paste", sees="[clipboard.png (")
        (tmp_path / "beds a.md").write_text("beans")
        desk.copied_files = f"{(tmp_path / 'beds a.md').as_uri()}\n"
        await desk.say("/paste", sees="[beds a.md (5 B)]")
        await desk.ask("Compare.")
        assert "Words of the clipboard." in sent(desk.backend)[0]
        assert image() in desk.backend.requests[0].files.values()


async def test_tab_and_down_complete_paths_and_enter_takes_what_is_typed(
    desk, tmp_path, monkeypatch
):
    for variable in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(variable, str(tmp_path))
    made(tmp_path, "todo.md", "list.md", "list.txt", "beds/peas.md")
    await desk.type("/fil")
    await desk.press("tab")
    await desk.type("td")
    await shown(desk, "todo.md")
    await desk.press("enter", sees="td does not exist")
    await desk.prompt_is("")
    await desk.type("/file td")
    await shown(desk, "todo.md")
    await desk.press("tab")
    assert desk.prompt_input.text == "/file todo.md"
    desk.prompt_input.put("")
    await desk.type("/file list")
    await desk.until(lambda: len(desk.prompt_input.completion.rows) == 2, "both files")
    _, second = desk.prompt_input.completion.rows
    await desk.press("down", "enter")
    await desk.prompt_is(f"/file {second}")
    desk.prompt_input.put("")
    await desk.type(f"@beds{os.sep}peas.md")
    await desk.until(lambda: desk.prompt_input.completion.rows)
    await desk.press("enter")
    await desk.prompt_is("[peas.md (27 B)]\n")
    await desk.type("/fil")
    await shown(desk, "Add files or a page")
    await desk.press("tab")
    await desk.type("td")
    await shown(desk, "todo.md")
    await desk.press("tab")
    await desk.prompt_is("[peas.md (27 B)]\n/file todo.md")
    await desk.press("enter")
    await desk.prompt_is("[peas.md (27 B)]\n[todo.md (22 B)]\n")
    made(tmp_path, "my beds/corn.md")
    steps = [
        *[("@~/b", "@~/beds/"), ("p", "[peas.md (27 B)]\n")],
        *[("@~/m", '@"~/my beds/'), ("c", "[corn.md (30 B)]\n")],
    ]
    for text, then in steps:
        if text.startswith("@"):
            desk.prompt_input.put("")
        await desk.type(text)
        await desk.until(lambda: desk.prompt_input.completion.rows, "the files")
        await desk.press("tab")
        await desk.prompt_is(then)
    assert desk.app.focused is desk.prompt_input


async def test_a_dropped_file_and_a_pattern_are_attached_and_other_paths_stay_paths(desk, tmp_path):
    made(tmp_path, "my notes.md")
    path = (tmp_path / "my notes.md").as_uri()
    paste(desk, path)
    await desk.prompt_is("[my notes.md (26 B)]\n")
    await desk.press("ctrl+z")
    assert desk.prompt_input.text == path
    desk.prompt_input.put("")
    desk.prompt_input.put("/import ")
    paste(desk, f"{tmp_path}/my notes.md")
    await desk.prompt_is(f"/import {tmp_path}/my notes.md")
    await desk.pilot.pause()
    assert desk.prompt_input.text == f"/import {tmp_path}/my notes.md"

    desk.prompt_input.put("")
    made(tmp_path, "src/b.py", "src/a.py", "src/notes.md")
    await desk.say("/file src/*.py")
    await desk.prompt_is("[src/a.py (23 B)]\n[src/b.py (23 B)]\n")
    await shown(desk, "Attached: 2 files, 46 B, ~18 tokens.")
    await desk.ask("Explain.")
    assert "src/a.py (23 bytes):\n```py\nThe words of src/a.py." in sent(desk.backend)[0]
