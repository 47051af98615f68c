"""Limits of silence of one request, before its answer and during it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from lmchat.base.errors import LMChatError, ServerUnavailable, StreamInterrupted
from lmchat.base.processes.background import background_task
from lmchat.core.config.settings import TimeoutSettings
from lmchat.core.servers.events import LifeSign, StreamStalled
from lmchat.core.servers.http.reply import Reply

ASK_AFTER_S = 2.0  # silence before a health check: a dead server is shown within 5 s
HEALTH_S = 2.0  # of a health check, which servers answer even while they read a prompt
LONGEST_ROUND_S = 5.0  # longer pauses between two checks are those of a suspended process

AskHealth = Callable[[], Awaitable[Reply]]


class IdleTimeout:
    """Limits of silence of one request, from its first attempt to the end of its answer.

    Each attempt runs in a block of `watching`. After `ASK_AFTER_S` of silence, the server is asked
    for its health. Before the first byte, silence alone is no error: a model may read a long prompt
    for minutes. This wait ends if the health check, too, gets no answer for `give_up_after_s`, or
    at the limit for the first token.
    """

    def __init__(
        self,
        timeouts: TimeoutSettings,
        post: Callable[[LifeSign | StreamStalled], None],
        ask_health: AskHealth | None,
    ) -> None:
        """`ask_health` uses another connection; None: no health path."""
        self._timeouts = timeouts
        self._post = post
        self._ask_health = ask_health
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        # of the watched attempt:
        self._has_news = False  # bytes since the last check
        self._has_token = False
        self._is_paused = False  # see `paused`
        self._error: LMChatError | None = None  # set by `_watch`, raised by `watching`

    def note_data(self, *, has_token: bool) -> None:
        self._has_news = True
        self._has_token = has_token

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count no silence while data waits for this process."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False
            self._has_news = True  # so the silence counts from now

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Post stalls while the block runs; end it with an error after too long a silence."""
        self._error = None
        self._has_news = False
        try:
            # `_watch` sets its time
            async with asyncio.timeout(None) as block, background_task(self._watch(block)):
                yield
        except TimeoutError:
            if self._error is None:  # it comes from the block itself
                raise
            raise self._error from None

    def check_first_token(self) -> None:
        """Raise `ServerUnavailable` beyond the limit, which counts from the first attempt.

        Pauses while the model loads count, too.
        """
        first_token_s = self._timeouts.first_token_s
        if 0 < first_token_s <= self._loop.time() - self._started_s:
            raise _no_token_error(first_token_s)

    async def _watch(self, block: asyncio.Timeout) -> None:
        """Check the silence in rounds, post stalls, and end the block at a limit.

        Before the first byte, only health checks decide; from it on, silence alone does, too.
        """
        limits = self._timeouts
        limits_s = (limits.first_token_s, limits.stalled_after_s, limits.give_up_after_s)
        # 0: no limit
        shortest_s = min(filter(None, (ASK_AFTER_S, *limits_s)))
        round_s = shortest_s / 2  # two checks within the shortest limit
        silent_s = 0.0  # since the last bytes
        unheard_s = 0.0  # since bytes, or an answer to a health check
        has_started = False
        is_gone = False  # no answer to the health check of this round
        checked_s = self._loop.time()
        try:
            while True:
                await asyncio.sleep(round_s)
                if not self._has_token:
                    self.check_first_token()

                was_gone = is_gone
                # `round_s`: this round is counted below, after the health check
                must_ask = not self._has_arrivals and unheard_s + round_s >= ASK_AFTER_S
                is_gone = must_ask and not await self._is_alive()

                # after a longer time, this process was suspended
                passed_s = min(self._loop.time() - checked_s, LONGEST_ROUND_S)
                checked_s = self._loop.time()
                silent_s += passed_s  # with the time of the health check
                unheard_s += passed_s
                if must_ask and not is_gone:  # the server has answered, or has no health path
                    unheard_s = 0.0
                if was_gone and not is_gone:  # ends the stall that the last round has posted
                    self._post(LifeSign())

                if self._has_arrivals:  # also those that came during the health check
                    has_started = True
                    self._has_news = False
                    is_gone = False
                    silent_s = unheard_s = 0.0
                elif has_started and silent_s >= limits.give_up_after_s:
                    raise StreamInterrupted(
                        f"Streaming failed: no data for {limits.give_up_after_s:g} s.",
                        next_step="Check the server's log, or ask again.",
                    )
                elif is_gone and unheard_s >= limits.give_up_after_s:
                    raise ServerUnavailable(
                        "Request timeout: the server has not answered for "
                        f"{limits.give_up_after_s:g} s.",
                        kind="timeout",
                        next_step="It hangs, or the connection is broken. Check it, then try "
                        "again.",
                    )
                elif is_gone or (has_started and silent_s >= limits.stalled_after_s):
                    self._post(StreamStalled(silent_s=silent_s))
        except LMChatError as error:
            self._error = error
            block.reschedule(self._loop.time())  # which raises `TimeoutError` in the block

    @property
    def _has_arrivals(self) -> bool:
        return self._has_news or self._is_paused

    async def _is_alive(self) -> bool:
        """Ask the server for its health; any answer counts, also an error.

        `health_s` of the settings may be for a far server; here, a dead one must show soon.
        """
        if self._ask_health is None:
            return True
        try:
            async with asyncio.timeout(min(self._timeouts.health_s, HEALTH_S)):
                await self._ask_health()
        except TimeoutError:
            return False
        except LMChatError as error:
            # any other error comes from a program that has answered
            return error.kind not in ("offline", "timeout")
        return True


def _no_token_error(first_token_s: float) -> ServerUnavailable:
    return ServerUnavailable(
        f"Request timeout: no token arrived within {first_token_s:g} s.",
        kind="timeout",
        next_step="The server may still be loading; try again, or raise first_token_s under "
        "[timeouts].",
    )


@asynccontextmanager
async def first_token_limit(first_token_s: float) -> AsyncIterator[None]:
    """Limit a wait before the request as that for the first token; raise `ServerUnavailable`."""
    try:
        async with asyncio.timeout(first_token_s or None):
            yield
    except TimeoutError:
        raise _no_token_error(first_token_s) from None
