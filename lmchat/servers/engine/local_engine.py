"""The built-in engine: a llama.cpp server in a child process, with one address for all models."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from msgspec import json
from msgspec.structs import replace

from lmchat.config.settings import LocalSettings
from lmchat.errors import (
    EngineUnavailable,
    ServerRejected,
    ServerUnavailable,
    StreamInterrupted,
)
from lmchat.processes.child import ChildProcess
from lmchat.processes.threads import run_abandonable
from lmchat.servers.discovery.status import ServerStatus
from lmchat.servers.endpoint import Endpoint, loopback
from lmchat.servers.engine.download import (
    SMOLLM2,
    fetch_demo_model,
    is_engine_installed,
    not_installed_error,
)
from lmchat.servers.engine.engine_process import Report, ServeOrder, engine_error, start_child
from lmchat.servers.engine.model_files import (
    ModelFile,
    best_model,
    find_models_on_disk,
    find_named_model,
    with_unique_names,
)
from lmchat.servers.model import BUILT_IN, LoadState

_STARTS_AGAIN = "The next request starts it again."
_HOST = "127.0.0.1"
_CONTEXT = 8192  # default window in tokens: enough for long chats, and 1 GB for a model of 8B
_SEARCH_S = 3.0  # longest search for models; a disk may be slow, or away
_END_S = 2.0  # time for a child to end, after its report or when it is asked to
_EXIT_WAIT_S = 1.0  # a connection breaks before the system reports that the process has ended
_KEY_BYTES = 24


class Engine:
    """The built-in engine, which serves one model at a time, always at one address with one key.

    The server of the model is a child process. The client starts it before a request (`serving`)
    and sees all model files of this disk as the models of its server (`probe`).
    """

    demo = SMOLLM2  # the model that it can download

    def __init__(
        self,
        settings: LocalSettings,
        *,
        folder: Path,
        log_file: Path,
        environ: Mapping[str, str],
        on_address: Callable[[Endpoint, str], None] = lambda _, __: None,
    ) -> None:
        """`folder` is for the demo model, if it is downloaded.

        `on_address` gets the address and its key before anything answers there, so that requests to
        the engine have this key.
        """
        self._settings = settings
        self._on_address = on_address
        self.folder = folder
        self._log_file = log_file
        self._environ = environ
        self._files: tuple[ModelFile, ...] | None = None  # models on the disk; None: not searched
        self._child: ChildProcess | None = None  # None before a start and after an end
        self.is_loading = False  # whether a child is starting, which loads the model
        self._lock = asyncio.Lock()  # held while a child is started or ended
        self.endpoint: Endpoint | None = None  # None before `reserve_address`
        self.key = secrets.token_urlsafe(_KEY_BYTES)  # new for each run of lmchat
        self.model: ModelFile | None = None  # the model that is served, or was last

    @property
    def is_ready(self) -> bool:
        """Whether the model is served; a child that has ended unasked serves nothing."""
        return self._child is not None and self._child.exit_code is None

    async def fetch(self, report: Callable[[str], None]) -> ModelFile:
        """Download the demo model, and return its file; raises `EngineUnavailable`.

        `report` gets the time since the beginning, such as `3 s`, again and again.
        """
        await fetch_demo_model(self.demo, self.folder, self._environ, report)
        self._files = None  # the next call of `files` searches again: there is one model more
        return self.demo.file_in(self.folder)

    async def files(self, *, is_refresh: bool = False) -> tuple[ModelFile, ...]:
        """Return the models on this disk, also those of other programs; cached until a refresh.

        The served model is always among them. The user may have named one outside of the searched
        folders; then it replaces another model of its name.

        A search that takes longer than `_SEARCH_S` is left alone in its thread; the models that it
        has found by then are returned.
        """
        if self._files is None or is_refresh:
            models: list[ModelFile] = []  # the thread adds to it, also after the timeout
            with suppress(TimeoutError):
                async with asyncio.timeout(_SEARCH_S):
                    await run_abandonable(lambda: models.extend(find_models_on_disk(self._environ)))
            found = list(models)  # a copy, to which the thread adds nothing
            demo = self.demo.file_in(self.folder)
            if await asyncio.to_thread(demo.path.exists):
                found.append(demo)
            self._files = with_unique_names(found)
        served = self.model
        if served is None or any(file.path == served.path for file in self._files):
            return self._files
        return (served, *(file for file in self._files if file.name != served.name))

    async def choose(self, named: str = "", *, last: str = "") -> ModelFile | None:
        """Return the model of this name or path; without one, the last used or the best model.

        `last` is the name of the last used one. Return None if the demo model must be downloaded
        first: the user has named it, or there is no model at all. Raises `EngineUnavailable` if the
        engine, too, must be installed first, and `WrongUse` if the named model does not exist, or
        is not complete.
        """
        files = await self.files()
        has_demo = any(file.is_demo for file in files)
        if named.casefold() == self.demo.name and not has_demo:
            model = None
        elif named:  # a path may be in a network folder that hangs
            model = await run_abandonable(lambda: find_named_model(named, files))
        else:
            model = await asyncio.to_thread(best_model, files, last)
        if model is None and not is_engine_installed():
            raise not_installed_error()  # a download alone would be of no use
        return model

    def reserve_address(self) -> Endpoint:
        """Return the address of the engine; choose a free port if none exists yet.

        It stays the same until lmchat ends.
        """
        if self.endpoint is None:
            # the system chooses a port, which is free again for the child when this block ends
            with socket.create_server((_HOST, 0)) as listener:
                self.endpoint = loopback(listener.getsockname()[1])
            self._on_address(self.endpoint, self.key)
        return self.endpoint

    async def start(self, model: ModelFile, *, context: int | None = None) -> Endpoint:
        """Serve a model in place of the previous one; return the address when it is ready.

        `context` is the window in tokens, by default that of the settings, or else `_CONTEXT`. If
        the model is served already, and no window is asked for, nothing is done. Raises
        `EngineUnavailable` with reason and advice; a cancelled start leaves no child.
        """
        async with self._lock:
            endpoint = self.reserve_address()
            if self.is_ready and self.model == model and context is None:
                return endpoint
            await self._end_child()
            self.model = model
            order = ServeOrder(
                model=str(model.path.absolute()),
                alias=model.name,
                port=endpoint.port,
                key=self.key,
                context=context or self._settings.context or _CONTEXT,
                threads=self._settings.threads,
            )
            self.is_loading = True
            child = None
            try:
                child = await start_child(order, self._log_file, self._environ)
                line = await child.read_line()
                # no line: the child ended without a report
                report = json.decode(line, type=Report) if line else None
                if report is not None and report.address:  # empty after an error
                    self._child = child
                    return endpoint
                # the exit code is part of the reason; a child that hangs has none
                await _wait_for_end(child, _END_S)
                raise await asyncio.to_thread(
                    engine_error, model, report, child.exit_code, self._log_file
                )
            finally:
                self.is_loading = False
                if child is not None and child is not self._child:  # it failed, or was cancelled
                    await _end(child)

    async def crash_error(self, wait_s: float = 0.0) -> EngineUnavailable | None:
        """Return the error for a child that ended unasked; None if it runs, or there is none.

        Wait for its end for at most `wait_s` seconds.
        """
        child, model = self._child, self.model
        if child is None or model is None:
            return None
        await _wait_for_end(child, wait_s)
        if child.exit_code is None:
            return None
        # None: `_child` was ready, so its only report does not say why it has ended
        return await asyncio.to_thread(engine_error, model, None, child.exit_code, self._log_file)

    async def stop(self) -> None:
        """End the child, to free its memory; the address stays for the next start."""
        async with self._lock:
            await self._end_child()

    async def _end_child(self) -> None:
        """Stop the child, if there is one; it counts as stopped, not crashed, from now on."""
        child = self._child
        self._child = None
        if child is not None:
            await _end(child)

    # The engine as a server of the client

    async def probe(
        self,
        check: Callable[[Endpoint], Awaitable[ServerStatus]],
        *,
        is_refresh: bool = False,
    ) -> ServerStatus:
        """Return the status of the engine as a server, even while it serves no model.

        Its models are the files of this disk, searched for again if `is_refresh`. `check` probes
        the address of the engine, once a model is served.
        """
        files = await self.files(is_refresh=is_refresh)
        endpoint = self.reserve_address()
        # `is_configured`: only the user can start it, so it comes before servers that were found.
        # This verdict is kept while the engine loads a model; else it is replaced below.
        server = ServerStatus(
            endpoint=endpoint, product=BUILT_IN, reason="loading", is_configured=True
        )
        served_state = LoadState.NOT_LOADED
        if self.is_loading:
            served_state = LoadState.LOADING
        elif self.is_ready:
            served_state = LoadState.LOADED
            answered = await check(endpoint)
            if answered.is_model_server:  # else it counts as loading until it answers
                server = replace(answered, product=BUILT_IN, is_configured=True)
        elif crash := await self.crash_error():
            reason = "server_error"
            server = replace(server, reason=reason, detail=crash.message, next_step=_STARTS_AGAIN)
        else:
            server = replace(server, reason="model_not_loaded", next_step="Choose a model file")

        models = []
        for file in files:
            is_served = self.model is not None and file.path == self.model.path
            model = file.info(endpoint, served_state if is_served else LoadState.NOT_LOADED)
            if is_served and server.models:  # the server tells more of its only model than the file
                listed = server.models[0]
                model = replace(
                    listed,
                    model_id=model.model_id,
                    product=BUILT_IN,
                    quantization=model.quantization or listed.quantization,
                    size_bytes=model.size_bytes,
                    owned_by=model.owned_by,
                )
            models.append(model)
        return replace(server, models=tuple(models))

    @asynccontextmanager
    async def serving(self, model_name: str, on_load: Callable[[], None]) -> AsyncIterator[None]:
        """Serve a model while the block runs; `on_load` is called if it has to be loaded first.

        The engine may crash while the block runs. Then the error of the request becomes a
        `StreamInterrupted` with the reason, and the next request starts the engine again.
        """
        if not self.is_ready or self.model is None or self.model.name != model_name:
            on_load()
            await self.load(model_name)
        try:
            yield
        except (ServerUnavailable, StreamInterrupted) as error:
            # a connection breaks before the system reports that the process has ended
            reason = await self.crash_error(_EXIT_WAIT_S)
            if reason is None:
                raise
            hint = f"{reason.hint} {_STARTS_AGAIN}"
            raise StreamInterrupted(reason.message, hint=hint, details=reason.details) from error

    async def load(self, model_name: str, *, context: int | None = None) -> None:
        """Start the engine with the model file of this name; `context` is a window in tokens.

        Raises `ServerRejected` if there is none.
        """
        for file in await self.files():
            if file.name == model_name:
                await self.start(file, context=context)
                return
        raise ServerRejected(
            f"There is no model {model_name} on this disk anymore.",
            kind="model_missing",
            hint="`lmchat models --local` lists them.",
        )


async def _wait_for_end(child: ChildProcess, wait_s: float) -> None:
    """Wait until a child ends, for `wait_s` at most; its `exit_code` is None if it has not."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await child.wait()


async def _end(child: ChildProcess) -> None:
    """Ask a child to end, and kill it after `_END_S`."""
    child.stop(_END_S)
    await child.wait()
