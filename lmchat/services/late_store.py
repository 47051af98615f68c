"""A store that is made when it is first needed, in a thread: importing SQLite and ours costs 20 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

from lmchat.services.ports import SessionStore

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
