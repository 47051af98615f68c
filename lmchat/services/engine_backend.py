"""A backend with the built-in engine among its servers: one like any other, but started here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from lmchat.domain.engine import EngineState, ModelFile
from lmchat.domain.event import ModelLoading, StreamEvent
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, ModelList, Product, Verdict
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import LMChatError, ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.services.ports import Backend, Engine

STARTS_AGAIN = "The next try starts it again."
_ENDED_WAIT_S = 1.0
"""A connection breaks before the system tells that the process has ended."""
_VERDICTS = {EngineState.OFF: Verdict.NO_MODEL, EngineState.CRASHED: Verdict.SERVER_ERROR}


class EngineBackend:
    """Passes everything on to the real backend; what concerns the engine's address is filled up."""

    def __init__(self, backend: Backend, engine: Callable[[], Engine | None]) -> None:
        """`engine` returns the engine, or None as long as nobody has wanted it."""
        self._backend = backend
        self._engine = engine
        self._last: tuple[ModelInfo, ...] = ()
        self._streams = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[Candidate, ...]:
        """Look at every known place; the engine comes first where it was started."""
        found = await self._backend.detect(expected=expected)
        engine = self._engine()
        if engine is None or engine.endpoint is None:
            return found
        others = [one for one in found if one.endpoint != engine.endpoint]
        return (await self._look_at(engine, engine.endpoint), *others)

    async def check(self, endpoint: Endpoint) -> Candidate:
        """Look at one place."""
        engine = self._engine_at(endpoint)
        return await (self._backend.check(endpoint) if engine is None else self._look_at(engine, endpoint))

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        """List the models of one server; the engine can serve every file of this disk."""
        engine = self._engine_at(endpoint)
        if engine is None:
            return await self._backend.models(endpoint, is_refresh=is_refresh)
        return ModelList(models=(await self._look_at(engine, endpoint, is_refresh=is_refresh)).models)

    def cached_models(self) -> ModelList:
        """Return what is known of all servers without asking any."""
        listed, engine = self._backend.cached_models(), self._engine()
        if engine is None or engine.endpoint is None:
            return listed
        others = (one for one in listed.models if one.endpoint != engine.endpoint)
        return replace(listed, models=(*self._last, *others))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn; an engine that has crashed is started again for it, one with another model loads it.

        Raises:
            EngineUnavailable: it cannot be started.
            StreamInterrupted: it has crashed meanwhile; also whatever the real backend raises.
        """
        engine = self._engine_at(request.endpoint)
        if engine is not None and not _serves(engine, request.model):
            yield ModelLoading()
            await self._start(engine, request.model)
        try:
            self._begin_stream(engine)
            async with aclosing(self._backend.stream(request)) as events:
                async for event in events:
                    yield event
        except (ServerUnavailable, StreamInterrupted) as error:
            reason = None if engine is None else await engine.why_crashed(_ENDED_WAIT_S)
            if reason is None:
                raise
            hint = f"{reason.hint} {STARTS_AGAIN}".lstrip()
            raise StreamInterrupted(reason.message, hint=hint, details=reason.details) from error
        finally:
            self._end_stream(engine)

    def _begin_stream(self, engine: Engine | None) -> None:
        if engine is not None:
            self._streams += 1
            self._is_idle.clear()

    def _end_stream(self, engine: Engine | None) -> None:
        if engine is not None:
            self._streams -= 1
            if not self._streams:
                self._is_idle.set()

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Return the tokens of a request's prompt; None where another model than asked is served, or none."""
        engine = self._engine_at(request.endpoint)
        if engine is not None and not _serves(engine, request.model):
            return None
        return await self._backend.count_tokens(request)

    async def load(
        self,
        model: ModelInfo,
        *,
        context: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model; the engine serves it in place of what it served before, once no answer runs there."""
        engine = self._engine_at(model.endpoint)
        if engine is None:
            await self._backend.load(model, context=context, on_progress=on_progress)
        else:
            await self._start(engine, model.model_id, context=context)

    async def unload(self, model: ModelInfo) -> None:
        """Unload a model."""
        engine = self._engine_at(model.endpoint)
        await (self._backend.unload(model) if engine is None else engine.unload())

    async def try_key(self, endpoint: Endpoint, key: str) -> Candidate:
        """Look at a place with a key that is not stored yet."""
        return await self._backend.try_key(endpoint, key)

    def allow(self, host: str) -> None:
        """Put a host on the allow-list, for this run."""
        self._backend.allow(host)

    def metrics(self) -> Metrics:
        """Return the counters."""
        return self._backend.metrics()

    def budget(self) -> Budget | None:
        """Return what the limiter has left."""
        return self._backend.budget()

    async def aclose(self) -> None:
        """Close all connections, and end the engine."""
        await self._backend.aclose()
        engine = self._engine()
        if engine is not None:
            await engine.stop()

    def _engine_at(self, endpoint: Endpoint) -> Engine | None:
        engine = self._engine()
        return engine if engine is not None and engine.endpoint == endpoint else None

    async def _start(self, engine: Engine, name: str, *, context: int | None = None) -> None:
        model = engine.model
        await self._is_idle.wait()
        if model is None or model.name != name:
            model = next((one for one in await engine.files() if one.name == name), None)
        if model is None:
            raise ServerRejected(
                f"There is no model {name} on this disk any more.",
                kind="model_missing",
                hint="Ctrl+O lists what there is.",
            )
        await engine.start(model, context=context)

    async def _look_at(self, engine: Engine, endpoint: Endpoint, *, is_refresh: bool = False) -> Candidate:
        files = await engine.files(is_refresh=is_refresh)
        seen = await self._answer(endpoint, is_refresh=is_refresh) if _is_up(engine) else None
        if seen is None:
            seen = await _without_answer(engine, endpoint)
        told = next(iter(seen.models), None)
        models = tuple(_model(one, endpoint, engine, told) for one in _with_served(files, engine.model))
        step = seen.next_step if seen.verdict is not Verdict.NO_MODEL else "Choose a model file"
        self._last = models
        return replace(seen, product=Product.BUILT_IN, models=models, next_step=step, is_own=True)

    async def _answer(self, endpoint: Endpoint, *, is_refresh: bool) -> Candidate | None:
        """Ask the engine itself; None where it does not answer."""
        if is_refresh:
            try:
                await self._backend.models(endpoint, is_refresh=True)
            except LMChatError:
                return None
        seen = await self._backend.check(endpoint)
        return seen if seen.verdict.is_server else None


def _is_up(engine: Engine) -> bool:
    return engine.state is EngineState.READY


def _serves(engine: Engine, name: str) -> bool:
    return _is_up(engine) and engine.model is not None and engine.model.name == name


async def _without_answer(engine: Engine, endpoint: Endpoint) -> Candidate:
    """Return what can be told of an engine that does not answer."""
    reason = await engine.why_crashed()
    return Candidate(
        endpoint=endpoint,
        product=Product.BUILT_IN,
        verdict=_VERDICTS.get(engine.state, Verdict.LOADING),
        detail=reason.message if reason else "",
        next_step=(reason.hint or STARTS_AGAIN) if reason else "",
    )


def _with_served(files: tuple[ModelFile, ...], served: ModelFile | None) -> tuple[ModelFile, ...]:
    """Return the files, the served one among them even where it lies elsewhere."""
    if served is None or any(one.path == served.path for one in files):
        return files
    return (served, *(one for one in files if one.name != served.name))


def _model(file: ModelFile, endpoint: Endpoint, engine: Engine, told: ModelInfo | None) -> ModelInfo:
    """Return a file as a model of the engine, with what the engine itself told of the one that it serves."""
    state = LoadState.NOT_LOADED
    if engine.model is not None and engine.model.path == file.path:
        state = _STATES.get(engine.state, LoadState.NOT_LOADED)
    known = told if told is not None and state is LoadState.LOADED and told.model_id == file.name else None
    model = file.info(endpoint, state)
    if known is None:
        return model
    return replace(
        model,
        params=known.params,
        quantization=model.quantization or known.quantization,
        context_loaded=known.context_loaded,
        context_max=model.context_max or known.context_max,
        capabilities=known.capabilities,
    )


_STATES = {EngineState.READY: LoadState.LOADED, EngineState.LOADING: LoadState.LOADING}
