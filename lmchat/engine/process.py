"""The child process: started with its lifetime tied to ours, told what to serve, waited for, ended."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from lmchat.errors import EngineUnavailable
from lmchat.files import environment_for_others

LOG_BYTES = 1_000_000
"""A run that writes more begins its log anew."""
_TAIL_BYTES = 16_384


class RunLog:
    """The log of one run; it stays that of this run, even when another lmchat begins one of the same name."""

    def __init__(self, path: Path) -> None:
        """Put the log of the run before aside and begin a new one.

        Raises:
            EngineUnavailable: it cannot be written.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                path.replace(path.with_name(f"{path.name}.1"))
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self.file: BinaryIO = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
            """What the child writes to."""
        except OSError as error:
            raise EngineUnavailable(
                f"The log of the built-in engine cannot be written: {path}: {error.strerror or error}.",
                hint="Check who may write there, or set LMCHAT_HOME to another folder.",
            ) from error

    def tail(self) -> str:
        """Return its end; nothing where it cannot be read."""
        try:
            size = os.fstat(self.file.fileno()).st_size
            data = os.pread(self.file.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        except (OSError, ValueError):
            return ""
        return data.decode("utf-8", "replace")

    def close(self) -> None:
        """Forget it; the file stays."""
        self.file.close()


CHILD = Path(__file__).with_name("child.py")
IS_WATCHED = sys.platform != "linux"
"""Whether another process has to look after the child: Linux itself ends it with its parent."""
STOP_S = 2.0
"""How long the child may take to end before it is killed."""
_LONGEST_REPORT = 65_536


class ServeOrder(Struct, frozen=True, kw_only=True):
    """What the child is told through its standard input; the key stands nowhere else."""

    model: str
    """The file; empty: only try whether it could be served."""
    alias: str = ""
    """How the model is called."""
    port: int = 0
    """Where to listen; 0 takes a free one."""
    key: str = ""
    """Without it, nobody is served; empty: everybody is."""
    is_reserved: bool = False
    """Whether somebody holds the port for the child."""
    context: int = 4096
    """Tokens of the window."""
    threads: int | None = None
    """Threads to compute with; None leaves it to llama.cpp."""
    cache_mib: int = 512
    """Memory for prompts that were read before, beyond the window."""
    template: str = ""
    """Chat template (jinja) to use instead of the model's own."""
    reasoning_budget: int | None = None
    """Tokens after which a thought is cut."""


def order_line(order: ServeOrder) -> bytes:
    """Return an order as the child reads it."""
    told: dict[str, Any] = msgspec.to_builtins(order)
    told |= {"parent": os.getpid(), "log_bytes": LOG_BYTES, "is_watched": IS_WATCHED}
    return msgspec.json.encode(told) + b"\n"


def _told(order: ServeOrder) -> bytes:
    try:
        return order_line(order)
    except UnicodeEncodeError as error:  # a name that is no UTF-8, for which the library has no type
        raise EngineUnavailable(
            f"The engine cannot open {os.fsencode(order.model).decode('utf-8', 'backslashreplace')}: "
            "its name is not UTF-8.",
            hint="Rename the file or its folder.",
            kind="model_file",
        ) from error


class Report(Struct, frozen=True, kw_only=True):
    """What the child says once it is ready, or that it cannot be."""

    address: str = ""
    """Where it listens; empty: it does not."""
    problem: str = ""
    """`import` or `start`."""
    words: str = ""
    """Of the exception."""
    module: str = ""
    """What could not be imported."""


class ChildProcess:
    """One run of the child; it ends with this process, however that ends."""

    def __init__(self, process: asyncio.subprocess.Process, log: RunLog) -> None:
        self._process = process
        self.log = log
        """What it wrote."""

    @classmethod
    async def start(cls, order: ServeOrder, log_file: Path, environ: Mapping[str, str]) -> ChildProcess:
        """Start it and tell it what to serve.

        Raises:
            EngineUnavailable: the name of the file cannot be told to it, its log cannot be written, or the
                system does not let us start a process.
        """
        told = _told(order)
        log = await asyncio.to_thread(RunLog, log_file)
        try:
            # On the thread of the event loop: the child dies with the thread that began it
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # nothing of the current folder is imported
                str(CHILD),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log.file,
                env=environment_for_others(environ),  # all that it needs comes through its standard input
                start_new_session=True,  # neither Ctrl-C nor Ctrl-Z nor the closed terminal is meant for it
                limit=_LONGEST_REPORT,
            )
        except OSError as error:
            log.close()
            raise EngineUnavailable(
                f"The built-in engine cannot be started: {error.strerror or error}.",
                hint=f"It runs with {sys.executable}.",
            ) from error
        assert process.stdin is not None  # noqa: S101 - it was asked for above
        child = cls(process, log)
        try:
            process.stdin.write(told)
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; below 0 the signal that ended it."""
        return self._process.returncode

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
        """End it: by asking, after a while by force."""
        for end in (self._process.terminate, self._process.kill):
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    end()
                await self.ended(STOP_S)
        if self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(OSError):
                await self._process.stdin.wait_closed()
        self.log.close()
