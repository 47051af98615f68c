from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.dialogs.progress_dialog import ProgressDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.base.errors import EngineUnavailable, StreamInterrupted
from lmchat.core.config.state import UsedModel
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.sessions.message import AnswerState
from tests.support.desktop import gone, make_desktop, running, shown
from tests.support.scripted_backend import (
    ADDRESS,
    ScriptedBackend,
    ScriptedEngine,
    answer_steps,
    file,
    model,
    probed,
)

BIG = file("big")
SMALL = file("small", size_bytes=10**9)
FULL = "The demo model could not be downloaded: No space left on device"


def answering(*names):
    """Return a backend on which the engine's server answers."""
    models = tuple(
        ModelInfo(model_id=name, endpoint=ADDRESS, product="llama.cpp", state=LoadState.LOADED)
        for name in names
    )
    return ScriptedBackend(results=[probed("", *models, endpoint=ADDRESS, product="llama.cpp")])


@asynccontextmanager
async def local(folder, engine, backend=None, **workspace):
    """The app with an engine, started by `--local`."""
    desk = make_desktop(folder, backend or answering("big"), engine=engine)
    desk.workspace.is_local = True
    for name, value in workspace.items():
        setattr(desk.workspace, name, value)
    async with running(desk):
        yield desk


async def test_local_starts_the_engine_without_asking_and_the_picker_loads_another_file(tmp_path):
    engine = ScriptedEngine(BIG, SMALL)
    async with local(tmp_path, engine) as desk:
        await desk.until(lambda: engine.started == ["big"], "the engine is started")
        await shown(desk, "● built-in")
        assert (desk.target.product, desk.target.model_id) == ("built-in", "big")
        await desk.ask("Which vegetables grow in shade?")
        assert desk.backend.requests[0].target.endpoint == ADDRESS
        assert desk.state[-1].recent == (UsedModel("built-in", "big"),)
        assert desk.state[-1].model_file == str(BIG.path)
        await desk.press("ctrl+o", leads_to=ModelPicker)
        await shown(desk, "small")
        await desk.type("small")
        desk.backend.results = answering("small").results
        await desk.press("enter")
        await desk.until(lambda: engine.started == ["big", "small"], "the other file is served")
        await desk.ask("Hello", 2)
        last = desk.backend.requests[1].target
        assert (last.endpoint, last.model_id) == (ADDRESS, "small")
    assert not engine.is_stopped  # whoever made the workspace ends it, with the backend


async def test_a_demo_model_is_fetched_only_after_consent_to_size_licence_and_folder(tmp_path):
    engine = ScriptedEngine()
    async with local(tmp_path, engine, ScriptedBackend(results=[probed("offline")])) as desk:
        await desk.on(ConfirmDialog)
        assert "F7 download it" in desk.text  # it has opened by itself
        text = desk.text
        for words in (
            "Download a demo model?",
            "93 MB",
            "Apache-2.0",
            str(Path("/home/ada/.cache/lmchat/engine")),
            "is a small model, only",
        ):
            assert words in text.replace("\u00a0", " ")
        await desk.press("escape", leads_to=WelcomeScreen)
        assert engine.fetches == 0
        await shown(desk, "Asks to download demo, a demo model (93 MB, Apache-2.0).")
        await shown(desk, "or try the built-in engine.")
        await desk.press("1", leads_to=ConfirmDialog, sees="Enter download it")  # it is no text
        await desk.confirm(leads_to=ProgressDialog, sees="12 s")
        await desk.press("escape", leads_to=WelcomeScreen)
        assert (engine.fetches, engine.cut) == (1, 1)
        await desk.press("enter", leads_to=ConfirmDialog)
        assert "Enter download it" in desk.text  # as the user's own Enter has opened it
        await desk.confirm(leads_to=ProgressDialog)
        desk.backend.results = answering("demo").results
        engine.ready.clear()
        engine.progress.set()
        await desk.until(lambda: engine.is_loading, "it loads")
        await gone(desk, "Asks to download")
        engine.ready.set()
        await desk.until(lambda: engine.started == ["demo"], "it is started")
        await desk.on(ChatScreen)
        await shown(desk, "● built-in")


async def test_a_model_of_the_hub_is_downloaded_after_a_question(tmp_path):
    name = "org/big-GGUF:Q8_0"
    backend = answering("big")
    backend.file = BIG.path
    engine = ScriptedEngine(BIG)
    engine.missing = name
    async with local(tmp_path, engine, backend, local_model=name) as desk:
        await desk.on(ConfirmDialog)
        await shown(desk, "Download a model?", "big.gguf of org/big-GGUF:Q8_0")
        await desk.press("escape", leads_to=WelcomeScreen)
        assert (backend.pulled, engine.started) == ([], [])
    async with local(tmp_path, engine, backend, local_model=name) as desk:
        await desk.on(ConfirmDialog)
        await desk.confirm()
        await desk.until(lambda: engine.started == ["big"], "it is started")
        assert backend.pulled == [name]


async def test_what_goes_wrong_is_told_with_the_next_step_and_can_be_chosen_again(tmp_path):
    engine = ScriptedEngine()
    engine.progress.set()
    engine.failures["check"] = EngineUnavailable(FULL, next_step="Make room there.")
    engine.failures["fetch"] = EngineUnavailable(FULL, next_step="Make more room.", kind="fetch")
    backend = ScriptedBackend(results=[probed("offline")])
    async with local(tmp_path, engine, backend) as desk:
        await desk.on(WelcomeScreen)
        await shown(desk, "Asks to download demo", "No space left", "Make room there.")
        assert desk.text.count("No space left") == 1
        await desk.press("1", leads_to=ConfirmDialog)
        await desk.confirm(leads_to=WelcomeScreen, sees="Make more room.")
        assert desk.text.count("No space left") == 1
        assert desk.target is None
        await desk.press("1", leads_to=ConfirmDialog)
        backend.results = answering("demo").results
        await desk.confirm()
        await desk.until(lambda: engine.started, "it is started")
        await desk.on(ChatScreen)


async def test_a_prompt_waits_for_the_loading_model_and_a_crash_keeps_the_text_of_an_answer(
    tmp_path,
):
    engine = ScriptedEngine(BIG)
    engine.ready.clear()
    backend = answering("big")
    async with local(tmp_path, engine, backend) as desk:
        await desk.say("Hello")
        engine.ready.set()
        await desk.answered()
        engine.started.clear()
        gate = asyncio.Event()
        backend.scripts = [
            [*answer_steps("Chives do")[:-2], gate, StreamInterrupted("The connection broke.")]
        ]
        await desk.say("Hello", sees="Chives")
        engine.breaks("The built-in engine crashed (signal SIGSEGV).")
        gate.set()
        await shown(desk, "engine crashed")
        await shown(desk, "The next request starts")
        last = desk.active.messages[-1]
        assert (last.state, last.text.strip()) == (AnswerState.INTERRUPTED, "Chives do")
        await desk.press("ctrl+r")
        await desk.until(lambda: engine.started == ["big"], "it is started again")
        await desk.answered(2)


async def test_a_server_that_is_chosen_during_a_start_stays_in_use_if_the_start_fails(tmp_path):
    engine = ScriptedEngine(BIG)
    engine.ready.clear()
    engine.failures["big"] = EngineUnavailable(FULL, next_step="Make room there.")
    async with local(tmp_path, engine, ScriptedBackend(results=[probed("offline")])) as desk:
        await desk.until(lambda: engine.is_loading, "the start")
        assert (desk.target.product, desk.target.model_id) == ("built-in", "big")
        desk.dispatcher.controllers.model_switch.switch_to(model())
        engine.ready.set()
        await shown(desk, "Make room there.")
        assert desk.target.model_id == "qwen3-8b"


async def test_an_old_problem_is_gone_while_another_start_runs(tmp_path):
    engine = ScriptedEngine(BIG)
    engine.failures["big"] = EngineUnavailable(FULL, next_step="Make room there.")
    async with local(tmp_path, engine, answering("other"), search_pause_s=600) as desk:
        await desk.on(WelcomeScreen)
        await shown(desk, "No space left", "other")
        assert desk.target is None  # no other server is used unasked
        engine.ready.clear()
        await desk.press("2")
        await desk.until(lambda: engine.is_loading, "another start")
        await gone(desk, "No space left")
        await shown(desk, "The built-in engine starts", "big …")
        await desk.press("enter")
        await desk.pilot.pause()
        assert isinstance(desk.app.screen, WelcomeScreen)
