"""Client of model servers, which joins the parts that hold most of the state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
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

from lmchat.base.errors import LMChatError, RequestInvalid, ServerRejected, ServerUnavailable
from lmchat.base.metrics import RateLimit
from lmchat.base.processes.background import background_task, end_tasks
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import Settings
from lmchat.core.servers.access import Access
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.discovery.scan import Scanner
from lmchat.core.servers.discovery.status import ServerState
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import (
    ModelLoading,
    ModelNamed,
    PromptProgress,
    RequestAdapted,
    RequestQueued,
    StreamEvent,
    StreamFinished,
)
from lmchat.core.servers.http.connections import Connections, KeySource, OneKey
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.local.kept_slot import kept_ids
from lmchat.core.servers.model import (
    LoadState,
    ModelInfo,
    find_model,
    has_other_name,
    is_other_model,
    similar_names,
)
from lmchat.core.servers.models import ServerModels
from lmchat.core.servers.products import product_named
from lmchat.core.servers.products.server_api import ModelMemory
from lmchat.core.servers.request import ChatRequest, ForwardedReply, ForwardedRequest
from lmchat.core.servers.sending.answer import answer
from lmchat.core.servers.sending.exchange import Exchange
from lmchat.core.servers.sending.forward import Forwarding
from lmchat.core.servers.sending.prepared_request import PreparedRequest
from lmchat.core.servers.sending.request_checks import RequestChecks
from lmchat.core.servers.sending.slots import ServerSlots
from lmchat.core.servers.stream.chunk_parser import prompt_progress
from lmchat.core.servers.stream.read_answer import EventQueue
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState, AnswerStats

COUNT_S = 2.0  # then an estimate is shown
END_THOUGHT_S = 2.0
# an older list is read again before a request that must not load a model: it may sleep by now
NO_WAKE_CHECK_S = 1.0
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
        headers_for: Callable[[Endpoint], Mapping[str, str]] = lambda _: {},
    ) -> None:
        """Nothing is connected yet; without `cache_file`, lists are kept in memory only.

        `reads_per_second` is how often near streams are read at most: the frame rate of the screen
        saves a quarter of their CPU time. The engine ends with this client. `transport` is for
        tests.
        """
        self._engine = engine
        connections = Connections(
            transport,
            ca_file=settings.ca_file,
            reads_per_second=reads_per_second,
            headers_for=headers_for,
        )
        keys = keys or OneKey()
        self._access = Access(
            settings=settings,
            connections=connections,
            keys=keys,
            allowed=AllowList(settings.allowed_hosts),
        )
        keys.may_get_any = self._access.may_get_any_key
        self.counters = self._access.counters
        self._checks = RequestChecks(self._access)
        self.model_lists = ModelLists(cache_file)
        self._scanner = Scanner(self._access, self.model_lists)
        self._slots = ServerSlots(self.model_lists)
        self.models = ServerModels(
            self._access, self._scanner, self.model_lists, self._slots, engine
        )
        self._noted_remote: set[tuple[Endpoint, str]] = set()  # that got a request

    def memory(self, target: Target) -> ModelMemory:
        return self._access.memories[target.endpoint].models[target.model_id]

    def _prepared(self, request: ChatRequest) -> PreparedRequest:
        return PreparedRequest.of(request, self.model_lists, self.memory(request.target))

    # Requests that want no answer

    async def count_tokens(self, request: ChatRequest) -> int | None:
        product = product_named(request.target.product)
        if not product.acts.count_path or await self._would_load(request.target):
            return None
        api = await self._access.api(request.target, read_s=COUNT_S)
        try:
            async with asyncio.timeout(COUNT_S):  # `read_s` leaves time for connecting besides
                return await product.count_tokens(api, self._prepared(request).json())
        except TimeoutError:
            return None

    async def read_ahead(self, request: ChatRequest) -> AsyncGenerator[PromptProgress, None]:
        # no slot, limit or counter: the user has sent nothing yet; nor is a model loaded
        if await self._would_load(request.target):
            raise ServerRejected(
                "The model is not in memory.",
                kind="model_not_loaded",
                next_step="Load it with /model.",
            )
        api = await self._access.api(request.target)
        fields = product_named(request.target.product).chat.read_ahead_fields
        body = {**self._prepared(request).json(), **fields}
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
                progress = prompt_progress(chunk)
                if progress is not None:
                    yield progress
        if not is_read:
            raise ServerUnavailable(
                "The server has not read the prompt to its end.",
                next_step="Check the server's log.",
            )

    async def prepare(self, request: ChatRequest) -> PreparedRequest:
        self._access.allowed.check(request.target.endpoint)
        prepared = self._prepared(request)
        endpoint = request.target.endpoint
        has_key = bool(await self._access.keys.key_for(endpoint))
        names = tuple(self._access.connections.headers_for(endpoint))
        return replace(prepared, has_key=has_key, header_names=names)

    # Answers

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Run the request in a task (R-28), which is cancelled if this generator is closed.

        None in the queue of events means that the task has ended; its error is raised then.
        """
        # a later probe asks for it first
        self._scanner.expect_product(request.target.endpoint, request.target.product)
        prepared = self._prepared(request)
        self._checks.admit(prepared)
        _logger.info("chat request to %s", request.target.endpoint.origin)
        for note in prepared.take_new_notes():
            yield RequestAdapted(note=note)
        events: EventQueue = asyncio.Queue()
        task = asyncio.create_task(self._run(prepared, events), name="chat request")
        task.add_done_callback(lambda _: events.put_nowait(None))
        repeats = product_named(request.target.product).chat.repeats_local_name
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, ModelNamed):
                    is_other = await self._find_whether_other(request, event.model)
                    event = replace(event, is_other=is_other)
                yield event
                events.task_done()  # for `read_answer`, which waits for a slow caller
                if (
                    isinstance(event, ModelNamed)
                    and event.is_other
                    and repeats
                    and self._take_first_away(request.target)
                ):
                    yield RequestAdapted(note="The prompt may have left this machine.")
            yield await task  # the `StreamFinished`, or the error of the task
        finally:
            await end_tasks(task)

    async def _find_whether_other(self, request: ChatRequest, served: str) -> bool:
        """Return whether another model of the server answers than the one asked for (R-40).

        A server with one model for all names may have started again with another one, so an unknown
        name has it asked for its list again.
        """
        endpoint = request.target.endpoint
        asked = request.target.model_id
        product = product_named(request.target.product)
        if product.chat.repeats_local_name and self._remote_model(request.target) is None:
            return served != asked
        listed = self.model_lists.models_of(endpoint) or ()
        is_known = find_model(served, listed) is not None or not has_other_name(asked, served)
        has_one_model = product.chat.ignores_model_name and not product.lists.is_disturbed
        if listed and not is_known and has_one_model:
            with suppress(LMChatError):
                listed = (await self.models.check(endpoint)).models
        return is_other_model(asked, served, listed)

    def _take_first_away(self, target: Target) -> bool:
        """Return True once for a model, for the note that a prompt leaves this machine."""
        key = (target.endpoint, target.model_id)
        is_first = key not in self._noted_remote
        self._noted_remote.add(key)
        return is_first

    def forward(
        self, request: ForwardedRequest, on_end: Callable[[AnswerState, AnswerStats], None]
    ) -> AbstractAsyncContextManager[ForwardedReply]:
        target = Target.of(request.model)
        self._checks.admit_forwarded(request)
        _logger.info("forwarded request: %d bytes to %s", len(request.body), target.endpoint.origin)
        forwarding = Forwarding(
            request=request,
            exchange=self._new_exchange(target),
            load_model=partial(self.models.load, request.model),
            on_end=on_end,
        )
        return forwarding.reply(self._slot(target))

    async def end_thought(self, target: Target, answer_id: str) -> bool:
        with suppress(LMChatError):
            api = await self._access.api(target, read_s=END_THOUGHT_S)
            return await product_named(target.product).end_thought(api, target.model_id, answer_id)
        return False

    # Limits and the end

    def allow(self, host: str) -> None:
        self._access.allowed.allow(host)

    def rate_limit(self) -> RateLimit:
        return self._checks.limiter.rate_limit()

    async def aclose(self) -> None:
        await self._access.connections.aclose()
        if self._engine is not None:
            await self._engine.stop()
        await self.model_lists.write()

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
        engine = self.models.engine_at(target.endpoint)
        return engine.serving(target.model_id, on_load, message_ids) if engine else nullcontext()

    # Steps of a request

    async def _would_load(self, target: Target) -> bool:
        """Return whether a request would make a server load or wake its model (R-29, R-41).

        True also for a remote model and an unknown state: the callers then send nothing. The engine
        loads the model at its start.
        """
        endpoint = target.endpoint
        if self._remote_model(target) is not None:
            return True
        loads_on_demand = product_named(target.product).acts.loads_on_demand
        if not loads_on_demand and self.models.engine_at(endpoint) is None:
            return False
        if self.model_lists.models_of(endpoint, max_age_s=NO_WAKE_CHECK_S) is None:
            await self.models.check(endpoint)
        model = self.model_lists.model(target)
        return model is None or model.state is not LoadState.LOADED

    async def _require_chosen(self, target: Target, post: Callable[[StreamEvent], None]) -> None:
        """Raise `RequestInvalid` for a model that has become remote since it was chosen.

        Before the first prompt to one that was chosen as remote, post a note.
        """
        await self.models.renew_list(target)
        remote = self._remote_model(target)
        if remote is None:
            return
        if not target.is_remote:
            raise RequestInvalid(
                f"The prompt was not sent: {safe_line(remote.model_id)} does not run on this "
                "machine any more.",
                next_step="Choose it again, or another model.",
                kind="model_missing",
            )
        if self._take_first_away(target):
            post(RequestAdapted(note=remote.remote_note))

    def _remote_model(self, target: Target) -> ModelInfo | None:
        """An unlisted model is judged by its name."""
        model = self.model_lists.model(target)
        if model is None:
            product = product_named(target.product)
            model = product.unlisted_model(target.endpoint, target.model_id)
        return model if model.is_remote else None

    def _new_exchange(
        self, target: Target, post: Callable[[StreamEvent], None] = lambda _: None
    ) -> Exchange:
        return Exchange(
            target=target,
            access=self._access,
            post=post,
            require_chosen=partial(self._require_chosen, target, post),
            lists_as_loading=partial(self._lists_as_loading, target),
        )

    async def _lists_as_loading(self, target: Target) -> bool:
        """Raise `LMChatError`."""
        if product_named(target.product).lists.is_disturbed:
            return False
        server = await self.models.check(target.endpoint)
        states = (model.state for model in server.models if model.model_id == target.model_id)
        return server.state is ServerState.LOADING or LoadState.LOADING in states

    async def _run(self, prepared: PreparedRequest, events: EventQueue) -> StreamFinished:
        """Turn an unexpected error into an `LMChatError`, which names only its type."""
        request = prepared.request
        post = events.put_nowait
        target = request.target
        async with self._slot(target, post, kept_ids(request)):
            self.counters.add(total_requests=1)
            started_s = time.perf_counter()
            state = AnswerState.FAILED
            try:
                async with background_task(self._report_loading(prepared, post)):
                    finished = await answer(self._new_exchange(target, post), prepared, events)
                state = AnswerState.COMPLETE
            except asyncio.CancelledError:
                state = AnswerState.STOPPED
                raise
            except LMChatError as error:
                _logger.info("chat request: %s", error.kind)
                if error.kind == "model_missing" and self.model_lists.model(target) is None:
                    listed = self.model_lists.models_of(target.endpoint) or ()
                    if similar := similar_names(target.model_id, listed):
                        error.next_step = f"Did you mean {safe_line(similar)}?"
                raise
            except Exception as error:  # of httpx; its message may quote secrets
                _logger.exception("chat request")  # the log file leaves out the message
                raise LMChatError(
                    "Streaming failed: lmchat had an internal error.", details=type(error).__name__
                ) from None
            finally:
                self.counters.add_end(state, (time.perf_counter() - started_s) * 1e3)

            prepared.keep_format()
            self.model_lists.mark_loaded(target)
            return finished

    async def _report_loading(
        self, prepared: PreparedRequest, post: Callable[[StreamEvent], None]
    ) -> None:
        if prepared.is_known_to_load:
            target = prepared.request.target
            api = await self._access.api(target)
            await prepared.product.follow_loading(
                api, target.model_id, lambda fraction: post(ModelLoading(fraction=fraction))
            )
