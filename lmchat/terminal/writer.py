"""Thread that writes to the terminal: one that stops reading must not block the event loop."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic

from lmchat.terminal.terminal_output import TerminalOutput

LATE_S = 0.02  # time after which a terminal that has not read everything is behind
LAST_WRITES_S = 0.5  # time for a terminal that reads nothing, when closing


class TerminalWriter(Thread):
    """Thread that writes to the terminal, with an unlimited queue; the app drops late frames.

    Textual's queue of 30 blocks the event loop: https://github.com/Textualize/textual/pull/6693
    """

    def __init__(self, output: TerminalOutput) -> None:
        super().__init__(daemon=True, name="terminal-output")
        self._output = output
        self._texts: SimpleQueue[str | None] = SimpleQueue()
        self._unwritten = 0
        self._busy_since_s = 0.0
        self._counting = Lock()

    def write(self, text: str) -> None:
        with self._counting:
            if not self._unwritten:
                self._busy_since_s = monotonic()
            self._unwritten += 1
        self._texts.put(text)

    @property
    def is_behind(self) -> bool:
        return self._unwritten > 0 and monotonic() - self._busy_since_s > LATE_S

    def run(self) -> None:
        """Write queued texts, all at once, until `stop`."""
        is_over = False
        while not is_over:
            texts = [self._texts.get()]
            while not self._texts.empty():
                texts.append(self._texts.get())
            is_over = None in texts
            self._output.write("".join(text for text in texts if text is not None))
            with self._counting:
                self._unwritten -= len(texts)

    def stop(self) -> None:
        self._texts.put(None)
        self.join(LAST_WRITES_S)
