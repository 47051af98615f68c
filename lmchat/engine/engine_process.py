"""Child process of the engine: its order, its report and its log."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.errors import EngineUnavailable
from lmchat.files import begin_log, needed_environment
from lmchat.machine.process import ChildProcess
from lmchat.machine.watchdog import ONE_LINE, signal_of, watched

PROGRAM = Path(__file__).with_name("llama_program.py")
LOG_BYTES = 1_000_000  # size at which a run's log is emptied
STOP_S = 2.0  # time for the child to end before it is killed
_TAIL_BYTES = 16_384


class ServeOrder(Struct, frozen=True, kw_only=True):
    """Order for the child, sent to its stdin; nothing else holds the key."""

    model: str  # file; empty for a test without a model
    alias: str = ""
    port: int = 0  # 0 takes a free one
    key: str = ""
    context: int = 4096  # tokens
    threads: int | None = None  # None: llama.cpp decides


class Report(Struct, frozen=True, kw_only=True):
    """Report of the child, once: it is ready, or it cannot start."""

    address: str = ""  # where the server listens; empty after an error
    problem: str = ""  # the step that failed, `import` or `start`; empty without an error
    error_text: str = ""  # message of the error
    module: str = ""  # module that could not be imported


class EngineProcess:
    """Run of the child, which never outlives this process."""

    def __init__(self, child: ChildProcess, log: int) -> None:
        self._child = child
        self._log = log  # descriptor of the log; -1 after `stop`

    @classmethod
    async def start(
        cls, order: ServeOrder, log_file: Path, environ: Mapping[str, str]
    ) -> EngineProcess:
        """Start the child and send its order; raises `EngineUnavailable`."""
        try:
            log = await asyncio.to_thread(begin_log, log_file)
        except OSError as error:
            reason = error.strerror or error
            raise EngineUnavailable(
                f"The log of the built-in engine cannot be written: {log_file}: {reason}.",
                hint="Check the permissions there, or set LMCHAT_HOME to another folder.",
            ) from error
        # `-P`: nothing of the current folder is imported
        command = [sys.executable, "-P", str(PROGRAM)]
        child = await ChildProcess.start(
            watched(command, terminate_s=STOP_S, log_bytes=LOG_BYTES, stdin=ONE_LINE),
            environment=needed_environment(environ),  # all else comes through its standard input
            folder=log_file.parent,
            errors=log,
        )
        child.send_line(order)
        return cls(child, log)

    @property
    def pid(self) -> int:
        """Process id of the watchdog."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the child; minus the number of a signal that ended it. None: it runs."""
        code = self._child.exit_code
        if code is None:
            return None
        signal = signal_of(code)
        return -signal if signal else code

    async def receive_report(self) -> Report | None:
        """Wait for the report; return None if the child ended without one."""
        try:
            return await self._child.receive_line(Report)
        except ValueError:  # a library printed something else
            return None

    async def wait_for_end(self, wait_s: float) -> bool:
        """Wait for the end of the child, at most so long; return whether it has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._child.wait()
        return self._child.exit_code is not None

    async def stop(self) -> None:
        """End the child and close the log; does nothing the second time."""
        if self._child.exit_code is None:
            self._child.terminate()
            await self._child.wait()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def log_tail(self) -> str:
        """Return the end of the log; empty if it is unreadable."""
        try:
            size = os.fstat(self._log).st_size
            os.lseek(self._log, max(0, size - _TAIL_BYTES), os.SEEK_SET)
            data = os.read(self._log, _TAIL_BYTES)
        except OSError:
            return ""
        return data.decode("utf-8", "replace")
