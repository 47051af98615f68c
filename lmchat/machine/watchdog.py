"""Watchdog: run a command that ends with its parent, in whatever way the parent ends.

`watched` returns the command line, which runs this file as a script without lmchat. The end of the
pipe that the parent holds is noticed on every system. Then, or on SIGTERM, the command and its
children are ended. The exit code is the command's, as shells report it.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import IO

_REST_S = 0.5  # time for the command's children to end after it
_POLL_S = 0.02
_LOG_POLL_S = 1.0
_CANNOT_RUN = 126
_SIGNALLED = 128
_KILL = 9
_CHUNK_BYTES = 65_536
_END_OF_INPUT = b""
NO_INPUT = "none"
ONE_LINE = "line"
"""The command gets the first line that the parent writes."""
ALL_INPUT = "all"
"""The command gets all that the parent writes, and the end of it."""


def watched(
    argv: Sequence[str],
    *,
    terminate_s: float = 3.0,
    log_bytes: int = 0,
    stdin: str = NO_INPUT,
    grace_s: float = 0.0,
) -> list[str]:
    """Return the command line that runs a command under the watchdog.

    `terminate_s`: time to end after SIGTERM. `log_bytes`: size at which its stderr file is emptied;
    0: never. `grace_s`: time to end by the end of its input, before SIGTERM.
    """
    options = (str(terminate_s), str(log_bytes), stdin, str(grace_s))
    return [sys.executable, "-I", "-S", __file__, *options, *argv]


def signal_of(exit_code: int) -> int:
    """Return the number of the signal that ended a command, or 0."""
    return max(0, exit_code - _SIGNALLED)


def main() -> int:
    """Run the command and return its exit code."""
    terminate_s, log_bytes, stdin, grace_s, *argv = sys.argv[1:]
    line = sys.stdin.buffer.readline() if stdin == ONE_LINE else b""
    is_ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_ending.set())
    has_input = stdin == ALL_INPUT or bool(line)
    source = subprocess.PIPE if has_input else subprocess.DEVNULL
    try:
        # the user has agreed to the command
        command = subprocess.Popen(argv, stdin=source, process_group=0)  # noqa: S603
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror or error}\n")
        return _CANNOT_RUN
    os.dup2(2, 1)  # the reader of the command's output sees its end

    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    if command.stdin is not None:
        _start(partial(_write, command.stdin, waiting))
    if line:
        waiting.put(line)
        waiting.put(_END_OF_INPUT)
    received = waiting if stdin == ALL_INPUT else None
    _start(partial(_read_until_parent_ends, is_ending, received, float(grace_s)))
    _start(partial(_end, command.pid, is_ending, float(terminate_s)))
    _start(partial(bound_log, int(log_bytes)))

    code = command.wait()
    if is_ending.is_set() or stdin == ALL_INPUT:
        _end_rest(command.pid)
    return code if code >= 0 else _SIGNALLED - code


def _start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _read_until_parent_ends(
    is_ending: threading.Event, forward_to: queue.SimpleQueue[bytes] | None, grace_s: float
) -> None:
    """Pass on what the parent writes, or drop it; set `is_ending` once the parent is gone."""
    while data := os.read(0, _CHUNK_BYTES):
        if forward_to is not None:
            forward_to.put(data)
    if forward_to is not None:
        forward_to.put(_END_OF_INPUT)
        time.sleep(grace_s)  # a command may end when its input does
    is_ending.set()


def _write(sink: IO[bytes], waiting: queue.SimpleQueue[bytes]) -> None:
    """Pass on the input; a command that reads nothing must not hide the end of the parent."""
    with suppress(OSError), sink:
        while data := waiting.get():
            sink.write(data)
            sink.flush()


def _end(group: int, is_ending: threading.Event, terminate_s: float) -> None:
    is_ending.wait()
    _signal(group, signal.SIGTERM)
    time.sleep(terminate_s)
    _signal(group, _KILL)


def _end_rest(group: int) -> None:
    """End the command's remaining children: they may hold a model in memory."""
    until_s = time.monotonic() + _REST_S
    while time.monotonic() < until_s and _signal(group, 0):
        time.sleep(_POLL_S)
    _signal(group, _KILL)


def _signal(group: int, number: int) -> bool:
    """Signal a process group; return whether it still exists."""
    if not hasattr(os, "killpg"):  # Windows
        command = ("taskkill", "/F", "/T", "/PID", str(group))
        if not number:
            return False
        ended = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - constant
        return ended.returncode == 0
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # it has ended; the second on macOS
        return False
    return True


def bound_log(log_bytes: int) -> None:
    """Empty a long log; it is open for appending, so writing continues at its start."""
    while log_bytes:
        time.sleep(_LOG_POLL_S)
        if os.fstat(2).st_size > log_bytes:
            os.ftruncate(2, 0)


if __name__ == "__main__":
    sys.exit(main())
