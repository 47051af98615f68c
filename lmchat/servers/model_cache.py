"""The last list of models of each server, in memory and in a file for the next start."""

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

_log = logging.getLogger(__name__)


class _CachedList(Struct, frozen=True, kw_only=True):
    """Models of one server, and when they were fetched (seconds since 1970)."""

    endpoint: Endpoint
    models: tuple[ModelInfo, ...]
    fetched_s: float
    is_outdated: bool = False  # whether the server has loaded or unloaded a model since


class ModelCache:
    """The last list of models of each server, which is fresh for some time and stale afterwards."""

    def __init__(
        self, ttl_s: float, file: Path | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Create an empty cache, whose lists are fresh for `ttl_s` seconds.

        Without a `file`, nothing is read and written. `clock` returns the seconds since 1970.
        """
        self._ttl_s = ttl_s
        self._file = file
        self._clock = clock
        self._lists: dict[Endpoint, _CachedList] = {}
        self._has_read = file is None
        self._has_new_lists = False
        self._lock = asyncio.Lock()

    async def read_once(self) -> bool:
        """Read the file with the first call; return whether this call has read it.

        Lists that were put before stay as they are.
        """
        async with self._lock:
            if self._has_read or self._file is None:
                return False
            self._has_read = True
            for cached in await asyncio.to_thread(_read, self._file):
                self._lists.setdefault(cached.endpoint, cached)
            return True

    async def write(self, *, without: Endpoint | None) -> None:
        """Write the lists to the file if there are new ones; called once, at the end.

        That of the server `without` is left out: it ends with this run.
        """
        if self._file is None or not self._has_new_lists:
            return
        await self.read_once()  # other servers keep their lists
        lists = [cached for cached in self._lists.values() if cached.endpoint != without]
        await asyncio.to_thread(_write, self._file, msgspec.json.encode(lists))

    def put(self, endpoint: Endpoint, models: tuple[ModelInfo, ...]) -> None:
        """Keep a new list of the models of a server in place of the last one."""
        self._has_new_lists = True
        self._lists[endpoint] = _CachedList(
            endpoint=endpoint, models=models, fetched_s=self._clock()
        )

    def list_of(self, endpoint: Endpoint) -> ModelList | None:
        """Return the list of a server; None if it is missing.

        It is marked as stale if it is outdated or too old.
        """
        cached = self._lists.get(endpoint)
        if cached is None:
            return None
        is_stale = cached.is_outdated or self.is_older_than(endpoint, self._ttl_s)
        return replace(self._as_list([cached]), is_stale=is_stale)

    def all_models(self) -> ModelList:
        """Return the models of all servers, with the age of the oldest list."""
        return self._as_list(self._lists.values())

    def is_older_than(self, endpoint: Endpoint, age_s: float) -> bool:
        """Whether the list of a server is missing, or older than `age_s` seconds.

        A list from the future counts as older: the clock was set back, so its age is not known.
        """
        cached = self._lists.get(endpoint)
        return cached is None or not 0 <= self._clock() - cached.fetched_s <= age_s

    def model(self, endpoint: Endpoint, model_id: str) -> ModelInfo | None:
        """Return a model from the list of a server, however old; None if it is not listed."""
        cached = self._lists.get(endpoint)
        listed = (model for model in cached.models if model.model_id == model_id) if cached else ()
        return next(iter(listed), None)

    def mark_loaded(self, endpoint: Endpoint, model_id: str) -> None:
        """Change the state of a listed model to loaded, because it has answered."""
        cached = self._lists.get(endpoint)
        if cached is None:
            return
        models = (
            replace(model, state=LoadState.LOADED) if model.model_id == model_id else model
            for model in cached.models
        )
        self._lists[endpoint] = replace(cached, models=tuple(models))

    def mark_outdated(self, endpoint: Endpoint) -> None:
        """Let `fresh_list` ignore the list of a server until a new one is put."""
        cached = self._lists.get(endpoint)
        if cached is not None:
            self._lists[endpoint] = replace(cached, is_outdated=True)

    def _as_list(self, lists: Iterable[_CachedList]) -> ModelList:
        """Return the models of several lists as one; its age is that of the oldest list."""
        models: list[ModelInfo] = []
        age_s = 0.0  # also if a list is from the future, because the clock was set back
        for cached in lists:
            models += cached.models
            age_s = max(age_s, self._clock() - cached.fetched_s)
        return ModelList(models=tuple(models), age_s=age_s)


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
