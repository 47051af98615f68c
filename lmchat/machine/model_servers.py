"""Model servers of this machine: installation and start."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lmchat.domain.product import Product, Traces
from lmchat.domain.program import Installed, ServerStart
from lmchat.domain.server import Candidate, Endpoint
from lmchat.errors import LMChatError
from lmchat.files import begin_log, environment_for_others, find_program
from lmchat.machine.other_programs import lm_studio_folders
from lmchat.machine.process import start_in_background
from lmchat.text import safe_line

START_S = 60.0  # time for a server to answer after its start
_POLL_S = 0.2  # between two checks whether a started server answers
_TAIL_BYTES = 4096  # of a log, in which its last line is looked for
_LINE_CHARS = 160  # of the last line of a log, in the message of an error
_started: list[subprocess.Popen[bytes]] = []  # Python warns of a running process that is dropped


def installed_products(environ: Mapping[str, str], home: Path | None) -> tuple[Installed, ...]:
    """Return the products whose program or folder exists, in the order of `Product`.

    `home` is None if the home folder is unknown.
    """
    products = [_installed(product, environ, home) for product in Product]
    return tuple(product for product in products if product is not None)


def _installed(product: Product, environ: Mapping[str, str], home: Path | None) -> Installed | None:
    """Return how to start a product; None if neither its program nor a folder of it exists.

    The result always has `start_words`, which tell the user how to start it. It has the command
    `start`, which lmchat can run, only if the program exists and needs no further choices.
    """
    traces = product.facts.traces
    if traces is None:  # it is not known how to find the product
        return None
    own_folders: list[Path] = []  # besides those in `traces`: users can move LM Studio's folder
    if home and product is Product.LM_STUDIO:
        own_folders = lm_studio_folders(home)
    words = traces.start_words or f"{traces.program} {traces.start}"
    program = _program_of(traces, own_folders, environ)
    if program:
        start = (program, *traces.start.split()) if traces.start else ()
        return Installed(product=product, program=program, start=start, start_words=words)
    if _has_folder(traces, own_folders, home):
        return Installed(product=product, start_words=traces.start_words_app or words)
    return None


def _program_of(traces: Traces, own_folders: list[Path], environ: Mapping[str, str]) -> str:
    """Return the path of a product's program, from `PATH` or a folder `bin` of its own folders.

    Return an empty text if it is not found.
    """
    search_path = [environ.get("PATH") or os.defpath]
    search_path += [str(folder / "bin") for folder in own_folders]
    return find_program(traces.program, os.pathsep.join(search_path))


def _has_folder(traces: Traces, own_folders: list[Path], home: Path | None) -> bool:
    """Return whether one of a product's folders exists."""
    # An absolute name replaces the home folder in `Path`. Without a home folder, the other names
    # lead to folders below `/` that do not exist.
    folders = [*own_folders, *(Path(home or "/", name) for name in traces.folders)]
    # Path.is_dir would raise an error where a folder above may not be entered
    return any(map(os.path.isdir, folders))


async def start_server(
    start: ServerStart,
    *,
    log_file: Path,
    environ: Mapping[str, str],
    check: Callable[[Endpoint], Awaitable[Candidate]],
    limit_s: float = START_S,
) -> Candidate:
    """Start a server in the background, wait until it answers, and return what `check` found.

    Its output is in `log_file`. It continues when lmchat ends. Raises `LMChatError` if it cannot be
    run, ends with an error, or does not answer within `limit_s`.
    """
    process = await asyncio.to_thread(_start, start, log_file, environ)
    _started.append(process)
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            # `lms server start` ends with the exit code 0 when it has started the server
            while not process.poll():
                candidate = await check(start.endpoint)
                if candidate.verdict.is_server:
                    return candidate
                await asyncio.sleep(_POLL_S)

    code = process.poll()
    problem = f"ended with exit code {code}" if code else "does not answer"
    last_line = safe_line(await asyncio.to_thread(_last_line, log_file), limit=_LINE_CHARS)
    reason = f": {last_line.rstrip('.')}" if last_line else ""
    raise LMChatError(
        f"{safe_line(start.short)} {problem}{reason}.",
        hint=f"Its output: {safe_line(str(log_file))}",
        kind="program",
    )


def _start(
    start: ServerStart, log_file: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a server with its output in a log; raises `LMChatError` if it cannot be run."""
    try:
        log = begin_log(log_file)
    except OSError as error:
        raise LMChatError(
            f"The log {log_file} cannot be written: {error.strerror or error}.",
            hint=f"Start it yourself with: {start.command}",
            kind="program",
        ) from error
    try:
        return start_in_background(
            start.argv,
            environment=environment_for_others(environ),
            # not in the current folder, which may hold settings or code that it would use
            folder=log_file.parent,
            output=log,
        )
    except OSError as error:
        raise LMChatError(
            f"{start.argv[0]} cannot be run: {error.strerror or error}.",
            hint="Check its installation.",
            kind="program",
        ) from error
    finally:
        os.close(log)


def _last_line(path: Path) -> str:
    """Return the last line that is not blank in the last `_TAIL_BYTES` of a log.

    Return an empty text if there is no such line, or if the log cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:  # the log was removed
        return ""
    for line in reversed(lines):
        if line.strip():
            return line.strip()
    return ""
