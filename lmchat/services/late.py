"""Objects that are made in a thread when first needed: their imports cost more than the first paint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar, cast

from lmchat.domain.event import StreamEvent
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import ModelList
from lmchat.domain.telemetry import Metrics
from lmchat.services.ports import Backend

MadeT = TypeVar("MadeT")


class Late(Generic[MadeT]):
    """Object that is made once, in a thread, when it is first needed.

    Its coroutine methods can be called on this one, which makes it if need be. `before` holds what stands in
    for its other methods until it is made.
    """

    def __init__(
        self, make: Callable[[], MadeT], *, before: Mapping[str, Callable[..., object]] | None = None
    ) -> None:
        self._make = make
        self._before = before or {}
        self._lock = asyncio.Lock()
        self.made: MadeT | None = None
        """The object, once it is made."""

    async def ready(self) -> MadeT:
        """Return the object, making it if need be."""
        async with self._lock:
            if self.made is None:
                self.made = await asyncio.to_thread(self._make)
            return self.made

    @property
    def port(self) -> MadeT:
        """This one, typed as the object it stands in for."""
        return cast("MadeT", self)

    def __getattr__(self, name: str) -> Any:
        if self.made is not None:
            return getattr(self.made, name)
        if name in self._before:
            return self._before[name]

        async def call(*arguments: object, **options: object) -> Any:
            return await getattr(await self.ready(), name)(*arguments, **options)

        return call

    async def aclose(self) -> None:
        """Close the object if it was made."""
        if self.made is not None:
            await cast("Any", self.made).aclose()


def late_backend(make: Callable[[], Backend]) -> Late[Backend]:
    """Return a backend that `make` makes when it is first needed; hosts can be allowed before."""
    allowed: list[str] = []

    def make_and_allow() -> Backend:
        backend = make()
        for host in allowed:
            backend.allow(host)
        return backend

    async def stream(request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        async with aclosing((await late.ready()).stream(request)) as events:
            async for event in events:
                yield event

    late = Late(
        make_and_allow,
        before={
            "stream": stream,
            "allow": allowed.append,
            "cached_models": lambda: ModelList(models=()),
            "metrics": Metrics,
            "budget": lambda: None,
        },
    )
    return late
