"""What a run works with: API keys, servers, the built-in engine, stores and tools.

The command line and `Home` assemble the same. Imports httpx and SQLite.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from time import monotonic

from msgspec import Struct

from lmchat.api.api_keys import ApiKeys
from lmchat.base.errors import LMChatError
from lmchat.base.extras import install_command
from lmchat.base.files.paths import Paths, home_folder
from lmchat.base.metrics import Metrics
from lmchat.base.processes.background import run_abandonable
from lmchat.base.processes.environment import command_line, environment_of_programs
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.sessions import require_restored
from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.load import LoadedSettings
from lmchat.core.config.settings import McpSettings, Settings
from lmchat.core.config.state import State, change_state, read_state
from lmchat.core.library.library import Library
from lmchat.core.library.stores import open_stores
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.discovery.choose import endpoints_of
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.endpoint import Endpoint, is_address
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.local.installed import (
    ServerLauncher,
    engine_command,
    installed_products,
    start_server,
)
from lmchat.core.servers.local.kept_slot import KeptSlot
from lmchat.core.servers.model import LoadState, ModelInfo, find_model
from lmchat.core.servers.products import named_endpoints
from lmchat.core.servers.protocols import ServerClient
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store
from lmchat.core.tools.mcp_servers import McpServers

_logger = logging.getLogger(__name__)


class Runtime(Struct, frozen=True, kw_only=True):
    """What a run that talks to servers needs."""

    settings: Settings
    backend: HttpServerClient
    engine: Engine
    store: Store
    saved: Store  # the same, or that in the file if `store` is in memory
    stats_store: StatsStore
    state: State

    def finder(self) -> ServerFinder:
        return ServerFinder(self.backend.models, self.settings, lambda: self.state)

    async def take_session(self, word: str) -> SessionHeader:
        """Copy a saved session into the store of this run; raise `SessionNotFound`.

        Also if it is in the trash: its next prompt would take it out.
        """
        session_id = await self.store.take_session(self.saved, word)
        header = (await self.store.open_session(session_id, count=1)).header
        require_restored(header)
        return header

    async def load_if_needed(
        self,
        model: ModelInfo,
        *,
        context: int | None = None,
        show: Callable[[float | None], object],
    ) -> float | None:
        """Load a model that its server reports as not loaded; return the seconds.

        The server is asked now: another model may have taken the place of this one. None if it is
        loaded, or if the server loads it with the first prompt.
        """
        server = await self.backend.models.check(model.endpoint)
        current = find_model(model.model_id, server.models)
        if current is None or current.state is not LoadState.NOT_LOADED:
            return None
        started_s = monotonic()
        try:
            await self.load(model, context=context, show=show)
        except LMChatError as error:
            if error.kind == "unsupported":
                return None
            raise
        return monotonic() - started_s

    async def load(
        self, model: ModelInfo, *, context: int | None, show: Callable[[float | None], object]
    ) -> None:
        """`context` is the window in tokens; `show` gets the progress, if it is known."""
        lists = self.backend.model_lists

        def show_load() -> None:
            if load := lists.load_of(model):
                show(load.fraction)

        lists.on_change = show_load
        await self.backend.models.load(model, context=context)


class Setup(Struct, frozen=True, kw_only=True):
    """Folders, configuration, environment and API keys of a run."""

    paths: Paths
    loaded: LoadedSettings
    environ: Mapping[str, str]
    keys: ApiKeys  # one object for a run, as it remembers typed keys; to be loaded before its use
    is_temporary: bool = False  # sessions are only in memory

    @classmethod
    def of(
        cls,
        paths: Paths,
        loaded: LoadedSettings,
        environ: Mapping[str, str],
        *,
        is_temporary: bool = False,
    ) -> Setup:
        return cls(
            paths=paths,
            loaded=loaded,
            environ=environ,
            keys=ApiKeys(loaded, environ, Credentials(paths.credentials_file)),
            is_temporary=is_temporary,
        )

    async def saved_state(self) -> State:
        """Return the defaults if it cannot be read."""
        state, _ = await run_abandonable(partial(read_state, self.paths.state_file))
        return state

    def make_engine(self, settings: Settings, last_file: str) -> Engine:
        return Engine(
            settings.local,
            folder=self.paths.demo_dir,
            log_file=self.paths.engine_log_file,
            environ=environment_of_programs(self.environ, self.loaded.key_variables),
            # it has its own API key, which the client has to send
            on_address=self.keys.accept,
            last_file=last_file,
        )

    def make_backend(
        self, settings: Settings, state: State, *, reads_per_second: float | None = None
    ) -> tuple[HttpServerClient, Engine]:
        """Make the client of all servers, and the built-in engine, which the client ends.

        The screen passes its frame rate as `reads_per_second`: more reads of a stream show nothing
        sooner. By default, streams are read as bytes arrive.
        """
        engine = self.make_engine(settings, state.model_file or "")
        client = HttpServerClient(
            settings,
            keys=self.keys,
            cache_file=self.paths.models_file,
            reads_per_second=reads_per_second,
            engine=engine,
            headers_for=self.keys.headers_for,
        )
        urls = (entry.url for entry in settings.endpoints)
        configured = [Endpoint.parse(url) for url in urls if is_address(url)]
        client.models.scan_also(
            named_endpoints(self.environ), used=(*configured, *endpoints_of(state))
        )
        return client, engine

    def launcher(self, backend: ServerClient) -> ServerLauncher:
        """`backend` asks a server that starts."""
        return ServerLauncher(
            find=lambda: installed_products(self.environ, home_folder()),
            start=partial(
                start_server,
                log_folder=self.paths.state_dir,
                environ=environment_of_programs(self.environ, self.loaded.key_variables),
                check=backend.models.check,
            ),
            install_command=lambda: (
                "" if engine_command(self.environ) else install_command("local")
            ),
        )

    def make_toolbox(
        self, settings: Settings, servers: Sequence[McpSettings], state: State
    ) -> Toolbox:
        """Make a toolbox, whose tool servers start when tools are first used."""
        hosts = (*settings.allowed_hosts, *state.tool_hosts)
        host = McpServers(
            tuple(servers),
            functions=self.paths.tools_file,
            folder=self.loaded.file.parent,
            # tools may print what a chat is about
            log_file=None if self.is_temporary else self.paths.tools_log_file,
            environ=self.environ,  # with API keys: the settings name those that servers get
            check_address=lambda url: AllowList(hosts).check(Endpoint.parse(url)),
            timeout_s=settings.tools.timeout_s,
            credentials=Credentials(self.paths.credentials_file),
        )
        return Toolbox(host, settings.tools, servers, state.allowed_tools, self._save_allowed)

    async def keep_unsaved(self, chat: ChatService, note: Callable[[str], object]) -> None:
        """Write what cannot be saved into files, and name them."""
        unsaved = [] if self.is_temporary else chat.unsaved()
        try:
            files = await Library(chat.store).keep_unsaved(self.paths.state_dir, unsaved)
        except LMChatError as error:
            note(f"The end of the chat could not be saved: {error.message}")
        else:
            for file in files:
                command = command_line(["lmchat", "import", str(file)])
                note(f"The end of the chat could not be saved. {command} adds it.")

    async def _save_allowed(self, tool: str, fingerprint: str) -> None:
        """Allow a tool for later runs, after the answer "always".

        With another `fingerprint`, a hash of the tool, the user is asked again.
        """
        try:
            await run_abandonable(
                lambda: change_state(
                    self.paths.state_file, lambda old: old.with_allowed(tool, fingerprint)
                )
            )
        except LMChatError as error:  # it stays allowed in this run
            _logger.warning("an allowed tool could not be saved: %s", error.kind)

    @asynccontextmanager
    async def open(
        self,
        *,
        note: Callable[[str], object],
        is_saved: bool = True,
        reads_per_second: float | None = None,
        is_screen: bool = False,
        is_local: bool = False,
    ) -> AsyncIterator[Runtime]:
        """Open all that is needed to talk to servers, and close it after the block.

        `note` gets what the user should know. At the end, the counters of requests are saved.
        `is_saved` is False for what saves no session. The screen itself looks after the file of
        sessions. With `is_local`, no server is looked for. Raises `ConfigError`.
        """
        settings = self.loaded.require_valid().settings
        told = ("", *(one.sentence for one in self.loaded.notes))
        if (warning := await run_abandonable(self.keys.load)) not in told:
            note(warning)
        state = await self.saved_state()
        if not (settings.endpoint or is_local) and is_address(state.endpoint):
            used = Endpoint.parse(state.endpoint)
            try:
                AllowList(settings.allowed_hosts).check(used)
            except LMChatError:
                note(
                    f"{used.netloc}, used last, is not allowed in this run: "
                    f"--allow-host {used.host}, or allowed_hosts in the configuration."
                )
        backend, engine = self.make_backend(settings, state, reads_per_second=reads_per_second)
        is_saved = is_saved and not self.is_temporary
        opening = open_stores(self.paths, is_saved=is_saved, note=None if is_screen else note)
        async with opening as stores:
            if is_saved:
                engine.slot = KeptSlot(
                    self.paths.kept_prompts_dir,
                    most_mb=settings.local.kept_prompts_mb,
                    are_saved=stores.saved.are_visible,
                )
            try:
                async with aclosing(backend):
                    yield Runtime(
                        settings=settings,
                        backend=backend,
                        engine=engine,
                        store=stores.store,
                        saved=stores.saved,
                        stats_store=stores.stats_store,
                        state=state,
                    )
            finally:  # when no request runs any more, before the store is closed
                counted = backend.counters.metrics
                if counted != Metrics():
                    try:
                        await stores.stats_store.count(counted)
                    except LMChatError as error:
                        _logger.warning("the counters could not be saved: %s", error.kind)
