"""Limits of silence: during an answer, before it, and while a model loads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self
from urllib.request import getproxies

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.event import LifeSign, ModelLoading, StreamStalled
from lmchat.domain.server import Endpoint
from lmchat.errors import LMChatError, ServerUnavailable, StreamInterrupted
from lmchat.proxy.connections import Reply
from lmchat.proxy.server_api import background_task

TICK_S = 1.0  # longest pause between two checks of the clock; a stall is reported as often
SUSPENDED_S = 2.0  # a tick that is later means that this process was suspended, not the server
PROBE_AFTER_S = 2.0
"""Silence after which the server is asked for a sign of life; with tick and probe, 5 s in all."""
PROBE_S = 2.0  # a server that reads a long prompt still answers other requests
POLL_S = 0.5  # between two health checks, which cost the server nothing
REQUEST_PAUSE_S = 3.0  # before the request is sent again, if only it can tell the state
UNCONFIRMED_FACTOR = 2.0
"""Multiple of `give_up_after_s` to wait if health does not confirm that the model loads."""
_LOADING, _DONE = 503, 200

IsAlive = Callable[[], Awaitable[bool]]
CheckHealth = Callable[[], Awaitable[Reply]]


class IdleTimeout:
    """Limits of silence of one answer.

    Before the first byte there is no limit: a model may load and read a long prompt for minutes.
    """

    def __init__(
        self,
        timeouts: TimeoutSettings,
        post: Callable[[LifeSign | StreamStalled], None],
        *,
        is_alive: IsAlive | None = None,
        since_s: float | None = None,
    ) -> None:
        """`is_alive` asks the server over a second connection. `since_s` is when loading began."""
        self._timeouts = timeouts
        self._post = post
        self._is_alive = is_alive
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._begun_s = self._loop.time()
        self._started_s = self._begun_s if since_s is None else since_s
        self._heard_s: float | None = None
        self._has_token = False
        self._next_probe_s = 0.0
        self._alive_s = self._begun_s
        self._is_gone = False
        self._error: LMChatError | None = None

    def heard(self, *, has_token: bool) -> None:
        """Note that bytes have arrived."""
        self._heard_s = self._loop.time()
        self._has_token = has_token

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Self]:
        """Report stalls, and end the block with an error after too long a silence."""
        try:
            async with self._timeout, background_task(self._watch()):
                yield self
        except TimeoutError as timeout:
            raise self._error or timeout from None

    async def _watch(self) -> None:
        limits = self._timeouts
        limits_s = (limits.first_token_s, limits.stalled_after_s, limits.give_up_after_s)
        tick_s = min(
            TICK_S, *(limit_s / 2 for limit_s in (*limits_s, PROBE_AFTER_S) if limit_s > 0)
        )
        while self._error is None:
            planned_s = self._loop.time() + tick_s
            await asyncio.sleep(tick_s)
            late_s = self._loop.time() - planned_s
            if late_s > SUSPENDED_S:  # bytes may have arrived that are not read yet
                self._started_s += late_s
                if self._heard_s is not None:
                    self._heard_s = self._loop.time()
                continue
            self._error = self._check_clock()
            if self._error is None and self._is_alive is not None:
                self._error = await self._probe(self._is_alive)
        self._timeout.reschedule(self._loop.time())

    @property
    def _silent_s(self) -> float:
        return self._loop.time() - (self._begun_s if self._heard_s is None else self._heard_s)

    def _check_clock(self) -> LMChatError | None:
        """Report a stall; return the error of a limit that is reached."""
        limits = self._timeouts
        waited_s = self._loop.time() - self._started_s
        if not self._has_token and 0 < limits.first_token_s <= waited_s:
            return no_token(limits.first_token_s)
        if self._heard_s is None:
            return None
        if 0 < limits.give_up_after_s <= self._silent_s:
            return self._given_up()
        if 0 < limits.stalled_after_s <= self._silent_s:
            self._post(StreamStalled(silent_s=self._silent_s))
        return None

    async def _probe(self, is_alive: IsAlive) -> LMChatError | None:
        """Ask the server for a sign of life after some silence; return the error if it is gone."""
        now_s = self._loop.time()
        if self._silent_s < PROBE_AFTER_S or now_s < self._next_probe_s:
            return None
        self._next_probe_s = now_s + PROBE_AFTER_S
        try:
            async with asyncio.timeout(PROBE_S):
                has_answered = await is_alive()
        except TimeoutError:
            has_answered = False

        if has_answered:
            self._alive_s = now_s
            if self._is_gone:
                self._post(LifeSign())
            self._is_gone = False
            return None
        if self._silent_s < PROBE_AFTER_S:  # bytes have arrived while it was asked
            return None
        self._is_gone = True
        self._post(StreamStalled(silent_s=self._silent_s))
        gone_s = min(self._silent_s, self._loop.time() - self._alive_s)
        return self._given_up() if 0 < self._timeouts.give_up_after_s <= gone_s else None

    def _given_up(self) -> LMChatError:
        give_up_s = self._timeouts.give_up_after_s
        if self._heard_s is None:
            return ServerUnavailable(
                f"Request timeout: the server has not answered for {give_up_s:g} s.",
                kind="timeout",
                hint="It hangs, or the connection is broken. Check it, then try again.",
            )
        return StreamInterrupted(
            f"Streaming failed: no data for {give_up_s:g} s.",
            hint="The text so far is kept; continue or regenerate it.",
        )


def no_token(first_token_s: float) -> ServerUnavailable:
    """Return the error for a first token that did not come in time."""
    return ServerUnavailable(
        f"Request timeout: no token arrived within {first_token_s:g} s.",
        kind="timeout",
        hint="The server may still be loading; try again, or raise first_token_s under [timeouts].",
    )


def can_check_alive(endpoint: Endpoint) -> bool:
    """Tell whether a machine can be asked directly: it is near, and no proxy is between."""
    return endpoint.is_local or (endpoint.is_near and not getproxies())


async def is_machine_alive(endpoint: Endpoint) -> bool:
    """Connect without a request (R-29); return whether the machine answers."""
    try:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except ConnectionRefusedError:
        return True  # it takes no new connections; those that it has may be open
    except OSError:
        return False
    writer.close()
    return True


class Loading:
    """Wait for one model that loads; a refusal because of it is no failed attempt."""

    def __init__(
        self,
        check_health: CheckHealth | None,
        timeouts: TimeoutSettings,
        post: Callable[[ModelLoading | StreamStalled], None],
    ) -> None:
        """`check_health` returns the reply of a path that tells whether the model loads."""
        self._check_health = check_health
        self._timeouts = timeouts
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._confirmed_s = 0.0
        self.since_s: float | None = None  # when the server said first that the model loads

    @property
    def needs_request(self) -> bool:
        """Whether only the request can tell that the model still loads."""
        return self.since_s is not None and self._check_health is None

    async def wait(self) -> None:
        """Return when to send the request again, or raise `ServerUnavailable`."""
        pause_s = REQUEST_PAUSE_S
        if self.since_s is None:
            self.since_s = self._confirmed_s = self._loop.time()
            if self._check_health is not None:
                pause_s = POLL_S
        self._post(ModelLoading())
        await self._pause(pause_s, self.since_s)
        while self._check_health is not None and await self._is_loading(self._check_health):
            await self._pause(POLL_S, self.since_s)

    async def _is_loading(self, check_health: CheckHealth) -> bool:
        asked_s = self._loop.time()
        try:
            reply = await check_health()
        except ServerUnavailable as error:
            if error.kind != "timeout":
                raise
            self._post(StreamStalled(silent_s=self._loop.time() - asked_s))
            return True
        if reply.status == _LOADING:
            self._confirmed_s = self._loop.time()
            self._post(ModelLoading())
        elif reply.status != _DONE:
            self._check_health = None  # the server does not know this path
        return reply.status == _LOADING

    async def _pause(self, pause_s: float, since_s: float) -> None:
        """Wait, or raise `ServerUnavailable` after too long a time."""
        limits = self._timeouts
        loading_s = self._loop.time() - since_s
        unconfirmed_s = self._loop.time() - self._confirmed_s
        if 0 < limits.first_token_s <= loading_s:
            raise no_token(limits.first_token_s)
        if 0 < UNCONFIRMED_FACTOR * limits.give_up_after_s <= unconfirmed_s:
            raise ServerUnavailable(
                f"The server has been loading the model for {round(loading_s / 60)} minutes.",
                kind="loading",
                hint="Check its log, then try again.",
            )
        await asyncio.sleep(pause_s)
