"""Runs a command for as long as whoever started this script lives, and ends with the command's exit code.

Run by its path, with the command as arguments. Standard input is never written to: it ends when the other
side does, in whatever way, on every system; then so does the command, with what it has started: many a
server's command is a script that starts it. What the command writes is appended to the file that is standard
output, which is begun anew when it has grown too long.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

_PATIENCE_S = 3.0
"""How long the command may take to end before it is killed."""
_GRACE_S = 0.5
"""How long what it has started may outlive it then."""
_LOOK_S = 0.02
_LOG_BYTES = 4_000_000
_LOG_LOOK_S = 1.0
_CANNOT_RUN = 126
_SIGNALLED = 128


def main() -> int:
    """Run the command; return what the shell would."""
    try:
        command = subprocess.Popen(  # noqa: S603 - the user said yes to it
            sys.argv[1:], stdin=subprocess.DEVNULL, process_group=0
        )
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]}: {error.strerror or error}\n")
        return _CANNOT_RUN
    is_ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_ending.set())
    threading.Thread(target=_watch_stdin, args=(is_ending,), daemon=True).start()
    threading.Thread(target=_end, args=(command.pid, is_ending), daemon=True).start()
    threading.Thread(target=_bound_log, daemon=True).start()
    code = command.wait()
    if is_ending.is_set():
        _end_rest(command.pid)
    return code if code >= 0 else _SIGNALLED - code


def _watch_stdin(is_ending: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    is_ending.set()


def _end(group: int, is_ending: threading.Event) -> None:
    is_ending.wait()
    _signal(group, signal.SIGTERM)
    time.sleep(_PATIENCE_S)
    _signal(group, signal.SIGKILL)


def _end_rest(group: int) -> None:
    """End what has outlived the command: nothing of it is to hold a model in memory."""
    until_s = time.monotonic() + _GRACE_S
    while time.monotonic() < until_s and _signal(group, 0):
        time.sleep(_LOOK_S)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Signal all of a group; return whether there was anybody."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _bound_log() -> None:
    while True:
        time.sleep(_LOG_LOOK_S)
        if os.fstat(1).st_size > _LOG_BYTES:
            os.ftruncate(1, 0)


if __name__ == "__main__":
    sys.exit(main())
