"""Starts of servers: the built-in engine, and installed programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lmchat import units
from lmchat.errors import LMChatError
from lmchat.processes.background import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.status import ServerStatus
from lmchat.servers.local.engine import Engine
from lmchat.servers.local.gguf import ModelFile
from lmchat.servers.local.installed import ServerStart
from lmchat.servers.model import BUILT_IN, LoadState
from lmchat.servers.target import Target
from lmchat.tui.controllers.model_switch import ModelSwitch
from lmchat.tui.dialogs.ask_dialog import ConfirmDialog, start_question
from lmchat.tui.dialogs.progress_dialog import with_progress
from lmchat.tui.screen_services import ScreenServices
from lmchat.tui.welcome.server_rows import LocalSetup


class ServerStarts:
    """Model files and programs of this machine, and the servers that are started with them."""

    def __init__(
        self,
        ui: ScreenServices,
        model_switch: ModelSwitch,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when `machine` or `problem` has changed."""
        self._ui = ui
        self._workspace = ui.workspace
        self._model_switch = model_switch
        self._on_change = on_change
        self.machine = LocalSetup()
        self.problem = ""  # why the last start failed

    # Facts for the welcome page

    def read_installed(self) -> None:
        self._ui.start(self._read_installed, "machine", is_only=True)

    @property
    def _last_model(self) -> str:
        """It is empty if the engine was not used last."""
        state = self._workspace.state
        return state.model if state.endpoint == BUILT_IN else ""

    async def _read_installed(self) -> None:
        """When all is known, put it into `machine` in one step."""
        engine, launcher = self._workspace.engine, self._workspace.launcher
        installed = None if launcher is None else tuple(await run_abandonable(launcher.find))
        install_command = ""
        if launcher is not None:
            install_command = await run_abandonable(launcher.install_command)
        files = () if engine is None else await engine.files(is_refresh=True)
        self.machine = LocalSetup(
            installed=installed,
            files=files,
            # of no use if the engine is not installed
            offer=None if engine is None or install_command else engine.demo,
            install_command=install_command,
            last_model=self._last_model,
        )
        self._on_change()

    def _show_problem(self, text: str) -> None:
        self.problem = text
        self._on_change()

    # Programs

    async def start_program(self, start: ServerStart) -> ServerStatus | None:
        """Run a command, if the user agrees, and return the started server.

        None if the user does not agree, or if the start fails; then `problem` says why.
        """
        launcher = self._workspace.launcher
        if launcher is None or not await self._ui.ask(start_question(start)):
            return None
        self._show_problem("")
        self._ui.notify(f"{start.short} runs. lmchat waits until its server answers.")
        try:
            return await launcher.start(start)
        except LMChatError as error:
            self._show_problem(error.message_with_next_step)
            return None

    # The engine

    async def start_engine(self, named: str = "") -> bool:
        """Start the engine with the named model; return whether it serves the model.

        If it does not, because of a failure, `problem` says why.
        """
        if (engine := self._workspace.engine) is None:
            return False
        self._show_problem("")
        try:
            model = await self._choose(engine, named)
            if model is not None:
                self.read_installed()  # the page says where the model is
                await self._serve(engine, model)
        except LMChatError as error:
            self._show_problem(error.message_with_next_step)
            return False
        return model is not None

    async def _choose(self, engine: Engine, named: str) -> ModelFile | None:
        """Return a model file of this disk; if there is none, ask to download the demo model.

        Commands and the plain chat have no dialog, so there `start_engine_without_screen` does the
        same.
        """
        given = self._workspace.local_model or self._workspace.settings.local.model
        # a name of a row is that of a file, which may have gone
        if not named and await engine.has_to_download(given):
            return await self._download(engine, given)
        model = await engine.choose(named or given, last=self._last_model)
        if model is not None:
            return model
        demo = engine.demo
        # if there are files, `choose` has returned None because the demo model was named
        reason = "" if await engine.files() else "There is no model file on this disk. "
        text = (
            f"{reason}{demo.name} is a small model, only for trying lmchat.\n\n"
            f"Size     {units.size_text(demo.download_bytes)}\n"
            f"Licence  {demo.licence}\n"
            f"Folder   {safe_line(str(engine.folder))}"
        )
        if not await self._agrees("Download a demo model?", text):
            return None
        return await with_progress(self._ui, f"Downloading {demo.name}", engine.fetch)

    async def _agrees(self, title: str, text: str) -> bool:
        dialog = ConfirmDialog(title, text=text, verb="download it", key=self._ui.yes_key)
        return bool(await self._ui.ask(dialog))

    async def _download(self, engine: Engine, name: str) -> ModelFile | None:
        """Return the file of a name of the hub; None if the user does not agree, or stops it."""

        async def work(report: Callable[[str], None]) -> Path | None:
            return await self._workspace.backend.models.download_file(
                engine,
                name,
                lambda text: self._agrees("Download a model?", f"{text}."),
                lambda done: report(done.text),
            )

        path = await with_progress(self._ui, "Downloading the model", work)
        return None if path is None else await engine.choose(str(path))

    async def _serve(self, engine: Engine, model: ModelFile) -> None:
        """Start the engine with a model, and use it from now on; requests wait until it is loaded.

        If the start fails, set the earlier target again. A target that the user has chosen since
        stays. After a cancelled start, the engine stays the target: the next request starts it.
        """
        old_target = self._workspace.chat.turn_options.target
        if old_target is not None and old_target.product == BUILT_IN:
            old_target = None  # this start ends its server
        info = model.info(engine.reserve_address(), LoadState.LOADING)
        self._model_switch.use(Target.of(info))
        name = safe_line(model.name, limit=20)
        self._ui.show_action(f"loading {name}")
        try:
            await engine.start(model)
        except LMChatError:
            if self._model_switch.is_in_use(info):
                # not `use`: the old model was remembered when it was chosen
                self._model_switch.aim_at(old_target)
            raise
        self._ui.show_action(f"loaded {name}")
        self._workspace.monitor.check_now()
