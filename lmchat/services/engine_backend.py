"""Backend that is made late, with the built-in engine among its servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

from msgspec.structs import replace

from lmchat.domain.engine import EngineState, ModelFile
from lmchat.domain.event import ModelLoading, StreamEvent
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, ModelList, Product, Verdict
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.services.ports import Backend, Engine, Late

STARTS_AGAIN = "The next try starts it again."
_EXIT_WAIT_S = 1.0
"""A connection breaks before the system reports that the process has ended."""
_VERDICTS = {EngineState.OFF: Verdict.NO_MODEL, EngineState.CRASHED: Verdict.SERVER_ERROR}
_TOLD = ("params", "quantization", "context_loaded", "context_max", "capabilities")
"""Facts that the running engine tells where the file does not."""
_STATES = {EngineState.READY: LoadState.LOADED, EngineState.LOADING: LoadState.LOADING}


class EngineBackend:
    """Backend that is made when it is first needed, with the built-in engine among its servers."""

    def __init__(self, make: Callable[[], Backend], engine: Callable[[], Engine | None]) -> None:
        """`engine` returns the built-in engine as soon as there is one."""
        self._late = Late(make)
        self._allowed: list[str] = []
        self._engine = engine
        self._last: tuple[ModelInfo, ...] = ()
        self._streams = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def port(self) -> Backend:
        return cast("Backend", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._late, name)

    async def ready(self) -> Backend:
        """Make the backend, and return this one."""
        await self._made()
        return self.port

    async def _made(self) -> Backend:
        backend = await self._late.ready()
        while self._allowed:
            backend.allow(self._allowed.pop())
        return backend

    def allow(self, host: str) -> None:
        if self._late.made is None:
            self._allowed.append(host)
        else:
            self._late.made.allow(host)

    def metrics(self) -> Metrics:
        return self._late.made.metrics() if self._late.made else Metrics()

    def budget(self) -> Budget | None:
        return self._late.made.budget() if self._late.made else None

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[Candidate, ...]:
        backend = await self._made()
        found, engine = await backend.detect(expected=expected), self._engine()
        if engine is None or engine.endpoint is None:
            return found
        others = [one for one in found if one.endpoint != engine.endpoint]
        return (await self._look_at(engine, engine.endpoint), *others)

    async def check(self, endpoint: Endpoint) -> Candidate:
        backend, engine = await self._at(endpoint)
        return await (self._look_at(engine, endpoint) if engine else backend.check(endpoint))

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        backend, engine = await self._at(endpoint)
        if engine is None:
            return await backend.models(endpoint, is_refresh=is_refresh)
        return ModelList(models=(await self._look_at(engine, endpoint, is_refresh=is_refresh)).models)

    def cached_models(self) -> ModelList:
        if self._late.made is None:
            return ModelList(models=())
        listed, engine = self._late.made.cached_models(), self._engine()
        if engine is None or engine.endpoint is None:
            return listed
        others = (one for one in listed.models if one.endpoint != engine.endpoint)
        return replace(listed, models=(*self._last, *others))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn, after the engine has loaded its model, which also restarts a crashed engine.

        Raises:
            EngineUnavailable: it cannot be started.
            StreamInterrupted: it has crashed; also whatever the real backend raises.
        """
        backend, engine = await self._at(request.endpoint)
        if engine is not None and not _serves(engine, request.model):
            yield ModelLoading()
            await self._start(engine, request.model)
        self._streams += engine is not None
        self._settle()
        try:
            async with aclosing(backend.stream(request)) as events:
                async for event in events:
                    yield event
        except (ServerUnavailable, StreamInterrupted) as error:
            reason = await engine.why_crashed(_EXIT_WAIT_S) if engine else None
            if reason is None:
                raise
            hint = f"{reason.hint} {STARTS_AGAIN}".lstrip()
            raise StreamInterrupted(reason.message, hint=hint, details=reason.details) from error
        finally:
            self._streams -= engine is not None
            self._settle()

    def _settle(self) -> None:
        (self._is_idle.clear if self._streams else self._is_idle.set)()

    async def count_tokens(self, request: ChatRequest) -> int | None:
        backend, engine = await self._at(request.endpoint)
        if engine is not None and not _serves(engine, request.model):
            return None
        return await backend.count_tokens(request)

    async def load(
        self,
        model: ModelInfo,
        *,
        context: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model; the engine does so when no answer is running on it any more."""
        backend, engine = await self._at(model.endpoint)
        if engine is None:
            await backend.load(model, context=context, on_progress=on_progress)
        else:
            await self._start(engine, model.model_id, context=context)

    async def unload(self, model: ModelInfo) -> None:
        backend, engine = await self._at(model.endpoint)
        await (engine.unload() if engine else backend.unload(model))

    async def aclose(self) -> None:
        await self._late.aclose()
        if self._late.made is not None and (engine := self._engine()):
            await engine.stop()

    async def _at(self, endpoint: Endpoint) -> tuple[Backend, Engine | None]:
        """Return the backend, and the engine where the address is that of the engine."""
        backend, engine = await self._made(), self._engine()
        return backend, engine if engine is not None and engine.endpoint == endpoint else None

    async def _start(self, engine: Engine, name: str, *, context: int | None = None) -> None:
        model = engine.model
        await self._is_idle.wait()
        if model is None or model.name != name:
            model = next((one for one in await engine.files() if one.name == name), None)
        if model is None:
            words = f"There is no model {name} on this disk any more."
            raise ServerRejected(words, kind="model_missing", hint="Ctrl+O lists what there is.")
        await engine.start(model, context=context)

    async def _look_at(self, engine: Engine, endpoint: Endpoint, *, is_refresh: bool = False) -> Candidate:
        files = list(await engine.files(is_refresh=is_refresh))
        if engine.model is not None and all(one.path != engine.model.path for one in files):
            files = [engine.model, *(one for one in files if one.name != engine.model.name)]
        seen = await (await self._made()).check(endpoint) if _is_up(engine) else None
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
        self._last = tuple(_model(one, endpoint, engine, told) for one in files)
        step = seen.next_step if seen.verdict is not Verdict.NO_MODEL else "Choose a model file"
        return replace(seen, product=Product.BUILT_IN, models=self._last, next_step=step, is_own=True)


def _is_up(engine: Engine) -> bool:
    return engine.state is EngineState.READY


def _serves(engine: Engine, name: str) -> bool:
    return _is_up(engine) and engine.model is not None and engine.model.name == name


def _model(file: ModelFile, endpoint: Endpoint, engine: Engine, told: ModelInfo | None) -> ModelInfo:
    state = LoadState.NOT_LOADED
    if engine.model is not None and engine.model.path == file.path:
        state = _STATES.get(engine.state, LoadState.NOT_LOADED)
    model = file.info(endpoint, state)
    if told is None or state is not LoadState.LOADED or told.model_id != file.name:
        return model
    return replace(model, **{name: getattr(model, name) or getattr(told, name) for name in _TOLD})
