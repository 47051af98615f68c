"""How long a stream may be silent: a staged clock that costs nothing while bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.event import StreamStalled
from lmchat.errors import ServerUnavailable, StreamInterrupted

ASLEEP_S = 2.0
"""A timer that comes later than this means that this process stood still, not the server."""
STALLED_EVERY_S = 1.0
"""How often a stream that stands still says so again."""


class Patience:
    """Tells of a stall, and ends the block it surrounds when nothing is to be hoped for.

    Before the first byte there is no gap: a server may load a model and read a long prompt for minutes
    without a word. One timer wakes now and then and looks at the clock, so that a byte only moves a figure.
    """

    def __init__(
        self,
        timeouts: TimeoutSettings,
        tell: Callable[[StreamStalled], None],
        *,
        since_s: float | None = None,
    ) -> None:
        self._timeouts = timeouts
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._begun_s = self._loop.time()
        self._started_s = self._begun_s if since_s is None else since_s
        self._heard_s: float | None = None
        self._told_s = 0.0
        self._has_token = False
        self._is_late = False
        self._is_gone = False
        self._planned_s: float | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since the last byte, or since the request went out."""
        return self._loop.time() - (self._begun_s if self._heard_s is None else self._heard_s)

    def has_no_answer_since(self, since_s: float) -> None:
        """Note that the server answers no other question either; that too is waited for only so long."""
        give_up_s = self._timeouts.give_up_after_s
        if 0 < give_up_s <= self._loop.time() - since_s:
            self._is_gone = True
            self._timeout.reschedule(self._loop.time())

    def heard(self, *, has_token: bool) -> None:
        """Note that bytes came."""
        if self._heard_s is None:
            self._heard_s = self._loop.time()
            self._has_token = has_token
            self._look()
        else:
            self._heard_s = self._loop.time()
            self._has_token = has_token

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_timer()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._end() from None

    def _look(self) -> None:
        """Compare the clock with what is due, and sleep until the next of it."""
        self._stop_timer()
        now_s, due_s = self._loop.time(), list[float]()
        self._forgive_sleep(now_s)
        first_s = self._timeouts.first_token_s
        if first_s > 0 and not self._has_token:
            self._is_late = now_s >= self._started_s + first_s
            due_s.append(self._started_s + first_s)
        if self._heard_s is not None:
            due_s += self._gap(now_s, self._heard_s)
        if due_s and min(due_s) <= now_s:
            self._timeout.reschedule(now_s)
        elif due_s:
            self._planned_s = min(due_s)
            self._timer = self._loop.call_at(self._planned_s, self._look)

    def _forgive_sleep(self, now_s: float) -> None:
        """Move the clock on after a suspend: what came meanwhile has not been read yet."""
        late_s = now_s - self._planned_s if self._planned_s is not None else 0.0
        self._planned_s = None
        if late_s > ASLEEP_S:
            self._started_s += late_s + ASLEEP_S
            self._heard_s = None if self._heard_s is None else now_s

    def _gap(self, now_s: float, heard_s: float) -> list[float]:
        stalled_s, give_up_s = self._timeouts.stalled_after_s, self._timeouts.give_up_after_s
        due_s = [heard_s + give_up_s] if give_up_s > 0 else []
        if stalled_s <= 0:
            return due_s
        if now_s >= heard_s + stalled_s and now_s >= self._told_s + STALLED_EVERY_S:
            self._told_s = now_s
            self._tell(StreamStalled(silent_s=now_s - heard_s))
        return [*due_s, max(heard_s + stalled_s, self._told_s + STALLED_EVERY_S)]

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> ServerUnavailable | StreamInterrupted:
        if self._is_late and not self._has_token:
            return no_token(self._timeouts.first_token_s)
        if self._is_gone and self._heard_s is None:
            return ServerUnavailable(
                "Request timeout: the server has not answered anything for "
                f"{self._timeouts.give_up_after_s:g} s.",
                kind="timeout",
                hint="It hangs, or the way to it is cut: look at it, then try again.",
            )
        return StreamInterrupted(
            f"Streaming failed: nothing came for {self._timeouts.give_up_after_s:g} s.",
            hint="What had arrived is kept; continue or regenerate it.",
        )


def no_token(first_token_s: float) -> ServerUnavailable:
    """Return the error for a first token that did not come in the time that was set for it."""
    return ServerUnavailable(
        f"Request timeout: no token came within {first_token_s:g} s.",
        kind="timeout",
        hint="The server may still be loading; try again, or raise first_token_s under [timeouts].",
    )
