"""Cache of the list of models of each server, in memory and in a file for the next start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.files.disk import read_plain, write_atomically
from lmchat.servers.endpoint import Endpoint, usual_host
from lmchat.servers.model import LoadState, ModelInfo, ModelList

WRITE_EVERY_S = 60.0  # an unchanged list is not written again before
_LASTING = (
    "params",
    "quantization",
    "context_max",
    "size_bytes",
    "capabilities",
    "owned_by",
    "created",
    "is_embedding",
    "is_decision",
    "is_blind",
    "keeps_thoughts",
    "slots",
)
"""Fields of a model that do not change, and that a quick check may leave empty."""
_log = logging.getLogger(__name__)


class _CachedList(Struct, frozen=True, kw_only=True):
    """Models of one server, and when they were fetched (seconds since 1970)."""

    endpoint: Endpoint
    models: tuple[ModelInfo, ...]
    fetched_s: float


class ModelCache:
    """The last list of models of each server, which is fresh for some time and stale afterwards."""

    def __init__(
        self,
        ttl_s: float,
        file: Path | None = None,
        *,
        is_lasting: Callable[[Endpoint], bool] = lambda _: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create an empty cache.

        A list is fresh for `ttl_s` seconds. Without a `file`, nothing is read and written. Lists of
        servers for which `is_lasting` returns False are never written: these servers end with this
        run. `clock` returns the seconds since 1970.
        """
        self._ttl_s = ttl_s
        self._file = file
        self._is_lasting = is_lasting
        self._clock = clock
        self._has_read = file is None
        self._lists: dict[Endpoint, _CachedList] = {}
        # Servers that have loaded or unloaded a model since their list was fetched.
        self._outdated: set[Endpoint] = set()
        self._last_write_s = 0.0
        self._lock = asyncio.Lock()

    async def read_once(self) -> bool:
        """Read the file with the first call; return whether this call has read it.

        Lists that were put before stay as they are. Without a file, nothing is read.
        """
        async with self._lock:
            if self._has_read or self._file is None:
                return False
            self._has_read = True
            for cached in await asyncio.to_thread(_read, self._file):
                self._lists.setdefault(cached.endpoint, cached)
            return True

    def fresh_list(self, endpoint: Endpoint) -> ModelList | None:
        """Return the list of a server; None if it is missing, outdated or too old."""
        cached = self._lists.get(endpoint)
        if cached is None or endpoint in self._outdated:
            return None
        is_fresh = 0 <= self._age_s(cached) < self._ttl_s  # below 0: the clock was set back
        return self._as_list([cached]) if is_fresh else None

    def stale_list(self, endpoint: Endpoint) -> ModelList | None:
        """Return the list of a server, however old, marked as stale; None if it is missing."""
        cached = self._lists.get(endpoint)
        return None if cached is None else replace(self._as_list([cached]), is_stale=True)

    def is_older_than(self, endpoint: Endpoint, age_s: float) -> bool:
        """Whether the list of a server is missing, or older than `age_s` seconds.

        A list from the future counts as older: the clock was set back, so its age is not known.
        """
        cached = self._lists.get(endpoint)
        return cached is None or not 0 <= self._age_s(cached) <= age_s

    def model(self, endpoint: Endpoint, model_id: str) -> ModelInfo | None:
        """Return a model from the list of a server, however old; None if it is not listed."""
        cached = self._lists.get(endpoint)
        models = cached.models if cached else ()
        for model in models:
            if model.model_id == model_id:
                return model
        return None

    def mark_loaded(self, endpoint: Endpoint, model_id: str) -> None:
        """Change the state of a listed model to loaded, because it has answered.

        Nothing changes if the server has no list, or its list does not have the model.
        """
        cached = self._lists.get(endpoint)
        if cached is None:
            return
        models = list(cached.models)
        for index, model in enumerate(models):
            if model.model_id == model_id:
                models[index] = replace(model, state=LoadState.LOADED)
        self._lists[endpoint] = replace(cached, models=tuple(models))

    def all_models(self) -> ModelList:
        """Return the models of all servers, with the age of the oldest list."""
        return self._as_list(self._lists.values())

    def mark_outdated(self, endpoint: Endpoint) -> None:
        """Let `fresh_list` ignore the list of a server until a new one is put."""
        self._outdated.add(endpoint)

    async def put(self, endpoint: Endpoint, models: tuple[ModelInfo, ...]) -> tuple[ModelInfo, ...]:
        """Keep a new list of the models of a server, and return these models.

        Facts that the new list leaves empty are taken from the last list of the server. All lists
        are written to the file if this one has changed, otherwise at most once in `WRITE_EVERY_S`.
        """
        before = self._lists.get(endpoint)
        if before is not None:
            models_before = {model.model_id: model for model in before.models}
            models = tuple(_completed(model, models_before.get(model.model_id)) for model in models)
        self._lists[endpoint] = _CachedList(
            endpoint=endpoint, models=models, fetched_s=self._clock()
        )
        self._outdated.discard(endpoint)

        has_changed = before is None or _undated(before.models) != _undated(models)
        is_due = self._clock() >= self._last_write_s + WRITE_EVERY_S
        if self._file is not None and (has_changed or is_due):
            await self._write_file(self._file)
        return models

    async def _write_file(self, file: Path) -> None:
        """Write the lists of all servers that are `is_lasting` to the file, in a thread."""
        self._last_write_s = self._clock()
        lists = [cached for cached in self._lists.values() if self._is_lasting(cached.endpoint)]
        data = msgspec.json.encode(lists)
        async with self._lock:
            await asyncio.to_thread(_write, file, data)

    def _age_s(self, cached: _CachedList) -> float:
        return self._clock() - cached.fetched_s

    def _as_list(self, lists: Iterable[_CachedList]) -> ModelList:
        """Return the models of several lists as one; its age is that of the oldest list."""
        models: list[ModelInfo] = []
        age_s = 0.0  # also if a list is from the future, because the clock was set back
        for cached in lists:
            models += cached.models
            age_s = max(age_s, self._age_s(cached))
        return ModelList(models=tuple(models), age_s=age_s)


def _completed(new: ModelInfo, earlier: ModelInfo | None) -> ModelInfo:
    """Return a model whose empty `_LASTING` fields are filled from `earlier`.

    False counts as empty, too: a quick check leaves such a field False without asking. `earlier` is
    the model of this name in the last list. If there was none, or if it was of another product, the
    new model is returned unchanged.
    """
    if earlier is None or earlier.product != new.product:
        return new
    missing = [name for name in _LASTING if not getattr(new, name)]
    completed = replace(new, **{name: getattr(earlier, name) for name in missing})
    if "vision" in new.capabilities:  # the server was started again, now with a part for images
        completed = replace(completed, is_blind=False)
    return completed


def _undated(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    """Return models without `created`, in which llama.cpp writes the time of each reply.

    Without it, two lists can be compared.
    """
    return [replace(model, created=None) for model in models]


def _read(file: Path) -> list[_CachedList]:
    """Return the lists in a file; an empty list if it is missing, or damaged (which is logged)."""
    try:
        lists = msgspec.json.decode(read_plain(file), type=list[_CachedList])
        # without those of older versions, which wrote 127.0.0.1 for `localhost`
        return [one for one in lists if one.endpoint.host == usual_host(one.endpoint.host)]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = type(error).__name__
        _log.warning("the cache of models cannot be read and is emptied: %s", reason)
        return []


def _write(file: Path, data: bytes) -> None:
    """Write the file; a failure is only logged, because the next start can do without it."""
    try:
        write_atomically(file, data, follows_link=False)
    except OSError as error:
        _log.warning("the cache of models cannot be written: %s", error)
