"""What a server counts while it answers, from the places where servers put it (R-19)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lmchat.domain.event import PromptProgress, UsageReported
from lmchat.proxy.json_values import amount, mapping, whole

USAGE_EVERY_S = 1.0


class Figures:
    """Keeps what was told last, and knows when it is time to hand it on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._reported_s = clock()

    def use(self, usage: object) -> None:
        """Take the `usage` of a chunk, if it is any."""
        if usage and isinstance(usage, dict):
            self._usage = usage

    def time(self, timings: object) -> UsageReported | None:
        """Take the `timings` of a chunk, if they are any; return a report where one is due."""
        if not isinstance(timings, dict):
            return None
        self._timings = timings
        now_s = self._clock()
        if now_s - self._reported_s < USAGE_EVERY_S:
            return None
        self._reported_s = now_s
        return self.report()

    def report(self) -> UsageReported | None:
        """Return what is known, None where nothing is."""
        usage, timings = self._usage, self._timings
        if not usage and not timings:
            return None
        cached = whole(timings.get("cache_n"))
        details = mapping(usage.get("prompt_tokens_details"))
        prompt = whole(usage.get("prompt_tokens"))
        if prompt is None and "prompt_n" in timings:
            prompt = (cached or 0) + (whole(timings.get("prompt_n")) or 0)
        completion = whole(usage.get("completion_tokens"))
        speed = amount(timings.get("predicted_per_second")) or amount(timings.get("tokens_per_second"))
        return UsageReported(
            prompt_tokens=prompt,
            completion_tokens=whole(timings.get("predicted_n")) if completion is None else completion,
            cached_tokens=whole(details.get("cached_tokens")) if cached is None else cached,
            tokens_per_second=speed,
            prompt_tokens_per_second=amount(timings.get("prompt_per_second")),
        )


def prompt_progress(progress: object) -> PromptProgress | None:
    """Return how far the server has read the prompt, without what came from its cache."""
    if not isinstance(progress, dict):
        return None
    total, cached, processed = (whole(progress.get(name)) or 0 for name in ("total", "cache", "processed"))
    fraction = (processed - cached) / (total - cached) if total > cached else 1.0
    return PromptProgress(
        fraction=min(max(fraction, 0.0), 1.0), processed_tokens=processed, total_tokens=total
    )
