"""Limits of silence: while an answer comes, before it, and while a model loads."""

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
from lmchat.proxy.http import Reply
from lmchat.proxy.site import background_task

TICK_S = 1.0  # longest pause between two looks at the clock; a stall is told as often
ASLEEP_S = 2.0  # a later tick means that this process was suspended, not the server
LOOK_AFTER_S = 2.0
"""Silence after which the server is asked whether it is there; with a tick and a look, 5 s in all."""
LOOK_S = 2.0  # a server that reads a long prompt still answers other questions

IsThere = Callable[[], Awaitable[bool]]


class IdleTimeout:
    """Limits of silence of one answer.

    Before the first byte there is no limit: a model may load and read a long prompt for minutes.
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
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._begun_s = self._loop.time()
        self._started_s = self._begun_s if since_s is None else since_s
        self._heard_s: float | None = None
        self._has_token = False
        self._look_s = 0.0
        self._alive_s = self._begun_s
        self._is_gone = False
        self._error: LMChatError | None = None

    def heard(self, *, has_token: bool) -> None:
        self._heard_s, self._has_token = self._loop.time(), has_token

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Self]:
        """Tell of a stall, and end the block when nothing is to be hoped for."""
        try:
            async with self._timeout, background_task(self._watch()):
                yield self
        except TimeoutError as late:
            raise self._error or late from None

    async def _watch(self) -> None:
        limits = self._timeouts
        shortest = (
            limits.first_token_s,
            limits.stalled_after_s,
            limits.give_up_after_s,
            LOOK_AFTER_S,
        )
        tick_s = min(TICK_S, *(limit_s / 2 for limit_s in shortest if limit_s > 0))
        while self._error is None:
            planned_s = self._loop.time() + tick_s
            await asyncio.sleep(tick_s)
            late_s = self._loop.time() - planned_s
            if late_s > ASLEEP_S:  # bytes may have come that are not read yet
                self._started_s += late_s
                if self._heard_s is not None:
                    self._heard_s = self._loop.time()
                continue
            self._error = self._overdue()
            if self._error is None and self._is_there is not None:
                self._error = await self._look(self._is_there)
        self._timeout.reschedule(self._loop.time())

    @property
    def _silent_s(self) -> float:
        return self._loop.time() - (self._begun_s if self._heard_s is None else self._heard_s)

    def _overdue(self) -> LMChatError | None:
        first_s, give_up_s = self._timeouts.first_token_s, self._timeouts.give_up_after_s
        if not self._has_token and 0 < first_s <= self._loop.time() - self._started_s:
            return no_token(first_s)
        if self._heard_s is None:
            return None
        if 0 < give_up_s <= self._silent_s:
            return self._given_up()
        if 0 < self._timeouts.stalled_after_s <= self._silent_s:
            self._tell(StreamStalled(silent_s=self._silent_s))
        return None

    async def _look(self, is_there: IsThere) -> LMChatError | None:
        """Ask for the server after some silence; give up where it stays away."""
        now_s, give_up_s = self._loop.time(), self._timeouts.give_up_after_s
        if self._silent_s < LOOK_AFTER_S or now_s < self._look_s:
            return None
        self._look_s = now_s + LOOK_AFTER_S
        try:
            async with asyncio.timeout(LOOK_S):
                answers = await is_there()
        except TimeoutError:
            answers = False
        if answers:
            self._alive_s = now_s
            if self._is_gone:
                self._tell(LifeSign())
            self._is_gone = False
        elif self._silent_s >= LOOK_AFTER_S:
            self._is_gone = True
            self._tell(StreamStalled(silent_s=self._silent_s))
            if 0 < give_up_s <= min(self._silent_s, self._loop.time() - self._alive_s):
                return self._given_up()
        return None

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
    """Tell whether a machine can be asked directly: it is near, and no proxy stands between."""
    return endpoint.is_local or (endpoint.is_near and not getproxies())


async def is_alive(endpoint: Endpoint) -> bool:
    """Connect without a request (R-29); return whether the machine answers."""
    try:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except ConnectionRefusedError:
        return True  # it takes no new connections; those that it has may go on
    except OSError:
        return False
    writer.close()
    return True


POLL_S = 0.5  # between two looks at a path that costs the server nothing
REQUEST_PAUSE_S = (
    3.0  # before the request is sent again, where only it can tell that the model still loads
)
UNCONFIRMED = (
    2.0  # multiple of `give_up_after_s` to wait where health does not confirm that it loads
)
_LOADING, _DONE = 503, 200

Look = Callable[[], Awaitable[Reply]]


class Loading:
    """Waits for one model that loads; a refusal because of it is no failure and no try."""

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
        self._confirmed_s = 0.0
        self.since_s: float | None = None  # when it was first said that the model loads

    @property
    def is_told_by_request(self) -> bool:
        """Whether only the request can tell that the model still loads."""
        return self.since_s is not None and self._look is None

    async def wait(self) -> None:
        """Return when to send the request again, or raise `ServerUnavailable`."""
        pause_s = POLL_S if self._look and self.since_s is None else REQUEST_PAUSE_S
        if self.since_s is None:
            self.since_s = self._confirmed_s = self._loop.time()
        self._tell(ModelLoading())
        await self._rest(pause_s, self.since_s)
        while self._look is not None and await self._is_loading(self._look):
            await self._rest(POLL_S, self.since_s)

    async def _is_loading(self, look: Look) -> bool:
        asked_s = self._loop.time()
        try:
            reply = await look()
        except ServerUnavailable as error:
            if error.kind != "timeout":
                raise
            self._tell(StreamStalled(silent_s=self._loop.time() - asked_s))
            return True
        if reply.status == _LOADING:
            self._confirmed_s = self._loop.time()
            self._tell(ModelLoading())
        elif reply.status != _DONE:
            self._look = None  # it does not know this path
        return reply.status == _LOADING

    async def _rest(self, pause_s: float, since_s: float) -> None:
        now_s, limits = self._loop.time(), self._timeouts
        if 0 < limits.first_token_s <= now_s - since_s:
            raise no_token(limits.first_token_s)
        if 0 < UNCONFIRMED * limits.give_up_after_s <= now_s - self._confirmed_s:
            raise ServerUnavailable(
                f"The server has been loading the model for {round((now_s - since_s) / 60)} minutes.",
                kind="loading",
                hint="Check its log, then try again.",
            )
        await asyncio.sleep(pause_s)
