"""The prompt in the user's editor: what comes back, and what has come since."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from lmchat.app.terminal.programs import Editor
from lmchat.base.errors import LMChatError, ServerUnavailable
from lmchat.core.config.state import State
from lmchat.core.sessions.prompts import PendingPrompt, split_draft
from tests.support.desktop import make_desktop, ready_desktop, running, sent, shown
from tests.support.scripted_backend import answer_steps, half, hold


class OpenEditor(Editor):
    """An editor that is open until `leave` is called."""

    def __init__(self, text: str) -> None:
        super().__init__(text, environ={})
        self.text = text  # as the editor shows it; `read` sees it once it is saved
        self._saved = text
        self._is_left = asyncio.Event()
        self._status = 0

    def save(self, text: str) -> None:
        self._saved = text

    def leave(self, text: str, status: int = 0) -> None:
        self._saved = text
        self._status = status
        self._is_left.set()

    async def run(self) -> str:
        await self._is_left.wait()
        self.saved_text = self._saved
        if self._status:
            raise LMChatError("The editor ended with status 1.")
        return self.saved_text

    async def read(self) -> None:
        self.saved_text = self._saved


@asynccontextmanager
async def opened_editor(desk):
    """Press the key of the editor, and give the test the editor."""
    editors: list[OpenEditor] = []

    def editor(text: str) -> OpenEditor:
        editors.append(OpenEditor(text))
        return editors[-1]

    desk.workspace.platform.editor = editor
    await desk.press("ctrl+g")
    await desk.until(lambda: bool(editors), "the editor")
    yield editors[0]


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


async def test_only_the_text_with_which_the_editor_began_is_replaced(tmp_path):
    gate = asyncio.Event()
    failing = [*half("Beans", gate)[:-1], ServerUnavailable("It broke.")]
    state = State(has_all_figures=True)  # with what was done last
    async with ready_desktop(tmp_path, failing, answer_steps("Peas."), state=state) as desk:
        await desk.say("one", sees="Beans")
        await desk.say("queued", sees="next  queued")
        may_save = hold(desk.store.files, "save")
        await desk.press("exclamation_mark", *"echo")
        await desk.say(" result", sees="exit code 0")
        await desk.type("explain this")
        await desk.until(lambda: desk.prompt_input.text == "explain this", "the prompt")
        async with opened_editor(desk) as editor:
            assert editor.text == "explain this"
            gate.set()
            await desk.until(lambda: "queued" in desk.prompt_input.text, "the queued prompt")
            may_save.set()
            await desk.until(lambda: "[$ echo result" in desk.prompt_input.text, "the output")
            editor.leave("Explain this,\nplease.")
            await desk.until(lambda: "please." in desk.prompt_input.text, "the edited text")
        text, files = split_draft(desk.prompt_input.full_text)
        assert [file.name for file in files] == ["$ echo result"]
        assert text.split() == ["queued", "Explain", "this,", "please."]
        assert desk.prompt_input.text.endswith("\nExplain this,\nplease.")
        await desk.press("enter")
        await desk.answered(2)
        assert "result" in sent(desk.backend)[-1]
        assert "queued" in sent(desk.backend)[-1]


async def test_an_editor_that_changes_nothing_leaves_what_has_come_and_a_failing_one_what_it_saved(
    desk,
):
    await desk.say("!echo result")
    await desk.press("enter", sees="[$ echo result")
    await desk.type("why?")
    async with opened_editor(desk) as editor:
        desk.dispatcher.controllers.prompt_text.put_back(
            desk.active, PendingPrompt(draft="returned")
        )
        editor.leave(editor.text)
        await desk.until(
            lambda: all(one.is_finished for one in desk.app.workers if one.group == "away"),
            "the end",
        )
    assert desk.prompt_input.text.startswith("returned\n\n[$ echo result")
    assert desk.prompt_input.text.endswith("why?")
    desk.prompt_input.put("")
    await desk.type("why?")
    async with opened_editor(desk) as editor:
        editor.leave("Why do they grow?", status=1)
        await desk.prompt_is("Why do they grow?")
    await desk.press("ctrl+z")
    assert desk.prompt_input.text == "why?"


@pytest.mark.parametrize("key", ["", "E", "e"])
async def test_what_is_saved_in_the_editor_is_the_draft_when_lmchat_is_ended(tmp_path, key):
    desk = make_desktop(tmp_path)
    async with running(desk):
        await desk.ready()
        await desk.ask("one")
        session_id = desk.session_id
        await desk.type("before")
        await desk.until(lambda: desk.prompt_input.text == "before", "the prompt")
        if key:
            await desk.press("alt+up", key)
            await desk.until(lambda: desk.prompt_input.text not in ("", "before"), "the edit")
        async with opened_editor(desk) as editor:
            editor.save("Long words.")
            await desk.dispatcher.stop_and_save()
            expected = "before\n\nLong words." if key else "Long words."
            assert await desk.store.draft(session_id) == expected
            editor.leave("Long words.")


async def test_an_attached_file_is_a_line_that_people_can_read(tmp_path):
    (tmp_path / "note.txt").write_text("Sow in May.")
    async with ready_desktop(tmp_path, answer_steps("In May.")) as desk:
        await desk.say("/file note.txt", sees="[note.txt (11 B)]")
        await desk.type("When?")
        async with opened_editor(desk) as editor:
            assert editor.text == "[note.txt (11 B)]\nWhen?"
            evil = '\x10["file","x","text/plain","' + "0" * 64 + '",1]'
            editor.leave(f"So,\n{editor.text} [note.txt (12 B)]\n{evil}")
            await shown(desk, "So,")
        await desk.press("enter")
        await desk.answered(1)
        [text] = sent(desk.backend)
        assert "note.txt (11 bytes):\n```txt\nSow in May.\n```" in text
        assert text.endswith("When? [note.txt (12 B)]\n" + evil[1:])
