"""The end of an answer: what ends it, and how long lmchat waits behind it (R-22)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from lmchat.core.config.settings import TimeoutSettings
from lmchat.core.servers.stream.chunk import Fault
from lmchat.core.servers.stream.timeouts import IdleTimeout
from lmchat.core.sessions.message import is_complete_end

END_WAIT_S = 2.0  # for usage and `[DONE]` behind a finish reason


class AnswerEnd(Struct, eq=False):
    """Facts about the end of one answer.

    `[DONE]`, a close, or a finish reason in a chunk of its own ends it. Words in place of chunks,
    and errors beside them, are kept: they say why an answer has not ended so.
    """

    timeouts: TimeoutSettings
    needs_reason: bool = False  # the server always says why an answer has ended
    reason: str = ""  # nothing was added behind it
    is_done: bool = False
    fault: Fault = Fault.NONE
    failure: object = None  # words as bytes, or an error as it came
    _has_started: bool = False
    _is_settled: bool = False  # the reason came in a chunk of its own
    _told: object = None  # words that were shown
    _limit_s: float | None = None  # longest wait; None leaves it to `IdleTimeout`
    _waited_s: float = 0.0  # since the last data, or since the end was settled

    def note_chunk(self, reason: str, *, adds: bool, has_open_call: bool) -> None:
        """Note a chunk; `adds` says whether it has text, thought or a call."""
        was_settled = self._is_settled
        if adds:
            self._has_started = True
            if self.fault is Fault.WORDS:
                self.fault = Fault.NONE
                self.failure = None
        if adds or reason:
            self.reason = reason
        can_end = bool(self.reason) and self._has_started and not has_open_call
        self._is_settled = can_end and not adds and (was_settled or bool(reason))
        if was_settled and self._is_settled:
            return
        self._waited_s = 0.0
        self._limit_s = self.timeouts.give_up_after_s if can_end else None
        if self._is_settled:
            self._limit_s = END_WAIT_S

    def note_fault(self, fault: Fault, failure: object) -> None:
        if self.fault is Fault.FAILURE:
            return
        self.fault = fault
        self.failure = failure
        if self._is_settled:
            return
        self._waited_s = 0.0
        if self._limit_s is None:
            self._limit_s = self.timeouts.stalled_after_s
            self.reason = ""  # of a call whose arguments have not come

    def note_done(self) -> None:
        """Note `[DONE]`, or that a whole reply was read."""
        self.is_done = True
        self._limit_s = END_WAIT_S
        self._waited_s = 0.0

    def is_whole(self, *, is_broken: bool, has_whole_calls: bool = False) -> bool:
        """Return whether nothing is missing; `is_broken` is the connection."""
        if self.fault is Fault.FAILURE:
            return False
        if self.reason:
            has_end = self.is_done or self._is_settled or not is_broken
            return has_end and is_complete_end(self.reason)
        has_error = self.failure is not None and not isinstance(self.failure, bytes)
        needs_reason = self.needs_reason and not has_whole_calls
        return self.is_done and not needs_reason and not has_error

    async def next_part(
        self,
        body: AsyncIterator[bytes],
        idle_timeout: IdleTimeout,
        tell: Callable[[bytes], None] = lambda _: None,
    ) -> bytes | None:
        """Return the next bytes; None at the end of the body, or of the wait.

        Only the time in this method counts: the caller may be slow. Comments are no data. `tell`
        gets words that nothing follows.
        """
        if self._limit_s is None:
            return await anext(body, None)
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        telling = loop.call_later(END_WAIT_S - self._waited_s, self._tell, tell)
        wait = asyncio.timeout(self._limit_s - self._waited_s)
        with idle_timeout.paused():  # silence is no fault
            try:
                async with wait:
                    return await anext(body, None)
            except TimeoutError:
                if not wait.expired():  # it comes from the network
                    raise
                return None
            finally:
                telling.cancel()
                self._waited_s += loop.time() - since_s

    def _tell(self, tell: Callable[[bytes], None]) -> None:
        words = self.failure
        if isinstance(words, bytes) and words != self._told and not self._is_settled:
            self._told = words
            tell(words)
