"""The terminal as a device: modes, echo, unread input, and a writer that never blocks."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]
PASTE_START, PASTE_END = "\x1b[200~", "\x1b[201~"  # marks of a bracketed paste
LONGEST_WAIT_S = 2.0  # for the next byte of a paste or sequence
_LOCAL_FLAGS = 3  # index in the attributes of a terminal
_MOST_TYPED_BYTES = 100_000  # more than a terminal keeps
_END_S = 0.3  # for a terminal that takes no bytes


class TerminalOutput:
    """Writer that never raises `OSError`, and writes nothing after `end`."""

    def __init__(self, fileno: int, on_gone: Callable[[], None]) -> None:
        """`on_gone` is called when a write fails because the terminal is gone."""
        self._fileno = fileno
        self._on_gone = on_gone
        self._is_open = True
        self._writing = Lock()  # `end` waits for it, but not for long

    def start(self) -> None:
        self._is_open = True

    def write(self, text: str) -> None:
        """Wait while the terminal takes nothing.

        The rest is dropped if `end` is called or the terminal is gone.
        """
        data = text.encode(errors="replace")
        with self._writing:
            try:
                while data and self._is_open:
                    written_bytes = self._write_some(data)
                    data = data[written_bytes:]
            except OSError:
                self._is_open = False
                self._on_gone()

    def end(self, last_text: str) -> None:
        """Allow no more writing, and write a last text, within about 2 × `_END_S`.

        It is written even if a thread is blocked in `write`, and dropped if the terminal takes
        nothing.
        """
        self._is_open = False
        is_acquired = self._writing.acquire(timeout=_END_S)  # a running `write` can end
        # abandoned if the terminal takes nothing
        writing = Thread(target=self._write_last, args=(last_text.encode(),), daemon=True)
        writing.start()
        writing.join(_END_S)
        if is_acquired:
            self._writing.release()

    def _write_last(self, data: bytes) -> None:
        with suppress(OSError):  # the terminal is gone
            os.write(self._fileno, data)

    def _write_some(self, data: bytes) -> int:
        """Return the number of bytes, 0 after 1 s in which the terminal takes nothing."""
        try:
            return os.write(self._fileno, data)
        except BlockingIOError:  # an earlier program left the terminal non-blocking
            select.select([], [self._fileno], [], 1)
            return 0


def has_shell() -> bool:
    """Whether a shell with job control has started lmchat, which can then be stopped and continued.

    Such a shell leads its session, and runs each command in another process group.
    """
    try:
        return os.getpgid(os.getsid(0)) != os.getpgrp()
    except (OSError, AttributeError):  # the leader has ended; Windows has no such shells
        return False


@contextmanager
def _local_flags(fileno: int, **flags: bool) -> Iterator[None]:
    """Set flags of a terminal, by their names in `termios`, while the block runs."""
    if termios is None:
        yield
        return
    before = None
    with suppress(termios.error):
        before = termios.tcgetattr(fileno)
        attributes = [*before]
        for name, is_on in flags.items():
            bit = getattr(termios, name)
            attributes[_LOCAL_FLAGS] = attributes[_LOCAL_FLAGS] & ~bit | bit * is_on
        termios.tcsetattr(fileno, termios.TCSANOW, attributes)
    try:
        yield
    finally:
        if before is not None:
            with suppress(termios.error):
                termios.tcsetattr(fileno, termios.TCSANOW, before)


def echo(fileno: int, *, is_on: bool) -> AbstractContextManager[None]:
    """Show what is typed while the block runs, or hide it, as while an answer is printed.

    Ctrl+C must not drop what was printed but is not shown yet (NOFLSH).
    """
    return _local_flags(fileno, ECHO=is_on, NOFLSH=not is_on)


def take_typed(fileno: int) -> bytes:
    """Return unread text of a terminal, also of a line that has not ended; b"" on Windows."""
    with _local_flags(fileno, ICANON=False):
        return os.read(fileno, _MOST_TYPED_BYTES) if has_more_input(fileno, wait_s=0) else b""


def has_more_input(fileno: int, *, wait_s: float) -> bool:
    """Always False on Windows."""
    try:
        readable, _, _ = select.select([fileno], [], [], wait_s)
    except (OSError, ValueError):  # Windows selects sockets only; the file may be closed
        return False
    return bool(readable)


def takes_text(fileno: int) -> bool:
    """Return whether a terminal reads what is written: one that is stopped does not."""
    try:
        _, writable, _ = select.select([], [fileno], [], 0)
    except (OSError, ValueError):  # Windows selects sockets only; the file may be closed
        return True
    return bool(writable)


def read_paste(fileno: int) -> Iterator[tuple[bytearray, bytes]]:
    """Read a bracketed paste behind the mark of its start, to the mark of its end.

    Yield what has come whenever nothing comes for `LONGEST_WAIT_S`, and the Enter or Esc behind it
    if that came alone: then the user ends the paste. Yield the whole paste last.
    """
    mark = PASTE_END.encode()
    data = bytearray()
    key = b""
    while not data.endswith(mark):
        is_alone = not has_more_input(fileno, wait_s=0)
        while is_alone and not has_more_input(fileno, wait_s=LONGEST_WAIT_S):
            yield data.removesuffix(key), key
        # nothing behind the mark
        read = os.read(fileno, 1 if b"\x1b" in data[1 - len(mark) :] else len(mark))
        if not read:  # the terminal is gone
            break
        data += read
        key = read if is_alone and read in (b"\r", b"\x1b") else b""
    yield data.removesuffix(mark), b""


def is_in_paste(data: bytes) -> bool:
    """Whether a bracketed paste starts in it that does not end in it."""
    return data.rfind(PASTE_START.encode()) > data.rfind(PASTE_END.encode())


LATE_S = 0.02  # with unread text for longer, a terminal is behind
LAST_WRITES_S = 0.5  # that `stop` gives a terminal that reads nothing


class TerminalWriter(Thread):
    """Thread that writes queued texts to the terminal.

    The queue has no limit, because the app drops frames while `is_behind`. Textual's own has 30
    texts; a full one blocks the event loop: https://github.com/Textualize/textual/pull/6693
    """

    def __init__(self, output: TerminalOutput) -> None:
        super().__init__(daemon=True, name="terminal-output")
        self._output = output
        self._texts: SimpleQueue[str | None] = SimpleQueue()
        self._unwritten = 0  # queued or being written
        self._busy_since_s = 0.0  # since that number last rose from 0
        self._counting = Lock()  # held while both change

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
        is_over = False
        while not is_over:
            texts = [self._texts.get()]
            while not self._texts.empty():
                texts.append(self._texts.get())
            is_over = None in texts
            self._output.write("".join(text for text in texts if text is not None))
            with self._counting:
                self._unwritten -= len(texts)  # None was not counted, but nothing follows it

    def stop(self) -> None:
        """End the thread after the queued texts, but within `LAST_WRITES_S`."""
        self._texts.put(None)
        self.join(LAST_WRITES_S)
