"""The proxy-client layer as one object; the way out: validate, allow, size, limit, retry, send."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from lmchat.config.settings import Settings, TimeoutSettings
from lmchat.domain.event import (
    ModelLoading,
    RequestAdapted,
    RequestQueued,
    RequestSent,
    RetryScheduled,
    StreamEvent,
    StreamFinished,
)
from lmchat.domain.message import Role, SentThoughts
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest, LoadOptions
from lmchat.domain.server import (
    Candidate,
    Endpoint,
    LoadState,
    ModelInfo,
    ModelList,
    Verdict,
    sent_thoughts_of,
)
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import (
    EndpointNotAllowed,
    LMChatError,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
)
from lmchat.machine.sockets import foreign_owner
from lmchat.proxy.admission import LOOK, Admission
from lmchat.proxy.cache import ModelCache
from lmchat.proxy.errors import plan_for, reaching
from lmchat.proxy.http import (
    POOL_S,
    WRITE_S,
    Connections,
    Freshness,
    Reply,
    connect_timeout_s,
    read_up_to,
    request_headers,
)
from lmchat.proxy.json_values import encode
from lmchat.proxy.probe import QUESTIONS, Place, Prober, look_around, places, unread
from lmchat.proxy.refusals import Asked, refusal, refusal_in_stream, shown_address
from lmchat.proxy.servers import server_of
from lmchat.proxy.servers.base import Server
from lmchat.proxy.servers.lm_studio import hinted_port
from lmchat.proxy.site import SLEEP, NoQuestionsLeftError, Site, background_task, throttled
from lmchat.proxy.stream import (
    MAX_WHOLE_BYTES,
    AnswerReader,
    ChunkReader,
    EventQueue,
    joined_events,
)
from lmchat.proxy.think import ThinkSplitter
from lmchat.proxy.timeouts import IdleTimeout, Loading, can_check_alive, is_alive
from lmchat.proxy.wire import Dialect, body_of, fall_note, tool_fields
from lmchat.text import shell_word, without_secret

COUNT_S = 2.0  # a slower count of tokens is of no use: an estimate is at hand
SLEEP_LOOK_S = 15.0  # an older list may have missed that the server put its model to sleep
_NOT_IN_MEMORY = (LoadState.NOT_LOADED, LoadState.ASLEEP)
_OF_THE_PROMPT = (
    *("model", "messages", "tools", "response_format", "reasoning_effort", "chat_template_kwargs"),
)
_log = logging.getLogger(__name__)


class ProxyClient:
    """Client of model servers; everything that is sent anywhere is sent from here."""

    def __init__(  # noqa: PLR0913 - all but one are named
        self,
        settings: Settings,
        *,
        key_for: Callable[[Endpoint], str | None],
        why_withheld: Callable[[Endpoint], str] = lambda _: "",
        look_up: Callable[[Endpoint], None] | None = None,
        cache_file: Path | None = None,
        is_lasting: Callable[[Endpoint], bool] = lambda _: True,
        transport: httpx.AsyncBaseTransport | None = None,
        owner_of: Callable[[str, int], str] = foreign_owner,
        reads_per_second: float | None = None,
    ) -> None:
        """Create a client.

        `why_withheld` says why a key that is set is not sent to a server. `look_up` blocks; it is called
        for a server that wants a key, and may make `key_for` find one. `owner_of` returns the user who holds
        a port of this machine, where that is neither this one nor root. With `reads_per_second`, streams of
        this machine are read so often at most, which saves a quarter of their CPU time on a screen.
        """
        self._settings = settings
        self._connections = Connections(
            transport,
            ca_file=settings.ca_file,
            owner_of=owner_of,
            reads_per_second=reads_per_second,
        )
        self._admission = Admission(settings)
        self._cache = ModelCache(settings.limits.models_ttl_s, cache_file, is_lasting=is_lasting)
        self._prober = Prober(self._connections, key_for, self._timeouts, why_withheld, look_up)
        self._hinted: Mapping[Product, Endpoint] = {}
        self._dialects: dict[tuple[Endpoint, str], Dialect] = {}
        self._notes: set[tuple[Endpoint, str, str]] = set()
        self._locks: dict[tuple[str, int], asyncio.Lock] = {}

    def expect(self, hinted: Mapping[Product, Endpoint]) -> None:
        self._hinted = hinted
        for product, endpoint in hinted.items():
            self._prober.expect(endpoint, product)

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[Candidate, ...]:
        """Look at every known place at once; best candidate first."""
        self._admission.take_probe()
        await self._remember()
        where = places(expected, await asyncio.to_thread(hinted_port), self._hinted)
        found = await look_around(where, self._look_at)
        named = self._hinted.values()
        return tuple(
            [replace(await self._keep(one), is_hinted=one.endpoint in named) for one in found]
        )

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> Candidate:
        """Look at one place with as few requests as possible; one that is away is no error."""
        self._admission.check(endpoint)
        self._admission.take_probe()
        await self._remember()
        return await self._keep(await self._prober.check(endpoint, key=key))

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
        self._admission.take_probe()
        try:
            models = await self._prober.models(endpoint)
        except ServerUnavailable:
            if stale := self._cache.stale(endpoint):
                return stale
            raise
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
        how, server = LoadOptions(context=context, keep_loaded_s=keep_s), server_of(model.product)
        server.check_load(how)
        site = self._site_to_change(model)
        await server.load(site, model, how, throttled(on_progress or (lambda _: None)))
        self._cache.forget(model.endpoint)

    async def unload(self, model: ModelInfo) -> None:
        await server_of(model.product).unload(self._site_to_change(model), model)
        self._cache.forget(model.endpoint)

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Return what the server counts; None where it cannot, is busy, or would have to load the model."""
        server, endpoint, model = server_of(request.product), request.endpoint, self._model(request)
        is_in_memory = not server.loads_on_demand or (model and model.state is LoadState.LOADED)
        if not server.count_path or not is_in_memory or self._is_busy(endpoint):
            return None
        self._admission.admit(request, self._body, is_listed=model is not None, purpose=LOOK)
        site = self._prober.site(endpoint, request.product, read_s=COUNT_S, questions=QUESTIONS)
        thoughts = self._sent_thoughts(request)
        body = body_of(request, self._fields(request), self._dialect(request), thoughts)
        prompt = {name: value for name, value in body.items() if name in _OF_THE_PROMPT}
        try:
            async with asyncio.timeout(COUNT_S):
                return await server.count_tokens(site, prompt)
        except (TimeoutError, NoQuestionsLeftError):
            return None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn and yield its events; the last is `StreamFinished`. Close it with `aclosing`."""
        await self._notice_sleep(request)
        exchange = self._admit(request)
        events = exchange.events
        task = asyncio.create_task(self._run(exchange), name="chat request")
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            async for event in joined_events(events):
                yield event
            yield await task
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
                self._prober.expect(model.endpoint, model.product)

    async def _look_at(self, place: Place) -> Candidate:
        try:
            self._admission.check(place.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            is_unlisted = error.kind == "not_allowed"
            step = (
                f"lmchat --allow-host {shell_word(place.endpoint.host)}"
                if is_unlisted
                else error.hint
            )
            refused = unread(place, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        return await self._prober.look_at(place)

    async def _keep(self, candidate: Candidate) -> Candidate:
        if not candidate.verdict.is_usable:
            return candidate
        return replace(
            candidate, models=await self._cache.put(candidate.endpoint, candidate.models)
        )

    def _site_to_change(self, model: ModelInfo) -> Site:
        self._admission.check(model.endpoint)
        self._admission.take_probe(model.product)
        return self._prober.site(model.endpoint, model.product)

    def _is_busy(self, endpoint: Endpoint) -> bool:
        return endpoint.canonical in self._locks and self._locks[endpoint.canonical].locked()

    async def _notice_sleep(self, request: ChatRequest) -> None:
        """Look whether the model fell asleep since the last look.

        The answer then says that the model is loaded first.
        """
        endpoint, model = request.endpoint, self._model(request)
        is_loaded = model is not None and model.state is LoadState.LOADED
        loads_on_demand = server_of(request.product).loads_on_demand
        can_sleep = loads_on_demand and self._prober.has_trait(endpoint, SLEEP)
        if not is_loaded or not can_sleep or self._is_busy(endpoint):
            return
        if self._cache.is_older(endpoint, SLEEP_LOOK_S):
            with suppress(LMChatError, TimeoutError):
                async with asyncio.timeout(COUNT_S):
                    await self.check(endpoint)

    def _admit(self, request: ChatRequest) -> Exchange:
        model, server = self._model(request), server_of(request.product)
        size = self._admission.admit(request, self._body, is_listed=model is not None)
        self._prober.expect(request.endpoint, request.product)
        _log.info("chat request: %d bytes to %s", size, request.endpoint.origin)
        is_unloaded = model is not None and model.state in _NOT_IN_MEMORY
        key, host = self._prober.key(request.endpoint) or "", request.endpoint.host
        exchange = Exchange(
            request=request,
            server=server,
            asked=Asked(product=request.product, key=key, model=request.model, host=host),
            connections=self._connections,
            settings=self._settings,
            timeouts=self._timeouts(request.endpoint),
            dialect=self._dialect(request),
            fields=self._fields(request),
            sent_thoughts=self._sent_thoughts(request),
            is_model_unloaded=server.loads_on_demand and is_unloaded,
            prober=self._prober,
            on_retry=lambda: self._admission.count(retries=1),
        )
        for note in self._new_notes(request):
            exchange.tell(RequestAdapted(note=note))
        return exchange

    async def _run(self, exchange: Exchange) -> StreamFinished:
        """Run in the task that owns the response (R-28), one at a time at a near server (R-25)."""
        request, started_s = exchange.request, None
        endpoint = request.endpoint
        lock = (
            self._locks.setdefault(endpoint.canonical, asyncio.Lock()) if endpoint.is_near else None
        )
        if lock and lock.locked():
            exchange.tell(RequestQueued())
        try:
            async with lock or nullcontext():
                self._admission.count(total_requests=1)
                started_s = time.perf_counter()
                async with self._loading_told(exchange):
                    finished = await exchange.run()
        except asyncio.CancelledError:
            if started_s is not None:  # else it was stopped in the queue, and never sent
                self._admission.count(stopped_requests=1)
            raise
        except LMChatError as error:
            self._admission.count(failed_requests=1)
            _log.info("chat request: %s", error.kind)
            raise
        except Exception as error:  # noqa: BLE001 - of httpx and below; its text may quote anything
            self._admission.count(failed_requests=1)
            _log.exception("chat request")
            sentence = "Streaming failed: lmchat had an internal error."
            raise LMChatError(sentence, details=type(error).__name__) from None
        learnt = replace(exchange.dialect, unfit_modes=frozenset())  # those are about one schema
        self._dialects[endpoint, request.model] = learnt
        self._cache.has_answered(endpoint, request.model)
        response_ms = (time.perf_counter() - started_s) * 1e3
        self._admission.count(successful_requests=1, total_response_ms=response_ms)
        return finished

    def _loading_told(self, exchange: Exchange) -> AbstractAsyncContextManager[None]:
        request = exchange.request
        if not exchange.is_model_unloaded:
            return nullcontext()
        site = self._prober.site(request.endpoint, request.product)
        tell = throttled(lambda fraction: exchange.tell(ModelLoading(fraction=fraction)))
        return background_task(exchange.server.follow_loading(site, request.model, tell))

    def _model(self, request: ChatRequest) -> ModelInfo | None:
        return self._cache.model(request.endpoint, request.model)

    def _dialect(self, request: ChatRequest) -> Dialect:
        learnt = self._dialects.get((request.endpoint, request.model))
        return learnt or server_of(request.product).dialect

    def _fields(self, request: ChatRequest) -> dict[str, Any]:
        fields = server_of(request.product).fields(request.sampling, self._model(request))
        return fields | tool_fields(request)

    def _sent_thoughts(self, request: ChatRequest) -> SentThoughts:
        return sent_thoughts_of(request.product, self._model(request))

    def _body(self, request: ChatRequest) -> bytes:
        fields, thoughts = self._fields(request), self._sent_thoughts(request)
        return encode(body_of(request, fields, self._dialect(request), thoughts))

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


HEALTH_S = 4.0  # timeout for the health of a server that loads: a hang is told within 5 s
REFUSAL_S = 10.0  # timeout for the words of a refusal; its status has come already


@dataclass(kw_only=True)
class Exchange:
    """One request with all that it needs; runs in the task that owns the response."""

    request: ChatRequest
    server: Server
    asked: Asked
    connections: Connections
    settings: Settings
    timeouts: TimeoutSettings
    dialect: Dialect
    fields: Mapping[str, Any]
    sent_thoughts: SentThoughts
    is_model_unloaded: bool  # whether the request will make the server load its model first
    prober: Prober  # knows keys
    on_retry: Callable[[], None]
    events: EventQueue = field(default_factory=asyncio.Queue)
    _has_token: bool = False
    _tried: set[Dialect] = field(default_factory=set)
    _freshness: Freshness = field(default_factory=Freshness)

    def tell(self, event: StreamEvent) -> None:
        self.events.put_nowait(event)

    async def run(self) -> StreamFinished:
        attempt = 1
        while True:
            try:
                return await self._adapt()
            except (ServerUnavailable, ServerRejected) as error:
                product, endpoint = self.server.product, self.request.endpoint
                plan = None if self._has_token else plan_for(error, endpoint, product)
                limits = self.settings.limits
                tries = min((plan and plan.tries) or limits.retries, limits.retries)
                if plan is None or attempt >= tries:
                    raise
                wait_s, reason = plan.wait_after(attempt, limits), error.message
            attempt += 1
            self.on_retry()
            _log.info("chat request: another try")
            self.tell(RetryScheduled(attempt=attempt, attempts=tries, wait_s=wait_s, reason=reason))
            await asyncio.sleep(wait_s)

    async def _adapt(self) -> StreamFinished:
        """Send again after a refused field, or when a model is loaded."""
        loading = Loading(
            self._health if self.server.health_path else None, self.timeouts, self.tell
        )
        try:
            while True:
                try:
                    return await self._send(loading)
                except ServerRejected as error:
                    if error.kind == "loading" and not self._has_token:
                        await loading.wait()
                    elif await self._has_found_key(error):
                        continue
                    elif self._has_token or not self._has_changed(error):
                        raise
        except ServerUnavailable as error:
            self.server.add_hint(error)
            raise

    async def _has_found_key(self, error: ServerRejected) -> bool:
        """Find the key for a server that lists its models without one, but answers no prompt."""
        if error.kind != "auth" or self.asked.key or self._has_token:
            return False
        if self._freshness.withheld:
            error.hint = self._freshness.withheld
            return False
        endpoint = self.request.endpoint
        self.asked = replace(self.asked, key=await self.prober.key_after_refusal(endpoint) or "")
        error.hint = self.prober.why_withheld(endpoint) or error.hint
        return bool(self.asked.key)

    def _has_changed(self, error: ServerRejected) -> bool:
        self._tried.add(self.dialect)
        if asked_anew := self.dialect.after_json(error, self.request.output):
            mode = asked_anew.json_mode(self.request.output)
            self.tell(RequestAdapted(note=fall_note(error, self.request.output, mode)))
            self.dialect = asked_anew
            return True
        has_limit = self.request.sampling.max_tokens is not None
        dialect = self.dialect.after(
            error,
            has_limit=has_limit,
            fields=self.fields,
            thought_fields=self.request.product.facts.thought_fields,
        )
        if dialect is None or dialect in self._tried:
            return False
        names = [name for name, _ in sorted(dialect.dropped - self.dialect.dropped)]
        if dialect.has_thoughts != self.dialect.has_thoughts:
            names.append("the earlier reasoning")
        for name in names:
            said = error.message.rstrip(".")
            self.tell(RequestAdapted(note=f"{said}. Sending the request again without {name}."))
        self.dialect = dialect
        return True

    async def _health(self) -> Reply:
        endpoint, patience = (
            self.request.endpoint,
            httpx.Timeout(min(self.timeouts.health_s, HEALTH_S)),
        )
        url = f"{endpoint.root_url}{self.server.health_path}"
        return await self.connections.ask(
            endpoint, "GET", url, key=self.asked.key, patience=patience
        )

    async def _is_there(self) -> bool:
        """Whether the server answers other requests; True where that cannot be checked."""
        if self._freshness.is_connecting:
            return False
        endpoint = self.request.endpoint
        if not self.server.health_path:
            return endpoint.is_loopback or not can_check_alive(endpoint) or await is_alive(endpoint)
        try:
            await self._health()
        except LMChatError as error:
            return error.kind not in ("offline", "timeout")
        return True

    async def _send(self, loading: Loading) -> StreamFinished:
        endpoint = self.request.endpoint
        client = await self.connections.client(endpoint)
        self.tell(RequestSent())
        if self.is_model_unloaded or loading.is_told_by_request:
            self.tell(ModelLoading())
        patience = IdleTimeout(
            self.timeouts, self.tell, is_there=self._is_there, since_s=loading.since_s
        )
        async with patience.watching():
            self._freshness = Freshness()
            response = await self.connections.send(
                endpoint, self._http_request(client), self._freshness
            )
            if self._freshness.withheld:
                self.asked = replace(self.asked, key="")
            try:
                return await self._answer(response, patience)
            finally:
                await response.aclose()

    def _body(self) -> dict[str, Any]:
        return body_of(self.request, self.fields, self.dialect, self.sent_thoughts)

    def _http_request(self, client: httpx.AsyncClient) -> httpx.Request:
        endpoint = self.request.endpoint
        headers = request_headers(self.asked.key, has_body=True)
        headers |= {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        connect_s = connect_timeout_s(endpoint, self.timeouts.connect_s)
        return client.build_request(
            "POST",
            f"{endpoint.base_url}/chat/completions",
            content=encode(self._body()),
            headers=headers,
            timeout=httpx.Timeout(connect=connect_s, read=None, write=WRITE_S, pool=POOL_S),
        )

    async def _answer(self, response: httpx.Response, patience: IdleTimeout) -> StreamFinished:
        if not response.is_success:
            raise await self._refusal(response)
        guess, has_tags = (
            self.dialect.starts_in_thought and not self._goes_on,
            self.settings.chat.think_tags,
        )
        splitter = ThinkSplitter(starts_in_thought=guess) if has_tags else None
        chunks = ChunkReader(
            lambda value: refusal_in_stream(value, self.asked), self.tell, splitter=splitter
        )
        try:
            reader = AnswerReader(
                response=response,
                asked=self.asked,
                events=self.events,
                patience=patience,
                chunks=chunks,
            )
            return await reader.read()
        finally:
            self._has_token = chunks.has_token
            if splitter is not None and not self._goes_on:
                self.dialect = replace(self.dialect, starts_in_thought=splitter.starts_in_thought)

    @property
    def _goes_on(self) -> bool:
        """Whether the server continues an answer; its template then opens no thought."""
        return bool(self.request.messages) and self.request.messages[-1].role is Role.ASSISTANT

    async def _refusal(self, response: httpx.Response) -> ServerRejected:
        endpoint = self.request.endpoint
        with reaching(endpoint):
            body = await read_up_to(response, MAX_WHOLE_BYTES, REFUSAL_S)
        url, target = httpx.URL(endpoint.base_url), None
        if response.has_redirect_location:
            with suppress(httpx.InvalidURL, ValueError):
                target = url.join(response.headers["location"])
        if target and (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
            where = shown_address(without_secret(str(target), self.asked.key))
            return ServerRejected(  # a key would go with it
                f"Endpoint not allowed: {endpoint.netloc} redirects to another host ({where}).",
                kind="not_allowed",
                hint="If you trust that host, use its address and allow it with --allow-host.",
            )
        return refusal(response.status_code, response.headers, body, self.asked)
