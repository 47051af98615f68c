"""All servers that can be asked: those that the proxy-client layer reaches, and the built-in engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, nullcontext

from msgspec.structs import replace

from lmchat.domain.engine import EngineState, ModelFile
from lmchat.domain.event import ModelLoading, RequestQueued, StreamEvent
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, ModelList, Verdict
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.services.ports import Engine, Lazy

STARTS_AGAIN = "The next request starts it again."
_EXIT_WAIT_S = 1.0  # a connection breaks before the system reports that the process has ended
_VERDICTS = {EngineState.OFF: Verdict.NO_MODEL, EngineState.CRASHED: Verdict.SERVER_ERROR}
_FACTS = (
    *("params", "quantization", "context_loaded", "context_max", "capabilities"),
    *("is_blind", "keeps_thoughts"),
)
"""Facts that the running engine tells where the file does not."""
_STATES = {EngineState.READY: LoadState.LOADED, EngineState.LOADING: LoadState.LOADING}


class Backend:
    """All servers; every coroutine method may raise `LMChatError`.

    Requests go to the proxy client, also those to the built-in engine, which is started first.
    """

    def __init__(
        self,
        make_client: Callable[[], Backend],
        engine: Lazy[Engine],
        *,
        used: Sequence[Endpoint] = (),
    ) -> None:
        """`make_client` makes a `ProxyClient`, which has the same methods, in a thread when it is needed.

        `used` are the addresses that were used before.
        """
        self._late = Lazy(make_client)
        self._client = self._late.port
        self._engine = engine
        self._used = tuple(used)
        self._recent: tuple[Endpoint, ...] = ()  # addresses used before that no scan would probe
        self._engine_models: tuple[ModelInfo, ...] = ()
        self._engine_lock = asyncio.Lock()
        """Held while the engine answers: another model is loaded afterwards."""

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[Candidate, ...]:
        found, engine = await self._scan(expected), self._engine.made
        if engine is None or engine.endpoint is None:
            return found
        others = [one for one in found if one.endpoint != engine.endpoint]
        return (await self._look_at(engine, engine.endpoint), *others)

    async def _scan(self, expected: Sequence[Endpoint]) -> tuple[Candidate, ...]:
        found = await self._client.detect(expected=(*expected, *self._recent))
        seen = {_place(one.endpoint) for one in found}
        others = tuple(one for one in self._used if _place(one) not in seen)
        self._used = ()
        if others:
            self._recent = others
            return await self._scan(expected)
        return tuple(
            replace(one, is_own=one.is_own and one.endpoint not in self._recent) for one in found
        )

    async def check(self, endpoint: Endpoint) -> Candidate:
        engine = self._engine_at(endpoint)
        return await (self._look_at(engine, endpoint) if engine else self._client.check(endpoint))

    async def try_key(self, endpoint: Endpoint, key: str) -> Candidate:
        return await self._client.try_key(endpoint, key)

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        if engine := self._engine_at(endpoint):
            return ModelList(
                models=(await self._look_at(engine, endpoint, is_refresh=is_refresh)).models
            )
        return await self._client.models(endpoint, is_refresh=is_refresh)

    def cached_models(self) -> ModelList:
        listed, engine = (
            self._client.cached_models() if self._late.made else ModelList(),
            self._engine.made,
        )
        if engine is None or engine.endpoint is None:
            return listed
        others = (one for one in listed.models if one.endpoint != engine.endpoint)
        return replace(listed, models=(*self._engine_models, *others))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn and yield its events; the last is `StreamFinished`. Close it with `aclosing`.

        The engine loads its model first, and is started again after a crash.
        """
        client, engine = await self._late.ready(), self._engine_at(request.endpoint)
        if engine and self._engine_lock.locked():
            yield RequestQueued()
        async with self._engine_lock if engine else nullcontext():
            if engine and not _serves(engine, request.model):
                yield ModelLoading()
                await self._start(engine, request.model)
            try:
                async with aclosing(client.stream(request)) as events:
                    async for event in events:
                        yield event
            except (ServerUnavailable, StreamInterrupted) as error:
                reason = await engine.why_crashed(_EXIT_WAIT_S) if engine else None
                if reason is None:
                    raise
                hint = f"{reason.hint} {STARTS_AGAIN}".lstrip()
                raise StreamInterrupted(
                    reason.message, hint=hint, details=reason.details
                ) from error

    async def count_tokens(self, request: ChatRequest) -> int | None:
        engine = self._engine_at(request.endpoint)
        if engine is not None and not _serves(engine, request.model):
            return None
        return await self._client.count_tokens(request)

    async def load(
        self,
        model: ModelInfo,
        *,
        context: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        if engine := self._engine_at(model.endpoint):
            async with self._engine_lock:
                await self._start(engine, model.model_id, context=context)
        else:
            await self._client.load(model, context=context, on_progress=on_progress)

    async def unload(self, model: ModelInfo) -> None:
        engine = self._engine_at(model.endpoint)
        await (engine.unload() if engine else self._client.unload(model))

    def allow(self, host: str) -> None:
        """Put a host on the allow-list that a request was refused for."""
        self._client.allow(host)

    def metrics(self) -> Metrics:
        return self._late.made.metrics() if self._late.made else Metrics()

    def budget(self) -> Budget | None:
        return self._late.made.budget() if self._late.made else None

    async def aclose(self) -> None:
        await self._late.aclose()
        if self._engine.made is not None:
            await self._engine.made.stop()

    def _engine_at(self, endpoint: Endpoint) -> Engine | None:
        engine = self._engine.made
        return engine if engine is not None and engine.endpoint == endpoint else None

    async def _start(self, engine: Engine, name: str, *, context: int | None = None) -> None:
        model = engine.model
        if model is None or model.name != name:
            model = next((one for one in await engine.files() if one.name == name), None)
        if model is None:
            words = f"There is no model {name} on this disk anymore."
            raise ServerRejected(
                words,
                kind="model_missing",
                hint="`lmchat models --local` lists them.",
            )
        await engine.start(model, context=context)

    async def _look_at(
        self, engine: Engine, endpoint: Endpoint, *, is_refresh: bool = False
    ) -> Candidate:
        files = list(await engine.files(is_refresh=is_refresh))
        if engine.model is not None and all(one.path != engine.model.path for one in files):
            files = [engine.model, *(one for one in files if one.name != engine.model.name)]
        is_up = engine.state is EngineState.READY
        seen = await self._client.check(endpoint) if is_up else None
        if seen is None or not seen.verdict.is_server:
            reason = await engine.why_crashed()
            seen = Candidate(
                endpoint=endpoint,
                product=Product.BUILT_IN,
                verdict=_VERDICTS.get(engine.state, Verdict.LOADING),
                detail=reason.message if reason else "",
                next_step=(reason.hint or STARTS_AGAIN) if reason else "",
            )
        told = next(iter(seen.models), None)
        self._engine_models = tuple(_model(one, endpoint, engine, told) for one in files)
        step = seen.next_step if seen.verdict is not Verdict.NO_MODEL else "Choose a model file"
        return replace(
            seen, product=Product.BUILT_IN, models=self._engine_models, next_step=step, is_own=True
        )


def _place(endpoint: Endpoint) -> tuple[bool | str, int]:
    return endpoint.is_loopback or endpoint.host, endpoint.port


def _serves(engine: Engine, name: str) -> bool:
    return (
        engine.state is EngineState.READY and engine.model is not None and engine.model.name == name
    )


def _model(
    file: ModelFile, endpoint: Endpoint, engine: Engine, told: ModelInfo | None
) -> ModelInfo:
    state = LoadState.NOT_LOADED
    if engine.model is not None and engine.model.path == file.path:
        state = _STATES.get(engine.state, LoadState.NOT_LOADED)
    model = file.info(endpoint, state)
    if told is None or state is not LoadState.LOADED or told.model_id != file.name:
        return model
    return replace(model, **{name: getattr(model, name) or getattr(told, name) for name in _FACTS})
