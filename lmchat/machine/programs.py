"""Which model servers are installed here, whether they run or not: programs on PATH and folders of data.

`installed_products(environ, home, lm_studio)` is what others call. It reads names of files only: nothing is
started, nothing is opened. It touches the disk, so it is called in a thread.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.domain.candidate import Installed, Lifetime, ServerStart
from lmchat.domain.server import Product
from lmchat.errors import LMChatError
from lmchat.files import environment_for_others


class _Known(Struct, frozen=True, kw_only=True):
    """Where a product leaves traces."""

    product: Product
    """Which."""
    programs: tuple[str, ...] = ()
    """Names on PATH, best first."""
    folders: tuple[str, ...] = ()
    """Below the home folder, or absolute."""
    start: tuple[str, ...] = ()
    """What follows the program's path to start its server; empty where more must be known."""
    start_words: str = ""
    """How a person starts it."""
    start_words_app: str = ""
    """The same where only the application is there; empty: `start_words`."""


_KNOWN = (
    _Known(
        product=Product.LM_STUDIO,
        programs=("lms",),
        folders=("/Applications/LM Studio.app", "Applications/LM Studio.app"),
        start=("server", "start"),
        start_words="lms server start",
        start_words_app="Open LM Studio: Developer, Start server",
    ),
    _Known(
        product=Product.JAN,
        programs=("jan",),
        folders=(
            ".local/share/Jan/data",
            "Library/Application Support/Jan/data",
            "/Applications/Jan.app",
            "Applications/Jan.app",
        ),
        start_words="Open Jan: Settings, Local API Server, Start",
    ),
    _Known(
        product=Product.LLAMA_CPP,
        programs=("llama-server",),
        folders=(".cache/llama.cpp", "Library/Caches/llama.cpp"),
        start_words="llama-server -m MODEL.gguf",
    ),
    _Known(
        product=Product.OLLAMA,
        programs=("ollama",),
        folders=(".ollama", "/usr/share/ollama/.ollama", "/Applications/Ollama.app"),
        start=("serve",),
        start_words="ollama serve",
    ),
    _Known(product=Product.VLLM, programs=("vllm",), start_words="vllm serve MODEL"),
    _Known(product=Product.SGLANG, programs=("sglang",), start_words="sglang serve MODEL"),
    _Known(product=Product.LITELLM, programs=("litellm",), start_words="litellm --model MODEL"),
)
"""In the order in which servers are looked for."""


def installed_products(
    environ: Mapping[str, str], home: Path | None, lm_studio: Path | None
) -> tuple[Installed, ...]:
    """Return what is installed, in the order in which servers are looked for.

    Args:
        environ: For `PATH`.
        home: The user's folder; None where there is none.
        lm_studio: LM Studio's own folder, which the user may have moved; its program stands in it, too.
    """
    found = []
    for known in _KNOWN:
        own = lm_studio if known.product is Product.LM_STUDIO else None
        program = _program(known.programs, environ, own)
        folder = _folder(known.folders, home, own)
        if program or folder:
            is_app_only = bool(folder and not program and known.start_words_app)
            found.append(
                Installed(
                    product=known.product,
                    program=program,
                    folder=folder,
                    start=(program, *known.start) if program and known.start else (),
                    start_words=known.start_words_app if is_app_only else known.start_words,
                )
            )
    return tuple(found)


def _program(names: Iterable[str], environ: Mapping[str, str], own: Path | None) -> str:
    places = environ.get("PATH") or os.defpath
    if own is not None:
        places = os.pathsep.join((places, str(own / "bin")))
    return next((path for name in names if (path := shutil.which(name, path=places))), "")


def _folder(names: Iterable[str], home: Path | None, own: Path | None) -> str:
    roots = [own] if own is not None else []
    roots += [Path(name) for name in names if Path(name).is_absolute()]
    roots += [home / name for name in names if home is not None]
    return next((str(root) for root in roots if _is_folder(root)), "")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a folder above it may not be entered
        return False


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
