"""Waits for a model that a server is loading: asks less and less often, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.event import ModelLoading, StreamStalled
from lmchat.errors import ServerUnavailable
from lmchat.proxy.patience import no_token
from lmchat.proxy.reply import Reply

POLL_S = 0.5
"""Between two looks at a path that costs the server nothing."""
LONGEST_PAUSE_S = 5.0
"""The request itself is sent anew after pauses that grow from `POLL_S` to this."""
GROWTH = 1.6
MOST_TIMEOUTS = 3
"""Looks without an answer, one after the other, after which the server hangs."""
UNCONFIRMED = 2.0
"""So many times `give_up_after_s` a server is believed whose health does not say that it loads."""
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
        """Wait that long, if there is so much time left."""
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
