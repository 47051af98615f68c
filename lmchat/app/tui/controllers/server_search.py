"""Search for a server, and starts of one: the built-in engine, and installed programs.

A server that is ready, with a model, is used at once. Otherwise the welcome screen opens, called
the page here. Questions about what a server lacks come only after Enter on its row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from lmchat.app.tui.controllers.model_switch import ModelSwitch
from lmchat.app.tui.dialogs.ask_dialog import (
    AskDialog,
    confirmed,
    host_question,
    key_dialog,
    start_question,
)
from lmchat.app.tui.dialogs.model_picker import file_picker
from lmchat.app.tui.dialogs.progress_dialog import with_progress
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.welcome.server_rows import LocalSetup, ServerRow
from lmchat.app.tui.welcome.welcome_screen import WelcomeFacts, WelcomeScreen
from lmchat.app.tui.workspace import LACKS_SERVER
from lmchat.base import units
from lmchat.base.errors import EndpointNotAllowed, LMChatError
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import header_value, safe_line
from lmchat.core.servers.discovery.choose import Choice
from lmchat.core.servers.discovery.status import (
    Next,
    ServerState,
    ServerStatus,
    usable_of,
)
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.local.gguf import ModelFile
from lmchat.core.servers.local.installed import ServerStart
from lmchat.core.servers.model import BUILT_IN, LoadState, ModelInfo, unknown_model_error
from lmchat.core.servers.target import Target

_LOADING_PAUSE_S = 1.0  # between checks of a server that loads its model


class ServerSearch:
    """Searches for a server until there is a model to chat with; watches the server in use."""

    def __init__(self, ui: ScreenServices, model_switch: ModelSwitch) -> None:
        self._ui = ui
        self._workspace = ui.workspace
        self._model_switch = model_switch
        self._machine = LocalSetup()  # model files and programs, for the page
        self._problem = ""  # why the last start failed
        self._page: WelcomeScreen | None = None  # while it is open, also below a dialog
        self._search_wanted = asyncio.Event()  # ends the pause between two searches
        self._searched_at_s: float | None = None  # end of the last search
        # it stays closed: the user has left it, or wants to read a resumed session
        self._has_left_page = bool(ui.workspace.resume_id)

    # The search

    def start(self) -> None:
        self._ui.start(self._search, "search")
        self._ui.start(self._watch_server, "health")

    def search_soon(self) -> None:
        self._search_wanted.set()

    def check_now(self) -> None:
        """Check the server in use at once; search if there is no model or the page is open."""
        self._workspace.backend.models.forget_lists()
        self.search_soon()  # `_search` decides whether to search
        self._workspace.monitor.check_now()
        if self._page is not None:
            self._read_programs()  # and then draws the page
        self._ui.show_action("checking")

    async def _watch_server(self) -> None:
        async for health in self._workspace.monitor.watch():
            self._model_switch.update_target(health.target)
            self._ui.show_changes()

    async def _search(self) -> None:
        """Search, with pauses, while there is no model or the page is open."""
        if self._workspace.is_local:
            await self._use_engine()
        while True:
            self._search_wanted.clear()  # before the search: a wish during it means another one
            pause_s: float | None = None  # None: until a search is wanted
            if not self._has_model or self._page is not None:
                try:
                    await self._search_once()
                except LMChatError as error:
                    self._ui.show_error(error)
                self._ui.show_changes()
                is_loading = self._workspace.chat_state is ServerState.LOADING
                pause_s = _LOADING_PAUSE_S if is_loading else self._workspace.search_pause_s
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._search_wanted.wait()

    @property
    def _has_model(self) -> bool:
        target = self._workspace.chat.turn_options.target
        return target is not None and bool(target.model_id)

    async def _search_once(self) -> None:
        """Probe all addresses, and use the best; with a model or `--local`, only show them."""
        finder = self._workspace.finder
        await finder.search()
        self._searched_at_s = self._workspace.clock()
        if self._has_model:  # it may have been chosen during the search
            self._draw_page()
        elif self._workspace.is_local:  # the engine could not start: the user chooses what else
            self._show_page()
        else:
            self._use_or_show_page(finder.choice())

    # The decision

    def _use_or_show_page(self, found: Choice) -> None:
        """Use the server that was found if nothing is missing; else show the page.

        A server without a chosen model, or any, becomes the target without a model: health checks
        then use it, and so do the model picker and the panel.
        """
        target = found.target
        current = self._workspace.chat.turn_options.target
        if found.is_complete and target is not None:
            # It may be in use: each search finds it again while it loads its model, and the user
            # can choose its row.
            if target != current:
                self._model_switch.use(target)
            self.close_page()
            return
        if target != current:
            self._model_switch.aim_at(target)
        self._show_page()

    def _use_result(self, server: ServerStatus) -> None:
        """Use a server that the user has chosen, or ask for what it lacks.

        That may be the permission for its host, an API key, or a model, perhaps an unlisted one. If
        it cannot be used, search at once, as it may have changed.
        """
        match server.action:
            case Next.ALLOW:
                ask = partial(self._ask_about_host, server.endpoint)
                self._ui.start(ask, "allow", is_only=True)
            case Next.KEY:
                attempt = partial(self._try_server, server.endpoint)
                self._ui.open_dialog(key_dialog(server, attempt), self._use_result)
            case Next.PULL:  # the picker downloads one
                self._model_switch.open_picker(then=self._use_model)
            case Next.CHAT | Next.WAIT | Next.PICK | Next.NAME:
                found = self._workspace.finder.choice_on(server)
                if found.is_complete:
                    self._use_or_show_page(found)
                elif server.action is Next.NAME:
                    dialog = AskDialog(
                        "Name of the model",
                        text=f"{server.endpoint.netloc} lists no model. "
                        "Type the name of one it has.",
                        verb="use it",
                    )
                    finder = self._workspace.finder
                    self._ui.open_dialog(
                        dialog, lambda name: self._use_or_show_page(finder.choice_on(server, name))
                    )
                else:  # no model is chosen: the user picks one
                    self._model_switch.aim_at(found.target)
                    self._model_switch.open_picker(then=self._use_model)
            case _:
                self.search_soon()

    def _use_model(self, model: ModelInfo) -> None:
        self._model_switch.switch_to(model)
        self.close_page()

    async def _ask_about_host(self, endpoint: Endpoint) -> None:
        result = await self._try_server(endpoint)  # may ask the user about the host
        if not isinstance(result, str):
            self._use_result(result)
        elif result:  # why it cannot be used; "" if the user did not allow the host
            self._ui.warn(result)
            self.search_soon()

    async def _try_server(self, endpoint: Endpoint, key: str = "") -> ServerStatus | str:
        """Check a server, after asking whether its host is allowed if that is another machine.

        Return the server if there is something to do next, such as to type an API key. Else return
        why it cannot be used; "" if the user does not allow its host. A `key` with which the server
        can be used is saved.
        """
        backend = self._workspace.backend
        try:
            header_value(key)
        except ValueError as error:  # its words follow "What you typed": "has control characters …"
            return f"What you typed {error}. Type the API key without them."
        try:
            server = await backend.models.check(endpoint, key=key)
        except EndpointNotAllowed:
            if not await self._ui.ask(host_question(endpoint)):
                return ""
            backend.allow(endpoint.netloc)
            return await self._try_server(endpoint, key)
        except LMChatError as error:
            return error.message_with_next_step
        if key and server.state is ServerState.NEEDS_KEY:
            return "The server rejects this API key."
        can_go_on = server.action not in (Next.NOTHING, Next.START)
        is_accepted = bool(key) and (can_go_on or server.state.is_usable)
        if is_accepted:
            await self._keep_key(endpoint, key)
        if server.is_model_server or can_go_on:
            self._workspace.finder.add(endpoint)  # searches ask it from now on
        if can_go_on or is_accepted:
            return server
        return f"{endpoint.netloc}: {server.word}. {server.next_step}"

    async def _keep_key(self, endpoint: Endpoint, key: str) -> None:
        try:
            await self._workspace.platform.keep_key(endpoint, key)
        except LMChatError as error:  # the key holds until the end of this run
            self._ui.show_error(error)
        else:
            self._ui.notify("The API key is saved in credentials.toml.")

    # The welcome page

    def act_on_choice(self, choice: ServerRow | str, typed: str) -> None:
        """`choice` is a server, or names another way to one, such as `files`.

        `typed` was pasted on the page: the question for an address starts with it.
        """
        machine = self._machine
        match choice:
            case "starting":
                pass
            case "last":
                self._start_engine(machine.last_model)
            case "demo" if machine.offer is not None:
                self._start_engine(machine.offer.name)
            case "files":
                picker = file_picker(machine.files)
                self._ui.open_dialog(picker, lambda file: self._start_engine(file.name))
            case "models" if self._workspace.chat_state in LACKS_SERVER:
                self._ui.notify("No model was found yet. Choose one of the rows.")
            case "models":
                self._model_switch.open_picker(then=self._use_model)
            case "install":
                self._ui.copy(machine.install_command)
            case ServerRow(start=start) if start is not None:
                self._ui.start(partial(self._start_program, start), "start", holds_keys=True)
            case ServerRow(status=server):
                self._use_result(server)
            case _:  # "address": any server can be typed
                self._ask_address(typed)

    def _ask_address(self, typed: str) -> None:
        dialog = AskDialog(
            "Server address",
            text="Host and port, for example localhost:9931; http:// and /v1 are optional. "
            "The next run knows it once you have used a model of it.",
            value=typed,
            verb="check it",
            attempt=lambda address: self._try_server(Endpoint.parse(address)),
        )
        self._ui.open_dialog(dialog, self._use_result)

    def _start_engine(self, name: str) -> None:
        self._ui.start(partial(self._use_engine, name), "engine", is_only=True)

    async def _start_program(self, start: ServerStart) -> None:
        """Start a server with its program, if the user agrees, and use it.

        A user who has left the page may have chosen another model: then only the search may use it.
        """
        launcher = self._workspace.launcher
        if launcher is None or not await self._ui.ask(start_question(start)):
            return
        self._show_problem("")
        self._ui.notify(f"{start.short} runs. lmchat waits until its server answers.")
        try:
            server = await launcher.start(start)
        except LMChatError as error:
            self._show_problem(error.message_with_next_step)
        else:
            if self._page is not None and server.state.is_usable:
                self._use_or_show_page(self._workspace.finder.choice_on(server))
        self.search_soon()

    def _show_page(self) -> None:
        """Show the servers on the page; if it is closed and may be opened, open it first.

        Not over a dialog, after the user has left it, or while the user writes a prompt or reads
        messages: it would get the next keys.
        """
        is_writing = self._ui.widgets.prompt_input.is_being_written
        is_reading = bool(self._workspace.chat.active.messages)
        is_unwanted = is_writing or is_reading or self._has_left_page
        if self._page is None and self._ui.app.screen is self._ui.screen and not is_unwanted:
            self._mount_page()
            # only the page shows what is installed; then it is drawn again
            self._read_programs()
        self._draw_page()  # without a page, this does nothing

    def open_welcome_page(self) -> None:
        if self._page is None:
            self._mount_page()
        self.check_now()  # also reads what is installed

    def _mount_page(self) -> None:
        """Open the page; when it is closed, in whatever way, `_page` becomes None."""
        self._page = WelcomeScreen(self._workspace.clock)
        self._ui.take_back(self._problem)  # the page has it
        self._ui.app.push_screen(self._page, self._forget_page)

    def _forget_page(self, _: None) -> None:  # it returns no value
        self._page = None

    def _draw_page(self) -> None:
        if self._page is None:
            return
        problem = self._problem
        named = self._workspace.settings.model  # the model that the user wants
        options = self._workspace.chat.turn_options
        lacks_model = options.target is not None and not options.target.model_id
        if not problem and named and lacks_model and not options.is_loading:
            servers = usable_of(self._workspace.finder.servers)
            listed = [model for server in servers for model in server.chat_models]
            problem = unknown_model_error(named, listed).message
        self._page.show(
            WelcomeFacts(
                servers=self._workspace.finder.servers,
                searched_at_s=self._searched_at_s,
                search_pause_s=self._workspace.search_pause_s,
                machine=self._machine,
                problem=problem,
                has_waiting_message=self._workspace.chat.active.is_waiting,
            )
        )

    def close_page(self) -> None:
        """Close the page, below a dialog as soon as that is left."""
        if self._page is not None:
            self._page.leave()

    def leave_page(self, *, is_typed: bool = False) -> None:
        """Close the page, so that the chat is shown.

        A user who types has not decided against the page: once the prompt is sent or deleted, the
        next search opens it again. Else it stays closed.
        """
        if self._page is not None and not is_typed:
            self._has_left_page = True
        self.close_page()

    # Starts of installed programs and of the engine

    def _read_programs(self) -> None:
        self._ui.start(self._read_installed, "machine", is_only=True)

    @property
    def _last_model(self) -> str:
        """It is empty if the engine was not used last."""
        state = self._workspace.state
        return state.model if state.endpoint == BUILT_IN else ""

    async def _read_installed(self) -> None:
        """When all is known, put it into `machine` in one step."""
        engine = self._workspace.engine
        launcher = self._workspace.launcher
        installed = None if launcher is None else tuple(await run_abandonable(launcher.find))
        install_command = ""
        if launcher is not None:
            install_command = await run_abandonable(launcher.install_command)
        files = () if engine is None else await engine.files(is_refresh=True)
        self._machine = replace(
            self._machine,
            installed=installed,
            files=files,
            # of no use if the engine is not installed
            offer=None if engine is None or install_command else engine.demo,
            install_command=install_command,
            last_model=self._last_model,
        )
        self._draw_page()

    def _show_problem(self, text: str) -> None:
        """Say why a start has failed, on the page if it is open; "" takes it back."""
        self._problem = text
        self._draw_page()
        if self._page is None and text:
            self._ui.warn(text)

    async def _use_engine(self, named: str = "") -> None:
        """Start the engine with the named model, if the user agrees, and close the page.

        Then search, so that a page which stays open shows the engine as it is now.
        """
        if (engine := self._workspace.engine) is None:
            return
        self._show_problem("")
        try:
            model = await self._choose(engine, named)
            if model is not None:
                self._machine = replace(self._machine, starting=model.name)
                self._draw_page()
                await self._serve(engine, model)
                file = str(model.path)
                self._ui.remember(lambda state: replace(state, model_file=file))
                self.close_page()
        except LMChatError as error:
            self._show_problem(error.message_with_next_step)
        finally:
            self._machine = replace(self._machine, starting="")
        self._read_programs()  # the page says where the model is
        self.search_soon()

    async def _choose(self, engine: Engine, named: str) -> ModelFile | None:
        """Return a model file of this disk; if there is none, ask to download the demo model.

        Commands and the plain chat have no dialog, so there `start_engine_if_wanted` does the same.
        """
        given = self._workspace.local_model or self._workspace.settings.local.model
        # a name of a row is that of a file, which may have gone
        if not named and await engine.has_to_download(given):
            return await self._download(engine, given)
        model = await engine.choose(named or given, last=self._last_model)
        if model is not None:
            return model
        demo = engine.demo
        text = (
            f"{demo.name} is a small model, only for trying lmchat.\n\n"
            f"Size     {units.size_text(demo.download_bytes)}\n"
            f"Licence  {demo.licence}\n"
            f"Folder   {safe_line(str(engine.folder))}"
        )
        if not await confirmed(self._ui, "Download a demo model?", text, verb="download it"):
            return None
        return await with_progress(self._ui, f"Downloading {demo.name}", engine.fetch)

    async def _download(self, engine: Engine, name: str) -> ModelFile | None:
        """Return the file of a name of the hub; None if the user does not agree, or stops it."""

        async def work(report: Callable[[str], None]) -> Path | None:
            return await self._workspace.backend.models.download_file(
                engine,
                name,
                lambda text: confirmed(self._ui, "Download a model?", f"{text}.", "download it"),
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
