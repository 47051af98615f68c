"""Models are downloaded and deleted on their server, by keys of the picker and of the welcome page."""

from __future__ import annotations

import asyncio

from lmchat.app.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.dialogs.progress_dialog import ProgressDialog
from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.base.errors import ServerRejected
from lmchat.core.servers.events import PullProgress
from tests.support.desktop import desktop, ready_desktop, shown
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model, probed

OLLAMA = {"product": "Ollama"}
STEP = "ollama pull llama3.2"
QWEN = model("qwen3:8b", size_bytes=5_200_000_000, **OLLAMA)
GEMMA = model("gemma3:4b", size_bytes=3_300_000_000, **OLLAMA)
HALF = PullProgress(done_bytes=1_000_000_000, total_bytes=2_000_000_000, free_bytes=75_000_000_000)


def backend_with(*models) -> ScriptedBackend:
    return ScriptedBackend(results=[probed("", *models, **OLLAMA)])


async def test_models_are_deleted_and_downloaded_after_a_question_and_esc_stops_a_download(
    tmp_path,
):
    backend = backend_with(QWEN, GEMMA)
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.press("ctrl+o", leads_to=ModelPicker)
        await shown(desk, "^D delete")
        await desk.press("ctrl+d", leads_to=ConfirmDialog)
        await shown(desk, "Delete qwen3:8b from the disk?", "5.2 GB", "This chat uses it.")
        await desk.press("enter", "escape", leads_to=ModelPicker)
        assert backend.removed == []
        await desk.type("gemma")
        await desk.press("ctrl+d", leads_to=ConfirmDialog)
        await shown(desk, "3.3 GB")
        backend.results = (probed("", QWEN, **OLLAMA),)
        await desk.confirm(leads_to=ModelPicker)
        await desk.until(lambda: backend.removed == ["gemma3:4b"], "the deletion")
        await desk.press("ctrl+u", hides="gemma3:4b")

        await desk.type("alder")
        await shown(desk, "No model matches “alder”. ^D downloads a model of this name.")
        await shown(desk, "^D download")
        await desk.press("ctrl+d", leads_to=ConfirmDialog)
        await shown(desk, "Download alder?", "Ollama at http://localhost:1234 downloads it.")
        await desk.press("escape", leads_to=ModelPicker)
        assert backend.pulled == []

        backend.pull_script = [
            ServerRejected("No space left.", kind="no_space", next_step="Free some.")
        ]
        await desk.press("ctrl+d", leads_to=ConfirmDialog)
        await desk.confirm(leads_to=ModelPicker)
        await shown(desk, "No space left. Free some.", "alder")

        backend.pull_script = [HALF, gate]
        await desk.press("ctrl+d", leads_to=ConfirmDialog)
        await desk.confirm(leads_to=ProgressDialog)
        await shown(
            desk, "Downloading alder", "━━━━━━━─────── 50 %  1.0 GB of 2.0 GB, 75.0 GB free"
        )
        await desk.press("escape", leads_to=ModelPicker)
        await shown(desk, "The download of alder is stopped.")

        backend.results = (probed("", QWEN, model("alder", **OLLAMA), **OLLAMA),)
        gate.set()
        await desk.press("ctrl+d", leads_to=ConfirmDialog)
        await desk.confirm(sees="alder is downloaded.")
        await shown(desk, "1 of 2")
        assert backend.pulled == ["alder"] * 3
        await desk.press("enter", leads_to=ChatScreen)
        await desk.until(lambda: desk.target.model_id == "alder", "the model")


async def test_who_cannot_delete_or_download_has_no_key_for_it(tmp_path):
    backend = ScriptedBackend(results=[probed("", model("phi", product="vLLM"), product="vLLM")])
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.press("ctrl+o", leads_to=ModelPicker)
        await shown(desk, "^R refresh")
        assert "^D" not in desk.text
        await desk.press("ctrl+d")
        await shown(desk, "vLLM cannot delete models on request.")
        await desk.type("alder")
        await shown(desk, "No model matches")
        assert "^D" not in desk.text
        await desk.press("ctrl+d")
        assert isinstance(desk.app.screen, ModelPicker)


async def test_a_server_without_a_model_gets_its_first_one_from_the_welcome_page(tmp_path):
    backend = ScriptedBackend(results=[probed("not_pulled", next_step=STEP, **OLLAMA)])
    backend.pull_script = [HALF]
    async with desktop(tmp_path, backend) as desk:
        await desk.on(WelcomeScreen)
        await shown(desk, "Or press Enter to download one.")
        await desk.press("enter", leads_to=ModelPicker)
        await desk.press("escape", leads_to=WelcomeScreen)
        desk.app.screen.post_message(Paste(ENDPOINT.netloc))  # its address does the same
        await desk.on(AskDialog)
        await desk.press("enter", leads_to=ModelPicker)
        await shown(desk, "No models found. Type the name of one, and ^D downloads it.")
        await desk.type("alder")
        await desk.press("ctrl+d", leads_to=ConfirmDialog)
        backend.results = (probed("", model("alder", **OLLAMA), **OLLAMA),)
        await desk.confirm(sees="alder is downloaded.")
        assert backend.pulled == ["alder"]
