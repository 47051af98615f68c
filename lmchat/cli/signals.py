"""Run a command's coroutine so that Ctrl-C, SIGTERM and SIGHUP cancel it and leave it time to tidy up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command in good order."""


def run_until_signal(work: Coroutine[None, None, int]) -> int:
    """Run it and return its exit code; cut short by a signal, 128 and the number of the signal."""
    caught: list[signal.Signals] = []

    async def guarded() -> int:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, _cancel, task, caught, number)
        try:
            return await task
        except asyncio.CancelledError:
            return 128 + caught[0] if caught else 1
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    return asyncio.run(guarded())


def _cancel(task: asyncio.Future[int], caught: list[signal.Signals], number: signal.Signals) -> None:
    caught.append(number)
    task.cancel()
