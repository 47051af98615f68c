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
        self._nudge = asyncio.Event()
        self._target: Target | None = None
        self.health = Health()
        self.is_focused = True
        self.is_streaming = False
        self.next_look_s: float | None = (
            None  # monotonic time of the next look; None while one is under way
        )

    def aim(self, target: Target | None) -> None:
        is_other = (
            target is None or self._target is None or target.endpoint != self._target.endpoint
        )
        self._target = target
        if is_other:
            self.health = Health()
        if target is not None:
            facts = {"endpoint": target.endpoint, "product": target.product, "model": target.model}
            self.health = replace(self.health, **facts)
        self.look_now()

    def look_now(self) -> None:
        self._nudge.set()

    async def watch(self) -> AsyncGenerator[Health, None]:
        """Check again and again, and yield the results."""
        while True:
            self._nudge.clear()
            health = None
            if self._target is not None and not self.is_streaming:
                self.next_look_s = None
                health = await self._look(self._target)
            pause_s = POLL_S if self.is_focused else AWAY_POLL_S
            self.next_look_s = self._clock() + pause_s
            if health is not None:
                yield health
            try:
                async with asyncio.timeout(pause_s):
                    await self._nudge.wait()
            except TimeoutError:
                continue

    async def _look(self, target: Target) -> Health:
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
    listed = next((info for info in candidate.models if info.model_id == target.model_id), None)
    if listed is not None or target.model is None or not candidate.models:
        return listed or target.model
    only = candidate.models[0] if len(candidate.models) == 1 else None
    answers_to_any = candidate.product.facts.ignores_model_name
    if only is not None and answers_to_any and only.state in (LoadState.LOADED, LoadState.ASLEEP):
        return only
    return replace(target.model, state=LoadState.UNKNOWN)
