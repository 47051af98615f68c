"""Client of model servers, which joins the parts that hold most of the state."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from pathlib import Path

import httpx
from msgspec.structs import replace

from lmchat.config.settings import Settings, TimeoutSettings
from lmchat.errors import LMChatError, RequestInvalid, ServerRejected, ServerUnavailable
from lmchat.files.disk import free_bytes
from lmchat.files.paths import home_folder
from lmchat.metrics import Metrics, RateLimit, RequestCounters
from lmchat.processes.background import background_task, end_tasks
from lmchat.safe_text import safe_line, shell_word
from lmchat.servers.discovery.choose import no_server_error
from lmchat.servers.discovery.model_lists import Load, ModelLists
from lmchat.servers.discovery.scan import Scanner
from lmchat.servers.discovery.status import ServerState, ServerStatus, usable_of
from lmchat.servers.endpoint import Endpoint, is_address
from lmchat.servers.events import (
    ModelLoading,
    ModelNamed,
    PromptProgress,
    PullProgress,
    RequestAdapted,
    RequestQueued,
    StreamEvent,
    StreamFinished,
)
from lmchat.servers.http.connections import Connections, KeySource, NoKeys
from lmchat.servers.local.engine import Engine
from lmchat.servers.local.kept_slot import kept_ids
from lmchat.servers.model import (
    LoadState,
    ModelInfo,
    ModelList,
    find_model,
    has_other_name,
    is_other_model,
    similar_names,
)
from lmchat.servers.products import product_named
from lmchat.servers.products.server_api import OnPull, ServerApi
from lmchat.servers.request import (
    ChatRequest,
    ForwardedReply,
    ForwardedRequest,
)
from lmchat.servers.sending.exchange import Exchange
from lmchat.servers.sending.forward import Forwarding, read_beside
from lmchat.servers.sending.prepared_request import PreparedRequest, RequestPreparer
from lmchat.servers.sending.request_checks import RequestChecks
from lmchat.servers.sending.sender import Sender
from lmchat.servers.sending.slots import ServerSlots
from lmchat.servers.stream.chunk_parser import prompt_progress
from lmchat.servers.stream.response_reader import EventQueue
from lmchat.servers.target import Target
from lmchat.servers.wire.rows import STEPS
from lmchat.sessions.message import AnswerState, AnswerStats
from lmchat.units import size_text

COUNT_S = 2.0  # then an estimate is shown
END_THOUGHT_S = 2.0
LOOK_AGAIN_S = 0.5
# an older list is read again before a request that must not load a model: it may sleep by now
NO_WAKE_CHECK_S = 1.0
_MOST_OTHERS = 3  # models that an error names
_logger = logging.getLogger(__name__)


class HttpServerClient:
    """The `ServerClient` of `protocols.py`, over HTTP."""

    def __init__(
        self,
        settings: Settings,
        *,
        keys: KeySource | None = None,
        cache_file: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        reads_per_second: float | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Nothing is connected yet; without `cache_file`, lists are kept in memory only.

        `reads_per_second` is how often near streams are read at most: the frame rate of the screen
        saves a quarter of their CPU time. The engine ends with this client. `transport` is for
        tests.
        """
        self._engine = engine
        self._settings = settings
        self._connections = Connections(
            transport,
            ca_file=settings.ca_file,
            reads_per_second=reads_per_second,
        )
        self._keys = keys or NoKeys()
        self._counters = RequestCounters()
        self._checks = RequestChecks(settings, self._counters)
        self.model_lists = ModelLists(cache_file)
        self._preparer = RequestPreparer(self.model_lists)
        self._scanner = Scanner(
            self._connections,
            self._keys,
            self.model_lists,
            self._timeouts_for,
            check_allowed=self._checks.allowed.check,
            named={
                Endpoint.parse(url).netloc
                for url in (settings.endpoint, *(entry.url for entry in settings.endpoints))
                if is_address(url)
            },
        )
        self._slots = ServerSlots(self.model_lists)
        self._noted_remote: set[tuple[Endpoint, str]] = set()  # that got a request

    # Servers and their models

    def scan_also(self, hinted: Mapping[str, Endpoint], *, used: Sequence[Endpoint] = ()) -> None:
        """Let `detect` also probe these.

        `hinted` are addresses of environment variables, by the product that is expected there,
        `used` those of earlier runs.
        """
        self._scanner.scan_also((*hinted.values(), *used))
        for product, endpoint in hinted.items():
            self._scanner.expect_product(endpoint, product)

    async def detect(
        self, *, named: Sequence[Endpoint] = (), is_counted: bool = True
    ) -> tuple[ServerStatus, ...]:
        """Put the built-in engine first, even while it does not run."""
        await self._read_lists()
        probes = await self._scanner.scan(named)
        servers = tuple([await self._keep_models(server) for server in probes])
        if is_counted and usable_of(servers):
            self._counters.add(cache_misses=1)  # a scan is one question
        if self._engine is None or self._engine.endpoint is None:
            return servers
        await self._engine.files(is_refresh=True)  # model files may have come or gone
        own = await self.check(self._engine.endpoint)
        # the scan may have found it, too, and then takes it for a plain llama.cpp
        return (own, *(server for server in servers if server.endpoint != own.endpoint))

    async def check(self, endpoint: Endpoint, *, key: str = "") -> ServerStatus:
        self._checks.allowed.check(endpoint)
        await self._read_lists()  # the scanner then knows which product to expect
        if engine := self._engine_at(endpoint):  # it is asked with the key of this run, not `key`
            server = await engine.probe(self._scanner.check)
        else:
            server = await self._scanner.check(endpoint, key=key)
        return await self._keep_models(server)

    async def models(
        self, endpoint: Endpoint, *, is_refresh: bool = False
    ) -> tuple[ModelInfo, ...]:
        self._checks.allowed.check(endpoint)
        await self._read_lists()
        cached = self.model_lists.models_of(endpoint, max_age_s=self._settings.limits.models_ttl_s)
        if cached is not None and not is_refresh:
            self._counters.add(cache_hits=1)
            return cached
        self._counters.add(cache_misses=1)
        server = await self.check(endpoint)
        if not server.state.is_usable:
            raise no_server_error((server,))
        return server.models

    def forget_lists(self) -> None:
        self._scanner.forget_lists()

    def cached_models(self) -> ModelList:
        listed = self.model_lists.all_models()
        if listed.models:
            self._counters.add(cache_hits=1)
        return listed

    def load(self, model: ModelInfo, *, context: int | None = None) -> asyncio.Task[None]:
        return self.model_lists.load(model, partial(self._load, context))

    async def _load(self, context: int | None, load: Load) -> None:
        model = load.model
        _require_local(model)
        if engine := self._engine_at(model.endpoint):
            # the slot is free when the answer that the engine is writing has ended
            async with self._slots.one_slot(Target.of(model)):
                await engine.load(model.model_id, context=context)
            return
        product = product_named(model.product)
        if context is not None and not product.acts.context_field:
            # where the user sets the window, or else how the user loads a model
            model_id = shell_word(model.model_id)
            hint = product.window_step(model_id, model, context) or product.step("load")
            raise ServerRejected(
                f"{product.subject} cannot set the context window when it loads a model.",
                kind="unsupported",
                hint=f"{hint}.",
            )
        api = await self._new_api(Target.of(model))
        async with self.model_lists.one_load(model):
            if product.acts.load_path:
                # Another request or program may have loaded it by now, and these products would
                # load it a second time, beside the first.
                listed = (await self.check(model.endpoint)).models
                model = next((one for one in listed if one.model_id == model.model_id), model)
                if model.state is LoadState.LOADED and context in (None, model.context_loaded):
                    return
            await product.load(api, model, context, partial(self.model_lists.note_progress, load))
            await self._require_loaded_now(model)

    async def _require_loaded_now(self, model: ModelInfo) -> None:
        """Raise `ServerRejected` if the list of a server says that it is not loaded."""
        for wait_s in (0.0, LOOK_AGAIN_S):  # a list may be a little late
            await asyncio.sleep(wait_s)
            server = await self.check(model.endpoint)
            if not server.state.is_usable:
                raise no_server_error((server,))
            listed = next((one for one in server.models if one.model_id == model.model_id), model)
            if listed.state is not LoadState.NOT_LOADED:
                return
        raise ServerRejected(
            f"{product_named(model.product).subject} has not loaded "
            f"{safe_line(model.model_id)}: it is not in memory.",
            kind="model_failed",
            hint=STEPS["model_failed"],
        )

    async def unload(self, model: ModelInfo) -> None:
        _require_local(model)
        if engine := self._engine_at(model.endpoint):
            await engine.stop()  # it serves one model at a time
            return
        api = await self._new_api(Target.of(model))
        await product_named(model.product).unload(api, model)

    async def pull(self, server: ServerStatus, name: str, on_pull: OnPull) -> ModelInfo:
        product = product_named(server.product)
        model = product.unlisted_model(server.endpoint, name)
        api = await self._new_api(Target.of(model))
        is_here = server.endpoint.is_loopback
        home = home_folder()
        places = (*product.program.model_folders(os.environ, home), home) if is_here else ()
        free = await asyncio.to_thread(free_bytes, places)

        def report(progress: PullProgress) -> None:
            missing_bytes = (progress.total_bytes or 0) - progress.done_bytes
            if free is not None and missing_bytes > free:
                raise ServerRejected(
                    f"{safe_line(name)} needs {size_text(missing_bytes)} on the disk, "
                    f"and {size_text(free)} are free.",
                    kind="no_space",
                    hint="Free some space, or download it with the server's own program.",
                )
            on_pull(replace(progress, free_bytes=free))

        await product.pull(api, name, report)
        return find_model(name, (await self.check(server.endpoint)).models) or model

    async def remove(self, model: ModelInfo) -> None:
        api = await self._new_api(Target.of(model))
        await product_named(model.product).remove(api, model)
        await self.check(model.endpoint)

    async def download_file(
        self, engine: Engine, url: str, agrees: Callable[[str], Awaitable[bool]], on_pull: OnPull
    ) -> Path | None:
        from lmchat.servers.local.download import (  # noqa: PLC0415 - few runs download a file
            download,
        )

        await engine.require_installed()
        return await download(self._connections, url, engine.models_folder, agrees, on_pull)

    # Requests that want no answer

    async def count_tokens(self, request: ChatRequest) -> int | None:
        product = product_named(request.target.product)
        self._checks.allowed.check(request.target.endpoint)
        if not product.acts.count_path or await self._would_load(request.target):
            return None
        api = await self._new_api(request.target, read_s=COUNT_S)
        try:
            async with asyncio.timeout(COUNT_S):  # `read_s` leaves time for connecting besides
                return await product.count_tokens(api, self._preparer.prepare(request).json())
        except TimeoutError:
            return None

    async def read_ahead(self, request: ChatRequest) -> AsyncGenerator[PromptProgress, None]:
        # no slot, limit or counter: the user has sent nothing yet; nor is a model loaded
        if await self._would_load(request.target):
            raise ServerRejected(
                "The model is not in memory.", kind="model_not_loaded", hint="Load it with /model."
            )
        api = await self._new_api(request.target)
        fields = product_named(request.target.product).chat.read_ahead_fields
        body = {**self._preparer.prepare(request).json(), **fields}
        is_read = False  # the events also end when the connection breaks
        async with (
            # the last message is not written yet
            self._served(
                request.target, kept_ids(replace(request, messages=request.messages[:-1]))
            ),
            aclosing(api.events("/v1/chat/completions", body)) as chunks,
        ):
            async for chunk in chunks:
                is_read = is_read or "usage" in chunk  # only the last chunk has the usage
                progress = prompt_progress(chunk.get("prompt_progress"))
                if progress is not None:
                    yield progress
        if not is_read:
            raise ServerUnavailable(
                "The server has not read the prompt to its end.", hint="Check the server's log."
            )

    async def prepare(self, request: ChatRequest) -> PreparedRequest:
        self._checks.allowed.check(request.target.endpoint)
        prepared = self._preparer.prepare(request)
        prepared.has_key = bool(await self._keys.key_for(request.target.endpoint))
        return prepared

    # Answers

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Run the request in a task (R-28), which is cancelled if this generator is closed.

        None in the queue of events means that the task has ended; its error is raised then.
        """
        exchange = self._admit(request)
        task = asyncio.create_task(self._run(exchange), name="chat request")
        task.add_done_callback(lambda _: exchange.events.put_nowait(None))
        try:
            while (event := await exchange.events.get()) is not None:
                if isinstance(event, ModelNamed):
                    is_other = await self._is_other_model(request, event.model)
                    event = replace(event, is_other=is_other)
                yield event
                exchange.events.task_done()  # for `ResponseReader`, which waits for a slow caller
                if isinstance(event, ModelNamed) and self._may_have_left(request.target, event):
                    note = "The prompt may have left this machine."
                    yield RequestAdapted(note=note, is_remote=True)
            yield await task  # the `StreamFinished`, or the error of the task
        finally:
            await end_tasks(task)

    async def _is_other_model(self, request: ChatRequest, served: str) -> bool:
        """Return whether another model of the server answers than the one asked for (R-40).

        A server with one model for all names may have started again with another one, so an unknown
        name has it asked for its list again.
        """
        endpoint, asked = request.target.endpoint, request.target.model_id
        product = product_named(request.target.product)
        if product.chat.repeats_local_name and self._remote_model(request.target) is None:
            return served != asked
        listed = self.model_lists.models_of(endpoint) or ()
        is_known = find_model(served, listed) is not None or not has_other_name(asked, served)
        has_one_model = product.chat.ignores_model_name and not product.lists.is_disturbed
        if listed and not is_known and has_one_model:
            with suppress(LMChatError):
                listed = (await self.check(endpoint)).models
        return is_other_model(asked, served, listed)

    def _may_have_left(self, target: Target, named: ModelNamed) -> bool:
        """Return True once for a model, and not for one that is listed as remote."""
        key = (target.endpoint, target.model_id)
        repeats = product_named(target.product).chat.repeats_local_name
        if not (named.is_other and repeats) or key in self._noted_remote:
            return False
        self._noted_remote.add(key)
        return True

    @asynccontextmanager
    async def forward(
        self, request: ForwardedRequest, on_end: Callable[[AnswerState, AnswerStats], None]
    ) -> AsyncIterator[ForwardedReply]:
        target = Target.of(request.model)
        self._checks.admit_forwarded(request)
        _logger.info("forwarded request: %d bytes to %s", len(request.body), target.endpoint.origin)
        forwarding = Forwarding(
            request=request,
            sender=self._new_sender(target),
            load_model=partial(self.load, request.model),
            counters=self._counters,
            on_end=on_end,
        )

        @asynccontextmanager
        async def opening() -> AsyncIterator[ForwardedReply]:
            async with self._slot(target), forwarding.reply() as reply:
                yield reply

        # a program that stops reading must not hold the slot
        async with read_beside(opening()) as reply:
            yield reply

    async def end_thought(self, target: Target, answer_id: str) -> bool:
        with suppress(LMChatError):
            api = await self._new_api(target, read_s=END_THOUGHT_S)
            return await product_named(target.product).end_thought(api, target.model_id, answer_id)
        return False

    # Limits and the end

    def allow(self, host: str) -> None:
        self._checks.allowed.allow(host)

    def metrics(self) -> Metrics:
        return self._counters.metrics

    def reset_metrics(self) -> None:
        self._counters.reset()

    def rate_limit(self) -> RateLimit:
        return self._checks.limiter.rate_limit()

    async def aclose(self) -> None:
        await self._connections.aclose()
        if self._engine is not None:
            await self._engine.stop()
        await self.model_lists.write()

    # The built-in engine

    def _engine_at(self, endpoint: Endpoint) -> Engine | None:
        engine = self._engine
        return engine if engine is not None and engine.endpoint == endpoint else None

    @asynccontextmanager
    async def _slot(
        self,
        target: Target,
        post: Callable[[StreamEvent], None] = lambda _: None,
        message_ids: Sequence[str] = (),
    ) -> AsyncIterator[None]:
        async with (
            self._slots.one_slot(target, on_wait=lambda: post(RequestQueued())),
            self._served(target, message_ids, lambda: post(ModelLoading())),
        ):
            yield

    def _served(
        self,
        target: Target,
        message_ids: Sequence[str],
        on_load: Callable[[], None] = lambda: None,
    ) -> AbstractAsyncContextManager[None]:
        engine = self._engine_at(target.endpoint)
        return engine.serving(target.model_id, on_load, message_ids) if engine else nullcontext()

    # The lists of models

    async def _read_lists(self) -> None:
        """Tell the scanner which products to expect."""
        for model in await self.model_lists.read_once():
            self._scanner.expect_product(model.endpoint, model.product)

    async def _keep_models(self, server: ServerStatus) -> ServerStatus:
        """Return the result unchanged.

        Of a server that cannot be used, the earlier list is kept. One that was hard to come by is
        written at once, for other runs.
        """
        # the same list: the server was not asked for it
        is_kept = server.models is self.model_lists.models_of(server.endpoint)
        is_loading = server.state is ServerState.LOADING
        self.model_lists.note_server(server.endpoint, is_loading=is_loading)
        if (server.state.is_usable or server.models) and not is_kept:
            self.model_lists.put(server.endpoint, server.models)
            if product_named(server.product).lists.is_disturbed:
                await self.model_lists.write()
        return server

    # Steps of a request

    async def _new_api(self, target: Target, *, read_s: float | None = None) -> ServerApi:
        """Raise `LMChatError` if no request may be sent. `read_s` None: no timeout of a reply."""
        self._checks.allowed.check(target.endpoint)
        key = await self._keys.key_for(target.endpoint)
        return self._scanner.new_api(target, key=key, read_s=read_s)

    async def _would_load(self, target: Target) -> bool:
        """Return whether a request would make a server load or wake its model (R-29, R-41).

        True also for a remote model and an unknown state: the callers then send nothing. The engine
        loads the model at its start. Raises `EndpointNotAllowed`.
        """
        endpoint = target.endpoint
        self._checks.allowed.check(endpoint)
        if self._remote_model(target) is not None:
            return True
        loads_on_demand = product_named(target.product).acts.loads_on_demand
        if not loads_on_demand and self._engine_at(endpoint) is None:
            return False
        if self.model_lists.models_of(endpoint, max_age_s=NO_WAKE_CHECK_S) is None:
            await self.check(endpoint)
        model = self.model_lists.model(target)
        return model is None or model.state is not LoadState.LOADED

    def _admit(self, request: ChatRequest) -> Exchange:
        target, endpoint = request.target, request.target.endpoint
        self._scanner.expect_product(endpoint, target.product)  # a later probe asks for it first
        remote = self._remote_model(target)
        if remote is not None and not target.is_remote:
            raise RequestInvalid(
                f"The prompt was not sent: {safe_line(remote.model_id)} does not run on this "
                "machine any more.",
                hint="Choose it again, or another model.",
                kind="model_missing",
            )
        prepared = self._preparer.prepare(request)
        self._checks.admit(prepared)
        _logger.info("chat request to %s", endpoint.origin)
        events: EventQueue = asyncio.Queue()
        exchange = Exchange(
            prepared=prepared,
            sender=self._new_sender(target, post=events.put_nowait),
            events=events,
            has_think_tags=self._settings.chat.think_tags,
        )
        for note in self._preparer.take_new_notes(prepared):
            exchange.post(RequestAdapted(note=note))
        if remote is not None and (endpoint, target.model_id) not in self._noted_remote:
            self._noted_remote.add((endpoint, target.model_id))
            exchange.post(RequestAdapted(note=remote.remote_note, is_remote=True))
        return exchange

    def _remote_model(self, target: Target) -> ModelInfo | None:
        """An unlisted model is judged by its name."""
        model = self.model_lists.model(target)
        if model is None:
            product = product_named(target.product)
            model = product.unlisted_model(target.endpoint, target.model_id)
        return model if model.is_remote else None

    def _new_sender(
        self, target: Target, *, post: Callable[[StreamEvent], None] = lambda _: None
    ) -> Sender:
        return Sender(
            target=target,
            connections=self._connections,
            limits=self._settings.limits,
            timeouts=self._timeouts_for(target.endpoint),
            keys=self._keys,
            post=post,
            on_retry=lambda: self._counters.add(retries=1),
            lists_as_loading=partial(self._lists_as_loading, target),
        )

    async def _lists_as_loading(self, target: Target) -> bool:
        """Raise `LMChatError`."""
        if product_named(target.product).lists.is_disturbed:
            return False
        server = await self.check(target.endpoint)
        states = (model.state for model in server.models if model.model_id == target.model_id)
        return server.state is ServerState.LOADING or LoadState.LOADING in states

    async def _run(self, exchange: Exchange) -> StreamFinished:
        """Turn an unexpected error into an `LMChatError`, which names only its type."""
        request = exchange.prepared.request
        target = request.target
        async with self._slot(target, exchange.post, kept_ids(request)):
            self._counters.add(total_requests=1)
            started_s = time.perf_counter()
            state = AnswerState.FAILED
            try:
                async with self._loading_reports(exchange):
                    finished = await exchange.run()
                state = AnswerState.COMPLETE
            except asyncio.CancelledError:
                state = AnswerState.STOPPED
                raise
            except LMChatError as error:
                _logger.info("chat request: %s", error.kind)
                listed = self.model_lists.models_of(target.endpoint) or ()
                is_listed = self.model_lists.model(target) is not None
                if error.kind == "model_missing" and not is_listed:
                    similar = similar_names(target.model_id, listed)
                    error.hint = f"Did you mean {safe_line(similar)}?" if similar else error.hint
                others = [
                    f"-m {shell_word(model.model_id)}"
                    for model in listed
                    if model.can_chat and not model.is_remote and model.model_id != target.model_id
                ]
                if error.kind == "unsupported" and others:  # the model makes no answers
                    error.hint = f"Choose one: {' or '.join(others[:_MOST_OTHERS])}."
                raise
            except Exception as error:  # of httpx; its message may quote secrets
                _logger.exception("chat request")  # the log file leaves out the message
                sentence = "Streaming failed: lmchat had an internal error."
                raise LMChatError(sentence, details=type(error).__name__) from None
            finally:
                self._counters.add_end(state, (time.perf_counter() - started_s) * 1e3)

            self._preparer.keep_request_format(exchange.prepared)
            self.model_lists.mark_loaded(target)
            return finished

    @asynccontextmanager
    async def _loading_reports(self, exchange: Exchange) -> AsyncIterator[None]:
        prepared = exchange.prepared
        if not prepared.is_known_to_load:
            yield
            return
        target = prepared.request.target
        api = await self._new_api(target)
        loading = prepared.product.follow_loading(
            api,
            target.model_id,
            lambda fraction: exchange.post(ModelLoading(fraction=fraction)),
        )
        async with background_task(loading):
            yield

    def _timeouts_for(self, endpoint: Endpoint) -> TimeoutSettings:
        for configured in self._settings.endpoints:
            if configured.timeouts is None:
                continue
            if Endpoint.parse(configured.url).origin == endpoint.origin:
                return configured.timeouts
        return self._settings.timeouts


def _require_local(model: ModelInfo) -> None:
    """Raise `ServerRejected` for a remote model."""
    if not model.is_remote:
        return
    place = f" It runs at {safe_line(model.runs_at, limit=80)}." if model.runs_at else ""
    raise ServerRejected(
        f"{safe_line(model.model_id)} is a remote model: it is not in memory here.{place}",
        kind="unsupported",
        hint="Choose it with /model or -m; it needs no loading.",
    )
