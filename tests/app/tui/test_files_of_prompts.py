"""A file belongs to the prompt in which it was named, also if it is read slowly."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.screen import ChatScreen
from lmchat.base.errors import FileRefused
from tests.support.desktop import (
    make_desktop,
    ready_desktop,
    running,
    sent,
    shown,
)
from tests.support.scripted_backend import ScriptedBackend, answer_steps, hold


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaf.md").write_text("Leaves are green.\n", encoding="utf-8")
    (tmp_path / "stem.md").write_text("Stems are long.\n", encoding="utf-8")


async def name_leaf(desk) -> None:
    await desk.type("@lea")
    await desk.until(lambda: desk.prompt_input.completion.rows == ("leaf.md",), "its name")
    await desk.press("tab")


async def test_a_file_that_cannot_be_read_leaves_the_prompt_unsent(tmp_path):
    async with ready_desktop(tmp_path) as desk:
        is_over = asyncio.Event()

        async def refuse(_data: bytes) -> None:
            await is_over.wait()
            raise FileRefused("leaf.md cannot be stored: the disk is full.")

        desk.store.files.save = refuse
        await name_leaf(desk)
        await desk.say("please", sees="Sent once leaf.md")
        await desk.say("and then?")
        await desk.type("more")
        is_over.set()
        await shown(desk, "the disk is full")
        await desk.prompt_is("[leaf.md: cannot be read]\nplease\n\nand then?\n\nmore")
        assert desk.backend.requests == []
    backend = ScriptedBackend(answer_steps("Green."))
    async with ready_desktop(tmp_path, backend=backend) as desk:  # the draft has it, too
        await desk.prompt_is("[leaf.md: cannot be read]\nplease\n\nand then?\n\nmore")
        await desk.press("enter", sees="leaf.md: cannot be read. Delete its line")
        await desk.prompt_is("[leaf.md: cannot be read]\nplease\n\nand then?\n\nmore")
        desk.prompt_input.put("")
        (tmp_path / "data.bin").write_bytes(b"\0" * 9)
        await desk.type("@dat")
        await desk.until(lambda: desk.prompt_input.completion.rows == ("data.bin",), "its name")
        await desk.press("tab", sees="data.bin is neither text")
        await desk.prompt_is("[data.bin: cannot be read]\n")
        await desk.say("Sum up", sees="data.bin: cannot be read. Delete its line")
        assert backend.requests == []
        await desk.press("ctrl+home", "shift+down", "delete")
        await desk.ask("")
        assert sent(backend) == ["Sum up"]


# Steps, then the end of what is sent with the file ("" if nothing is), and the text of the prompt.
# "there" ends the read; "seen" waits until the prompt shows the file.
WAYS = (
    ("@ why there seen enter", "why", ""),
    ("@ why enter there", "\nwhy", ""),
    ("@ @stem why there seen enter", "\nwhy", ""),
    ("/file why there seen enter", "why", ""),
    ("/file why enter there", "why", ""),
    ("@ why enter more there", "\nwhy", "more"),
    ("@ why enter up enter there", "\nwhy", ""),
    ("@ why enter more esc there", "", "@leaf.md why\n\nmore"),
    ("@ esc esc there seen why enter", "why", ""),  # no prompt waits: the file is read on
    ("@ why enter @stem esc there", "", "@leaf.md why\n\n[stem.md (16 B)]\n"),
    ("@ why enter delete there", "", ""),
    ("@ why enter away there", "\nwhy", ""),
    ("@ why away there back seen enter", "\nwhy", ""),
    ("@ why away back enter there", "\nwhy", ""),
    ("@ why fork enter there", "\nwhy", ""),
    ("away back ask fork back @ why there seen enter", "\nwhy", ""),
    ("@ why edit there esc seen enter", "\nwhy", ""),
    ("edit @ there seen enter", "one leaf.md", ""),
    ("edit @ enter told there seen enter", "one leaf.md", ""),
    ("@ why edit @ esc enter there", "\nwhy", ""),
)


@pytest.mark.slow  # all that may happen
async def test_a_file_goes_with_the_prompt_in_which_it_was_named_whatever_happens(tmp_path):
    async with ready_desktop(tmp_path) as desk:
        may_save = hold(desk.store.files, "save")
        controllers = desk.dispatcher.controllers
        for steps, ending, text in WAYS:
            may_save.set()
            await desk.at_rest()
            desk.prompt_input.put("")
            await desk.press("ctrl+n")
            await desk.until(lambda: not desk.active.messages, steps)
            if not {"edit", "fork", "away"}.isdisjoint(steps.split()):
                await desk.ask("one")
            may_save.clear()
            first = desk.session_id
            count = len(desk.backend.requests)
            for step in steps.split():
                match step:
                    case "@" | "@stem":
                        has_words = desk.prompt_input.text[-1:].strip()
                        blank = " " if has_words else ""
                        await desk.type(f"{blank}@{'ste' if step == '@stem' else 'lea'}")
                        await desk.until(lambda: desk.prompt_input.completion.rows, steps)
                        await desk.press("tab")
                    case "/file":
                        await desk.say("/file leaf.md")
                        await desk.until(lambda: not desk.prompt_input.text, steps)
                    case "why" | "more":
                        typed = step
                        await desk.type(typed)
                        await desk.until(lambda: desk.prompt_input.text.endswith(typed), steps)  # noqa: B023
                    case "ask":
                        await desk.ask("two")
                        count += 1
                    case "there":
                        may_save.set()
                    case "seen":
                        await desk.until(lambda: "[leaf.md" in desk.prompt_input.text, steps)
                    case "told":
                        await shown(desk, "leaf.md is still being read.")
                    case "away":
                        await desk.press("ctrl+n")
                        await desk.until(lambda: desk.session_id != first, steps)  # noqa: B023
                    case "back":
                        controllers.session_view.switch_to(first)
                        await desk.until(lambda: desk.session_id == first, steps)  # noqa: B023
                    case "fork":
                        await controllers.branches.fork(desk.active.messages[-1])
                    case "edit":
                        await desk.press("alt+up", "alt+up", "e")
                        await desk.prompt_is("one")
                    case "esc":
                        await desk.press("escape")
                        await desk.pilot.pause()
                    case _:
                        await desk.press(step)
                        await desk.pilot.pause()
            if ending:
                count += 1
                await desk.until(lambda: len(desk.backend.requests) == count, steps)  # noqa: B023
                assert "Leaves are green." in sent(desk.backend)[-1], steps
                assert sent(desk.backend)[-1].endswith(ending), steps
            await desk.until(lambda: desk.prompt_input.text == text, steps)  # noqa: B023
            await desk.pilot.pause()
            assert len(desk.backend.requests) == count, steps
        may_save.set()


async def test_a_file_that_the_user_does_not_want_leaves_the_prompt_unsent(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    async with ready_desktop(tmp_path) as desk:
        outside = str(tmp_path / "leaf.md")
        desk.prompt_input.post_message(Paste(outside))
        await desk.until(lambda: desk.prompt_input.text == outside, "the path")
        desk.prompt_input.submit()
        await desk.on(ConfirmDialog)
        await desk.press("enter")  # it does not confirm what was pasted
        await desk.press("escape", leads_to=ChatScreen)
        await desk.prompt_is(outside)
        assert desk.backend.requests == [*tmp_path.rglob("attachments/*")] == []
        await desk.press("enter")  # now it is a text like any other
        await desk.answered()
        assert sent(desk.backend) == [outside]
        desk.prompt_input.post_message(Paste(outside))
        await desk.on(ConfirmDialog)
        await desk.confirm()
        await desk.prompt_is("[leaf.md (18 B)]\n")
        assert [*tmp_path.rglob("attachments/*")]


async def test_a_prompt_that_waits_for_a_file_at_the_end_is_the_draft_of_the_next_start(tmp_path):
    first = make_desktop(tmp_path)
    hold(first.store.files, "save")
    async with running(first):
        await first.ready()
        await name_leaf(first)
        await first.say("please", sees="Sent once leaf.md")
        await first.type("more")
        await first.until(lambda: first.prompt_input.text == "more", "the next prompt")
    second = make_desktop(tmp_path)
    async with running(second):
        await second.prompt_is("@leaf.md please\n\nmore")
