"""Waits of Textual's pilot that end as soon as nothing can happen in what is left of their time.

Textual waits in steps of 20 ms until one of them used next to no processor time: 20 ms for each `pause()`,
40 ms for each key. Here the rest of a step is left out where it would be slept through for certain: no call
is ready, no timer falls into the next 20 ms, no thread is at work, and the loop watches no socket, pipe or
child. Where one of these is there, the step is waited for to its end, as Textual does.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import thread
from contextlib import contextmanager
from unittest.mock import patch

from textual import _wait, app, pilot

STEP_S = _wait.SLEEP_GRANULARITY
_IDLE_S = _wait.SLEEP_IDLE
_LOOK_S = 0.002
"""So often is looked whether a thread is still at work."""
_at_work: weakref.WeakSet[thread._WorkItem] = weakref.WeakSet()
_of_others: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


async def wait_for_idle(min_sleep: float = STEP_S, max_sleep: float = 1) -> None:
    """Wait as Textual's function of this name does, but sleep through nothing."""
    loop, start_s = asyncio.get_running_loop(), time.monotonic()
    while True:
        used_s, end_s = time.process_time(), time.monotonic() + STEP_S
        while (left_s := end_s - time.monotonic()) > 0:
            pause_s = _pause_s(loop, left_s)
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)
        passed_s = time.monotonic() - start_s
        is_idle = time.process_time() - used_s < _IDLE_S
        if passed_s >= max_sleep or (passed_s > min_sleep and is_idle):
            return


@contextmanager
def shortened() -> Iterator[None]:
    """Let pilots wait so, and know what threads of pools are at."""
    made = thread._WorkItem.__init__

    def noted(item, *values, **more) -> None:
        made(item, *values, **more)
        _at_work.add(item)  # until its thread lets go of it: when it is done, and the loop was told

    with (
        patch.object(thread._WorkItem, "__init__", noted),
        patch.object(app, "wait_for_idle", wait_for_idle),
        patch.object(pilot, "wait_for_idle", wait_for_idle),
    ):
        yield


def pass_over_others() -> None:
    """Take all threads that run now for those of other tests: they know nothing of the loop that begins."""
    _of_others.update(threading.enumerate())


def can_be_woken(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether somebody else than a timer or a thread of a pool may wake the loop."""
    others = set(threading.enumerate()) - {threading.main_thread(), *_of_others}
    own_pipe = 1
    return len(loop._selector.get_map()) > own_pipe or any(
        getattr(one, "_target", None) is not thread._worker for one in others
    )


def is_at_work() -> bool:
    """Whether a thread of a pool is at something, or will be."""
    return bool(_at_work)


def _pause_s(loop: asyncio.AbstractEventLoop, left_s: float) -> float | None:
    """Return how long to sleep until the next look; None if nothing will happen."""
    if loop._ready:
        return 0.0
    if can_be_woken(loop):
        return left_s
    due_s = (
        min((one.when() for one in loop._scheduled if not one.cancelled()), default=math.inf) - loop.time()
    )
    if is_at_work():
        return max(min(left_s, due_s, _LOOK_S), 0.0)
    return max(min(left_s, due_s), 0.0) if due_s <= STEP_S else None
