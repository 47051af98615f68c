from __future__ import annotations

import asyncio

import pytest

from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.quirks.keys import Paste
from lmchat.core.config.settings import ChatSettings, Settings
from tests.support.desktop import ready_desktop, shown
from tests.support.files_to_attach import image
from tests.support.scripted_backend import ScriptedBackend, answer_steps, half, model, probed

GARDEN = image(size=(800, 600))
ROW = "garden.png (12 kB, 800×600)"
FOLDED = f"[{ROW}]"


@pytest.fixture(autouse=True)
def garden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garden.png").write_bytes(GARDEN)


async def attach(desk):
    desk.prompt_input.post_message(Paste(f"{desk.folder}/garden.png"))
    await desk.until(lambda: desk.prompt_input.text.startswith("[garden.png"), "the image")


def backend(*scripts, is_blind=False):
    return ScriptedBackend(
        *scripts,
        results=(
            probed(
                "",
                model(images=False if is_blind else None),
                model("eye-4b", images=True),
            ),
        ),
    )


async def test_an_image_alone_names_its_session_and_is_opened(tmp_path):
    settings = Settings(chat=ChatSettings(auto_title=True))
    scripts = answer_steps("A bed."), answer_steps("A garden bed")
    async with ready_desktop(tmp_path, backend=backend(*scripts), settings=settings) as desk:
        await attach(desk)
        assert desk.prompt_input.text == f"{FOLDED}\n"
        assert "vision" not in desk.text, "the model sees"
        await desk.press("enter", sees="A garden bed")
        assert desk.active.header.title == "A garden bed"
        await shown(desk, f"+ {ROW}")
        assert (await desk.on_disk())[0].files[0].name == "garden.png"
        await desk.press("alt+up", "alt+up", sees="Enter show file")
        await desk.press("enter")
        await desk.until(lambda: desk.opened == [f"garden.png: {len(GARDEN)} bytes"], "the viewer")
        desk.has_browser = False
        await desk.press("enter", sees="No viewer is available. /copies/garden.png: copied.")
        await desk.press("o")
        await desk.until(lambda: desk.copied == ["/copies/garden.png"] * 2, "the path")


async def test_a_model_that_cannot_see_is_told_before_sending_and_ctrl_o_lists_those_that_can(
    tmp_path,
):
    gate = asyncio.Event()
    blind = backend(half("One.", gate), answer_steps("A bed."), is_blind=True)
    async with ready_desktop(tmp_path, backend=blind) as desk:
        await desk.say("Hello", sees="One.")
        await attach(desk)
        await desk.say("What is it?", sees="next  [garden.png")
        gate.set()
        await shown(desk, "cannot see images.")
        await desk.prompt_is(f"{FOLDED}\nWhat is it?")
        await shown(desk, "^O model with vision")
        await desk.press("enter", sees="remove the image.")
        assert desk.prompt_input.text == f"{FOLDED}\nWhat is it?"
        assert len(blind.requests) == 1
        await desk.press("ctrl+o", leads_to=ModelPicker, sees="1 of 2")
        desk.app.passing = None  # which named such a model, too
        await desk.press("enter", hides="model with vision")
        await desk.press("enter")
        await desk.answered(2)
        assert blind.requests[1].target.model_id == "eye-4b"
