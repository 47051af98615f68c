"""Servers and their models, found and listed within the budget for looking; what was found is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from lmchat.domain.server import Candidate, Endpoint, ModelList, Product, Verdict
from lmchat.errors import EndpointNotAllowed, RequestInvalid, ServerUnavailable
from lmchat.proxy.admission import Admission, step_where_refused
from lmchat.proxy.cache import ModelCache
from lmchat.proxy.counters import Counters
from lmchat.proxy.discovery import look_around, places
from lmchat.proxy.lm_studio_home import hinted_port
from lmchat.proxy.look import Place
from lmchat.proxy.scout import Scout


class Looking:
    """Sends the scout where the allow-list and the limiter let it go."""

    def __init__(self, admission: Admission, scout: Scout, cache: ModelCache, counters: Counters) -> None:
        self._admission = admission
        self._scout = scout
        self._cache = cache
        self._counters = counters
        self._hinted: Mapping[Product, Endpoint] = {}

    def expect(self, hinted: Mapping[Product, Endpoint]) -> None:
        """Look for products of this machine where the environment says that they listen."""
        self._hinted = hinted
        for product, endpoint in hinted.items():
            self._scout.expect(endpoint, product)

    async def detect(self, expected: Sequence[Endpoint]) -> tuple[Candidate, ...]:
        """Look at every known place at once, own endpoints first; best candidate first.

        Raises:
            TooManyRequests: the budget for looking is used up.
        """
        self._admission.take_look()
        await self._remember()
        where = places(expected, await asyncio.to_thread(hinted_port), self._hinted)
        found = await look_around(where, self._look_at)
        return tuple([await self._keep(candidate) for candidate in found])

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> Candidate:
        """Look at one place with as few requests as possible; `key` is one that is not stored yet.

        Raises:
            EndpointNotAllowed: the allow-list refuses it.
            TooManyRequests: the budget for looking is used up.
        """
        self._admission.look(endpoint)
        await self._remember()
        return await self._keep(await self._scout.check(endpoint, key=key))

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        """List the models of one server: from the cache where it is fresh, a stale list where it is away.

        Raises:
            ServerUnavailable: it is away, and nothing is known of it.
            ServerRejected: it refuses.
        """
        self._admission.check(endpoint)
        await self._remember()
        fresh = None if is_refresh else self._cache.fresh(endpoint)
        self._counters.looked_up(endpoint, is_hit=fresh is not None)
        if fresh is not None:
            return fresh
        self._admission.take_look()
        try:
            models = await self._scout.models(endpoint)
        except ServerUnavailable:
            stale = self._cache.stale(endpoint)
            if stale is None:
                raise
            return stale
        return ModelList(models=await self._cache.put(endpoint, models))

    async def _remember(self) -> None:
        """Learn from the cache of earlier runs which product stood where: who is away keeps its name."""
        if await self._cache.ready():
            for model in self._cache.everything().models:
                self._scout.expect(model.endpoint, model.product)

    async def _look_at(self, place: Place) -> Candidate:
        try:
            self._admission.check(place.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            return Candidate(
                endpoint=place.endpoint,
                product=place.server.product,
                verdict=Verdict.REFUSED,
                detail=error.message,
                next_step=step_where_refused(error, place.endpoint),
                is_own=place.is_own,
            )
        return await self._scout.look_at(place)

    async def _keep(self, candidate: Candidate) -> Candidate:
        if candidate.verdict not in (Verdict.READY, Verdict.LOADING, Verdict.NO_MODEL):
            return candidate
        self._counters.fetched(candidate.endpoint)
        return replace(candidate, models=await self._cache.put(candidate.endpoint, candidate.models))
