"""Private temporary folders.

Each folder has a file that its owner keeps locked. `sweep_scratch_folders` removes folders whose
file is not locked: their process was killed. Every function blocks.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from lmchat.files import NO_WAIT, OPEN_FLAGS, needed_environment
from lmchat.machine.process import start_in_background
from lmchat.machine.system import CAN_RENAME_OPEN_FILES, try_lock

_PREFIX = "lmchat-"
_LOCK = ".of-a-running-lmchat"
"""Name of the file that the owner of a folder has locked. A folder without it is never swept."""
_GUARD_PROGRAM = (
    "import shutil, sys; sys.stdin.buffer.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"
)
"""Program that removes a folder when its input ends, as it does when its parent has ended."""
_GUARD_END_S = 2.0  # time for the guard to end


class ScratchFolders:
    """Temporary folders of this process.

    With `has_guard`, a guard process removes each folder at once when this process is killed.
    """

    def __init__(self, *, has_guard: bool = False) -> None:
        # descriptor of the locked file by folder; -1 if the folder has no lock
        self._locks: dict[Path, int] = {}
        self._has_guard = has_guard
        self._guards: dict[Path, subprocess.Popen[bytes]] = {}  # by folder

    def make(self) -> Path:
        """Make a folder that only this user can look into; raises `OSError`."""
        folder = Path(mkdtemp(prefix=_PREFIX))
        self._locks[folder] = -1  # known to `remove`, if what follows fails
        try:
            self._locks[folder] = _create_lock(folder)
            if self._has_guard:
                self._guards[folder] = _start_guard(folder)
        except OSError:
            self.remove(folder)
            raise
        return folder

    def remove(self, folder: Path) -> None:
        """Remove a folder with its content; a second call does nothing."""
        lock = self._locks.pop(folder, None)
        if lock is None:
            return
        if lock >= 0:
            os.close(lock)  # first, as Windows removes no open file
        shutil.rmtree(folder, ignore_errors=True)
        guard = self._guards.pop(folder, None)
        if guard is not None:
            with suppress(subprocess.TimeoutExpired):  # the disk is slow
                guard.communicate(timeout=_GUARD_END_S)  # closes its input, which ends it

    def remove_all(self) -> None:
        for folder in list(self._locks):
            self.remove(folder)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Make a folder that is removed at the end of the block; raises `OSError`."""
        folder = self.make()
        try:
            yield folder
        finally:
            self.remove(folder)


def sweep_scratch_folders() -> None:
    """Remove the folders of killed processes: those whose file no process has locked."""
    with suppress(OSError), os.scandir(gettempdir()) as entries:  # no folder for temporary files
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):  # its process is just removing it
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    """Remove a folder that an lmchat of this user has made and no process uses.

    That is a private folder of this user with a file `_LOCK` that can be locked now. Other folders
    stay. Raises `OSError`.
    """
    status = folder.lstat()
    # Windows has no permissions of this kind; its temporary folder belongs to one user
    is_private = stat.S_IMODE(status.st_mode) == stat.S_IRWXU or os.name == "nt"
    is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    lock = folder / _LOCK
    has_lock = lock.is_file() and not lock.is_symlink()
    if not (is_private and is_own and has_lock):
        return
    descriptor = os.open(lock, os.O_RDWR | OPEN_FLAGS | NO_WAIT)
    try:
        is_abandoned = try_lock(descriptor)
    finally:
        os.close(descriptor)
    if is_abandoned:
        shutil.rmtree(folder, ignore_errors=True)


def _start_guard(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process that removes a folder when its input ends; raises `OSError`."""
    command = [sys.executable, "-I", "-S", "-c", _GUARD_PROGRAM, str(folder)]
    environment = needed_environment(os.environ)
    return start_in_background(
        command, environment=environment, folder=folder.parent, has_input=True
    )


def _create_lock(folder: Path) -> int:
    """Create and lock the file that marks a folder as used, and return its descriptor.

    Return -1 if the file cannot be locked or renamed, as on a file system without locks. Raises
    `OSError` if it cannot be created.
    """
    lock = folder / _LOCK
    # The sweep of another process removes a folder whose file `_LOCK` is not locked. So the file
    # gets this name only after it is locked, except on Windows, which cannot rename an open file.
    new_file = lock.with_suffix(".new") if CAN_RENAME_OPEN_FILES else lock
    descriptor = os.open(new_file, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o600)
    try:
        is_locked = try_lock(descriptor)  # False on Windows while a sweep has locked the file
        if is_locked and new_file != lock:
            new_file.replace(lock)
    except OSError:  # no locks here: the file keeps the name that no sweep looks for
        is_locked = False
    if not is_locked:
        os.close(descriptor)
        return -1
    return descriptor
