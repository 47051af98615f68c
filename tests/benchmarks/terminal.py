"""A program on a pty, with the time of every byte that it drew and the CPU that it took."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.pty_program import Terminal

PAGE = os.sysconf("SC_PAGE_SIZE")
_OF_ALL_THREADS = (
    2  # Linux's name of the clock of another process: its number with all bits turned, and this
)
_REST_S = 0.25
_REST_SHARE = 0.02  # of a core; a program that only polls takes a tenth of it


class Drawn:
    """Starts a program and keeps what it draws, as (time, bytes)."""

    def __init__(
        self, argv: Sequence[str], env: dict[str, str], size: tuple[int, int] = (120, 40)
    ) -> None:
        self.started_s = time.perf_counter()
        self._size = size
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], list(argv), env)  # noqa: S606 - our own program
        self.resize(*size)
        self.chunks: list[tuple[float, bytes]] = []
        self._news = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            select.select([self.master], [], [])
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:
                data = b""
            with self._news:
                if data:
                    self.chunks.append((time.perf_counter(), data))
                self._has_ended = not data
                self._news.notify_all()
            if not data:
                return

    def wait_for(self, text: str | bytes, *, since: int = 0, timeout_s: float = 30) -> float:
        """Return the time at which a text was first complete; `since` is a number of chunks to pass over."""
        wanted = text.encode() if isinstance(text, str) else text
        end_s = time.perf_counter() + timeout_s
        tail = b""
        index = since
        with self._news:
            while True:
                while index < len(self.chunks):
                    at_s, data = self.chunks[index]
                    tail = tail[-len(wanted) :] + data
                    index += 1
                    if wanted in tail:
                        return at_s
                left_s = end_s - time.perf_counter()
                if left_s <= 0 or self._has_ended:
                    raise TimeoutError(f"{text!r} was not drawn; the last words: {tail[-500:]!r}")
                self._news.wait(left_s)

    def shown_s(self, texts: Iterable[str], *, since: int = 0) -> dict[str, float]:
        """Return when each of some patterns was first seen on the screen; those that never were are
        left out.

        Only what changed is written, so a text need not come in one piece: its bytes tell nothing.
        It is read after the fact, because a terminal in memory takes as much of a core as the
        program.
        """
        terminal = Terminal(*self._size)
        missing = list(texts)
        found = {}
        for number, (at_s, data) in enumerate(list(self.chunks)):
            terminal.feed(data)
            if number < since or not missing:
                continue
            shown = "\n".join(terminal.lines)
            found |= {text: at_s for text in missing if re.search(text, shown)}
            missing = [text for text in missing if text not in found]
        return found

    def type(self, keys: str) -> float:
        at_s = time.perf_counter()
        os.write(self.master, keys.encode())
        return at_s

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def count(self) -> int:
        return len(self.chunks)

    def drawn_bytes(self, since: int = 0) -> int:
        return sum(len(data) for _, data in self.chunks[since:])

    def cpu_s(self) -> float:
        """Return what all threads of the program have used, those that ended too, to the microsecond."""
        return time.clock_gettime(~self.pid << 3 | _OF_ALL_THREADS)

    def shown_since(self, since: int, quiet_s: float = 0.1, timeout_s: float = 10) -> float:
        """Wait until something was drawn and nothing more comes; return the time of the last of it."""
        pause_s = timeout_s
        while self._is_drawn(since, pause_s):
            since = self.count
            pause_s = quiet_s
        if pause_s == timeout_s:
            raise TimeoutError("nothing was drawn")
        return self.chunks[since - 1][0]

    def _is_drawn(self, since: int, timeout_s: float) -> bool:
        with self._news:
            return self._news.wait_for(lambda: self.count > since, timeout_s)

    def rest(self, timeout_s: float = 20) -> float:
        end_s = time.perf_counter() + timeout_s
        before_s = self.cpu_s()
        while time.perf_counter() < end_s:
            time.sleep(_REST_S)
            if self._has_ended:
                raise RuntimeError(
                    f"the program has ended: {b''.join(data for _, data in self.chunks[-5:])!r}"
                )
            now_s = self.cpu_s()
            if now_s - before_s < _REST_SHARE * _REST_S:
                return now_s
            before_s = now_s
        raise TimeoutError("the program does not come to rest")

    def memory_mb(self) -> float:
        return (
            int(Path(f"/proc/{self.pid}/statm").read_text(encoding="utf-8").split()[1]) * PAGE / 1e6
        )

    def end(self, keys: str = "\x11") -> None:
        try:
            os.write(self.master, keys.encode())
            for _ in range(100):
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return
                time.sleep(0.03)
        except OSError:
            pass
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return
