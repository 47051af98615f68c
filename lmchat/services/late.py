"""A backend made when first needed, in a thread: importing it costs more than the first paint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar, cast

from lmchat.domain.event import StreamEvent
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, ModelList
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.services.ports import Backend, SessionStore


class LateBackend:
    """Stands in for a `Backend` until `make` has made it; makes it once."""

    def __init__(self, make: Callable[[], Backend]) -> None:
        self._make = make
        self._made: Backend | None = None
        self._lock = asyncio.Lock()
        self._allowed: list[str] = []

    async def ready(self) -> Backend:
        """Return the real backend, making it off the event loop if need be."""
        async with self._lock:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
                for host in self._allowed:
                    self._made.allow(host)
            return self._made

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[Candidate, ...]:
        """Look at every known place at once."""
        return await (await self.ready()).detect(expected=expected)

    async def check(self, endpoint: Endpoint) -> Candidate:
        """Look at one place."""
        return await (await self.ready()).check(endpoint)

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        """List the models of one server."""
        return await (await self.ready()).models(endpoint, is_refresh=is_refresh)

    def cached_models(self) -> ModelList:
        """Return what is known without asking; nothing before the backend is made."""
        return ModelList(models=()) if self._made is None else self._made.cached_models()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn and yield its events."""
        async with aclosing((await self.ready()).stream(request)) as events:
            async for event in events:
                yield event

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Return the tokens of a request's prompt as its server counts them."""
        return await (await self.ready()).count_tokens(request)

    async def load(
        self,
        model: ModelInfo,
        *,
        context: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model."""
        await (await self.ready()).load(model, context=context, on_progress=on_progress)

    async def unload(self, model: ModelInfo) -> None:
        """Unload a model."""
        await (await self.ready()).unload(model)

    async def try_key(self, endpoint: Endpoint, key: str) -> Candidate:
        """Look at a place with a key that is not stored yet."""
        return await (await self.ready()).try_key(endpoint, key)

    def allow(self, host: str) -> None:
        """Put a host on the allow-list, for this run."""
        self._allowed.append(host)
        if self._made is not None:
            self._made.allow(host)

    def metrics(self) -> Metrics:
        """Return the counters."""
        return Metrics() if self._made is None else self._made.metrics()

    def budget(self) -> Budget | None:
        """Return what the limiter has left; None before the backend is made."""
        return None if self._made is None else self._made.budget()

    async def aclose(self) -> None:
        """Close it, if it was ever made."""
        if self._made is not None:
            await self._made.aclose()


StoreT = TypeVar("StoreT", bound=SessionStore)


class LateStore(Generic[StoreT]):
    """Stands in for a `SessionStore`; every method of one is awaited, so one rule passes them all on."""

    def __init__(self, make: Callable[[], StoreT]) -> None:
        self._make = make
        self._made: StoreT | None = None
        self._lock = asyncio.Lock()

    async def ready(self) -> StoreT:
        """Return the real store, making it off the event loop if need be."""
        async with self._lock:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made

    def as_store(self) -> SessionStore:
        """Return it as what it stands in for."""
        return cast("SessionStore", self)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: object, **options: object) -> Any:
            return await getattr(await self.ready(), name)(*arguments, **options)

        return call

    async def aclose(self) -> None:
        """Close it, if it was ever made."""
        if self._made is not None:
            await self._made.aclose()
