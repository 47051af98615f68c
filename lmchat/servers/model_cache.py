"""The last list of models of each server, in memory and in a file for the next start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.files.disk import read_plain, write_atomically
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import LoadState, ModelInfo, ModelList

_logger = logging.getLogger(__name__)


class _CachedList(Struct, frozen=True, kw_only=True):
    """Models of one server, and when they were fetched (seconds since 1970)."""

    endpoint: Endpoint
    models: tuple[ModelInfo, ...]
    fetched_s: float


class ModelCache:
    """The last list of models of each server.

    The file is read once. A list that was fetched in this run comes before that of the file.
    """

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Create an empty cache; without a `file`, nothing is read and written.

        `clock` returns the seconds since 1970.
        """
        self._file = file
        self._clock = clock
        self._lists: dict[Endpoint, _CachedList] = {}
        self._has_read_file = False
        self._has_new_lists = False  # whether a list was fetched that the file does not have

    async def read_once(self) -> tuple[ModelInfo, ...]:
        """Read the file with the first call; return the models in it. Later calls return none.

        Lists that were put before stay as they are.
        """
        if self._has_read_file or self._file is None:
            return ()
        self._has_read_file = True
        lists = await asyncio.to_thread(_read, self._file)
        for cached in lists:
            self._lists.setdefault(cached.endpoint, cached)
        return tuple(model for cached in lists for model in cached.models)

    async def write(self, *, without: Endpoint | None) -> None:
        """Write the lists to the file if there are new ones; called once, at the end.

        The list of the server `without` is left out, because this server ends with lmchat. A
        failure is only logged: the next start can do without the file.
        """
        if self._file is None or not self._has_new_lists:
            return
        await self.read_once()  # else the file would lose the lists of other servers
        lists = [cached for cached in self._lists.values() if cached.endpoint != without]
        data = msgspec.json.encode(lists)
        try:
            await asyncio.to_thread(write_atomically, self._file, data)
        except OSError as error:
            _logger.warning("the cache of models cannot be written: %s", error)

    def put(self, endpoint: Endpoint, models: tuple[ModelInfo, ...]) -> None:
        """Keep a list that was just fetched, in place of the last one of its server."""
        self._has_new_lists = True
        self._lists[endpoint] = _CachedList(
            endpoint=endpoint, models=models, fetched_s=self._clock()
        )

    def models_of(
        self, endpoint: Endpoint, *, max_age_s: float | None = None
    ) -> tuple[ModelInfo, ...] | None:
        """Return the list of a server; None if it is missing, or older than `max_age_s`.

        A list from the future counts as older: the clock was set back, so its age is not known.
        """
        cached = self._lists.get(endpoint)
        if cached is None:
            return None
        is_recent = max_age_s is None or 0 <= self._clock() - cached.fetched_s <= max_age_s
        return cached.models if is_recent else None

    def with_seen_windows(
        self, endpoint: Endpoint, models: tuple[ModelInfo, ...]
    ) -> tuple[ModelInfo, ...]:
        """Return listed models with the windows that they had last, where the list tells none."""
        seen = {model.model_id: model.context_loaded for model in self.models_of(endpoint) or ()}
        return tuple(
            replace(model, context_loaded=model.context_loaded or seen.get(model.model_id))
            for model in models
        )

    def all_models(self) -> ModelList:
        """Return the models of all servers, with the age of the oldest list."""
        models = [model for cached in self._lists.values() for model in cached.models]
        ages_s = [self._clock() - cached.fetched_s for cached in self._lists.values()]
        # 0: there may be no list, and the age is negative if the clock was set back
        return ModelList(models=tuple(models), age_s=max([0.0, *ages_s]))

    def model(self, endpoint: Endpoint, model_id: str) -> ModelInfo | None:
        """Return a model of the last list of a server, of any age; None if it is not listed."""
        for model in self.models_of(endpoint) or ():
            if model.model_id == model_id:
                return model
        return None

    def mark_loaded(self, endpoint: Endpoint, model_id: str) -> None:
        """Change the state of a listed model to loaded, because it has answered.

        This is no reason to write the file, so `_has_new_lists` stays as it is.
        """
        cached = self._lists.get(endpoint)
        if cached is None:
            return
        models = (
            replace(model, state=LoadState.LOADED)
            if model.model_id == model_id and not model.is_remote
            else model
            for model in cached.models
        )
        self._lists[endpoint] = replace(cached, models=tuple(models))


def _read(file: Path) -> list[_CachedList]:
    """Return the lists in a file; an empty list if it is missing, or damaged (which is logged)."""
    try:
        return msgspec.json.decode(read_plain(file), type=list[_CachedList])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = type(error).__name__
        _logger.warning("the cache of models cannot be read and is emptied: %s", reason)
        return []
