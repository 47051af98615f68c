"""The models of all reachable servers, recent ones first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, ModelList
from lmchat.errors import LMChatError
from lmchat.services.ports import Backend, SessionStore


class ModelRow(Struct, frozen=True, kw_only=True):
    """One model as the picker shows it."""

    model: ModelInfo
    """The model."""
    tokens_per_second: float | None = None
    """Median speed of its earlier answers; None before the first."""
    recent_index: int | None = None
    """Place among the recently used models: the smaller, the more recent; None where it is not one."""
    server_name: str = ""
    """What the user calls its server; empty: it goes by its product."""

    @property
    def key(self) -> tuple[str, str]:
        """Address and name: what tells it from others."""
        return self.model.endpoint.url, self.model.model_id


class Catalogue:
    """Lists models: at once from what is known, and anew on request."""

    def __init__(
        self,
        backend: Backend,
        store: SessionStore,
        *,
        expected: Sequence[Endpoint] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`names` are what the user calls servers, by their origin."""
        self._backend = backend
        self._store = store
        self._expected = tuple(expected)
        self._names = names or {}
        self._added: set[Endpoint] = set()
        self._speeds: Mapping[tuple[str, str], float] = {}
        self.candidates: tuple[Candidate, ...] = ()
        """What the last look around found."""

    def known(self, remembered: Remembered) -> tuple[tuple[ModelRow, ...], float]:
        """Return the rows and the age of the list in seconds, without asking any server."""
        listed = self._backend.cached_models()
        return self._rows(listed, remembered), listed.age_s

    def expect(self, endpoint: Endpoint) -> None:
        """Look at one more place from now on, unless it is looked at anyway."""
        if endpoint not in self._expected and all(one.endpoint != endpoint for one in self.candidates):
            self._expected = (endpoint, *self._expected)
            self._added.add(endpoint)

    def forget(self, endpoint: Endpoint) -> None:
        """Do not look any more at a place that was added by `expect`."""
        if endpoint in self._added:
            self._added.discard(endpoint)
            self._expected = tuple(one for one in self._expected if one != endpoint)

    async def look_around(self) -> tuple[Candidate, ...]:
        """Look at every known place."""
        self.candidates = await self._backend.detect(expected=self._expected)
        return self.candidates

    async def refresh(self, remembered: Remembered) -> tuple[tuple[ModelRow, ...], float]:
        """Ask all reachable servers for their models, and return the rows and the age of the oldest list."""
        await self.look_around()
        usable = [candidate.endpoint for candidate in self.candidates if candidate.verdict.is_usable]
        lists = await asyncio.gather(*(self._models(endpoint) for endpoint in usable))
        try:
            self._speeds = await self._store.speeds()
        except LMChatError:
            self._speeds = {}
        models = tuple(model for listed in lists for model in listed.models)
        age_s = max((listed.age_s for listed in lists), default=0.0)
        return self._rows(ModelList(models=models, age_s=age_s), remembered), age_s

    async def _models(self, endpoint: Endpoint) -> ModelList:
        try:
            return await self._backend.models(endpoint, is_refresh=True)
        except LMChatError:
            return ModelList(models=())

    def _rows(self, listed: ModelList, remembered: Remembered) -> tuple[ModelRow, ...]:
        places = {pair: place for place, pair in enumerate(remembered.recent)}
        rows = [
            ModelRow(
                model=model,
                tokens_per_second=self._speeds.get((model.place, model.model_id)),
                recent_index=places.get((model.place, model.model_id)),
                server_name=self._names.get(model.endpoint.origin, ""),
            )
            for model in listed.models
        ]
        return tuple(sorted(rows, key=_order))


def _order(row: ModelRow) -> tuple[bool, bool, int]:
    """Recent ones first in their order, embedding models last; servers keep their order."""
    return row.model.is_embedding, row.recent_index is None, row.recent_index or 0
