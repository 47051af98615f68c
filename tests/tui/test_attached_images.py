from __future__ import annotations

import asyncio
import json
import sys
from hashlib import sha256

import pytest
from msgspec.structs import replace
from textual import events

from lmchat.config.settings import ChatSettings, Settings
from lmchat.domain.server import Verdict
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.image_dialog import ImageDialog
from lmchat.tui.screens.model_picker import ModelPicker
from tests.support.chats import chat
from tests.support.desktop import half, ready_desktop, shown
from tests.support.files_to_attach import image
from tests.support.scripted_backend import ScriptedBackend, answer_steps, candidate, model

GARDEN = image(size=(800, 600))
FOLDED = "[garden.png (12 kB, 800×600)]"
ROW = "garden.png · 12 kB · 800×600"


pytestmark = pytest.mark.filterwarnings(
    "ignore:Image.Image.getdata is deprecated"
)  # in textual-image


@pytest.fixture(autouse=True)
def garden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garden.png").write_bytes(GARDEN)


async def attach(desk):
    desk.prompt_input.post_message(events.Paste(f"{desk.folder}/garden.png"))
    await desk.until(lambda: desk.prompt_input.text.startswith("[garden.png"), "the image")


def backend(*scripts, is_blind=False):
    return ScriptedBackend(
        *scripts,
        candidates=(
            candidate(
                Verdict.READY, model(is_blind=is_blind), model("eye-4b", capabilities=("vision",))
            ),
        ),
    )


async def test_an_image_is_one_line_in_the_prompt_and_its_bytes_are_sent(tmp_path):
    async with ready_desktop(tmp_path, backend=backend(answer_steps("A bed."))) as desk:
        await attach(desk)
        assert desk.prompt_input.text == f"{FOLDED}\n"
        await desk.ask("What grows here?")
        (request,) = desk.backend.requests
        assert request.messages[-1].text == "What grows here?"
        assert list(request.files.values()) == [GARDEN]
        assert list(request.files) == [sha256(GARDEN).hexdigest()]
        await shown(desk, f"+ {ROW}", "What grows here?")
        assert (await desk.on_disk())[0].files[0].name == "garden.png"


async def test_a_session_that_begins_with_an_image_alone_is_named_by_the_model_too(tmp_path):
    settings = Settings(chat=ChatSettings(auto_title=True))
    scripts = answer_steps("A bed."), answer_steps("A garden bed")
    async with ready_desktop(tmp_path, backend=backend(*scripts), settings=settings) as desk:
        await attach(desk)
        await desk.press("enter", sees="A garden bed")
        assert desk.conversation.header.title == "A garden bed"


async def test_it_stays_with_a_draft_the_queue_and_an_edited_prompt(tmp_path):
    seeing = backend(answer_steps("A bed."), answer_steps("Peas."))
    async with ready_desktop(tmp_path, backend=seeing) as desk:
        await attach(desk)
    async with ready_desktop(tmp_path, backend=seeing) as desk:  # the next start has the draft
        await desk.prompt_is(f"{FOLDED}\n")
        await desk.ask("What is it?")
        await desk.press("alt+up", "alt+up", "e")
        await desk.prompt_is(f"{FOLDED}\nWhat is it?")
        await desk.type(" Tell.")
        await desk.press("enter", sees="Peas.")
        asked = [(one.messages[-1].text, list(one.files.values())) for one in desk.backend.requests]
        assert asked == [("What is it?", [GARDEN]), ("What is it? Tell.", [GARDEN])]


async def test_a_waiting_prompt_shows_its_image_by_name_and_sends_it(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(
        tmp_path, backend=backend(half("Hello", gate), answer_steps("A bed."))
    ) as desk:
        await desk.say("Hi.", sees="Hello")
        await attach(desk)
        await desk.say("What is it?", sees=f"next  {FOLDED}")
        gate.set()
        await desk.answered(2)
        assert list(desk.backend.requests[1].files.values()) == [GARDEN]


def like_a_file_line(name: str = "garden.png") -> str:
    """Return what a user may paste: JSON of the form by which a draft names an image."""
    return json.dumps(["file", name, "image/png", sha256(GARDEN).hexdigest(), 12_000, 800, 600, 0])


async def test_text_that_looks_like_the_line_of_a_file_stays_text_everywhere(tmp_path):
    line, gate = like_a_file_line(), asyncio.Event()
    seeing = backend(
        answer_steps("A bed."), half("Peas", gate), answer_steps("Leeks."), answer_steps("Beans.")
    )
    async with ready_desktop(tmp_path, backend=seeing) as desk:
        await attach(desk)  # the store has the image now
        await desk.ask("What is it?")
        desk.prompt_input.post_message(events.Paste(f"{line}\nmine"))
        await desk.prompt_is(f"{line}\nmine")
    async with ready_desktop(tmp_path, backend=seeing) as desk:  # the next start has the draft
        await desk.chat.sessions.go_to((await desk.store.list_sessions())[0].session_id)
        await desk.prompt_is(f"{line}\nmine")
        await desk.press("enter", sees="Peas")
        await desk.press("up")
        assert desk.prompt_input.text == f"{line}\nmine"
        await desk.press("enter", sees="next  ")
        gate.set()
        await desk.answered(3)
        await desk.press("alt+up", "alt+up", "e")
        await desk.prompt_is(f"{line}\nmine")
        await desk.press("enter", sees="Beans.")
        asked = [(one.messages[-1].text, len(one.files)) for one in desk.backend.requests]
        assert asked == [("What is it?", 1), *[(f"{line}\nmine", 1)] * 3]
        assert [message.files for message in await desk.on_disk()][2:] == [()] * 4


async def test_a_marked_line_in_an_attached_text_is_no_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_text(f"One.\n\x10{like_a_file_line()}\nTwo.\n")
    async with ready_desktop(
        tmp_path, backend=backend(answer_steps("A bed."), answer_steps("Beans."))
    ) as desk:
        await attach(desk)
        await desk.ask("What is it?")
        await desk.say("/file notes.md")
        await desk.until(lambda: "[notes.md" in desk.prompt_input.text, "the file")
        await desk.ask("And this?", 2)
        assert (await desk.on_disk())[2].files == ()


async def test_a_marked_line_in_a_prompt_of_an_imported_chat_is_no_file(tmp_path):
    imported = chat(f"\x10{like_a_file_line()}\nmine", "Yours.")
    async with ready_desktop(
        tmp_path, backend=backend(answer_steps("A bed."), answer_steps("Beans."))
    ) as desk:
        await attach(desk)
        await desk.ask("What is it?")
        await desk.store.import_session(imported)
        await desk.chat.sessions.go_to(imported.header.session_id)
        await desk.press("alt+up", "alt+up", "e")
        await desk.prompt_is(f"{like_a_file_line()}\nmine")
        await desk.press("enter", sees="Beans.")
        assert desk.backend.requests[-1].files == {}
    async with ready_desktop(
        tmp_path, backend=backend()
    ) as desk:  # the next start has it as an earlier prompt
        await desk.until(
            lambda: len(desk.prompt_input.history_of_prompts) > 1, "the earlier prompts"
        )
        earlier = desk.prompt_input.history_of_prompts
        assert {one for one in earlier if one.endswith("mine")} == {f"{like_a_file_line()}\nmine"}


async def test_enter_shows_the_image_and_o_opens_it_in_the_viewer(tmp_path):
    async with ready_desktop(tmp_path, backend=backend(answer_steps("A bed."))) as desk:
        await attach(desk)
        await desk.ask("What is it?")
        await desk.press("alt+up", "alt+up", sees="Enter show file")
        await desk.press("enter", leads_to=ImageDialog, sees="▀▀▀▀")
        await shown(desk, "12 kB · 800×600")
        await desk.press("o")
        await desk.until(lambda: desk.opened == [f"garden.png: {len(GARDEN)} bytes"], "the viewer")
        await desk.press("escape")
        await desk.press("o")
        await desk.until(lambda: len(desk.opened) == 2, "the viewer again")
        assert not desk.paged


async def test_of_several_images_enter_shows_the_next_and_texts_unfold_below(tmp_path):
    (tmp_path / "wide.jpg").write_bytes(image("JPEG", (300, 20)))
    (tmp_path / "notes.md").write_text("Peas in May.")
    async with ready_desktop(tmp_path, backend=backend(answer_steps("Beds."))) as desk:
        await attach(desk)
        await desk.type("and @wide")
        await shown(desk, "wide.jpg")
        await desk.press("enter")
        await desk.until(lambda: "[wide.jpg" in desk.prompt_input.text, "the other image")
        assert desk.prompt_input.text.endswith("\nand wide.jpg")
        desk.prompt_input.post_message(events.Paste(f"{tmp_path}/notes.md"))
        await desk.until(lambda: "[notes.md" in desk.prompt_input.text, "the text")
        await desk.press("enter")
        await desk.answered()
        await desk.press("alt+up", "alt+up", "enter", leads_to=ImageDialog, sees="next, 1 left")
        await desk.press("enter", sees="300×20", hides="1 left")
        await desk.press("enter", leads_to=ChatScreen, sees="Peas in May.")


async def test_a_model_that_cannot_see_is_told_before_sending_and_ctrl_o_lists_those_that_can(
    tmp_path,
):
    async with ready_desktop(
        tmp_path, backend=backend(answer_steps("A bed."), is_blind=True)
    ) as desk:
        await attach(desk)
        await shown(desk, "This model cannot see images.", "^O model with vision")
        await desk.say("What is it?", sees="remove the image.")
        assert desk.prompt_input.text == f"{FOLDED}\nWhat is it?"
        assert not desk.backend.requests
        await desk.press("ctrl+o", leads_to=ModelPicker, sees="1 of 2")
        await desk.press("enter", hides="model with vision")
        await desk.press("enter")
        await desk.answered()
        assert desk.backend.requests[0].model == "eye-4b"


async def test_while_an_answer_streams_too_an_image_that_cannot_be_seen_is_given_back(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, backend=backend(half("One.", gate), is_blind=True)) as desk:
        await desk.say("Hello", sees="One.")
        await attach(desk)
        await desk.say("What is it?", sees="This model cannot see images.")
        await desk.prompt_is(f"{FOLDED}\nWhat is it?")
        assert not desk.app.open_sessions.shown.queue


async def test_nothing_is_said_where_the_model_sees_or_nobody_knows(tmp_path):
    async with ready_desktop(tmp_path, backend=backend()) as desk:
        await attach(desk)
        await shown(desk, FOLDED)
        assert "vision" not in desk.text


@pytest.mark.parametrize(("module", "words"), [(None, "without an extra"), ("", "cannot be shown")])
async def test_a_damaged_image_is_told_instead_of_shown(tmp_path, monkeypatch, module, words):
    async with ready_desktop(tmp_path, backend=backend(answer_steps("A bed."))) as desk:
        await attach(desk)
        await desk.ask("What is it?")
        prompt = desk.conversation.messages[0]
        text = await desk.store.save_file(b"no image")
        broken = replace(prompt, parts=(replace(prompt.files[0], digest=text), *prompt.parts[1:]))
        desk.log_view.replace(broken)
        if module is None:  # Pillow is not installed
            monkeypatch.setitem(sys.modules, "PIL", None)
        await desk.press("alt+up", "alt+up", "enter", sees=words)
