"""The first run: what is found decides what is shown, and no case is a dead end."""

from __future__ import annotations

from unittest.mock import AsyncMock

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.base.errors import EndpointNotAllowed
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState
from tests.support.desktop import calm, desktop, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend, hold, model, probed


async def test_saved_sessions_can_be_searched_without_any_server(tmp_path):
    async with ready_desktop(tmp_path, asked=["garden"]):
        pass
    async with desktop(tmp_path, ScriptedBackend(results=[probed("offline")])) as desk:
        await desk.on(WelcomeScreen)
        await desk.press("ctrl+k", leads_to=SearchDialog)
        await desk.press(*"garden")
        await desk.until(lambda: desk.app.screen.list.key is not None, "a hit")
        await desk.press("enter", leads_to=ChatScreen, sees="Lettuce does well.")
        await shown(desk, "· server not found")
        assert "looking for" not in desk.text
        assert desk.text.count("not found") == 2, "the panel has the same words"
        await desk.press("ctrl+o", leads_to=WelcomeScreen, sees="Type an address")
        await desk.press("escape", leads_to=ChatScreen, sees="Lettuce does well.")
        detect = desk.backend.detect
        looks = []
        desk.backend.detect = lambda **more: looks.append(1) or detect(**more)
        desk.dispatcher.controllers.server_search.check_now()
        await desk.until(lambda: looks, "another look")
        await desk.pilot.pause()
        assert isinstance(desk.app.screen, ChatScreen), "what is read is not covered"


async def test_ctrl_o_on_the_page_says_what_is_missing_or_lists_the_models(tmp_path):
    backend = ScriptedBackend(results=[probed("offline")])
    async with desktop(tmp_path, backend, settings=calm(endpoint="localhost:1234")) as desk:
        await desk.on(WelcomeScreen)
        await desk.press("ctrl+o", sees="No model was found yet.")
        assert isinstance(desk.app.screen, WelcomeScreen)
        names = [model(name, state=LoadState.NOT_LOADED) for name in ("qwen3-8b", "gemma3-4b")]
        address = Endpoint.parse("localhost:1235")
        other = probed("", model("other-1b", endpoint=address), endpoint=address)
        backend.results = (other, probed("", *names, is_configured=True))
        await desk.press("f5")
        await desk.until(lambda: desk.target is not None, "a server without a chosen model")
        await desk.press("ctrl+o", leads_to=ModelPicker, sees="other-1b")
        await desk.press("enter", leads_to=ChatScreen, sees="qwen3-8b")  # a model of that server


async def test_what_is_typed_on_the_page_lands_in_the_prompt_and_its_commands_work_in_the_chat(
    tmp_path,
):
    backend = ScriptedBackend(results=[probed("offline")])
    async with desktop(tmp_path, backend) as desk:
        for text in ("/set 1", "\u3000\u200d", "two\nwords", "What is 2+2?"):
            await desk.on(WelcomeScreen)
            desk.prompt_input.put("")
            await (desk.paste(text) if "\n" in text else desk.type(text))
            await desk.prompt_is(text)
            if text == "What is 2+2?":
                await desk.press("enter")
            else:
                desk.prompt_input.put("")
            desk.dispatcher.controllers.server_search.check_now()
        await desk.on(WelcomeScreen)
        await desk.press("ctrl+p", leads_to=CommandsDialog)
        await desk.type("import")
        await desk.press("enter", sees="Import which file?")
        await desk.press("escape", leads_to=ChatScreen, sees="What is 2+2?")


async def test_an_enter_meant_for_the_prompt_never_allows_another_machine(tmp_path):
    far = Endpoint.parse("http://gpu-box:8000")
    named = probed("not_allowed", endpoint=far, is_configured=True)
    backend = ScriptedBackend(results=[named])
    backend.check = AsyncMock(side_effect=EndpointNotAllowed("Not allowed."))
    gate = hold(backend, "detect")
    settings = calm(endpoint=far.url)
    async with desktop(tmp_path, backend, settings=settings) as desk:
        desk.workspace.search_pause_s = 0.2
        await desk.press("h", "i")
        gate.set()
        await shown(desk, "^O find a server")
        await desk.press("enter", leads_to=WelcomeScreen, sees="Your message waits")
        assert backend.allowed == []
        assert desk.chat.active.queue.drafts == ("hi",)
        await desk.press("enter", leads_to=ConfirmDialog, sees="gpu-box:8000 is not this machine")


async def test_a_named_model_that_no_server_has_is_told_on_the_page(tmp_path):
    backend = ScriptedBackend(results=[probed("", model())])
    async with desktop(tmp_path, backend, settings=calm(model="absent-7b")) as desk:
        await desk.on(WelcomeScreen)
        await shown(desk, "! No server has a model absent-7b.")
        await desk.press("enter", leads_to=ModelPicker)
        await desk.press("enter", leads_to=ChatScreen)
        assert desk.target.model_id == "qwen3-8b"
