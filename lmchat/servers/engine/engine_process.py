"""Child process of the engine, which runs `engine_program.py`: its order and its report."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.errors import EngineUnavailable
from lmchat.files.disk import begin_log
from lmchat.processes.child import ChildProcess
from lmchat.processes.environment import needed_environment

PROGRAM = Path(__file__).with_name("engine_program.py")


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
    error_text: str = ""  # message of the error
    module: str = ""  # module that could not be imported


async def start_child(
    order: ServeOrder, log_file: Path, environ: Mapping[str, str]
) -> ChildProcess:
    """Start a child, which ends with its input, and so with this process; send its order.

    The log of the run before is kept. Raises `EngineUnavailable` if the log cannot be written.
    """
    try:
        log = await asyncio.to_thread(begin_log, log_file)
    except OSError as error:
        reason = error.strerror or error
        raise EngineUnavailable(
            f"The log of the built-in engine cannot be written: {log_file}: {reason}.",
            hint="Check the permissions there, or set LMCHAT_HOME to another folder.",
        ) from error
    try:
        child = await ChildProcess.start(
            # `-P`: nothing of the current folder is imported
            [sys.executable, "-P", str(PROGRAM)],
            environment=needed_environment(environ),  # the rest comes through its input
            folder=log_file.parent,
            errors=log,
        )
    finally:
        os.close(log)
    child.send_line(order)
    return child
