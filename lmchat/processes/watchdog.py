"""Watchdog: run a command that ends with its parent, in whatever way the parent ends.

`watched` returns the command line, which runs this file as a script, without importing lmchat. The
stdin of the watchdog is a pipe from the parent. Every system closes it when the parent ends; the
parent may also close it before. Then, or on SIGTERM, the watchdog ends the command and its
children. The exit code of the watchdog is that of the command, as shells report it.
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

_CHILDREN_END_S = 0.5  # time for the command's children to end after it
_POLL_S = 0.02  # between two checks of that
_LOG_POLL_S = 1.0
_CANNOT_RUN = 126  # exit code where the command cannot be started, as in shells
_SIGNAL_BASE = 128  # exit code of a command that a signal ended, minus its number, as in shells
_SIGKILL = 9  # `signal.SIGKILL`, which Windows does not have
_CHUNK_BYTES = 64 * 1024
_END_OF_INPUT = b""
# values of `stdin`: the input of the command
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
    ends_children: bool = False,
) -> list[str]:
    """Return the command line that runs the command `argv` under the watchdog.

    `terminate_s` is the time that the command has to end after SIGTERM, before it is killed.
    `log_bytes` is the size at which the file of its stderr is emptied; 0 means never. `stdin` is
    `NO_INPUT`, `ONE_LINE` or `ALL_INPUT`. With `ALL_INPUT`, the command gets SIGTERM only `grace_s`
    after the end of its input. With `ends_children` or `ALL_INPUT`, what the command has left in
    its process group ends with it.
    """
    options = (str(terminate_s), str(log_bytes), stdin, str(grace_s), str(int(ends_children)))
    return [sys.executable, "-I", "-S", __file__, *options, *argv]


def signal_of(exit_code: int) -> int:
    """Return the number of the signal that ended a command with this exit code; 0 for no signal."""
    return max(0, exit_code - _SIGNAL_BASE)


def main() -> int:
    """Run the command that the arguments of `watched` name, and return its exit code.

    Up to four threads run beside it: one forwards the input, if the command gets any; one waits for
    the end of the parent; one ends the command when `is_ending` is set; and one limits the log.
    """
    terminate_s, log_bytes, stdin, grace_s, ends_children, *argv = sys.argv[1:]
    line = sys.stdin.buffer.readline() if stdin == ONE_LINE else b""
    is_ending = threading.Event()  # set on SIGTERM and when the parent has ended
    signal.signal(signal.SIGTERM, lambda *_: is_ending.set())
    has_input = stdin == ALL_INPUT or bool(line)  # the line is empty if the parent has ended
    command_input = subprocess.PIPE if has_input else subprocess.DEVNULL
    try:
        # the user has agreed to the command
        command = subprocess.Popen(argv, stdin=command_input, process_group=0)  # noqa: S603
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror or error}\n")
        return _CANNOT_RUN
    # Close the watchdog's own stdout: the parent sees the end of the output when the command ends.
    os.dup2(2, 1)

    unsent: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    if command.stdin is not None:
        _start_thread(partial(_forward_input, command.stdin, unsent))
    if line:  # with ONE_LINE, it is all of the command's input
        unsent.put(line)
        unsent.put(_END_OF_INPUT)
    # without ALL_INPUT, what the parent writes now is read only to notice the parent's end
    forward_to = unsent if stdin == ALL_INPUT else None
    _start_thread(partial(_read_until_parent_ends, is_ending, forward_to, float(grace_s)))
    _start_thread(partial(_end_command, command.pid, is_ending, float(terminate_s)))
    _start_thread(partial(bound_log, int(log_bytes)))

    exit_code = command.wait()
    # ALL_INPUT is for tool hosts and tool servers, whose children are of no use without them
    has_tied_children = stdin == ALL_INPUT or ends_children == "1"
    if is_ending.is_set() or has_tied_children:
        _end_children(command.pid)
    # Python returns -N after signal N
    return exit_code if exit_code >= 0 else _SIGNAL_BASE - exit_code


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _read_until_parent_ends(
    is_ending: threading.Event, forward_to: queue.SimpleQueue[bytes] | None, grace_s: float
) -> None:
    """Read what the parent writes until it closes the pipe or ends, then set `is_ending`.

    With a queue `forward_to`, what was read and then `_END_OF_INPUT` are put into it, and
    `is_ending` is set `grace_s` later. Without a queue, what was read is dropped.
    """
    while data := os.read(0, _CHUNK_BYTES):
        if forward_to is not None:
            forward_to.put(data)
    if forward_to is not None:
        forward_to.put(_END_OF_INPUT)
        time.sleep(grace_s)  # the command may end now because its input has ended
    is_ending.set()


def _forward_input(sink: IO[bytes], unsent: queue.SimpleQueue[bytes]) -> None:
    """Write queued input to the command until `_END_OF_INPUT`, then close the command's input.

    This blocks while the command reads nothing. So it has another thread than the function that
    notices the end of the parent.
    """
    with suppress(OSError), sink:  # the command has ended
        while data := unsent.get():
            sink.write(data)
            sink.flush()


def _end_command(group: int, is_ending: threading.Event, terminate_s: float) -> None:
    """Wait for `is_ending`, ask the process group of the command to end, and kill it later.

    If the command ends within `terminate_s`, so does the watchdog, and this thread kills nothing.
    """
    is_ending.wait()
    _send_signal(group, signal.SIGTERM)
    time.sleep(terminate_s)
    _send_signal(group, _SIGKILL)


def _end_children(group: int) -> None:
    """Wait up to `_CHILDREN_END_S` for the remaining children of the command, then kill them.

    Such a child may hold a model in memory.
    """
    until_s = time.monotonic() + _CHILDREN_END_S
    while time.monotonic() < until_s and _send_signal(group, 0):
        time.sleep(_POLL_S)
    _send_signal(group, _SIGKILL)


def _send_signal(group: int, number: int) -> bool:
    """Send a signal to a process group, and return whether the group exists.

    The signal 0 only asks whether it exists. Windows has neither groups nor signals: there, 0
    returns False, and any other number kills the process and all below it.
    """
    if not hasattr(os, "killpg"):  # Windows
        if not number:
            return False
        command = ("taskkill", "/F", "/T", "/PID", str(group))
        ended = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - constant
        return ended.returncode == 0
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # it has ended; macOS raises the second
        return False
    return True


def bound_log(log_bytes: int) -> None:
    """Empty the file of stderr each time it is larger than `log_bytes`, until the process ends.

    For 0, do nothing and return at once. The file is open for appending, so what is written next is
    at its start.
    """
    while log_bytes:
        time.sleep(_LOG_POLL_S)
        if os.fstat(2).st_size > log_bytes:
            os.ftruncate(2, 0)


if __name__ == "__main__":
    sys.exit(main())
