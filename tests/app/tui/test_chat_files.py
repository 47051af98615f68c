from __future__ import annotations

import os

import psutil
import pytest
from textual.widgets import Input

from lmchat.app.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog
from lmchat.app.tui.dialogs.export_dialog import ExportDialog
from lmchat.app.tui.dialogs.progress_dialog import ProgressDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.formats.programs import OWN, Program
from lmchat.core.library.importer import Importer
from lmchat.core.sessions.message import Role
from tests.support.chats import chat, list_of_exports
from tests.support.desktop import make_desktop, ready_desktop, running, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps


def exported(folder, *texts, name="talk.json"):
    path = folder / name
    title = texts[0] if texts else "Which vegetables?"
    session = chat(*(texts or (title, "Lettuce grows.")), title=title)
    path.write_text(to_json(session), encoding="utf-8")
    return path


def many(folder, count):
    path = folder / "many.json"
    path.write_text(list_of_exports(count, "Peas?"), encoding="utf-8")
    return path


async def test_the_dialog_of_an_export_takes_thoughts_and_branches_in_and_keeps_its_file_on_failure(
    tmp_path,
):
    target = tmp_path / "out.md"
    existing = tmp_path / "notes.md"
    existing.write_text("notes", encoding="utf-8")
    backend = ScriptedBackend(
        answer_steps("Lettuce.", thought="Hmm, beds."), answer_steps("Spinach.")
    )
    async with ready_desktop(tmp_path, asked=["first"], backend=backend) as desk:
        await desk.press("ctrl+r", sees="Spinach.")
        await desk.answered()
        await desk.press("ctrl+e", leads_to=AskDialog, sees="Export this session")
        desk.app.screen.query_one(Input).value = str(existing / "out.md")
        await desk.press("enter", sees="written:")
        assert desk.app.screen.query_one(Input).value == str(existing / "out.md")
        desk.app.screen.query_one(Input).value = str(existing)
        await desk.press("enter", leads_to=ConfirmDialog)
        await desk.press("escape", leads_to=AskDialog)
        assert existing.read_text(encoding="utf-8") == "notes"
        desk.app.screen.query_one(Input).value = str(target)
        await desk.press("ctrl+r", "ctrl+b", "enter", sees="Exported to")
        text = target.read_text(encoding="utf-8")
        assert all(
            words in text for words in ("Spinach.", "Lettuce.", "Hmm, beds.", "Another branch")
        )


async def test_the_export_shows_what_enter_will_write_and_its_keys_change_that(
    tmp_path, monkeypatch
):
    for variable in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(variable, str(tmp_path))
    (tmp_path / "garden").mkdir()
    monkeypatch.chdir(tmp_path / "garden")
    talk = answer_steps("Lettuce.", thought="Hmm, beds.")
    prompt = "Which vegetables grow on the north side of the house?"
    async with ready_desktop(tmp_path, talk, asked=[prompt]) as desk:
        await desk.say("/export --reasoning", leads_to=ExportDialog)
        name = desk.app.screen.query_one(Input)
        assert name.value == "which-vegetables-grow-on.md"
        await shown(desk, f"in ~{os.sep}garden")
        await desk.press("minus", "5")
        assert name.value == "which-vegetables-grow-on-5.md"  # before the ending
        await shown(desk, "2 messages", "● Markdown", "included", "those shown")
        for keys, words in (
            (["ctrl+r"], ["● Markdown", "left out", "those shown"]),
            (["ctrl+b"], ["● Markdown", "left out", "  all"]),
            (["tab"], ["-5.json", "● JSON", "included", "  all"]),  # it always has them
            (["tab"], ["-5.html", "● HTML", "left out"]),
            (["tab"], ["-5.txt", "● text"]),
            (["tab", "x"], ["-5x.md", "● Markdown"]),
            (["ctrl+u", *"x.html"], [" x.html ", "● HTML"]),
        ):
            await desk.press(*keys)
            await shown(desk, *words)
        for typed, seen, hidden in (
            ("plan.htm", "● HTML", "/plan"),
            ("notes", "● Markdown", "● HTML"),
            ("v1.2", "· Markdown", "●\u00a0Markdown"),
            (f"beds{os.sep}plan.txt", "● text", "   in "),
            (f"{tmp_path}/plan.txt", "● text", "   in "),
        ):
            name.value = typed
            await shown(desk, seen)
            assert hidden not in desk.text
        name.value = "v1.2"
        await desk.press("tab")
        assert name.value == "v1.2.md"
        await desk.pilot.resize_terminal(50, 24)
        await shown(desk, "● Markdown")
        assert "HTML" not in desk.text, "there is no room"
        name.value = f"{tmp_path}/plan.txt"
        await desk.press("enter", leads_to=ChatScreen, sees="Exported to")
        assert "Lettuce." in (tmp_path / "plan.txt").read_text(encoding="utf-8")
        assert "Hmm" not in (tmp_path / "plan.txt").read_text(encoding="utf-8")


async def test_an_import_is_shown_and_once_more_shows_what_is_there_and_a_refused_one_is_told(
    desk, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # a long path would break the lines of the notice elsewhere
    exported(tmp_path)
    (tmp_path / "cut.json").write_text('[{"role": "user", "content": "hi', encoding="utf-8")
    await desk.say("/import cut.json", sees="It is not valid JSON")
    await desk.prompt_is("")
    assert await desk.store.list_sessions() == ()

    await desk.say("/import", leads_to=AskDialog, sees="Import which file?")
    desk.app.screen.query_one(Input).value = "talk.json"
    await desk.press("enter", sees="Lettuce grows.")
    await shown(desk, "“Which vegetables?” is imported, 2 messages")
    (listed,) = await desk.store.list_sessions()
    assert desk.session_id == listed.session_id
    assert [message.role for message in desk.active.messages] == [Role.USER, Role.ASSISTANT]
    await desk.press("ctrl+n", hides="Lettuce grows.")
    await desk.say("/import talk.json", sees="already exists")
    await shown(desk, "Lettuce grows.")
    assert len(await desk.store.list_sessions()) == 1

    folder = tmp_path / "chats"
    folder.mkdir()
    exported(folder, "One?", "Yes.", "Then?", name="one.json")
    exported(folder, "Two?", "Yes.", "And?", name="two.json")
    (folder / "bad.json").write_text("[{", encoding="utf-8")
    await desk.say("/import chats", sees="2 chats, 6 messages imported.")
    await shown(desk, "bad.json")


@pytest.mark.posix
async def test_esc_ends_an_import_whose_file_keeps_the_reader_busy_forever(tmp_path):
    count = 20_000
    path = many(tmp_path, count)
    desk = make_desktop(tmp_path)
    desk.workspace.importer = Importer(desk.store, quiet_s=0)
    others = psutil.Process().children()
    async with running(desk):
        await desk.ready()
        await desk.say(f"/import {path}", leads_to=ProgressDialog, sees="message")
        (reader,) = (child for child in psutil.Process().children() if child not in others)
        reader.suspend()
        await desk.press("escape", sees="Stopped. Start the import again for the rest.")
        assert not reader.is_running()
        assert 0 < len(await desk.store.list_sessions()) < count


async def test_the_chats_of_other_programs_are_imported_after_a_yes(tmp_path):
    async with ready_desktop(tmp_path) as desk:
        await desk.say("/import all", sees="No chats of other programs were found.")
        (tmp_path / "chats").mkdir()
        exported(tmp_path / "chats")
        garden = Program(OWN, "Garden", "", folders=lambda *_: [tmp_path], chats="chats")
        desk.workspace.importer = Importer(desk.store, programs=[garden])
        await desk.say("/import all", leads_to=ConfirmDialog, sees="Garden: ")
        await desk.press("escape", leads_to=ChatScreen)
        await desk.rests()
        assert await desk.store.list_sessions() == ()
        await desk.say("/import all", leads_to=ConfirmDialog)
        await desk.confirm()
        await shown(desk, "“Which vegetables?” is imported, 2 messages", "Lettuce grows.")
