"""Answers that the user rewrites or starts, in the whole app."""

from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog
from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog
from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.config.settings import Preset
from lmchat.core.servers.events import StreamFinished, TextDelta
from tests.support.desktop import calm, gone, ready_desktop, shown
from tests.support.scripted_backend import answer_steps, llama

NOTE = "Rewriting an answer"
END = StreamFinished(reason="stop")


async def test_e_rewrites_an_answer_and_keeps_the_old_version(tmp_path):
    settings = calm(prompts={"garden": Preset(text="Plan it.")})
    script = answer_steps("Ferns do")
    async with ready_desktop(tmp_path, script, asked=["one"], settings=settings) as desk:
        await desk.press("x", "alt+up", "E", sees=NOTE)
        assert desk.prompt_input.text == "Ferns do"
        await desk.press("ctrl+u", sees="An answer cannot be empty.")
        await desk.press("enter")
        await desk.press("escape", hides=NOTE)
        assert desk.texts == ["one", "Ferns do"]

        await desk.press("alt+up", "E", sees=NOTE)
        (tmp_path / "beds.md").write_text("Two beds.", encoding="utf-8")
        desk.prompt_input.post_message(Paste(str(tmp_path / "beds.md")))
        await desk.on(ConfirmDialog)
        await desk.confirm()
        await desk.until(lambda: "[beds.md" in desk.prompt_input.text, "the file")
        await desk.press("enter", sees="Files go with prompts, not with answers.")
        await desk.press("ctrl+p", leads_to=CommandsDialog)
        await desk.type("garden")
        await desk.press("enter", sees="You are rewriting an answer, which Enter saves.")
        desk.prompt_input.put("Ferns do well")
        await desk.press("enter", hides=NOTE)
        await shown(desk, "Ferns do well", "edited", "2/2")
        assert await desk.texts_on_disk() == ["one", "Ferns do well"]
        assert desk.prompt_input.text == "x"  # what had been typed before
        assert len(desk.backend.requests) == 1
        await desk.press("alt+up", "u", sees="Nothing to undo")
        await desk.press("left_square_bracket")
        await desk.until(lambda: desk.texts == ["one", "Ferns do"], "the old version")


async def test_start_lets_the_next_answer_begin_with_words(tmp_path):
    backend = llama([TextDelta(text=" do well."), END], answer_steps("B."))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("/start Ferns", sees="Next answer: Ferns")
        await desk.say("one", sees="Ferns do well.")
        await gone(desk, "Next answer")
        await desk.answered(1)
        await desk.say("/start", leads_to=AskDialog, sees="Begin the next answer")
        await desk.press(*"Moss", "enter", leads_to=ChatScreen, sees="Next answer: Moss")
        await desk.say("/start ", hides="Next answer")
        await desk.ask("two", 2)
        assert desk.texts == ["one", "Ferns do well.", "two", "B."]
