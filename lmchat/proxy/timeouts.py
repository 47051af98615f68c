"""How long a stream may be silent: a staged clock that costs nothing while bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self
from urllib.request import getproxies

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.event import LifeSign, ModelLoading, StreamStalled
from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable, StreamInterrupted
from lmchat.proxy.http import Reply

ASLEEP_S = 2.0
"""A timer that comes later than this means that this process stood still, not the server."""
STALLED_EVERY_S = 1.0
"""How often a stream that stands still says so again."""


LOOK_AFTER_S = 3.0
"""Silence after which it is looked for the first time, and from one look to the next."""
LOOK_S = 2.0
"""Timeout of a look: a server that reads a long prompt still answers other questions."""
AGAIN_S = 1.0
"""From one look to the next while it does not answer."""

IsThere = Callable[[], Awaitable[bool]]
"""Asks whether the server answers anything at all."""


class Patience:
    """Tells of a stall, and ends the block it surrounds when nothing is to be hoped for.

    Before the first byte there is no gap: a server may load a model and read a long prompt for minutes
    without a word. One timer wakes now and then and looks at the clock, so that a byte only moves a figure.
    """

    def __init__(
        self,
        timeouts: TimeoutSettings,
        tell: Callable[[LifeSign | StreamStalled], None],
        *,
        is_there: IsThere | None = None,
        since_s: float | None = None,
    ) -> None:
        self._timeouts = timeouts
        self._tell = tell
        self._is_there = is_there
        self._watcher: asyncio.Task[None] | None = None
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

    def heard(self, *, has_token: bool) -> None:
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
        if self._is_there is not None:
            self._watcher = asyncio.create_task(self._watch(self._is_there), name="liveness")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_timer()
        if self._watcher is not None:
            self._watcher.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._end() from None
        finally:
            if self._watcher is not None:
                await asyncio.gather(self._watcher, return_exceptions=True)

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
        """Move the clock on after a suspend: bytes may have arrived that are not read yet."""
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

    async def _watch(self, is_there: IsThere) -> None:
        """Look at the server whenever nothing comes for a while; give up where it stays away."""
        gone_since_s, pause_s = None, LOOK_AFTER_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = LOOK_AFTER_S - self._silent_s
            if pause_s > 0 and gone_since_s is None:
                continue
            looked_s, give_up_s = self._loop.time(), self._timeouts.give_up_after_s
            if pause_s > 0 or await _answers(is_there):
                if gone_since_s is not None:
                    self._tell(LifeSign())
                gone_since_s, pause_s = None, LOOK_AFTER_S
            elif self._silent_s >= LOOK_AFTER_S:
                gone_since_s = looked_s if gone_since_s is None else gone_since_s
                self._tell(StreamStalled(silent_s=self._silent_s))
                if 0 < give_up_s <= self._loop.time() - gone_since_s:
                    self._is_gone = True
                    self._timeout.reschedule(self._loop.time())
                pause_s = AGAIN_S

    @property
    def _silent_s(self) -> float:
        """Seconds since the last byte, or since the request went out."""
        return self._loop.time() - (self._begun_s if self._heard_s is None else self._heard_s)

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


async def _answers(is_there: IsThere) -> bool:
    try:
        async with asyncio.timeout(LOOK_S):
            return await is_there()
    except TimeoutError:
        return False


def can_knock(endpoint: Endpoint) -> bool:
    """Whether its machine can be asked directly: it is near, and no proxy stands between."""
    return endpoint.is_local or (endpoint.is_near and not getproxies())


async def knock(endpoint: Endpoint) -> bool:
    """Whether the machine answers: connect and say nothing, to who may not be asked while it works (R-29)."""
    try:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except ConnectionRefusedError:
        return True  # it takes no new connections; those that it has may go on
    except OSError:
        return False
    writer.close()
    return True


POLL_S = 0.5
"""Between two looks at a path that costs the server nothing."""
LONGEST_PAUSE_S = 5.0
"""Longest pause before the request is sent again; pauses grow from `POLL_S`."""
GROWTH = 1.6
MOST_TIMEOUTS = 3
"""Looks without an answer, one after the other, after which the server hangs."""
UNCONFIRMED = 2.0
"""Multiple of `give_up_after_s` to wait for a server whose health does not confirm that it loads."""
LONGEST_S = 3600.0
"""Longer than this no model is loaded."""
_LOADING, _DONE = 503, 200

Look = Callable[[], Awaitable[Reply]]


class Loading:
    """One model that is waited for; a refusal because of it is no failure and no try."""

    def __init__(
        self,
        look: Look | None,
        timeouts: TimeoutSettings,
        tell: Callable[[ModelLoading | StreamStalled], None],
    ) -> None:
        self._look = look
        self._timeouts = timeouts
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._pause_s = POLL_S
        self._timeouts_seen = 0
        self._confirmed_s = 0.0
        self.since_s: float | None = None
        """When it was first said that the model loads; None: never."""

    @property
    def is_told_by_request(self) -> bool:
        """Whether only the request itself can tell that the model still loads."""
        return self.since_s is not None and self._look is None

    async def wait(self) -> None:
        """Return when it is time to send the request again.

        Raises:
            ServerUnavailable: the server is gone, hangs, or has said it for too long.
        """
        if self.since_s is None:
            self.since_s = self._confirmed_s = self._loop.time()
        self._tell(ModelLoading())
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * GROWTH, LONGEST_PAUSE_S)
        await self._rest(pause_s, self.since_s)
        while self._look is not None and await self._is_loading(self._look):
            await self._rest(POLL_S, self.since_s)

    async def _is_loading(self, look: Look) -> bool:
        """Whether the product's own path says so; one that does not know this path is not asked again."""
        asked_s = self._loop.time()
        try:
            reply = await look()
        except ServerUnavailable as error:
            self._timeouts_seen += 1
            if error.kind != "timeout" or self._timeouts_seen >= MOST_TIMEOUTS:
                raise
            self._tell(StreamStalled(silent_s=self._loop.time() - asked_s))
            return True
        self._timeouts_seen = 0
        if reply.status == _LOADING:
            self._confirmed_s = self._loop.time()
            self._tell(ModelLoading())
            return True
        if reply.status != _DONE:
            self._look = None
        return False

    async def _rest(self, pause_s: float, since_s: float) -> None:
        """Sleep, but not beyond the time that is left."""
        now_s, first_s = self._loop.time(), self._timeouts.first_token_s
        if first_s > 0 and now_s >= since_s + first_s:
            raise no_token(first_s)
        ends_s = since_s + LONGEST_S
        if self._timeouts.give_up_after_s > 0:
            ends_s = min(ends_s, self._confirmed_s + UNCONFIRMED * self._timeouts.give_up_after_s)
        if now_s >= ends_s:
            raise ServerUnavailable(
                f"The server has been loading the model for {round((now_s - since_s) / 60)} minutes.",
                kind="loading",
                hint="See in its log whether it still does; then try again.",
            )
        due_s = min(ends_s, since_s + first_s) if first_s > 0 else ends_s
        await asyncio.sleep(min(pause_s, due_s - now_s))
