"""Models of all servers as they were listed last, and those that lmchat loads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.files.disk import ensure_folder, read_plain, write_atomically
from lmchat.base.files.locks import one_process
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import BUILT_IN, LoadState, ModelInfo, ModelList
from lmchat.core.servers.target import Target

_LOAD_S = 600.0  # that another process may take, until this one loads the model all the same
_logger = logging.getLogger(__name__)


class _CachedList(Struct, frozen=True, kw_only=True):
    """Models of one server, and when they were fetched (seconds since 1970)."""

    endpoint: Endpoint
    models: tuple[ModelInfo, ...]
    fetched_s: float


class Load(Struct, kw_only=True):
    """Load of a model by lmchat, while it runs."""

    model: ModelInfo
    since_s: float  # monotonic
    fraction: float | None = None  # 0 to 1
    tasks: set[asyncio.Task[None]] = field(default_factory=set)  # that want the model and run
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # of the task that loads it


class ModelLists:
    """The last list of each server, and the models that lmchat is loading."""

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970."""
        self._file = file
        self._clock = clock
        self.monotonic = time.monotonic  # clock of the loads
        self._loads: dict[tuple[Endpoint, str], Load] = {}
        self.on_change: Callable[[], None] = lambda: None  # when a load starts, runs or ends
        self._lists: dict[Endpoint, _CachedList] = {}
        self._loading_servers: set[Endpoint] = set()  # perhaps without a name
        self._has_read_file = False
        self._has_new_lists = False  # that the file does not have

    async def read_once(self) -> tuple[ModelInfo, ...]:
        """Return the models in the file; newer lists stay."""
        if self._has_read_file or self._file is None:
            return ()
        self._has_read_file = True
        lists = await asyncio.to_thread(_read, self._file)
        for cached in lists:
            self._lists.setdefault(cached.endpoint, cached)
        return tuple(model for cached in lists for model in cached.models)

    async def write(self) -> None:
        """A failure is only logged."""
        if self._file is None or not self._has_new_lists:
            return
        await self.read_once()  # else the file would lose the lists of other servers
        # the engine has another address in the next run, and other starts of servers other windows
        lists = [
            replace(
                cached,
                models=tuple(replace(model, context_loaded=None) for model in cached.models),
            )
            for cached in self._lists.values()
            if all(model.product != BUILT_IN for model in cached.models)
        ]
        data = msgspec.json.encode(lists)
        try:
            await asyncio.to_thread(write_atomically, self._file, data)
        except OSError as error:
            _logger.warning("the lists of models cannot be written: %s", error)

    def put(self, endpoint: Endpoint, models: tuple[ModelInfo, ...]) -> None:
        self._has_new_lists = True
        self._lists[endpoint] = _CachedList(
            endpoint=endpoint, models=models, fetched_s=self._clock()
        )

    def models_of(
        self, endpoint: Endpoint, *, max_age_s: float | None = None
    ) -> tuple[ModelInfo, ...] | None:
        """Return None for no list, or one older than `max_age_s`.

        One from the future counts as older: the clock was set back.
        """
        cached = self._lists.get(endpoint)
        if cached is None:
            return None
        is_recent = max_age_s is None or 0 <= self._clock() - cached.fetched_s <= max_age_s
        return cached.models if is_recent else None

    # Loading

    @asynccontextmanager
    async def one_load(self, model: ModelInfo) -> AsyncIterator[None]:
        """Let no other process load this model at its server meanwhile."""
        if self._file is None:
            yield
            return
        name = sha256(f"{model.endpoint.netloc} {model.model_id}".encode()).hexdigest()[:16]
        with suppress(OSError):
            await asyncio.to_thread(ensure_folder, self._file.parent)
        async with one_process(self._file.with_name(f"load-{name}.lock"), _LOAD_S):
            yield

    def load(
        self, model: ModelInfo, work: Callable[[Load], Coroutine[None, None, None]]
    ) -> asyncio.Task[None]:
        """Load a model by `work`, one task for a model at a time."""
        first = Load(model=model, since_s=self.monotonic())
        load = self._loads.setdefault((model.endpoint, model.model_id), first)

        async def run() -> None:
            try:
                async with load.turn:
                    load.fraction = None
                    await work(load)
            finally:
                self._end(load, task)  # before those that wait for the task go on

        task = asyncio.create_task(run(), name="load model")
        task.add_done_callback(partial(self._end, load))  # it may be cancelled before it runs
        load.tasks.add(task)
        self.on_change()
        return task

    def _end(self, load: Load, task: asyncio.Task[None]) -> None:
        load.tasks.discard(task)
        key = load.model.endpoint, load.model.model_id
        if not load.tasks and self._loads.get(key) is load:
            del self._loads[key]
            self.on_change()

    def note_progress(self, load: Load, fraction: float) -> None:
        load.fraction = fraction
        self.on_change()

    def load_of(self, model: ModelInfo | None) -> Load | None:
        return self._loads.get((model.endpoint, model.model_id)) if model else None

    def with_load(self, model: ModelInfo) -> ModelInfo:
        """Show a model as loading, if lmchat loads it; the server may say so later."""
        load = self.load_of(model)
        if load is None:
            return model
        return replace(model, state=LoadState.LOADING, load_fraction=load.fraction)

    def note_server(self, endpoint: Endpoint, *, is_loading: bool) -> None:
        change = self._loading_servers.add if is_loading else self._loading_servers.discard
        change(endpoint)

    def is_loading(self, target: Target) -> bool:
        """Return whether prompts have to wait: lmchat loads the model, or it has no name yet.

        A model that the server itself loads need not be waited for.
        """
        if target.model is not None:
            return self.load_of(target.model) is not None
        return target.endpoint in self._loading_servers

    # Lists

    def all_models(self) -> ModelList:
        models = [
            self.with_load(model) for cached in self._lists.values() for model in cached.models
        ]
        ages_s = [self._clock() - cached.fetched_s for cached in self._lists.values()]
        # negative if the clock was set back
        return ModelList(models=tuple(models), age_s=max([0.0, *ages_s]))

    def model(self, target: Target) -> ModelInfo | None:
        for model in self.models_of(target.endpoint) or ():
            if model.model_id == target.model_id:
                return model
        return None

    def mark_loaded(self, target: Target) -> None:
        """This alone is not written to the file."""
        cached = self._lists.get(target.endpoint)
        if cached is None:
            return
        models = (
            replace(model, state=LoadState.LOADED)
            if model.model_id == target.model_id and not model.is_remote
            else model
            for model in cached.models
        )
        self._lists[target.endpoint] = replace(cached, models=tuple(models))


def _read(file: Path) -> list[_CachedList]:
    try:
        return msgspec.json.decode(read_plain(file), type=list[_CachedList])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = type(error).__name__
        _logger.warning("the lists of models cannot be read and are emptied: %s", reason)
        return []
