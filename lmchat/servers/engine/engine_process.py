"""Child process of the engine, which runs `engine_child.py`: order, report, why it failed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, json

from lmchat.errors import EngineUnavailable
from lmchat.files.disk import begin_log
from lmchat.processes.child import ChildProcess
from lmchat.processes.environment import needed_environment
from lmchat.servers.engine.download import not_installed_error
from lmchat.servers.engine.model_files import ModelFile, available_bytes

PROGRAM = Path(__file__).with_name("engine_child.py")
_OUT_OF_MEMORY = (
    "failed to allocate",
    "unable to allocate",
    "out of memory",
    "cannot allocate memory",
    "bad_alloc",
)
"""Words in the log of llama.cpp, in small letters."""
_DETAIL_LINES = 8  # lines of the end of the log that an error shows
_KILLED = 9
"""Number of the signal SIGKILL, with which Linux ends a program that needs too much memory.

Windows does not name it.
"""
_TAIL_BYTES = 16_384  # bytes of the end of the log that are read
_GB = 1e9


class ServeOrder(Struct, frozen=True, kw_only=True):
    """Order for the child, sent to its stdin, where other programs do not see the key."""

    model: str  # path of the file
    alias: str  # name by which requests mean the model
    port: int
    key: str  # API key that requests need
    context: int  # tokens
    threads: int | None = None  # None: llama.cpp decides


class Report(Struct, frozen=True, kw_only=True):
    """Report of the child, which it sends once: it is ready, or it cannot start."""

    address: str = ""  # where the server listens; empty after an error
    error_text: str = ""  # message of the error
    module: str = ""  # module that could not be imported


async def start_child(
    order: ServeOrder, log_file: Path, environ: Mapping[str, str]
) -> ChildProcess:
    """Start a child, and send its order.

    The child ends when its input is closed, so it ends with this process. Raises
    `EngineUnavailable` if the log cannot be written.
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
    await child.write_line(json.encode(order))
    return child


def engine_error(
    model: ModelFile, report: Report | None, exit_code: int | None, log_file: Path
) -> EngineUnavailable:
    """Return the error for a child that never became ready, or has ended.

    `report` is None if the child ended without one, or was ready. `exit_code` is None if it still
    runs, and negative if a signal ended it.
    """
    if report is not None and report.module == "xllamacpp":
        return not_installed_error()
    try:
        log = log_file.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        log = ""
    lines = log.strip().splitlines()
    details = "\n".join(lines[-_DETAIL_LINES:])
    if exit_code == -_KILLED or any(words in log.lower() for words in _OUT_OF_MEMORY):
        needed, available = model.needed_bytes / _GB, available_bytes() / _GB
        return EngineUnavailable(
            f"There is not enough memory for {model.name} and its context window: the model alone "
            f"needs about {needed:.1f} GB, {available:.1f} GB are free.",
            hint="Choose a smaller model, or a smaller context window under [local] in the "
            "configuration.",
            details=details,
            kind="memory",
        )
    if report is None:  # errors in the log may then be those of requests
        if exit_code is None:
            how_it_ended = "it does not answer"
        elif exit_code < 0:
            names = {number.value: number.name for number in signal.Signals}
            how_it_ended = f"signal {names.get(-exit_code, -exit_code)}"
        else:
            how_it_ended = f"exit code {exit_code}"
        message = f"The built-in engine crashed ({how_it_ended})."
    else:
        reason = report.error_text
        for line in lines:
            # time, level, and place with message, as in "0.01.123.456 E srv load: out of space"
            fields = line.split(maxsplit=2)
            if fields[1:2] == ["E"]:
                reason = fields[-1].partition(": ")[2]
                break  # later errors only say that llama.cpp cannot load the model, and exits
        message = f"The built-in engine could not serve {model.name}: {reason.rstrip('.')}."
    return EngineUnavailable(message, hint=f"Read its log, {log_file}.", details=details)
