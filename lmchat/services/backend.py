"""All servers: those that the proxy client reaches, and the built-in engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from lmchat.domain.engine import EngineState, ModelFile
from lmchat.domain.event import ModelLoading, RequestQueued, StreamEvent
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, ModelList, Verdict
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.services.ports import Engine, Lazy, ServerClient

STARTS_AGAIN = "The next request starts it again."
_EXIT_WAIT_S = 1.0  # a connection breaks before the system reports that the process has ended
_VERDICTS = {EngineState.OFF: Verdict.NO_MODEL, EngineState.CRASHED: Verdict.SERVER_ERROR}
_LOAD_STATES = {EngineState.READY: LoadState.LOADED, EngineState.LOADING: LoadState.LOADING}
_SERVED_FACTS = (
    *("params", "quantization", "context_loaded", "context_max", "capabilities"),
    *("is_blind", "keeps_thoughts"),
)
"""Facts of a model that the running engine tells, if its file does not."""


class Backend:
    """The `ServerClient` of all servers; also starts the engine before a request to it."""

    def __init__(
        self,
        make_client: Callable[[], ServerClient],
        engine: Lazy[Engine],
        *,
        used: Sequence[Endpoint] = (),
    ) -> None:
        """`make_client` is called in a thread, when it is needed.

        `used` are the addresses that were used before.
        """
        self._client = Lazy(make_client)
        self._engine = engine
        self._used = tuple(used)
        self._recent: tuple[Endpoint, ...] = ()  # addresses used before that no scan would probe
        self._engine_models: tuple[ModelInfo, ...] = ()
        self._engine_lock = asyncio.Lock()
        """Held while the engine answers: another model is loaded afterwards."""

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[Candidate, ...]:
        candidates = await self._scan(expected)
        engine = self._engine.made
        if engine is None or engine.endpoint is None:
            return candidates
        others = [found for found in candidates if found.endpoint != engine.endpoint]
        return (await self._check_engine(engine, engine.endpoint), *others)

    async def _scan(self, expected: Sequence[Endpoint]) -> tuple[Candidate, ...]:
        """Probe the usual addresses, and from the first scan on those that were used before."""
        client = await self._client.ready()
        found = await client.detect(expected=(*expected, *self._recent))
        probed = {candidate.endpoint.canonical for candidate in found}
        unprobed = tuple(used for used in self._used if used.canonical not in probed)
        self._used = ()
        if unprobed:
            self._recent = unprobed
            return await self._scan(expected)
        candidates: list[Candidate] = []
        for candidate in found:
            is_own = candidate.is_own and candidate.endpoint not in self._recent
            candidates.append(replace(candidate, is_own=is_own))
        return tuple(candidates)

    async def check(self, endpoint: Endpoint) -> Candidate:
        if engine := self._engine_at(endpoint):
            return await self._check_engine(engine, endpoint)
        return await (await self._client.ready()).check(endpoint)

    async def try_key(self, endpoint: Endpoint, key: str) -> Candidate:
        return await (await self._client.ready()).try_key(endpoint, key)

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        if engine := self._engine_at(endpoint):
            candidate = await self._check_engine(engine, endpoint, is_refresh=is_refresh)
            return ModelList(models=candidate.models)
        return await (await self._client.ready()).models(endpoint, is_refresh=is_refresh)

    def cached_models(self) -> ModelList:
        client = self._client.made
        engine = self._engine.made
        listed = client.cached_models() if client else ModelList()
        if engine is None or engine.endpoint is None:
            return listed
        others = [model for model in listed.models if model.endpoint != engine.endpoint]
        return replace(listed, models=(*self._engine_models, *others))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn and yield its events; close it with `aclosing`."""
        client = await self._client.ready()
        engine = self._engine_at(request.endpoint)
        stream = client.stream(request)
        if engine is not None:
            stream = self._stream_of_engine(engine, request, stream)
        async with aclosing(stream) as events:
            async for event in events:
                yield event

    async def _stream_of_engine(
        self, engine: Engine, request: ChatRequest, stream: AsyncGenerator[StreamEvent, None]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of a stream after the engine has loaded its model.

        After a crash the engine is started again.
        """
        if self._engine_lock.locked():
            yield RequestQueued()
        async with self._engine_lock, aclosing(stream) as events:
            if not _serves(engine, request.model):
                yield ModelLoading()
                await self._start(engine, request.model)
            try:
                async for event in events:
                    yield event
            except (ServerUnavailable, StreamInterrupted) as error:
                reason = await engine.why_crashed(_EXIT_WAIT_S)
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
        return await (await self._client.ready()).count_tokens(request)

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
            client = await self._client.ready()
            await client.load(model, context=context, on_progress=on_progress)

    async def unload(self, model: ModelInfo) -> None:
        if engine := self._engine_at(model.endpoint):
            await engine.unload()
        else:
            await (await self._client.ready()).unload(model)

    def allow(self, host: str) -> None:
        if client := self._client.made:  # it has refused the host before
            client.allow(host)

    def metrics(self) -> Metrics:
        client = self._client.made
        return client.metrics() if client else Metrics()

    def budget(self) -> Budget | None:
        client = self._client.made
        return client.budget() if client else None

    async def aclose(self) -> None:
        if client := self._client.made:
            await client.aclose()
        if engine := self._engine.made:
            await engine.stop()

    def _engine_at(self, endpoint: Endpoint) -> Engine | None:
        engine = self._engine.made
        return engine if engine is not None and engine.endpoint == endpoint else None

    async def _start(self, engine: Engine, name: str, *, context: int | None = None) -> None:
        file = engine.model
        if file is None or file.name != name:
            files = {file.name: file for file in await engine.files()}
            file = files.get(name)
        if file is None:
            raise ServerRejected(
                f"There is no model {name} on this disk anymore.",
                kind="model_missing",
                hint="`lmchat models --local` lists them.",
            )
        await engine.start(file, context=context)

    async def _check_engine(
        self, engine: Engine, endpoint: Endpoint, *, is_refresh: bool = False
    ) -> Candidate:
        files = list(await engine.files(is_refresh=is_refresh))
        serving = engine.model
        if serving is not None and all(file.path != serving.path for file in files):
            files = [serving, *(file for file in files if file.name != serving.name)]

        seen: Candidate | None = None
        if engine.state is EngineState.READY:
            seen = await (await self._client.ready()).check(endpoint)
        if seen is None or not seen.verdict.is_server:
            seen = await _unreachable(engine, endpoint)
        served = seen.models[0] if seen.models else None
        models = tuple(_model(file, endpoint, engine, served) for file in files)
        self._engine_models = models
        step = "Choose a model file" if seen.verdict is Verdict.NO_MODEL else seen.next_step
        return replace(seen, product=Product.BUILT_IN, models=models, next_step=step, is_own=True)


async def _unreachable(engine: Engine, endpoint: Endpoint) -> Candidate:
    """Return the candidate of an engine that does not answer requests."""
    reason = await engine.why_crashed()
    candidate = Candidate(
        endpoint=endpoint,
        product=Product.BUILT_IN,
        verdict=_VERDICTS.get(engine.state, Verdict.LOADING),
    )
    if reason is None:
        return candidate
    return replace(candidate, detail=reason.message, next_step=reason.hint or STARTS_AGAIN)


def _serves(engine: Engine, name: str) -> bool:
    model = engine.model
    return engine.state is EngineState.READY and model is not None and model.name == name


def _model(
    file: ModelFile, endpoint: Endpoint, engine: Engine, served: ModelInfo | None
) -> ModelInfo:
    state = LoadState.NOT_LOADED
    if engine.model is not None and engine.model.path == file.path:
        state = _LOAD_STATES.get(engine.state, LoadState.NOT_LOADED)
    model = file.info(endpoint, state)
    if served is None or state is not LoadState.LOADED or served.model_id != file.name:
        return model
    missing = [name for name in _SERVED_FACTS if not getattr(model, name)]
    return replace(model, **{name: getattr(served, name) for name in missing})
