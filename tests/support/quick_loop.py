"""An event loop whose clock jumps to the next timer where nothing else is to do, so that a test waits for nothing."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class _JumpingSelector(selectors.SelectSelector):
    """Selector that lets `passed_s` grow in place of a wait."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no timer: a thread or a socket ends the wait
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.passed_s += max(timeout, 0.0)
        return ready


class _QuickLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._selector_of_time = _JumpingSelector()
        super().__init__(self._selector_of_time)

    def time(self) -> float:
        return self._selector_of_time.passed_s


def run_quickly(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run without threads and sockets, for which the clock would not wait."""
    with asyncio.Runner(loop_factory=_QuickLoop) as runner:
        return runner.run(work)
