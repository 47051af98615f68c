"""Time limits of one tool server, which wait while the user answers a question about it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from lmchat.core.tools.calls import ToolHost
from lmchat.core.tools.questions import ServerQuestion


class WaitingLimits(Struct, eq=False):
    """Asks the user about a server. While a question waits, no limit runs."""

    _host: ToolHost  # shared by all servers: a front end has one question at a time
    _limits: dict[Any, float] = {}  # scopes of anyio, with their seconds
    _questions: set[asyncio.Future[Any]] = set()  # that wait for the user

    @contextmanager
    def limited(self, seconds: float) -> Iterator[Any]:
        """Raise `TimeoutError` after this time; the user's time for answers does not count.

        Yield the limit, of anyio and not of asyncio: the SDK cancels with anyio, too.
        """
        import anyio

        with anyio.fail_after(seconds) as limit:
            self._limits[limit] = seconds
            try:
                yield limit
            finally:
                del self._limits[limit]

    def restart(self, limit: Any, seconds: float) -> None:
        """Start a limit again with another time; `inf` is none."""
        import anyio

        self._limits[limit] = seconds
        limit.deadline = math.inf if self._questions else anyio.current_time() + seconds

    def _restart_limits(self) -> None:
        for limit, seconds in self._limits.items():
            self.restart(limit, seconds)

    async def ask(
        self, question: ServerQuestion, then: Callable[[], Awaitable[Any]] | None = None
    ) -> Any:
        """Return whether the answer is yes, or the result of `then`, which is awaited after a yes.

        False, too, if nothing can ask or the call stops.
        """
        asked = asyncio.ensure_future(self._answer_of_user(question, then))
        self._questions.add(asked)
        self._restart_limits()
        try:
            await asyncio.wait([asked])
            return not asked.cancelled() and asked.result()
        finally:
            asked.cancel()
            self._questions.remove(asked)
            self._restart_limits()

    async def _answer_of_user(
        self, question: ServerQuestion, then: Callable[[], Awaitable[Any]] | None
    ) -> Any:
        async with self._host.is_asking:
            ask = self._host.ask_user
            is_yes = ask is not None and await ask(question)
            return await then() if is_yes and then is not None else is_yes

    def decline_all(self) -> None:
        """Take a no for the answer to all questions; else the next prompt would wait for them."""
        for asked in self._questions:
            asked.cancel()
