"""Starts a model server of this machine as a process of its own, with its output in a file."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lmchat.domain.candidate import Lifetime, ServerStart
from lmchat.errors import LMChatError
from lmchat.files import environment_for_others

KEEPER = Path(__file__).with_name("keeper.py")
END_S = 4.0
"""How long the end of a program is waited for; more than the keeper gives what it keeps."""
_LOOK_S = 0.05
_HEAD_BYTES = 65_536
_TRIED_PORTS = 32
_TELLING = re.compile(r"\b(error|fatal|failed|cannot|can't|unable|denied|not found|no such)\b", re.IGNORECASE)
_SIGNALLED = 128


class StartedProgram:
    """A program that was started, and may have ended since."""

    def __init__(self, process: subprocess.Popen[bytes], start: ServerStart, log_file: Path) -> None:
        self._process = process
        self._is_kept = start.lifetime is Lifetime.TIED
        self.log_file = log_file
        """What it writes."""

    @property
    def pid(self) -> int:
        """Its process; of one that ends with lmchat, the process that sees to that."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with, above 128 the number of a signal; None while it runs."""
        code = self._process.poll()
        if code is not None and self._process.stdin is not None:
            self._process.stdin.close()
        return _SIGNALLED - code if code is not None and code < 0 else code

    async def telling_line(self) -> str:
        """Return the line of its output that tells why it ended: the first with an error, else the first."""
        return await asyncio.to_thread(_telling_line, self.log_file)

    async def end(self) -> None:
        """End it and what it started; the keeper goes on by itself to end one that takes its time."""
        self._ask_to_end()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                while self.exit_code is None:  # noqa: ASYNC110 - nothing tells it on every system
                    await asyncio.sleep(_LOOK_S)
        if self.exit_code is None and not self._is_kept:
            self._signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)

    async def let_go(self) -> None:
        """End what is to end with lmchat; leave the rest alone."""
        if self._is_kept:
            await self.end()

    def _ask_to_end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        else:
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)  # it leads a session of its own


async def start_program(start: ServerStart, *, log_file: Path, environ: Mapping[str, str]) -> StartedProgram:
    """Run the command of a start, away from the terminal; the log of an earlier run is put aside.

    Raises:
        LMChatError: it cannot be run, or the log not be written.
    """
    process = await asyncio.to_thread(_run, start, log_file, environ)
    return StartedProgram(process, start, log_file)


async def free_port(first: int) -> int:
    """Return the first port from this one on at which nobody listens; the first itself where none is free."""
    return await asyncio.to_thread(_free_port, first)


def _run(start: ServerStart, log_file: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    is_kept = start.lifetime is Lifetime.TIED
    keeper = (sys.executable, "-I", "-S", str(KEEPER)) if is_kept else ()
    try:
        log = _new_log(log_file)
    except OSError as error:
        raise LMChatError(
            f"The log {log_file} cannot be written: {error.strerror or error}.",
            hint=f"Start it yourself: {start.command}",
            kind="program",
        ) from error
    try:
        return subprocess.Popen(  # noqa: S603 - a list and no shell; the user has said yes to it
            [*keeper, *start.argv],
            stdin=subprocess.PIPE if is_kept else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment_for_others(environ),
            start_new_session=True,  # neither Ctrl-C nor a closed terminal is meant for it
        )
    except OSError as error:
        raise LMChatError(
            f"{start.argv[0]} cannot be run: {error.strerror or error}.", kind="program"
        ) from error
    finally:
        os.close(log)


def _new_log(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _telling_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if _TELLING.search(line)), lines[0] if lines else "")


def _free_port(first: int) -> int:
    for port in range(first, first + _TRIED_PORTS):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    return first
