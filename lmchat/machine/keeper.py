"""Runs a command for as long as whoever started this script lives, and ends with the command's exit code.

Run by its path, with the command as arguments. Standard input is never written to: it ends when the other
side does, in whatever way, on every system; then so does the command. What the command writes is appended to
the file that is standard output, which is begun anew when it has grown too long.
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
_LOG_BYTES = 4_000_000
_LOG_LOOK_S = 1.0
_CANNOT_RUN = 126
_SIGNALLED = 128


def main() -> int:
    """Run the command; return what the shell would."""
    try:
        command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603 - the user said yes to it
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]}: {error.strerror or error}\n")
        return _CANNOT_RUN
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    threading.Thread(target=_end_with_stdin, args=(command,), daemon=True).start()
    threading.Thread(target=_bound_log, daemon=True).start()
    code = command.wait()
    return code if code >= 0 else _SIGNALLED - code


def _end_with_stdin(command: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):
        pass
    command.terminate()
    try:
        command.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        command.kill()


def _bound_log() -> None:
    while True:
        time.sleep(_LOG_LOOK_S)
        if os.fstat(1).st_size > _LOG_BYTES:
            os.ftruncate(1, 0)


if __name__ == "__main__":
    sys.exit(main())
