"""Periodic check of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from msgspec.structs import replace

from lmchat.domain.server import Candidate, LoadState, ModelInfo, Target, Verdict
from lmchat.domain.telemetry import Health
from lmchat.errors import LMChatError
from lmchat.services.ports import ServerClient

POLL_S = 5.0
AWAY_POLL_S = 10.0  # while the terminal has no focus
KEPT_LATENCIES = 32


class Monitor:
    """Periodic check of one server, except while an answer streams (R-29)."""

    def __init__(
        self, backend: ServerClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._wanted = asyncio.Event()
        self._target: Target | None = None
        self.health = Health()
        self.is_focused = True
        self.is_streaming = False
        self.next_check_s: float | None = None  # monotonic time; None during a check

    def aim(self, target: Target | None) -> None:
        """Check the server of this target from now on."""
        before = self._target
        self._target = target
        if target is None:
            self.health = Health()
        else:
            is_same = before is not None and target.endpoint == before.endpoint
            self.health = replace(
                self.health if is_same else Health(),
                endpoint=target.endpoint,
                product=target.product,
                model=target.model,
            )
        self.check_now()

    def check_now(self) -> None:
        self._wanted.set()

    async def watch(self) -> AsyncGenerator[Health, None]:
        """Check repeatedly, and yield the results."""
        while True:
            self._wanted.clear()
            health = None
            if self._target is not None and not self.is_streaming:
                self.next_check_s = None
                health = await self._check(self._target)
            pause_s = POLL_S if self.is_focused else AWAY_POLL_S
            self.next_check_s = self._clock() + pause_s
            if health is not None:
                yield health
            try:
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _check(self, target: Target) -> Health:
        try:
            candidate = await self._backend.check(target.endpoint)
        except LMChatError as error:
            candidate = Candidate(
                endpoint=target.endpoint,
                product=target.product,
                verdict=Verdict.SERVER_ERROR,
                detail=error.message,
                next_step=error.hint,
            )
        if self._target is not None and self._target.endpoint == target.endpoint:
            self.health = self._seen(candidate, self._target)
        return self.health

    def _seen(self, candidate: Candidate, target: Target) -> Health:
        is_up = candidate.verdict.is_usable
        latency_ms = candidate.latency_ms if is_up else None
        is_same = candidate.verdict is self.health.verdict
        return replace(
            self.health,
            since_s=self.health.since_s if is_same else self._clock(),
            endpoint=target.endpoint,
            product=candidate.product if candidate.verdict.is_server else target.product,
            verdict=candidate.verdict,
            detail=candidate.detail,
            next_step=candidate.next_step,
            latencies_ms=(*self.health.latencies_ms, latency_ms)[-KEPT_LATENCIES:],
            model=_model(candidate, target),
            seen_s=self._clock() if is_up else self.health.seen_s,
        )


def _model(candidate: Candidate, target: Target) -> ModelInfo | None:
    """Return the model of the target as the server lists it."""
    for model in candidate.models:
        if model.model_id == target.model_id:
            return model
    if target.model is None or not candidate.models:
        return target.model
    if candidate.product.facts.ignores_model_name and len(candidate.models) == 1:
        only = candidate.models[0]
        if only.state in (LoadState.LOADED, LoadState.ASLEEP):
            return only
    return replace(target.model, state=LoadState.UNKNOWN)
