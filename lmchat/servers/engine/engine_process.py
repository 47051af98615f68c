"""Child process of the engine, which runs `engine_program.py`: order, report and log."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.errors import EngineUnavailable
from lmchat.files.disk import begin_log
from lmchat.processes.child import ChildProcess
from lmchat.processes.environment import needed_environment

PROGRAM = Path(__file__).with_name("engine_program.py")
STOP_S = 2.0  # time for the child to end before it is killed
_TAIL_BYTES = 16_384


class ServeOrder(Struct, frozen=True, kw_only=True):
    """Order for the child, sent to its stdin; the key for the server is nowhere else."""

    model: str  # file; empty for a test without a model
    alias: str = ""
    port: int = 0  # 0 takes a free one
    key: str = ""
    context: int = 4096  # tokens
    threads: int | None = None  # None: llama.cpp decides


class Report(Struct, frozen=True, kw_only=True):
    """Report of the child, which it sends once: it is ready, or it cannot start."""

    address: str = ""  # where the server listens; empty after an error
    problem: str = ""  # the step that failed, `import` or `start`; empty without an error
    error_text: str = ""  # message of the error
    module: str = ""  # module that could not be imported


class EngineProcess:
    """A running child, which ends with its input, and so with this process."""

    def __init__(self, child: ChildProcess, log: int) -> None:
        self._child = child
        self._log = log  # descriptor of the log; -1 after `stop`

    @classmethod
    async def start(
        cls, order: ServeOrder, log_file: Path, environ: Mapping[str, str]
    ) -> EngineProcess:
        """Start the child and send its order; the log of the run before is kept.

        Raises `EngineUnavailable` if the log cannot be written.
        """
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
        try:
            child = await ChildProcess.start(
                command,
                environment=needed_environment(environ),  # the rest comes through its input
                folder=log_file.parent,
                errors=log,
            )
        except BaseException:
            os.close(log)
            raise
        child.send_line(order)
        return cls(child, log)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the child, -N if signal N has ended it; None while it runs."""
        return self._child.exit_code

    async def receive_report(self) -> Report | None:
        """Wait for the report; return None if the child has ended, or printed anything else."""
        try:
            return await self._child.receive_line(Report)
        except ValueError:  # a library printed a line that is no report
            return None

    async def wait_for_end(self, wait_s: float) -> bool:
        """Wait for the end of the child, at most `wait_s` seconds; return whether it has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._child.wait()
        return self._child.exit_code is not None

    async def stop(self) -> None:
        """End the child, and close the log; a second call does nothing.

        It is asked to end, and killed after `STOP_S`.
        """
        self._child.stop(STOP_S)
        await self._child.wait()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def log_tail(self) -> str:
        """Return the last `_TAIL_BYTES` of the log; "" if it cannot be read, as after `stop`."""
        try:
            size = os.fstat(self._log).st_size
            # the child appends, so this does not change where it writes
            os.lseek(self._log, max(0, size - _TAIL_BYTES), os.SEEK_SET)
            data = os.read(self._log, _TAIL_BYTES)
        except OSError:
            return ""
        return data.decode("utf-8", "replace")
