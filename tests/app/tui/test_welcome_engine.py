from __future__ import annotations

from contextlib import asynccontextmanager
from unittest.mock import AsyncMock, Mock

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.server_rows import LocalSetup, welcome_rows
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.servers.local.installed import Installed, ServerLauncher
from lmchat.core.servers.model import LoadState, ModelInfo
from tests.support.desktop import click, gone, make_desktop, running, shown
from tests.support.scripted_backend import (
    ADDRESS,
    DEMO,
    ScriptedBackend,
    ScriptedEngine,
    file,
    model,
    probed,
)

MANY = [file(f"model-{number:02}", size_bytes=10**9 + number) for number in range(60)]


@asynccontextmanager
async def page(folder, engine, launcher=None):
    """The app on the page: nothing answers."""
    backend = ScriptedBackend(results=[probed("offline")])
    desk = make_desktop(folder, backend, engine=engine)
    desk.workspace.launcher = launcher
    desk.workspace.search_pause_s = 0.05
    async with running(desk):
        await desk.on(WelcomeScreen)
        await shown(desk, "Type an address")
        yield desk


async def test_a_file_of_this_disk_can_be_chosen_out_of_many(tmp_path):
    engine = ScriptedEngine(DEMO)
    async with page(tmp_path, engine) as desk:
        await shown(desk, "demo, a demo model, is on this disk.")
        assert "Use a model file" not in desk.text
        engine._files = tuple(MANY)
        await desk.press("f5", sees="60 found")

        await desk.press("2", leads_to=PickDialog, sees="60 files · 60.0 GB")
        await desk.press("down", "down", "escape", leads_to=WelcomeScreen)
        assert engine.started == []
        await click(desk, "Use a model")
        await desk.on(PickDialog)
        await desk.press("end", sees="model-59 ")
        info = ModelInfo(
            model_id="model-59", endpoint=ADDRESS, product="llama.cpp", state=LoadState.LOADED
        )
        desk.backend.results = (probed("", info, endpoint=ADDRESS, product="llama.cpp"),)
        await click(desk, "model-59 ")
        await desk.on(ChatScreen)
        await desk.until(lambda: engine.started == ["model-59"], "it is started")


async def test_each_model_of_this_disk_has_one_way(tmp_path):
    demo = file("demo", is_demo=True)
    for last, files, ways in (
        ("demo", [demo], ["last"]),
        ("", [demo], ["demo"]),
        ("demo", [demo, MANY[0]], ["last", "files"]),
        (MANY[0].name, [demo, MANY[0]], ["last", "files"]),
        (MANY[0].name, MANY[:1], ["last"]),
        ("gone", [], ["demo"]),
    ):
        machine = LocalSetup(files=tuple(files), offer=ScriptedEngine.demo, last_model=last)
        keys = [row.key for row in welcome_rows(machine, (), 90) if row.key]
        assert list(dict.fromkeys(keys)) == [*ways, "address"], (last, files)


async def test_without_the_engine_the_command_that_installs_it_is_told_and_copied(tmp_path):
    command = "/opt/venv/bin/python -m pip install 'lmchat[local]'"
    launcher = ServerLauncher(find=tuple, start=Mock(), install_command=lambda: command)
    async with page(tmp_path, ScriptedEngine(), launcher) as desk:
        await shown(desk, f"Built-in engine: {command}", "or choose “Type an address”")
        await shown(desk, "Copy the install command")
        await desk.press("2")
        await desk.until(lambda: desk.copied == [command], "the command on the clipboard")
        await gone(desk, "Try the built-in engine")


async def test_an_installed_server_is_started_after_a_yes_alone_and_then_used(tmp_path):
    lms = Installed(product="LM Studio", start=("/h/lms", "server", "start"))
    start = AsyncMock(return_value=probed("", model()))
    launcher = ServerLauncher(find=lambda: [lms], start=start)
    async with page(tmp_path, None, launcher) as desk:
        await shown(desk, "lms server start")
        await desk.press("1", leads_to=ConfirmDialog)
        await desk.press("escape", leads_to=WelcomeScreen)
        start.assert_not_called()
        await desk.press("1", leads_to=ConfirmDialog)
        await desk.confirm(leads_to=ChatScreen)
        assert start.await_args.args[0].argv == lms.start
        assert desk.target.model_id == "qwen3-8b"
