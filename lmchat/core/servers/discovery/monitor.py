"""Periodic check of the server in use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.errors import LMChatError
from lmchat.core.servers.discovery.status import Next, ServerHealth, ServerState, ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.products import product_named
from lmchat.core.servers.target import Target

POLL_S = 5.0
LATENCY_COUNT = 32


class Monitor(Struct, eq=False):
    """Periodic check of the server in use, except while an answer streams (R-29).

    `aim` says which server is in use, `watch` checks it, `health` has the results.
    """

    _probe: Callable[[Endpoint], Awaitable[ServerStatus]]
    clock: Callable[[], float] = time.monotonic
    pause_s: float = POLL_S  # between two checks
    health: ServerHealth = ServerHealth()
    """Result of the last check; the next check is of its server and model."""
    next_check_s: float | None = None  # monotonic time; None during a check
    _is_streaming: bool = False
    _has_refused: bool = False  # the last check, since the last answer
    _is_check_due: asyncio.Event = field(default_factory=asyncio.Event)

    def aim(self, target: Target | None) -> None:
        """Let `watch` check the server of this target, for the first time at once.

        If only the model is another one, `health` keeps the results of earlier checks.
        """
        old = self.health
        is_same_server = (
            target is not None and old.target is not None and target.endpoint == old.target.endpoint
        )
        self.health = replace(old if is_same_server else ServerHealth(), target=target)
        if target is not None:
            self.check_now()

    def check_now(self) -> None:
        """End the pause of `watch`."""
        self._is_check_due.set()

    def note_streaming(self, *, is_streaming: bool) -> None:
        self._is_streaming = is_streaming
        self._has_refused = False

    async def watch(self) -> AsyncGenerator[ServerHealth, None]:
        """While an answer streams, only the first check is made."""
        while True:
            self._is_check_due.clear()  # before the check: `check_now` during it asks for another
            target = self.health.target
            is_paused = self._is_streaming and self.health.status is not None
            if target is None or is_paused:
                self.next_check_s = self.clock() + self.pause_s
            else:
                self.next_check_s = None
                await self._check(target)
                self.next_check_s = self.clock() + self.pause_s
                yield self.health
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pause_s):
                    await self._is_check_due.wait()

    async def _check(self, asked: Target) -> None:
        """Drop the result if `aim` has named another server by then."""
        try:
            server = await self._probe(asked.endpoint)
        except LMChatError as error:
            server = ServerStatus(
                endpoint=asked.endpoint,
                product=asked.product,
                reason="server_error",
                detail=error.message,
                next_step=error.next_step,
            )
        current = self.health  # another model may have been chosen during the check
        target = current.target
        if target is None or target.endpoint != asked.endpoint:
            return
        # one refused list says less than the answers and lists around it
        is_first = not self._has_refused
        self._has_refused = server.state is ServerState.REFUSES
        was_usable = current.status is not None and current.status.state.is_usable
        if self._has_refused and is_first and was_usable:
            return
        model = _model_after(server, target.model)
        if model is not None and model.is_remote and server.state is ServerState.NO_MODEL:
            server = replace(server, reason="")  # it answers, although not from here
        has_list = server.state.is_usable
        # only a model server tells its product
        product = server.product if server.is_model_server else target.product
        is_unlisted = model is not None and model.state is LoadState.UNKNOWN
        if (
            is_unlisted
            and server.action in (Next.NAME, Next.PULL)
            and (has_list or current.seen_s is None)
        ):
            server = replace(server, reason="")  # it never listed one: its chat decides
        latency_ms = server.latency_ms if server.state.is_usable else None
        is_same = current.status is not None and current.status.word == server.word
        self.health = ServerHealth(
            target=replace(target, product=product, model=model),
            status=server,
            since_s=current.since_s if is_same else self.clock(),
            latencies_ms=(*current.latencies_ms, latency_ms)[-LATENCY_COUNT:],
            seen_s=self.clock() if has_list else current.seen_s,
        )


def _model_after(server: ServerStatus, used: ModelInfo | None) -> ModelInfo | None:
    """Return the model in use as the server lists it.

    It stays as it was if the server lists none. If it is not listed, its state is unknown, unless
    it is remote.
    """
    if used is None or not server.models:
        return used
    for model in server.models:
        if model.model_id == used.model_id:
            return model
    # llama-server answers with its one model to any name, so it may list it under another one; in
    # other states than these, the list is that of a router, which heeds names
    if product_named(server.product).chat.ignores_model_name and len(server.models) == 1:
        only_model = server.models[0]
        if only_model.state in (LoadState.LOADED, LoadState.ASLEEP):
            return only_model
    return used if used.is_remote else replace(used, state=LoadState.UNKNOWN)
