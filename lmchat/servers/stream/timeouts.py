"""Limits of silence of one request: while its model loads, before its answer, and during it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import LMChatError, ServerUnavailable, StreamInterrupted
from lmchat.servers.events import LifeSign, ModelLoading, StreamStalled
from lmchat.servers.http.reply import Reply
from lmchat.servers.products.server_api import background_task
from lmchat.units import plural

ASK_AFTER_S = 2.0  # silence after which the server's health is asked; it is told within 5 s
HEALTH_S = 2.0  # a server that reads a long prompt still answers other requests
LONGEST_ROUND_S = 5.0  # longer pauses between two checks are those of a suspended process
POLL_S = 0.5  # between two health checks of a server that loads, which cost it nothing
REQUEST_PAUSE_S = 3.0  # before the request is sent again, if only it can tell the state
UNCONFIRMED_FACTOR = 2.0
"""Multiple of `give_up_after_s` to wait if health does not confirm that the model loads."""
_LOADING = 503  # status of a health check

AskHealth = Callable[[], Awaitable[Reply]]


class IdleTimeout:
    """Limits of silence of one request, from its first attempt to the end of its answer.

    After `ASK_AFTER_S` of silence, the health of the server is asked. Before the first byte,
    silence of the answer alone is no error: a model may read a long prompt for minutes. Then the
    wait ends with an error only if health does not answer either for `give_up_after_s`, or at the
    limit for the first token, if it is set.
    """

    def __init__(
        self,
        timeouts: TimeoutSettings,
        post: Callable[[LifeSign | ModelLoading | StreamStalled], None],
        ask_health: AskHealth | None,
    ) -> None:
        """Create it; `watching` and `wait_while_loading` check the limits.

        `post` takes the events. `ask_health` returns the reply of the health path over another
        connection; None if the server has no such path.
        """
        self._timeouts = timeouts
        self._post = post
        self._ask_health = ask_health
        self._health_s = min(timeouts.health_s, HEALTH_S)
        self._loop = asyncio.get_running_loop()
        # Times of the event loop:
        self._begun_s = self._loop.time()
        self._loading_since_s: float | None = None  # when the server first said that it loads
        # When its health path last said that the model loads, or else when the first refusal did.
        # Later refusals do not count: without that path, a server might say so for ever.
        self._confirmed_s = 0.0
        # Of the watched attempt:
        self._has_news = False  # whether bytes have arrived since the last check
        self._has_token = False  # whether any text has arrived
        self._is_paused = False  # whether arrived data waits to be taken, see `paused`
        self._error: LMChatError | None = None  # of `_watch`; `watching` raises it in the block

    @property
    def needs_request(self) -> bool:
        """Whether only the request can tell that the model still loads."""
        return self._loading_since_s is not None and self._ask_health is None

    def note_data(self, *, has_token: bool) -> None:
        """Note that bytes have arrived; `has_token` is whether any text has arrived so far."""
        self._has_news = True
        self._has_token = has_token

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Check nothing while the block runs: the data of the server wait for this process."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False
            self._has_news = True

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Post stalls while the block runs; end it with an error after too long a silence."""
        self._error = None
        self._has_news = False
        try:
            async with asyncio.timeout(None) as block, background_task(self._watch(block)):
                yield
        except TimeoutError:
            if self._error is None:  # it comes from the block itself
                raise
            raise self._error from None

    async def _watch(self, block: asyncio.Timeout) -> None:
        """Check the silence in rounds until a limit is reached; then end the watched block."""
        limits = self._timeouts
        limits_s = [ASK_AFTER_S, limits.stalled_after_s, limits.give_up_after_s]
        if limits.first_token_s:
            limits_s.append(limits.first_token_s)
        round_s = min(limits_s) / 2
        silent_s = 0.0  # since the last bytes
        unheard_s = 0.0  # since the last bytes or answer to a health check
        has_data = is_gone = False
        checked_s = self._loop.time()
        while self._error is None:
            await asyncio.sleep(round_s)
            passed_s = min(self._loop.time() - checked_s, LONGEST_ROUND_S)
            checked_s = self._loop.time()
            silent_s += passed_s
            unheard_s += passed_s
            if not self._has_token:
                self._error = self._first_token_error()
            if self._has_news or self._is_paused:
                has_data = True
                self._has_news = is_gone = False
                silent_s = unheard_s = 0.0
            elif has_data and silent_s >= limits.give_up_after_s:
                self._error = StreamInterrupted(
                    f"Streaming failed: no data for {limits.give_up_after_s:g} s.",
                    hint="The text so far is kept; continue or regenerate it.",
                )
            elif has_data and silent_s >= limits.stalled_after_s:
                self._post(StreamStalled(silent_s=silent_s))
            if self._error is not None or unheard_s < ASK_AFTER_S:
                continue
            if await self._is_alive():
                unheard_s = 0.0
                if is_gone:
                    self._post(LifeSign())
                is_gone = False
            elif not self._has_news:  # no bytes have arrived while it was asked
                is_gone = True
                self._post(StreamStalled(silent_s=silent_s))
                if not has_data and unheard_s >= limits.give_up_after_s:
                    self._error = ServerUnavailable(
                        "Request timeout: the server has not answered for "
                        f"{limits.give_up_after_s:g} s.",
                        kind="timeout",
                        hint="It hangs, or the connection is broken. Check it, then try again.",
                    )
        block.reschedule(self._loop.time())  # which raises `TimeoutError` in the block

    async def wait_while_loading(self) -> None:
        """Wait until the request should be sent again; called when a loading server refuses it.

        Health is asked until it does not say "loading" any more. The pause before is long without a
        health path, and from the second refusal on, because health did not show the loading then.
        The request can show it, but it is not sent often.

        Raises:
            ServerUnavailable: loading takes too long, or the server does not answer any more.
        """
        pause_s = REQUEST_PAUSE_S
        if self._loading_since_s is None:  # the first refusal
            self._loading_since_s = self._confirmed_s = self._loop.time()
            if self._ask_health is not None:
                pause_s = POLL_S
        self._post(ModelLoading())
        while True:
            if error := self._first_token_error():
                raise error
            now_s = self._loop.time()
            if now_s - self._confirmed_s >= UNCONFIRMED_FACTOR * self._timeouts.give_up_after_s:
                minutes = plural(max(1, round((now_s - self._loading_since_s) / 60)), "minute")
                raise ServerUnavailable(
                    f"The server has been loading the model for {minutes}.",
                    kind="loading",
                    hint="Check its log, then try again.",
                )
            await asyncio.sleep(pause_s)
            if self._ask_health is None:
                return
            pause_s = POLL_S
            try:
                async with asyncio.timeout(self._health_s):
                    reply = await self._ask_health()
            except TimeoutError:
                self._post(StreamStalled(silent_s=self._health_s))
                continue
            if reply.status != _LOADING:
                return
            self._confirmed_s = self._loop.time()
            self._post(ModelLoading())

    async def _is_alive(self) -> bool:
        """Ask the health; any answer is a sign of life, and without a health path none is asked."""
        if self._ask_health is None:
            return True
        try:
            async with asyncio.timeout(self._health_s):
                await self._ask_health()
        except TimeoutError:
            return False
        except LMChatError as error:
            # any other error comes from a program that has answered
            return error.kind not in ("offline", "timeout")
        return True

    def _first_token_error(self) -> ServerUnavailable | None:
        """Return the error of the limit for the first token if it has passed; 0 means no limit."""
        first_token_s = self._timeouts.first_token_s
        is_over = 0 < first_token_s <= self._loop.time() - self._begun_s
        return _no_token_error(first_token_s) if is_over else None


def _no_token_error(first_token_s: float) -> ServerUnavailable:
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
        raise _no_token_error(first_token_s) from None
