"""The proxy-client layer as one object; the way out: validate, allow, size, limit, retry, send."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from lmchat.config.settings import Settings, TimeoutSettings
from lmchat.domain.event import ModelLoading, RequestQueued, StreamEvent
from lmchat.domain.request import ChatRequest, HowToLoad
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, ModelList, Product, Verdict
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import EndpointNotAllowed, LMChatError, RequestInvalid, ServerUnavailable
from lmchat.proxy.admission import LOOK, Admission
from lmchat.proxy.cache import ModelCache
from lmchat.proxy.http import Connections
from lmchat.proxy.json_values import encode
from lmchat.proxy.probe import QUESTIONS, Place, Scout, look_around, places, unread
from lmchat.proxy.servers import server_of
from lmchat.proxy.servers.lm_studio import hinted_port
from lmchat.proxy.site import NoQuestionsLeftError, Site, beside, seldom
from lmchat.proxy.stream import Channel, Exchange
from lmchat.proxy.wire import Dialect, body_of

COUNT_S = 2.0
"""A slower count of tokens is of no use: an estimate is at hand."""
_OF_THE_PROMPT = ("model", "messages", "response_format", "reasoning_effort", "chat_template_kwargs")
_log = logging.getLogger(__name__)


class ProxyClient:
    """Client of model servers; everything that is sent anywhere is sent from here."""

    def __init__(
        self,
        settings: Settings,
        *,
        key_for: Callable[[Endpoint], str | None],
        cache_file: Path | None = None,
        is_lasting: Callable[[Endpoint], bool] = lambda _: True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._connections = Connections(transport, ca_file=settings.ca_file)
        self._admission = Admission(settings)
        self._cache = ModelCache(settings.limits.models_ttl_s, cache_file, is_lasting=is_lasting)
        self._scout = Scout(self._connections, key_for, self._timeouts)
        self._hinted: Mapping[Product, Endpoint] = {}
        self._dialects: dict[tuple[Endpoint, str], Dialect] = {}
        self._notes: set[tuple[Endpoint, str, str]] = set()
        self._turns: dict[tuple[str, int], asyncio.Lock] = {}

    def expect(self, hinted: Mapping[Product, Endpoint]) -> None:
        self._hinted = hinted
        for product, endpoint in hinted.items():
            self._scout.expect(endpoint, product)

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[Candidate, ...]:
        """Look at every known place at once; best candidate first."""
        self._admission.take_look()
        await self._remember()
        where = places(expected, await asyncio.to_thread(hinted_port), self._hinted)
        found = await look_around(where, self._look_at)
        return tuple([await self._keep(candidate) for candidate in found])

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> Candidate:
        """Look at one place with as few requests as possible; one that is away is no error."""
        self._admission.check(endpoint)
        self._admission.take_look()
        await self._remember()
        return await self._keep(await self._scout.check(endpoint, key=key))

    async def try_key(self, endpoint: Endpoint, key: str) -> Candidate:
        return await self.check(endpoint, key=key)

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        """List the models of one server: from the cache where it is fresh, a stale list where it is away."""
        self._admission.check(endpoint)
        await self._remember()
        fresh = None if is_refresh else self._cache.fresh(endpoint)
        self._admission.count(**{"cache_misses" if fresh is None else "cache_hits": 1})
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

    def cached_models(self) -> ModelList:
        return self._cache.everything()

    async def load(
        self,
        model: ModelInfo,
        *,
        context: int | None = None,
        keep_loaded_s: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model and return when it is loaded; cancelled, it stops loading where the server lets it."""
        keep_s = self._settings.chat.keep_loaded_s if keep_loaded_s is None else keep_loaded_s
        how, server = HowToLoad(context=context, keep_loaded_s=keep_s), server_of(model.product)
        server.check_load(how)
        site = self._site_to_change(model)
        await server.load(site, model, how, seldom(on_progress or (lambda _: None)))
        self._cache.forget(model.endpoint)

    async def unload(self, model: ModelInfo) -> None:
        await server_of(model.product).unload(self._site_to_change(model), model)
        self._cache.forget(model.endpoint)

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Return what the server counts; None where it cannot, is busy, or would have to load the model."""
        server, endpoint, model = server_of(request.product), request.endpoint, self._model(request)
        is_in_memory = not server.loads_on_demand or (model and model.state is LoadState.LOADED)
        is_busy = endpoint.place in self._turns and self._turns[endpoint.place].locked()
        if not server.counts_tokens or not is_in_memory or is_busy:
            return None
        self._admission.admit(request, self._body, is_listed=model is not None, purpose=LOOK)
        site = self._scout.site(endpoint, request.product, read_s=COUNT_S, questions=QUESTIONS)
        body = body_of(request, self._fields(request), self._dialect(request))
        prompt = {name: value for name, value in body.items() if name in _OF_THE_PROMPT}
        try:
            async with asyncio.timeout(COUNT_S):
                return await server.count_tokens(site, prompt)
        except (TimeoutError, NoQuestionsLeftError):
            return None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn and yield its events; the last is `StreamFinished`. Close it with `aclosing`."""
        exchange = self._admit(request)
        task = asyncio.create_task(self._run(exchange), name="chat request")
        try:
            while events := await exchange.channel.take():
                for event in events:
                    yield event
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def allow(self, host: str) -> None:
        """Put a host ("host" or "host:port") on the allow-list, for this run."""
        self._admission.allowed.allow(host)

    def metrics(self) -> Metrics:
        return self._admission.metrics

    def reset_metrics(self) -> None:
        self._admission.metrics = Metrics()

    def budget(self) -> Budget:
        return self._admission.limiter.budget()

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _remember(self) -> None:
        """Learn which product stood where."""
        if await self._cache.ready():
            for model in self._cache.everything().models:
                self._scout.expect(model.endpoint, model.product)

    async def _look_at(self, place: Place) -> Candidate:
        try:
            self._admission.check(place.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            is_unlisted = error.kind == "not_allowed"
            step = f"lmchat --allow-host {place.endpoint.host}" if is_unlisted else error.hint
            refused = unread(place, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        return await self._scout.look_at(place)

    async def _keep(self, candidate: Candidate) -> Candidate:
        if not candidate.verdict.is_usable:
            return candidate
        return replace(candidate, models=await self._cache.put(candidate.endpoint, candidate.models))

    def _site_to_change(self, model: ModelInfo) -> Site:
        self._admission.check(model.endpoint)
        self._admission.take_look(model.product)
        return self._scout.site(model.endpoint, model.product)

    def _admit(self, request: ChatRequest) -> Exchange:
        model, server = self._model(request), server_of(request.product)
        size = self._admission.admit(request, self._body, is_listed=model is not None)
        self._scout.expect(request.endpoint, request.product)
        _log.info("chat request: %d bytes to %s", size, request.endpoint.origin)
        is_unloaded = model is not None and model.state is LoadState.NOT_LOADED
        return Exchange(
            request=request,
            server=server,
            key=self._scout.key(request.endpoint),
            connections=self._connections,
            channel=Channel(),
            limits=self._settings.limits,
            timeouts=self._timeouts(request.endpoint),
            dialect=self._dialect(request),
            fields=self._fields(request),
            notes=self._new_notes(request),
            is_model_unloaded=server.loads_on_demand and is_unloaded,
            splits_thought=self._settings.chat.think_tags,
            on_retry=lambda: self._admission.count(retries=1),
        )

    async def _run(self, exchange: Exchange) -> None:
        """Run in the task that owns the response (R-28); events and error go into the channel."""
        request, channel, started_s = exchange.request, exchange.channel, None
        try:
            async with self._turn(request.endpoint, lambda: channel.post(RequestQueued())):
                self._admission.count(total_requests=1)
                started_s = time.perf_counter()
                async with self._loading_told(exchange):
                    finished = await exchange.run()
                learnt = replace(exchange.dialect, unfit_modes=frozenset())  # those are about one schema
                self._dialects[request.endpoint, request.model] = learnt
                self._cache.has_answered(request.endpoint, request.model)
        except asyncio.CancelledError:
            if started_s is not None:  # else it was stopped in the queue, and never sent
                self._admission.count(stopped_requests=1)
            raise
        except LMChatError as error:
            self._admission.count(failed_requests=1)
            _log.info("chat request: %s", error.kind)
            channel.close(error)
        except Exception as error:  # noqa: BLE001 - of httpx and below: whatever it is, nobody waits for ever
            self._admission.count(failed_requests=1)
            _log.exception("chat request")
            sentence = "Streaming failed: lmchat itself made a mistake."
            channel.close(LMChatError(sentence, details=type(error).__name__))  # its text may quote anything
        else:
            response_ms = (time.perf_counter() - started_s) * 1e3
            self._admission.count(successful_requests=1, total_response_ms=response_ms)
            channel.post(finished)
            channel.close()

    @asynccontextmanager
    async def _turn(self, endpoint: Endpoint, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the turn at a server (R-25), whatever its addresses are called."""
        if not endpoint.is_near:
            yield
            return
        lock = self._turns.setdefault(endpoint.place, asyncio.Lock())
        if lock.locked():
            on_wait()
        async with lock:
            yield

    def _loading_told(self, exchange: Exchange) -> AbstractAsyncContextManager[None]:
        request, channel = exchange.request, exchange.channel
        if not exchange.is_model_unloaded:
            return nullcontext()

        def tell(fraction: float) -> None:
            channel.post(ModelLoading(fraction=fraction))

        site = self._scout.site(request.endpoint, request.product)
        return beside(exchange.server.follow_loading(site, request.model, seldom(tell)))

    def _model(self, request: ChatRequest) -> ModelInfo | None:
        return self._cache.model(request.endpoint, request.model)

    def _dialect(self, request: ChatRequest) -> Dialect:
        learnt = self._dialects.get((request.endpoint, request.model))
        return learnt or server_of(request.product).dialect

    def _fields(self, request: ChatRequest) -> dict[str, Any]:
        return server_of(request.product).fields(request.sampling, self._model(request))

    def _body(self, request: ChatRequest) -> bytes:
        return encode(body_of(request, self._fields(request), self._dialect(request)))

    def _new_notes(self, request: ChatRequest) -> list[str]:
        notes = server_of(request.product).left_out(request.sampling, self._model(request))
        new = [note for note in notes if (request.endpoint, request.model, note) not in self._notes]
        self._notes |= {(request.endpoint, request.model, note) for note in new}
        return new

    def _timeouts(self, endpoint: Endpoint) -> TimeoutSettings:
        for own in self._settings.endpoints:
            if own.timeouts is not None and Endpoint.parse(own.url).origin == endpoint.origin:
                return own.timeouts
        return self._settings.timeouts
