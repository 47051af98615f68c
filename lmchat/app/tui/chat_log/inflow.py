"""Streamed text on its way into the log, and the timer of the frame that shows it.

A frame is one change of the screen, with all text since the one before.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable
from time import perf_counter

from msgspec import Struct

from lmchat.app.tui.chat_log.entry import Delta

# of a core; beyond it, frames are fewer: typing comes first
_LOAD_LIMIT = 0.25
_FLOW_FRAMES = 2  # text flows while the last frame is not older than so many frames


class FrameBuffer(Struct, eq=False):
    """Streamed text that waits for the next frame."""

    _show_frame: Callable[[], object]  # called when it is time for the next frame
    frames_per_second: int  # at most
    timer: TimerHandle | None = None
    _deltas: list[Delta] = []
    _shown_s: float = 0.0  # when the last frame started
    _costs_s: tuple[float, float] = (0.0, 0.0)  # of the last two frames
    _show_before: Callable[[], object] | None = None

    def add(self, delta: Delta) -> None:
        self._deltas.append(delta)
        self.request_frame()

    def end_wait(self) -> list[Delta]:
        deltas = self._deltas
        self._deltas = []
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return deltas

    def request_frame(self) -> None:
        """Start the timer of the next frame unless it runs.

        A frame is taken to cost as much as the cheaper of the last two: the first imports the
        Markdown parser, which must not delay the second.
        """
        if self.timer is None:
            gap_s = max(1 / self.frames_per_second, min(self._costs_s) / _LOAD_LIMIT)
            pause_s = max(self._shown_s + gap_s - perf_counter(), 0.0)
            self.timer = asyncio.get_running_loop().call_later(pause_s, self._show_frame)

    def show_with_frame(self, show: Callable[[], object]) -> bool:
        """Return whether text flows; if so, call `show` just before the next frame.

        A frame for stats alone would cost about as much as one with text. Text may stop now, so
        that no frame comes: the caller asks again by a timer, and shows the stats at False.
        """
        if perf_counter() - self._shown_s > _FLOW_FRAMES / self.frames_per_second:
            return False
        self._show_before = show
        return True

    def show_and_measure(self, show_frame: Callable[[], object]) -> None:
        """Show a frame, after what `show_with_frame` has asked for, and measure the cost."""
        self._shown_s = perf_counter()
        if self._show_before is not None:
            self._show_before()
            self._show_before = None
        show_frame()
        self._costs_s = (self._costs_s[1], perf_counter() - self._shown_s)
