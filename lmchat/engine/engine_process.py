"""Child process of the engine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from lmchat.errors import EngineUnavailable
from lmchat.files import begin_log, needed_environment
from lmchat.machine.watchdog import ONE_LINE, signal_of, watched

CHILD = Path(__file__).with_name("llama_program.py")
LOG_BYTES = 1_000_000  # size at which a run's log is emptied
STOP_S = 2.0  # time for the child to end before it is killed
_TAIL_BYTES = 16_384
_LONGEST_REPORT = 65_536


class ServeOrder(Struct, frozen=True, kw_only=True):
    """Order for the child, sent to its stdin; nothing else holds the key."""

    model: str  # file; empty for a test without a model
    alias: str = ""
    port: int = 0  # 0 takes a free one
    key: str = ""
    context: int = 4096  # tokens
    threads: int | None = None  # None: llama.cpp decides


class Report(Struct, frozen=True, kw_only=True):
    """Readiness or error of the child."""

    address: str = ""  # empty after an error
    problem: str = ""  # `import` or `start`
    words: str = ""
    module: str = ""  # module that could not be imported


def order_line(order: ServeOrder) -> bytes:
    """Return an order as the child reads it."""
    return msgspec.json.encode(order) + b"\n"


class ChildProcess:
    """Run of the child, which never outlives this process."""

    def __init__(self, process: asyncio.subprocess.Process, log: int) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(
        cls, order: ServeOrder, log_file: Path, environ: Mapping[str, str]
    ) -> ChildProcess:
        """Start the child and send its order; raises `EngineUnavailable`."""
        try:
            log = await asyncio.to_thread(begin_log, log_file)
        except OSError as error:
            raise EngineUnavailable(
                f"The log of the built-in engine cannot be written: {log_file}: {error.strerror or error}.",
                hint="Check the permissions there, or set LMCHAT_HOME to another folder.",
            ) from error
        # `-P`: nothing of the current folder is imported
        command = [sys.executable, "-P", str(CHILD)]
        process = await asyncio.create_subprocess_exec(
            *watched(command, patience_s=STOP_S, log_bytes=LOG_BYTES, stdin=ONE_LINE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=needed_environment(environ),  # all that it needs comes through its standard input
            start_new_session=True,  # neither Ctrl-C nor Ctrl-Z nor the closed terminal is meant for it
            limit=_LONGEST_REPORT,
        )
        assert process.stdin is not None  # noqa: S101 - it was asked for above
        process.stdin.write(order_line(order))
        return cls(process, log)

    @property
    def pid(self) -> int:
        """Process id of the watchdog."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the number of a signal that ended it."""
        code = self._process.returncode
        return -signal_of(code) or code if code else code

    async def report(self) -> Report | None:
        """Wait for the report; None if the child ended without one."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        try:
            line = await self._process.stdout.readline()
            return msgspec.json.decode(line, type=Report)
        except (msgspec.MsgspecError, ValueError):
            return None

    async def ended(self, wait_s: float) -> bool:
        """Wait for the end; return whether it came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._process.wait()
        return self._process.returncode is not None

    async def stop(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
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
