"""Watchdog: run a command that ends with its parent, in whatever way the parent ends.

`watched` returns the command line, which runs this file as a script without lmchat. The end of the pipe that
the parent holds is noticed on every system. Then, or on SIGTERM, the command and its children are ended.
The exit code is the command's, as shells report it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

_GRACE_S = 0.5  # time for the command's children to end after it
_POLL_S = 0.02
_LOG_POLL_S = 1.0
_CANNOT_RUN = 126
_SIGNALLED = 128
_KILL = 9


def watched(
    argv: Sequence[str], *, patience_s: float = 3.0, log_bytes: int = 0, has_input: bool = False
) -> list[str]:
    """Return the command line that runs a command under the watchdog.

    `patience_s`: time to end. `log_bytes`: size at which its stderr file is emptied; 0: never.
    `has_input`: it gets the first line that the parent writes.
    """
    options = (str(patience_s), str(log_bytes), str(int(has_input)))
    return [sys.executable, "-I", "-S", __file__, *options, *argv]


def signal_of(exit_code: int) -> int:
    """Return the number of the signal that ended a command, or 0."""
    return max(0, exit_code - _SIGNALLED)


def main() -> int:
    """Run the command and return its exit code."""
    patience_s, log_bytes, has_input, *argv = sys.argv[1:]
    line = sys.stdin.buffer.readline() if has_input == "1" else b""
    is_ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_ending.set())
    try:
        command = subprocess.Popen(  # noqa: S603 - the user has agreed to it
            argv, stdin=subprocess.PIPE if line else subprocess.DEVNULL, process_group=0
        )
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror or error}\n")
        return _CANNOT_RUN
    os.dup2(2, 1)  # whoever reads what the command prints is to see its end
    for work in (
        lambda: _await_parent(is_ending),
        lambda: _end(command.pid, is_ending, float(patience_s)),
        lambda: bound_log(int(log_bytes)),
    ):
        threading.Thread(target=work, daemon=True).start()
    if command.stdin is not None:
        with suppress(BrokenPipeError), command.stdin:
            command.stdin.write(line)
    code = command.wait()
    if is_ending.is_set():
        _end_rest(command.pid)
    return code if code >= 0 else _SIGNALLED - code


def _await_parent(is_ending: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    is_ending.set()


def _end(group: int, is_ending: threading.Event, patience_s: float) -> None:
    is_ending.wait()
    _signal(group, signal.SIGTERM)
    time.sleep(patience_s)
    _signal(group, _KILL)


def _end_rest(group: int) -> None:
    """End the command's remaining children: they may hold a model in memory."""
    until_s = time.monotonic() + _GRACE_S
    while time.monotonic() < until_s and _signal(group, 0):
        time.sleep(_POLL_S)
    _signal(group, _KILL)


def _signal(group: int, number: int) -> bool:
    """Signal a process group; return whether it still exists."""
    if not hasattr(os, "killpg"):  # Windows
        command = ("taskkill", "/F", "/T", "/PID", str(group))
        return bool(number) and subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
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
