"""Cache of the models of each server: in memory, on disk for the next start, stale rather than nothing."""

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

WRITE_EVERY_S = 60.0  # how long an unchanged list is not written again
_LASTING = (
    *("params", "quantization", "context_max", "size_bytes", "capabilities", "owned_by", "created"),
    *("is_embedding", "is_decision", "is_blind", "keeps_thoughts"),
)
"""Facts of a model that do not change, and that a quick look may leave out."""
_log = logging.getLogger(__name__)


class _KnownModels(Struct, frozen=True, kw_only=True):
    """Models of one server, and when they were fetched (seconds since 1970)."""

    endpoint: Endpoint
    models: tuple[ModelInfo, ...]
    fetched_s: float


class ModelCache:
    """The last list of each server; `fresh` for its time to live, known for ever."""

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
        self._is_lasting = is_lasting
        self._clock = clock
        self._file = self._unread = file
        self._known: dict[Endpoint, _KnownModels] = {}
        self._outdated: set[Endpoint] = set()
        self._written_s = 0.0
        self._lock = asyncio.Lock()

    async def ready(self) -> bool:
        """Read the file, once; return whether that was now."""
        async with self._lock:
            file, self._unread = self._unread, None
            if file is None:
                return False
            for known in await asyncio.to_thread(_read, file):
                self._known.setdefault(known.endpoint.literal, known)
            return True

    def fresh(self, endpoint: Endpoint) -> ModelList | None:
        known = self._known.get(endpoint.literal)
        if known is None or endpoint.literal in self._outdated:
            return None
        # what comes from the future, after the clock was set back, would count as fresh for too long
        return (
            self._as_list([known]) if 0 <= self._clock() - known.fetched_s < self._ttl_s else None
        )

    def stale(self, endpoint: Endpoint) -> ModelList | None:
        known = self._known.get(endpoint.literal)
        return None if known is None else replace(self._as_list([known]), is_stale=True)

    def is_older(self, endpoint: Endpoint, age_s: float) -> bool:
        """Whether the last list of a server is missing or older than that."""
        known = self._known.get(endpoint.literal)
        return known is None or not 0 <= self._clock() - known.fetched_s <= age_s

    def model(self, endpoint: Endpoint, model_id: str) -> ModelInfo | None:
        known = self._known.get(endpoint.literal)
        return (
            next((one for one in known.models if one.model_id == model_id), None) if known else None
        )

    def has_answered(self, endpoint: Endpoint, model_id: str) -> None:
        if known := self._known.get(endpoint.literal):
            models = tuple(
                replace(one, state=LoadState.LOADED) if one.model_id == model_id else one
                for one in known.models
            )
            self._known[endpoint.literal] = replace(known, models=models)

    def everything(self) -> ModelList:
        return self._as_list(self._known.values())

    def forget(self, endpoint: Endpoint) -> None:
        self._outdated.add(endpoint.literal)

    async def put(self, endpoint: Endpoint, models: tuple[ModelInfo, ...]) -> tuple[ModelInfo, ...]:
        """Keep a new list and return it, filled up with what an earlier look had told of the same models."""
        before = self._known.get(endpoint.literal)
        old = {model.model_id: model for model in before.models} if before else {}
        models = tuple(_filled(model, old.get(model.model_id)) for model in models)
        self._known[endpoint.literal] = _KnownModels(
            endpoint=endpoint, models=models, fetched_s=self._clock()
        )
        self._outdated.discard(endpoint.literal)
        # llama.cpp says with every reply that its model was made just now
        has_changed = before is None or _dateless(before.models) != _dateless(models)
        if self._file is not None and (
            has_changed or self._clock() >= self._written_s + WRITE_EVERY_S
        ):
            self._written_s = self._clock()
            lasting = [known for known in self._known.values() if self._is_lasting(known.endpoint)]
            async with self._lock:
                await asyncio.to_thread(_write, self._file, msgspec.json.encode(lasting))
        return models

    def _as_list(self, known: Iterable[_KnownModels]) -> ModelList:
        parts = list(known)
        age_s = max([0.0, *(self._clock() - part.fetched_s for part in parts)])
        return ModelList(
            models=tuple(model for part in parts for model in part.models), age_s=age_s
        )


def _filled(new: ModelInfo, old: ModelInfo | None) -> ModelInfo:
    if old is None or old.product is not new.product:
        return new
    return replace(new, **{name: getattr(old, name) for name in _LASTING if not getattr(new, name)})


def _dateless(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    return [replace(one, created=None) for one in models]


def _read(file: Path) -> list[_KnownModels]:
    try:
        return msgspec.json.decode(read_plain(file), type=list[_KnownModels])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _log.warning("the cache of models cannot be read and is emptied: %s", type(error).__name__)
        return []


def _write(file: Path, data: bytes) -> None:
    try:
        write_atomically(file, data, follows_link=False)
    except OSError as error:
        _log.warning("the cache of models cannot be written: %s", error)
