"""Asks servers how many tokens a prompt has; never in the way of an answer, silent where they cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint, LoadState
from lmchat.proxy.admission import Admission
from lmchat.proxy.cache import ModelCache
from lmchat.proxy.nearness import one_name
from lmchat.proxy.scout import Scout
from lmchat.proxy.servers import server_of
from lmchat.proxy.site import NoQuestionsLeftError
from lmchat.proxy.speech import Speech

COUNT_S = 2.0
"""A count that takes longer is of no use: an estimate is at hand."""


class Counting:
    """Counts where no answer is on its way (R-25); one that begins meanwhile ends the count."""

    def __init__(
        self,
        admission: Admission,
        scout: Scout,
        cache: ModelCache,
        speech: Speech,
        is_busy: Callable[[Endpoint], bool],
    ) -> None:
        self._admission = admission
        self._scout = scout
        self._cache = cache
        self._speech = speech
        self._is_busy = is_busy
        self._running: dict[tuple[str, int], set[asyncio.Timeout]] = {}

    async def count(self, request: ChatRequest) -> int | None:
        """Return what the server counts; None where it cannot, is busy, or would have to load the model.

        Raises:
            RequestInvalid, EndpointNotAllowed, BodyTooLarge, TooManyRequests: before anything is sent.
            ServerUnavailable, ServerRejected: it is away, or refuses the request.
        """
        server = server_of(request.product)
        if not server.counts_tokens or self._is_busy(request.endpoint) or not self._is_in_memory(request):
            return None
        self._admission.count(request, self._speech.body)
        site = self._scout.brief_site(request.endpoint, request.product, read_s=COUNT_S)
        try:
            async with asyncio.timeout(COUNT_S) as limit:
                with self._known(request.endpoint, limit):
                    return await server.count_tokens(site, self._speech.prompt(request))
        except (TimeoutError, NoQuestionsLeftError):
            return None

    def give_way(self, endpoint: Endpoint) -> None:
        """End what is being counted at a server: an answer is about to be asked for."""
        for limit in self._running.pop(one_name(endpoint), ()):
            with suppress(RuntimeError):  # its time has just run out anyway
                limit.reschedule(asyncio.get_running_loop().time())

    def _is_in_memory(self, request: ChatRequest) -> bool:
        """Whether the question would not have the server load the model."""
        if not server_of(request.product).loads_on_demand:
            return True
        model = self._cache.model(request.endpoint, request.model)
        return model is not None and model.state is LoadState.LOADED

    @contextmanager
    def _known(self, endpoint: Endpoint, limit: asyncio.Timeout) -> Iterator[None]:
        running = self._running.setdefault(one_name(endpoint), set())
        running.add(limit)
        try:
            yield
        finally:
            running.discard(limit)
