"""How far loading a model is, on stderr: at a terminal in one line that changes, else said once."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lmchat.cli.output import Output

_TICK_S = 1.0
_ROOM = 24
"""Columns that the line may have filled."""


class LoadLine:
    """Counts the seconds, and shows the share where the server tells one."""

    def __init__(self, output: Output, model_id: str) -> None:
        self._output = output
        self._model_id = model_id
        self._is_live = sys.stderr is not None and sys.stderr.isatty() and not output.is_json
        self._since_s = time.monotonic()
        self._fraction: float | None = None

    def tell(self, fraction: float) -> None:
        """Take how far it is, 0 to 1."""
        self._fraction = fraction
        self._draw()

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it while the block runs; nothing of it is left but what is being loaded."""
        if not self._output.is_json:
            self._output.note(f"Loading {self._model_id} …")
        ticker = asyncio.create_task(self._tick(), name="load line")
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            self._write("")

    async def _tick(self) -> None:
        while self._is_live:
            self._draw()
            await asyncio.sleep(_TICK_S)

    def _draw(self) -> None:
        elapsed = f"{time.monotonic() - self._since_s:.0f} s"
        self._write(elapsed if self._fraction is None else f"{self._fraction:.0%}, {elapsed}")

    def _write(self, words: str) -> None:
        if self._is_live:
            sys.stderr.write(f"\r{words.ljust(_ROOM)}\r{words}")
            sys.stderr.flush()
