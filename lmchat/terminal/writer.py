"""Thread that writes to the terminal, so that a slow terminal does not block the event loop."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic

from lmchat.terminal.terminal_output import TerminalOutput

LATE_S = 0.02  # a terminal that has unread text for longer than this is behind
LAST_WRITES_S = 0.5  # time that `stop` gives a terminal that reads nothing


class TerminalWriter(Thread):
    """Thread that writes queued texts to the terminal.

    The queue has no limit, because the app drops frames while `is_behind`. Textual's own thread has
    a queue of 30 texts; a full one blocks the event loop:
    https://github.com/Textualize/textual/pull/6693
    """

    def __init__(self, output: TerminalOutput) -> None:
        super().__init__(daemon=True, name="terminal-output")
        self._output = output
        self._texts: SimpleQueue[str | None] = SimpleQueue()
        self._unwritten = 0  # number of texts that are queued or being written
        self._busy_since_s = 0.0  # time at which that number last rose from 0
        self._counting = Lock()  # held while both are changed

    def write(self, text: str) -> None:
        """Queue a text, without waiting."""
        with self._counting:
            if not self._unwritten:
                self._busy_since_s = monotonic()
            self._unwritten += 1
        self._texts.put(text)

    @property
    def is_behind(self) -> bool:
        """Whether texts have been unwritten for longer than `LATE_S`."""
        return self._unwritten > 0 and monotonic() - self._busy_since_s > LATE_S

    def run(self) -> None:
        """Write the queued texts, several at once if there are several, until `stop` is called."""
        is_over = False
        while not is_over:
            texts = [self._texts.get()]
            while not self._texts.empty():
                texts.append(self._texts.get())
            is_over = None in texts
            self._output.write("".join(text for text in texts if text is not None))
            with self._counting:
                self._unwritten -= len(texts)  # None is counted, too, but it is the last

    def stop(self) -> None:
        """End the thread after the queued texts; wait for that no longer than `LAST_WRITES_S`."""
        self._texts.put(None)
        self.join(LAST_WRITES_S)
