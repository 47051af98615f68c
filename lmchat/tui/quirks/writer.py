"""Writes to the terminal behind the event loop, and knows whether the terminal keeps up."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any

LATE_S = 0.02
"""A terminal that has not taken all for so long is behind: what is written then would wait in a queue."""
PATIENCE_S = 0.5
"""How long the end waits for a terminal that takes nothing."""


class Writer(Thread):
    """Stands in for Textual's thread, whose queue of 30 texts halts the event loop where a terminal halts.

    This queue has no end. That it stays short is the business of those who paint: they ask `is_behind`.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(daemon=True, name="terminal-output")
        self._file = file
        self._texts: SimpleQueue[str | None] = SimpleQueue()
        self._given = self._written = 0
        self._busy_since_s = 0.0
        self._waiting: list[Callable[[], object]] = []
        self._counting = Lock()

    def write(self, text: str) -> None:
        """Write soon."""
        with self._counting:
            if self._given == self._written:
                self._busy_since_s = monotonic()
            self._given += 1
            self._texts.put(text)

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has left something unread for longer than a terminal needs."""
        return self._given != self._written and monotonic() - self._busy_since_s > LATE_S

    def when_read(self, call: Callable[[], object]) -> None:
        """Call something, once, as soon as all is written: maybe at once, else on the thread that writes."""
        with self._counting:
            is_read = self._given == self._written
            if not is_read:
                self._waiting.append(call)
        if is_read:
            call()

    def run(self) -> None:
        """Write what comes, as much at once as there is."""
        while True:
            taken = 1
            text = self._texts.get()
            while text is not None:
                self._file.write(text)
                if self._texts.empty():
                    break
                text = self._texts.get()
                taken += 1
            self._file.flush()
            if text is None:
                return
            self._note(taken)

    def flush(self) -> None:
        """Do nothing: it is written anyway."""

    def stop(self) -> None:
        """Write what is left, and end; a terminal that takes nothing is not waited for."""
        self._texts.put(None)
        self.join(PATIENCE_S)

    def _note(self, count: int) -> None:
        """Count what was written, and tell those who wait for the end of it."""
        with self._counting:
            self._written += count
            calls: list[Callable[[], object]] = []
            if self._waiting and self._given == self._written:
                calls, self._waiting = self._waiting, calls
        for call in calls:
            call()
