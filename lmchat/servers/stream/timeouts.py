"""Limits of silence: during an answer, before it, and while a model loads.

`IdleTimeout` watches one request and its answer. `Loading` waits between requests that a server
refuses because its model loads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self
from urllib.request import getproxies

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import LMChatError, ServerUnavailable, StreamInterrupted
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import LifeSign, ModelLoading, StreamStalled
from lmchat.servers.http.connections import Reply
from lmchat.servers.products.server_api import background_task
from lmchat.units import plural

TICK_S = 1.0  # longest pause between two checks of the clock; a stall is reported as often
SUSPENDED_S = 2.0  # a tick that is late by more than this means that this process was suspended
PROBE_AFTER_S = 2.0
"""Silence after which the server is asked for a sign of life; with tick and probe, 5 s in all."""
PROBE_S = 2.0  # a server that reads a long prompt still answers other requests
POLL_S = 0.5  # between two health checks, which cost the server nothing
REQUEST_PAUSE_S = 3.0  # before the request is sent again, if only it can tell the state
UNCONFIRMED_FACTOR = 2.0
"""Multiple of `give_up_after_s` to wait if health does not confirm that the model loads."""
# Statuses of a health check.
_LOADING = 503
_LOADED = 200

IsAlive = Callable[[], Awaitable[bool]]
CheckHealth = Callable[[], Awaitable[Reply]]


class IdleTimeout:
    """Limits of silence of one answer; a second task checks them with each tick of the clock.

    Before the first byte, silence of the answer alone is no error: a model may load and read a
    long prompt for minutes. Then the wait ends with an error only at the limit for the first token,
    if it is set, or if the server does not answer `is_alive` either for `give_up_after_s`.
    """

    def __init__(
        self,
        timeouts: TimeoutSettings,
        post: Callable[[LifeSign | StreamStalled], None],
        *,
        is_alive: IsAlive | None = None,
        loading_begun_s: float | None = None,
    ) -> None:
        """Create it; `watching` starts the checks.

        `post` takes the events. `is_alive` asks the server over a second connection.
        `loading_begun_s` is the time of the event loop at which the model began to load, if it did
        before this request.
        """
        self._timeouts = timeouts
        self._post = post
        self._is_alive = is_alive
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)  # without end, until `_watch` lets it end at once
        # Times of the event loop:
        self._begun_s = self._loop.time()
        self._awaits_token_since_s = self._begun_s if loading_begun_s is None else loading_begun_s
        self._last_data_s: float | None = None  # None before the first byte
        self._next_probe_s = 0.0  # before this time, `is_alive` is not called again
        self._last_alive_s = self._begun_s  # when the server last answered `is_alive`
        # Findings:
        self._is_paused = False  # whether arrived data waits to be taken, see `paused`
        self._has_token = False  # whether any text has arrived
        self._is_gone = False  # whether the server left the last `is_alive` unanswered
        self._error: LMChatError | None = None  # of `_watch`; `watching` raises it in the block

    def note_data(self, *, has_token: bool) -> None:
        """Note that bytes have arrived now; `has_token` is whether any text has arrived so far."""
        self._last_data_s = self._loop.time()
        self._has_token = has_token

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Check nothing while the block runs: the data of the server wait for this process.

        A silence begins again behind the block.
        """
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False
            self.note_data(has_token=self._has_token)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Self]:
        """Post stalls while the block runs; end it with an error after too long a silence."""
        try:
            async with self._timeout, background_task(self._watch()):
                yield self
        except TimeoutError:
            if self._error is None:  # it comes from the block itself
                raise
            raise self._error from None

    async def _watch(self) -> None:
        """Check the clock and the server with each tick, until one of them gives an error.

        Then end the watched block, which raises this error. A tick that is much too late means that
        this process was suspended: then the limits are extended, and nothing is checked.
        """
        tick_s = self._tick_s()
        while self._error is None:
            planned_s = self._loop.time() + tick_s
            await asyncio.sleep(tick_s)
            late_s = self._loop.time() - planned_s
            if late_s > SUSPENDED_S:
                self._extend_limits(late_s)
                continue
            if self._is_paused:
                continue
            self._error = self._check_clock()
            if self._error is None and self._is_alive is not None:
                self._error = await self._probe(self._is_alive)
        self._timeout.reschedule(self._loop.time())  # which raises `TimeoutError` in the block

    def _tick_s(self) -> float:
        """Return the pause between two checks: at most half of the shortest limit, and `TICK_S`.

        So a short limit is noticed soon after it is reached.
        """
        limits = self._timeouts
        limits_s = (
            limits.first_token_s,
            limits.stalled_after_s,
            limits.give_up_after_s,
            PROBE_AFTER_S,
        )
        half_limits_s = [limit_s / 2 for limit_s in limits_s if limit_s > 0]  # 0: no limit
        return min(TICK_S, *half_limits_s)

    def _extend_limits(self, suspended_s: float) -> None:
        """Do not count the seconds in which this process was suspended as silence of the server.

        Bytes that are not read yet may have arrived then, so a silence after the first bytes begins
        again now.
        """
        self._begun_s += suspended_s
        self._last_alive_s += suspended_s
        self._awaits_token_since_s += suspended_s
        if self._last_data_s is not None:
            self._last_data_s = self._loop.time()

    @property
    def _silent_s(self) -> float:
        """Seconds since the last bytes; before the first ones, since this object was made."""
        last_s = self._begun_s if self._last_data_s is None else self._last_data_s
        return self._loop.time() - last_s

    def _check_clock(self) -> LMChatError | None:
        """Return the error of a limit that is reached, or None.

        Before the first byte, only the limit for the first token is checked. Later, if no limit is
        reached but the server has been silent for `stalled_after_s`, a stall is posted.
        """
        limits = self._timeouts
        waited_s = self._loop.time() - self._awaits_token_since_s
        if not self._has_token and _is_over(limits.first_token_s, waited_s):
            return no_token_error(limits.first_token_s)
        if self._last_data_s is None:
            return None
        if _is_over(limits.give_up_after_s, self._silent_s):
            return self._give_up_error()
        if _is_over(limits.stalled_after_s, self._silent_s):
            self._post(StreamStalled(silent_s=self._silent_s))
        return None

    async def _probe(self, is_alive: IsAlive) -> LMChatError | None:
        """Ask the server for a sign of life, if it is silent and was not asked just before.

        Each time it does not answer, a stall is posted, and when it answers again, a `LifeSign`.
        Returns the error if it has given no sign of life for `give_up_after_s`, otherwise None.
        """
        now_s = self._loop.time()
        if self._silent_s < PROBE_AFTER_S or now_s < self._next_probe_s:
            return None
        self._next_probe_s = now_s + PROBE_AFTER_S
        if await _answers_in_time(is_alive):
            self._last_alive_s = now_s
            if self._is_gone:
                self._post(LifeSign())
            self._is_gone = False
            return None
        if self._silent_s < PROBE_AFTER_S:  # bytes have arrived while it was asked
            return None

        self._is_gone = True
        self._post(StreamStalled(silent_s=self._silent_s))
        # The server was last alive when it sent bytes or answered `is_alive`, whichever was later.
        gone_s = min(self._silent_s, self._loop.time() - self._last_alive_s)
        return self._give_up_error() if _is_over(self._timeouts.give_up_after_s, gone_s) else None

    def _give_up_error(self) -> LMChatError:
        """Return the error for a server that is silent for too long.

        Before the first byte it is `ServerUnavailable`, afterwards `StreamInterrupted`.
        """
        give_up_s = self._timeouts.give_up_after_s
        if self._last_data_s is None:
            return ServerUnavailable(
                f"Request timeout: the server has not answered for {give_up_s:g} s.",
                kind="timeout",
                hint="It hangs, or the connection is broken. Check it, then try again.",
            )
        return StreamInterrupted(
            f"Streaming failed: no data for {give_up_s:g} s.",
            hint="The text so far is kept; continue or regenerate it.",
        )


def _is_over(limit_s: float, elapsed_s: float) -> bool:
    """Whether a limit is reached; 0 means that there is no limit."""
    return 0 < limit_s <= elapsed_s


async def _answers_in_time(is_alive: IsAlive) -> bool:
    """Ask the server for a sign of life; return False if none comes within `PROBE_S`."""
    try:
        async with asyncio.timeout(PROBE_S):
            return await is_alive()
    except TimeoutError:
        return False


def no_token_error(first_token_s: float) -> ServerUnavailable:
    """Return the error for a first token that did not come in time."""
    return ServerUnavailable(
        f"Request timeout: no token arrived within {first_token_s:g} s.",
        kind="timeout",
        hint="The server may still be loading; try again, or raise first_token_s under [timeouts].",
    )


@asynccontextmanager
async def first_token_limit(first_token_s: float) -> AsyncIterator[None]:
    """Apply the limit for the first token to a wait before the request; 0: no limit.

    Raises `ServerUnavailable` when the limit is reached.
    """
    try:
        async with asyncio.timeout(first_token_s or None):
            yield
    except TimeoutError:
        raise no_token_error(first_token_s) from None


def can_check_alive(endpoint: Endpoint) -> bool:
    """Tell whether a machine can be asked directly: it is near, and no proxy is between.

    Requests to an endpoint that `is_local` never use a proxy (R-8).
    """
    return endpoint.is_local or (endpoint.is_near and not getproxies())


async def is_machine_alive(endpoint: Endpoint) -> bool:
    """Connect to a server without a request (R-29); return whether its machine answers.

    The server itself may hang all the same.
    """
    try:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except ConnectionRefusedError:
        return True  # it takes no new connections; those that it has may be open
    except OSError:
        return False
    writer.close()
    return True


class Loading:
    """Waiting for a server that loads a model, between the requests that it refuses until then."""

    def __init__(
        self,
        check_health: CheckHealth | None,
        timeouts: TimeoutSettings,
        post: Callable[[ModelLoading | StreamStalled], None],
    ) -> None:
        """Create it; nothing is asked yet.

        `check_health` returns the reply of a path that tells whether the model loads; None if the
        server has no such path. `post` takes the events.
        """
        self._check_health = check_health
        self._timeouts = timeouts
        self._post = post
        self._loop = asyncio.get_running_loop()
        # Times of the event loop:
        # When its health path last said that the model loads, or else when the first refusal did.
        # Later refusals do not count: without that path, a server might say so for ever.
        self._last_confirmed_s = 0.0
        self.begun_s: float | None = None  # when it said so first

    @property
    def needs_request(self) -> bool:
        """Whether only the request can tell that the model still loads."""
        return self.begun_s is not None and self._check_health is None

    async def wait(self) -> None:
        """Wait until the request should be sent again; called when a loading server refuses it.

        First it pauses, then it checks the health until this does not say "loading" any more. The
        pause is long without a health check, and from the second refusal on, which means that the
        check did not see the loading. Then only the request can show it, but it is not sent often.

        Raises:
            ServerUnavailable: loading takes too long, or the server does not answer any more.
        """
        pause_s = REQUEST_PAUSE_S
        if self.begun_s is None:  # the first refusal
            self.begun_s = self._loop.time()
            self._last_confirmed_s = self.begun_s
            if self._check_health is not None:
                pause_s = POLL_S
        self._post(ModelLoading())
        await self._pause(pause_s, self.begun_s)
        while self._check_health is not None and await self._poll_health(self._check_health):
            await self._pause(POLL_S, self.begun_s)

    async def _poll_health(self, check_health: CheckHealth) -> bool:
        """Check the health once; return whether the model still loads.

        A check that times out counts as loading, and is posted as a stall. A status that says
        neither "loading" nor "loaded" means that the server does not have the path; then it is not
        asked again.
        """
        asked_s = self._loop.time()
        try:
            reply = await check_health()
        except ServerUnavailable as error:
            if error.kind != "timeout":
                raise
            self._post(StreamStalled(silent_s=self._loop.time() - asked_s))
            return True
        if reply.status == _LOADING:
            self._last_confirmed_s = self._loop.time()
            self._post(ModelLoading())
        elif reply.status != _LOADED:
            self._check_health = None
        return reply.status == _LOADING

    async def _pause(self, pause_s: float, begun_s: float) -> None:
        """Sleep for `pause_s` seconds, or raise `ServerUnavailable` if loading takes too long.

        It takes too long if the limit for the first token has passed since `begun_s`, when the
        model began to load, or if that was not confirmed (`_last_confirmed_s`) for
        `UNCONFIRMED_FACTOR` times `give_up_after_s`.
        """
        limits = self._timeouts
        loading_s = self._loop.time() - begun_s
        unconfirmed_s = self._loop.time() - self._last_confirmed_s
        if _is_over(limits.first_token_s, loading_s):
            raise no_token_error(limits.first_token_s)
        if _is_over(UNCONFIRMED_FACTOR * limits.give_up_after_s, unconfirmed_s):
            minutes = plural(max(1, round(loading_s / 60)), "minute")
            raise ServerUnavailable(
                f"The server has been loading the model for {minutes}.",
                kind="loading",
                hint="Check its log, then try again.",
            )
        await asyncio.sleep(pause_s)
