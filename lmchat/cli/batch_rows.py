"""Output of `lmchat batch`: rows of JSON on stdout, or in a file that says what is done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lmchat.cli.batch_tasks import BatchTask
from lmchat.errors import FileRefused, WrongUse
from lmchat.files.disk import write_atomically
from lmchat.processes.system import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.terminal.output import Output, to_json
from lmchat.tools.json_text import UnfitError, strict_json

_FILE_MODE = 0o666  # as the umask allows
_ROW_OF_OTHER_RUN = "Row {0} of {1} belongs to another run: its prompt, model or settings differ."
_REPLACE_HINT = "Name another file with -o, or replace this one with --force."


class RowPrinter:
    """Prints rows on stdout; what an earlier run has printed is not known."""

    def __init__(self, output: Output) -> None:
        self._output = output

    async def add(self, row: Mapping[str, Any]) -> None:
        self._output.print_safe(to_json(row))


class RowFile:
    """File of rows: each is on the disk before `add` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1  # of the file, once it is open
        self._lock = asyncio.Lock()  # one row is written at a time

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def keep_done(self, tasks: Sequence[BatchTask], *, is_forced: bool) -> set[int]:
        """Open the file, and return the numbers of the lines for which it has a row to keep.

        Rows with an error are removed, so that their lines are done again. With `is_forced`, all
        rows are removed. Raises `WrongUse` if another batch writes the file or if it has anything
        but rows of these tasks, and `FileRefused` if it cannot be read or written.
        """
        try:
            self._open()
            kept: dict[int, bytes] = {}
            if self._path.is_file():  # and no pipe, of which nothing can be read
                data = b"" if is_forced else self._path.read_bytes()
                kept = self._kept_rows(data, tasks)
                content = b"".join(kept.values())
                if content != data or is_forced:
                    self._replace(content)
        except OSError as error:
            raise self._write_error(error, "Name another file with -o.") from error
        return set(kept)

    def _open(self) -> None:
        """Open the file and lock it; raises `WrongUse` if another batch has locked it.

        A pipe is not locked, nor is a file on Windows, where `_replace` has to close it.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._descriptor = os.open(self._path, flags, _FILE_MODE)
        can_lock = self._path.is_file() and CAN_RENAME_OPEN_FILES
        if can_lock and not self._try_lock():
            message = f"Another `lmchat batch` writes {self._path}."
            raise WrongUse(message, hint="Wait for its end, or name another file with -o.")

    def _try_lock(self) -> bool:
        """Try to lock the open file, and return whether this batch may write it.

        It may not if another batch has locked or just replaced it. It may if the file system has no
        locks.
        """
        try:
            is_locked = try_lock(self._descriptor)
        except OSError:  # a file system without locks
            return True
        # if another batch has replaced the file since it was opened here, this is a lock of the
        # old file, which has no name any more
        return is_locked and os.path.samestat(os.fstat(self._descriptor), self._path.stat())

    def _replace(self, content: bytes) -> None:
        """Replace the file by one with this content, and open and lock the new one.

        The old file stays locked until then. If another batch locks the new file first, `_open`
        raises `WrongUse` here; no row is lost, as the new file has all of `content`.
        """
        with ExitStack() as old_file:
            old_file.callback(os.close, self._descriptor)  # at the end of the block
            self._descriptor = -1  # so `close` does not close it once more, after an error
            if not CAN_RENAME_OPEN_FILES:
                old_file.close()  # now: Windows cannot replace an open file
            write_atomically(self._path, content, keeps_mode=True)
            self._open()

    def _kept_rows(self, data: bytes, tasks: Sequence[BatchTask]) -> dict[int, bytes]:
        """Return the rows to keep in the content of the file, by the number of the line answered.

        These are the rows without an error; of several for one line, the first. Raises `WrongUse`
        for anything that is no row, and for a row to keep that is no answer to one of these tasks.
        """
        keys = {task.number: task.key for task in tasks}
        kept: dict[int, bytes] = {}
        rows = data.splitlines(keepends=True)
        if rows and _is_cut_row(rows[-1], tasks):  # by a kill
            rows.pop()
        for position, encoded in enumerate(rows, 1):
            try:
                row = strict_json(encoded.decode())
                number, key = row["index"], row["key"]
                has_failed = "error" in row  # it is not kept, so its key need not fit
                is_of_this_run = has_failed or keys.get(number) == key
            except (ValueError, UnfitError, LookupError, TypeError):
                message = (
                    f"{self._path} is no output of `lmchat batch`: line {position} is not a row."
                )
                raise WrongUse(message, hint=_REPLACE_HINT) from None
            if not is_of_this_run:
                message = _ROW_OF_OTHER_RUN.format(position, self._path)
                raise WrongUse(message, hint=_REPLACE_HINT)
            if not has_failed:
                kept.setdefault(number, encoded)
        return kept

    async def add(self, row: Mapping[str, Any]) -> None:
        """Append a row and wait until it is on the disk; raises `FileRefused`."""
        encoded = (to_json(row) + "\n").encode("utf-8", "replace")
        async with self._lock:
            await asyncio.to_thread(self._append, encoded)

    def _append(self, encoded: bytes) -> None:
        """Append a row, and wait until it is on the disk; raises `FileRefused`. Blocks.

        After an error, such as a full disk, the part that was written is cut off again. A pipe can
        neither be waited for nor cut.
        """
        size = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(encoded):
                written += os.write(self._descriptor, encoded[written:])
            if self._path.is_file():
                os.fsync(self._descriptor)
        except OSError as error:
            if self._path.is_file():
                os.ftruncate(self._descriptor, size)
            hint = "When that is mended, the same command does what is missing."
            raise self._write_error(error, hint) from error

    def _write_error(self, error: OSError, hint: str) -> FileRefused:
        return FileRefused(f"{self._path} cannot be written: {error.strerror or error}.", hint=hint)


def _is_cut_row(line: bytes, tasks: Sequence[BatchTask]) -> bool:
    """Return whether the last line of a file is the beginning of the row of one of these tasks."""
    if line.endswith(b"\n"):
        return False
    heads = (to_json(task.head).encode("utf-8", "replace").removesuffix(b"}") for task in tasks)
    return any(head.startswith(line) or line.startswith(head) for head in heads)
