"""The built-in engine: a llama.cpp server in a child process, with one address for all models."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from lmchat.base.errors import (
    EngineUnavailable,
    ServerRejected,
    ServerUnavailable,
    StreamInterrupted,
    WrongUse,
)
from lmchat.base.processes.background import run_abandonable
from lmchat.base.processes.child import ChildProcess
from lmchat.base.processes.environment import needed_environment
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import LocalSettings
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint, loopback
from lmchat.core.servers.local.demo import SMOLLM2, fetch_demo_model
from lmchat.core.servers.local.gguf import (
    ModelFile,
    available_bytes,
    best_model,
    find_models_on_disk,
    find_named_model,
    gguf_models,
    hub_name,
    model_in,
    with_unique_names,
)
from lmchat.core.servers.local.installed import (
    engine_command,
    engine_file,
    first_answer,
    new_log,
    not_installed_error,
)
from lmchat.core.servers.local.kept_slot import END_S, KeptSlot
from lmchat.core.servers.model import BUILT_IN, LoadState

_STARTS_AGAIN = "The next request starts it again."
_HOST = "127.0.0.1"
_CONTEXT = 8192  # tokens: enough for long chats, and 1 GB for a model of 8B
_SETTINGS = {
    "LLAMA_ARG_N_PARALLEL": "1",  # one answer at a time, with the whole window
    # tokens read at once; the server notices a stop and reports progress only between two batches
    "LLAMA_ARG_BATCH": "256",
    "LLAMA_ARG_CACHE_RAM": "512",  # MiB that keep earlier prompts, beyond the window
    "LLAMA_ARG_UI": "0",
}
_SEARCH_S = 3.0  # a disk may be slow, or away
_HEALTH_S = 2.0
_END_S = 2.0
_EXIT_WAIT_S = 1.0  # a connection breaks before the system reports that the process has ended
_KEY_BYTES = 24
_OUT_OF_MEMORY = (
    "failed to allocate",
    "unable to allocate",
    "insufficient memory",
    "out of memory",
    "cannot allocate memory",
    "bad_alloc",
)
"""Words in the log of llama.cpp, in small letters."""
_KILLED = 9
"""SIGKILL, with which Linux ends a program that needs too much memory; Windows does not name it."""
_REASON_CHARS = 200  # of the log, in a sentence
_DETAIL_LINES = 8  # from the end of the log
_TAIL_BYTES = 16_384  # of the log
_GB = 1e9


class Engine:
    """Engine that serves one model at a time, always at one address with one key.

    The client starts it before a request (`serving`) and sees all model files of this disk as the
    models of its server (`probe`).
    """

    demo = SMOLLM2

    def __init__(
        self,
        settings: LocalSettings,
        *,
        folder: Path,
        log_file: Path,
        environ: Mapping[str, str],
        on_address: Callable[[Endpoint, str], None] = lambda _, __: None,
        last_file: str = "",
    ) -> None:
        """`folder` is for downloads. `on_address` gets address and key before anything answers.

        `last_file` is listed, too: the user may have named it outside of the searched folders.
        """
        self._settings = settings
        self._on_address = on_address
        self._last_file = last_file
        self.folder = folder
        self.models_folder = folder / "models"  # downloaded from the hub
        self._log_file = log_file
        self._environ = environ
        self._files: tuple[ModelFile, ...] | None = None  # None: not searched
        self._child: ChildProcess | None = None
        self.is_loading = False
        self._lock = asyncio.Lock()  # while a child is started or ended
        self.endpoint: Endpoint | None = None  # None before `reserve_address`
        self.key = secrets.token_urlsafe(_KEY_BYTES)  # new for each run of lmchat
        self.model: ModelFile | None = None  # served, or was last
        self.slot: KeptSlot | None = None  # None: no prompt is kept on the disk

    # Model files

    async def fetch(self, report: Callable[[str], None]) -> ModelFile:
        """Download the demo model; raise `EngineUnavailable`."""
        await fetch_demo_model(self.demo, self.folder, self._environ, report)
        self._files = None  # there is one model more
        return self.demo.file_in(self.folder)

    async def files(self, *, is_refresh: bool = False) -> tuple[ModelFile, ...]:
        """Return the models on this disk, and the served one; cached until a refresh.

        The user may have named that outside of the searched folders; then it replaces another one
        of its name. A search beyond `_SEARCH_S` is left alone in its thread.
        """
        if self._files is None or is_refresh:
            models: list[ModelFile] = []  # the thread adds to it, also after the timeout
            own = gguf_models({self.models_folder: "lmchat"})
            places = chain(model_in(self._last_file), own, find_models_on_disk(self._environ))
            with suppress(TimeoutError):
                async with asyncio.timeout(_SEARCH_S):
                    await run_abandonable(lambda: models.extend(places))
            # a copy, to which the thread adds nothing
            found = {model.path: model for model in list(models)}
            demo = self.demo.file_in(self.folder)
            if await asyncio.to_thread(os.path.isfile, demo.path):
                found[demo.path] = demo
            self._files = with_unique_names(found.values())
        served = self.model
        if served is None or any(file.path == served.path for file in self._files):
            return self._files
        return (served, *(file for file in self._files if file.name != served.name))

    async def choose(self, named: str = "", *, last: str = "") -> ModelFile | None:
        """Return the model of this name or path, else the last used or the best one.

        None: the demo model must be downloaded first. Raises `EngineUnavailable` if the engine,
        too, must be installed, and `WrongUse` if the named model does not exist, or is not
        complete.
        """
        files = await self.files()
        has_demo = any(file.is_demo for file in files)
        if named.casefold() == self.demo.name and not has_demo:
            model = None
        elif named:  # a path may be in a network folder that hangs
            model = await run_abandonable(lambda: find_named_model(named, files))
        else:
            model = await asyncio.to_thread(best_model, files, last)
        if model is None:
            await self.require_installed()
        return model

    async def has_to_download(self, named: str) -> bool:
        """Whether it is a name of the hub, and no file of this disk is of it."""
        if hub_name(named) is None:
            return False
        with suppress(WrongUse):
            await self.choose(named)
            return False
        return True

    async def require_installed(self) -> None:
        """Raise `EngineUnavailable` before a download, which alone would be of no use."""
        if not await asyncio.to_thread(engine_command, self._environ):
            raise not_installed_error()

    # The child

    @property
    def is_ready(self) -> bool:
        """Whether the model is served."""
        return self._child is not None and self._child.exit_code is None

    def reserve_address(self) -> Endpoint:
        """Return the address, which stays the same until lmchat ends."""
        if self.endpoint is None:
            # the port is free again when this block ends
            with socket.create_server((_HOST, 0)) as listener:
                self.endpoint = loopback(listener.getsockname()[1])
            self._on_address(self.endpoint, self.key)
        return self.endpoint

    async def load(self, model_name: str, *, context: int | None = None) -> None:
        """Raise `ServerRejected` if there is no such file. `context` is in tokens."""
        for file in await self.files():
            if file.name == model_name:
                await self.start(file, context=context)
                return
        raise ServerRejected(
            f"There is no model {model_name} on this disk anymore.",
            kind="model_missing",
            next_step="`lmchat models --local` lists them.",
        )

    async def start(self, model: ModelFile, *, context: int | None = None) -> Endpoint:
        """Serve a model in place of the previous one; return the address when it is ready.

        `context` is in tokens; without it, a model that is served already stays. Raises
        `EngineUnavailable`; a cancelled start leaves no child.
        """
        async with self._lock:
            endpoint = self.reserve_address()
            if self.is_ready and self.model == model and context is None:
                return endpoint
            await self._end_child()
            self.model = model
            self.is_loading = True
            child = None
            try:
                child = await self._new_child(model, endpoint, context)
                is_healthy = await first_answer(
                    partial(asyncio.to_thread, _ask_health, endpoint.port),
                    has_ended=lambda: child.exit_code is not None,
                )
                if is_healthy:
                    self._child = child
                    return endpoint
                raise await asyncio.to_thread(
                    engine_error, model, child.exit_code or 0, self._log_file, was_ready=False
                )
            finally:
                self.is_loading = False
                if child is not None and child is not self._child:
                    await _end(child)

    async def _new_child(
        self, model: ModelFile, endpoint: Endpoint, context: int | None
    ) -> ChildProcess:
        command = await asyncio.to_thread(engine_command, self._environ)
        if not command:
            raise not_installed_error()
        try:
            # llama.cpp would share a port in use, and requests would reach the other program
            socket.create_server((_HOST, endpoint.port)).close()
        except OSError as error:
            raise EngineUnavailable(
                f"Another program uses port {endpoint.port} of the built-in engine.",
                next_step="Start lmchat again: it then takes another port.",
            ) from error
        settings = _SETTINGS | {
            "LLAMA_ARG_MODEL": str(model.path.absolute()),
            "LLAMA_ARG_ALIAS": model.name,
            "LLAMA_ARG_HOST": _HOST,
            "LLAMA_ARG_PORT": str(endpoint.port),
            "LLAMA_ARG_CTX_SIZE": str(context or self._settings.context or _CONTEXT),
            "LLAMA_API_KEY": self.key,
        }
        if self._settings.threads:
            settings["LLAMA_ARG_THREADS"] = str(self._settings.threads)
        if self.slot is not None:
            files = (model.path, Path(engine_file(self._environ)))
            start = partial(self.slot.start, endpoint.port, self.key, files)
            if kept := await run_abandonable(start):
                settings["LLAMA_ARG_SLOT_SAVE_PATH"] = kept
        try:
            async with new_log(self._log_file) as log:
                return await ChildProcess.start(
                    command,
                    environment=needed_environment(self._environ) | settings,
                    folder=self._log_file.parent,
                    output=log,
                    errors=log,
                )
        except OSError as error:
            reason = error.strerror or error
            raise EngineUnavailable(
                f"The log of the built-in engine cannot be written: {self._log_file}: {reason}.",
                next_step="Check the permissions there, or set LMCHAT_HOME to another folder.",
            ) from error

    async def crash_error(self, wait_s: float = 0.0) -> EngineUnavailable | None:
        """Return the error for a child that ended unasked, within `wait_s`."""
        child = self._child
        model = self.model
        if child is None or model is None:
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await child.wait()
        if child.exit_code is None:
            return None
        return await asyncio.to_thread(
            engine_error, model, child.exit_code, self._log_file, was_ready=True
        )

    async def stop(self) -> None:
        """End the child, to free its memory; the address stays."""
        async with self._lock:
            await self._end_child()

    async def _end_child(self) -> None:
        """Stop the child; it counts as stopped, not crashed, from now on."""
        child = self._child
        if self.is_ready and self.slot is not None:
            await self.slot.save(END_S)
        self._child = None
        if child is not None:
            await _end(child)

    # The engine as a server of the client

    async def probe(self, check: Callable[[Endpoint], Awaitable[ServerStatus]]) -> ServerStatus:
        """Return the engine as a server, even while it serves no model.

        Its models are the files of this disk. `check` probes its address, once a model is served.
        """
        endpoint = self.reserve_address()
        # only the user can start it, so it comes before servers that were found
        server = ServerStatus(
            endpoint=endpoint, product=BUILT_IN, reason="loading", is_configured=True
        )
        files = await self.files()
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
            reason = "model_not_loaded" if files else "empty"
            server = replace(server, reason=reason, next_step="Choose a model file")

        models = []
        for file in files:
            is_served = self.model is not None and file.path == self.model.path
            model = file.info(endpoint, served_state if is_served else LoadState.NOT_LOADED)
            if is_served and server.models:  # it tells more than the file
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
    async def serving(
        self, model_name: str, on_load: Callable[[], None], message_ids: Sequence[str] = ()
    ) -> AsyncIterator[None]:
        """Serve a model during the block; `on_load` is called if it has to be loaded first.

        `message_ids` are the `kept_ids` of the prompt. After a crash, the error becomes a
        `StreamInterrupted` with the reason, and the next request starts the engine again.
        """
        if not self.is_ready or self.model is None or self.model.name != model_name:
            on_load()
            await self.load(model_name)
        try:
            async with self.slot.holding(message_ids) if self.slot else nullcontext():
                yield
        except (ServerUnavailable, StreamInterrupted) as error:
            reason = await self.crash_error(_EXIT_WAIT_S)
            if reason is None:
                raise
            raise StreamInterrupted(
                reason.message,
                next_step=f"{reason.next_step} {_STARTS_AGAIN}",
                details=reason.details,
            ) from error


def _ask_health(port: int) -> bool | None:
    """Return True if the model is loaded; needs no key."""
    connection = HTTPConnection(_HOST, port, timeout=_HEALTH_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK or None
    except (OSError, HTTPException):  # it does not listen yet
        return None
    finally:
        connection.close()


async def _end(child: ChildProcess) -> None:
    child.stop(_END_S)
    await child.wait()
    await child.end_group()


def engine_error(
    model: ModelFile, exit_code: int, log_file: Path, *, was_ready: bool
) -> EngineUnavailable:
    """Return the error for a child that has ended; `exit_code` is negative after a signal."""
    try:
        log = log_file.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        log = ""
    lines = log.strip().splitlines()
    details = "\n".join(lines[-_DETAIL_LINES:])
    is_told = any(words in log.lower() for words in _OUT_OF_MEMORY)
    if is_told or exit_code == -_KILLED:
        needed = model.needed_bytes / _GB
        available = available_bytes() / _GB
        cause = f"There is not enough memory for {model.name} and its context window"
        if not is_told:  # nobody knows who has killed it
            cause = "The built-in engine was killed, as the system does if memory runs out"
        return EngineUnavailable(
            f"{cause}: {model.name} alone needs about {needed:.1f} GB, "
            f"{available:.1f} GB are free.",
            next_step="Choose a smaller model, or a smaller context window under [local] in the "
            "configuration.",
            details=details,
            kind="memory",
        )
    how = f"exit code {exit_code}"
    if exit_code < 0:
        names = {number.value: number.name for number in signal.Signals}
        how = f"signal {names.get(-exit_code, -exit_code)}"
    message = f"The built-in engine crashed ({how})."
    if not was_ready:  # later errors may be those of requests
        # time, level, and place with message, as in "0.01.123.456 E srv load: out of space"
        found = (line.split(maxsplit=2) for line in lines)
        errors = [fields[-1].partition(": ")[2] for fields in found if fields[1:2] == ["E"]]
        if errors or exit_code >= 0:
            # later ones only say that the model cannot be loaded
            reason = safe_line((errors or lines[-1:] or [how])[0], limit=_REASON_CHARS).rstrip(".")
            message = f"The built-in engine could not serve {model.name}: {reason}."
    return EngineUnavailable(message, next_step=f"Read its log, {log_file}.", details=details)
