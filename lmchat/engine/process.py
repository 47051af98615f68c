"""The child process of the engine: started under the watchdog, told what to serve, waited for, ended."""

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
from lmchat.files import begin_log, environment_for_others
from lmchat.watchdog import signal_of, watched

CHILD = Path(__file__).with_name("child.py")
LOG_BYTES = 1_000_000
"""Size at which the log of a run is emptied."""
STOP_S = 2.0
"""How long the child may take to end before it is killed."""
_TAIL_BYTES = 16_384
_LONGEST_REPORT = 65_536


class ServeOrder(Struct, frozen=True, kw_only=True):
    """Order for the child, sent to its standard input; nothing else holds the key."""

    model: str
    """The file; empty: only try whether the engine works here."""
    alias: str = ""
    """Name of the model."""
    port: int = 0
    """Where to listen; 0 takes a free one."""
    key: str = ""
    """API key that clients have to send; empty: none."""
    is_reserved: bool = False
    """Whether lmchat holds the port for the child."""
    context: int = 4096
    """Tokens of the context window."""
    threads: int | None = None
    """Threads to compute with; None leaves it to llama.cpp."""
    cache_mib: int = 512
    """Memory for earlier prompts, beyond the window."""
    template: str = ""
    """Chat template (jinja) in place of the model's own."""
    reasoning_budget: int | None = None
    """Tokens after which reasoning is cut."""


class Report(Struct, frozen=True, kw_only=True):
    """The child's answer: that it is ready, or what prevents it."""

    address: str = ""
    """Where it listens; empty: it does not."""
    problem: str = ""
    """`import` or `start`."""
    words: str = ""
    """Of the exception."""
    module: str = ""
    """The module that could not be imported."""


def order_line(order: ServeOrder) -> bytes:
    """Return an order as the child reads it."""
    return msgspec.json.encode(order) + b"\n"


class ChildProcess:
    """One run of the child; it ends with this process, however that ends."""

    def __init__(self, process: asyncio.subprocess.Process, log: int) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, order: ServeOrder, log_file: Path, environ: Mapping[str, str]) -> ChildProcess:
        """Start it and tell it what to serve.

        Raises:
            EngineUnavailable: the file's name is not UTF-8, the log cannot be written, or the system does not
                let us start a process.
        """
        line = _line(order)
        log = await asyncio.to_thread(_begin_log, log_file)
        # `-P`: nothing of the current folder is imported
        command = [sys.executable, "-P", str(CHILD)]
        try:
            process = await asyncio.create_subprocess_exec(
                *watched(command, patience_s=STOP_S, log_bytes=LOG_BYTES, has_input=True),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment_for_others(environ),  # all that it needs comes through its standard input
                start_new_session=True,  # neither Ctrl-C nor Ctrl-Z nor the closed terminal is meant for it
                limit=_LONGEST_REPORT,
            )
        except OSError as error:
            os.close(log)
            raise EngineUnavailable(
                f"The built-in engine cannot be started: {error.strerror or error}.",
                hint=f"It runs with {sys.executable}.",
            ) from error
        child = cls(process, log)
        try:
            assert process.stdin is not None  # noqa: S101 - it was asked for above
            process.stdin.write(line)
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process of the watchdog."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; below 0 the signal that ended it."""
        code = self._process.returncode
        return -signal_of(code) or code if code else code

    async def report(self) -> Report | None:
        """Wait until it is ready, or cannot be; None where it ended without a word."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        try:
            line = await self._process.stdout.readline()
            return msgspec.json.decode(line, type=Report)
        except (msgspec.MsgspecError, ValueError):
            return None

    async def ended(self, wait_s: float) -> bool:
        """Wait a little for its end; return whether it came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._process.wait()
        return self._process.returncode is not None

    async def stop(self) -> None:
        """End it; the watchdog kills a child that takes too long."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def log_tail(self) -> str:
        """Return the end of its log; empty where it cannot be read."""
        try:
            size = os.fstat(self._log).st_size
            data = os.pread(self._log, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        except OSError:
            return ""
        return data.decode("utf-8", "replace")


def _line(order: ServeOrder) -> bytes:
    try:
        return order_line(order)
    except UnicodeEncodeError as error:  # a name that is no UTF-8, for which the library has no type
        raise EngineUnavailable(
            f"The engine cannot open {os.fsencode(order.model).decode('utf-8', 'backslashreplace')}: "
            "its name is not UTF-8.",
            hint="Rename the file or its folder.",
            kind="model_file",
        ) from error


def _begin_log(path: Path) -> int:
    try:
        return begin_log(path)
    except OSError as error:
        raise EngineUnavailable(
            f"The log of the built-in engine cannot be written: {path}: {error.strerror or error}.",
            hint="Check who may write there, or set LMCHAT_HOME to another folder.",
        ) from error
