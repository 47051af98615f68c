"""Cache of the models of each server: in memory, on disk for the next start, stale if need be."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.server import Endpoint, LoadState, ModelInfo, ModelList
from lmchat.files import read_plain, write_atomically

WRITE_EVERY_S = 60.0  # an unchanged list is not written again before
_LASTING = (
    *("params", "quantization", "context_max", "size_bytes", "capabilities", "owned_by", "created"),
    *("is_embedding", "is_decision", "is_blind", "keeps_thoughts"),
)
"""Facts of a model that do not change, and that a quick check may leave out."""
_log = logging.getLogger(__name__)


class _KnownModels(Struct, frozen=True, kw_only=True):
    """Models of one server, and when they were fetched (seconds since 1970)."""

    endpoint: Endpoint
    models: tuple[ModelInfo, ...]
    fetched_s: float


class ModelCache:
    """The last list of each server; `fresh` for its time to live, `stale` without an end."""

    def __init__(
        self,
        ttl_s: float,
        file: Path | None = None,
        *,
        is_lasting: Callable[[Endpoint], bool] = lambda _: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Models of servers that are not `is_lasting` are not written to disk."""
        self._ttl_s = ttl_s
        self._file = file
        self._is_lasting = is_lasting
        self._clock = clock
        self._has_read = file is None
        self._known: dict[Endpoint, _KnownModels] = {}
        self._outdated: set[Endpoint] = set()
        self._written_s = 0.0
        self._lock = asyncio.Lock()

    async def read_once(self) -> bool:
        """Read the file with the first call; return whether that was now."""
        async with self._lock:
            if self._has_read or self._file is None:
                return False
            self._has_read = True
            for known in await asyncio.to_thread(_read, self._file):
                self._known.setdefault(known.endpoint.literal, known)
            return True

    def fresh(self, endpoint: Endpoint) -> ModelList | None:
        known = self._known.get(endpoint.literal)
        if known is None or endpoint.literal in self._outdated:
            return None
        is_fresh = 0 <= self._age_s(known) < self._ttl_s  # below 0: the clock was set back
        return self._as_list([known]) if is_fresh else None

    def stale(self, endpoint: Endpoint) -> ModelList | None:
        known = self._known.get(endpoint.literal)
        return None if known is None else replace(self._as_list([known]), is_stale=True)

    def is_older(self, endpoint: Endpoint, age_s: float) -> bool:
        """Whether the last list of a server is missing or older than that."""
        known = self._known.get(endpoint.literal)
        return known is None or not 0 <= self._age_s(known) <= age_s

    def model(self, endpoint: Endpoint, model_id: str) -> ModelInfo | None:
        known = self._known.get(endpoint.literal)
        models = known.models if known else ()
        return next((model for model in models if model.model_id == model_id), None)

    def mark_loaded(self, endpoint: Endpoint, model_id: str) -> None:
        """Note that a model has answered, so it is in memory."""
        known = self._known.get(endpoint.literal)
        if known is None:
            return
        models = list(known.models)
        for index, model in enumerate(models):
            if model.model_id == model_id:
                models[index] = replace(model, state=LoadState.LOADED)
        self._known[endpoint.literal] = replace(known, models=tuple(models))

    def everything(self) -> ModelList:
        return self._as_list(self._known.values())

    def forget(self, endpoint: Endpoint) -> None:
        self._outdated.add(endpoint.literal)

    async def put(self, endpoint: Endpoint, models: tuple[ModelInfo, ...]) -> tuple[ModelInfo, ...]:
        """Keep a new list and return it, with facts that only an earlier one had."""
        before = self._known.get(endpoint.literal)
        if before is not None:
            earlier = {model.model_id: model for model in before.models}
            models = tuple(_completed(model, earlier.get(model.model_id)) for model in models)
        self._known[endpoint.literal] = _KnownModels(
            endpoint=endpoint, models=models, fetched_s=self._clock()
        )
        self._outdated.discard(endpoint.literal)

        has_changed = before is None or _undated(before.models) != _undated(models)
        is_due = self._clock() >= self._written_s + WRITE_EVERY_S
        if self._file is not None and (has_changed or is_due):
            self._written_s = self._clock()
            lasting = [known for known in self._known.values() if self._is_lasting(known.endpoint)]
            async with self._lock:
                await asyncio.to_thread(_write, self._file, msgspec.json.encode(lasting))
        return models

    def _age_s(self, known: _KnownModels) -> float:
        return self._clock() - known.fetched_s

    def _as_list(self, lists: Iterable[_KnownModels]) -> ModelList:
        models: list[ModelInfo] = []
        age_s = 0.0
        for known in lists:
            models += known.models
            age_s = max(age_s, self._age_s(known))
        return ModelList(models=tuple(models), age_s=age_s)


def _completed(new: ModelInfo, earlier: ModelInfo | None) -> ModelInfo:
    if earlier is None or earlier.product is not new.product:
        return new
    missing = [name for name in _LASTING if not getattr(new, name)]
    return replace(new, **{name: getattr(earlier, name) for name in missing})


def _undated(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    """Return models without their dates: llama.cpp gives the time of its reply."""
    return [replace(model, created=None) for model in models]


def _read(file: Path) -> list[_KnownModels]:
    try:
        return msgspec.json.decode(read_plain(file), type=list[_KnownModels])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = type(error).__name__
        _log.warning("the cache of models cannot be read and is emptied: %s", reason)
        return []


def _write(file: Path, data: bytes) -> None:
    try:
        write_atomically(file, data, follows_link=False)
    except OSError as error:
        _log.warning("the cache of models cannot be written: %s", error)
