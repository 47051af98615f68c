"""Disks that fill up while a program runs, and users without rights."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

if os.name == "posix":
    import resource


class SmallFileSystem:
    """A file system of one megabyte, whose room a file takes away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, pid: int) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (4096, 1):  # the last bytes too
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def make_room(self, pid: int) -> None:
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


class FileLimit:
    """No file of the program can grow, for as long as it has to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, pid: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, self._hard(pid)))

    def make_room(self, pid: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (self._hard(pid), self._hard(pid)))

    def _hard(self, pid: int) -> int:
        return resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]


@contextmanager
def small_file_system(folder: Path) -> Iterator[SmallFileSystem | None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:  # noqa: S603 - ours
        yield None
        return
    try:
        yield SmallFileSystem(folder)
    finally:
        subprocess.run(["umount", str(folder)], capture_output=True, check=True)  # noqa: S603, S607 - ours


@contextmanager
def read_only_disk(folder: Path) -> Iterator[None]:
    """Mount a folder over itself, only to be read, where the tests may."""
    place = str(folder)
    bind = ["mount", "--bind", place, place]
    if os.geteuid() != 0 or subprocess.run(bind, capture_output=True, check=False).returncode:  # noqa: S603 - ours
        pytest.skip("mounting takes root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)  # noqa: S603, S607 - ours
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)  # noqa: S603, S607 - ours


_NOBODY = 65534


@contextmanager
def no_root() -> Iterator[None]:
    """Be nobody for a while, where the tests run as root; what is imported meanwhile must lie open to all."""
    if os.name == "nt":
        pytest.skip("Windows has no such users")
    if os.geteuid() != 0:
        yield
        return
    # Python's own files may not be open to all, and a codec that is not found once never is again
    "".encode("utf-8-sig")
    os.setresuid(_NOBODY, _NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that everybody can enter and write to, unlike those of the tests."""
    with tempfile.TemporaryDirectory(prefix="lmchat-open-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@contextmanager
def no_room(size_bytes=0):
    """No file of this process may grow beyond a size; holds for root too. Windows has no such limit."""
    pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def spoil(path: Path) -> None:
    """Overwrite what lies below the root of the table of parts, on the disk only."""
    with closing(sqlite3.connect(path)) as raw:
        (root,) = raw.execute("select rootpage from sqlite_master where name = 'parts'").fetchone()
        (size,) = raw.execute("pragma page_size").fetchone()
    data = bytearray(path.read_bytes())
    first = (root - 1) * size
    child = int.from_bytes(data[first + 8 : first + 12], "big")  # the last page below it
    assert data[first] == 5
    assert 0 < child < len(data) // size
    data[(child - 1) * size : child * size] = b"\xa5" * size
    path.write_bytes(data)
