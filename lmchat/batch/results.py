"""Rows of JSON, one for each answer, on stdout or in a file; medians of their figures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from statistics import median
from typing import Any, Self

from lmchat.batch.tasks import Task
from lmchat.errors import FileRefused, WrongUse
from lmchat.files.disk import write_atomically
from lmchat.processes.system import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.terminal.output import rounded, to_json
from lmchat.tools.json_text import UnfitError, strict_json

FIGURES = ("FIRST TOKEN", "SPEED", "TOKENS", "TIME")  # heads of columns
_FILE_MODE = 0o666  # as the umask allows
_OTHER_FILE = "Name another file with -o."
_REPLACE_HINT = "Name another file with -o, or replace this one with --force."
_ANY_ROW = b'{"index": '


class RowFile:
    """File of rows: each is on the disk before `add` returns.

    The rows say what is done: the same batch again does what is missing or has failed.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises `WrongUse` if another batch writes it, or `FileRefused`."""
        self._path = path
        self._keys: dict[int, str] = {}  # of the rows that are kept, by the index of the task
        self._file = self._open()
        # one thread, so one row is written at a time; a write does not end when its wait is
        # cancelled, so `__exit__` waits for it before the descriptor is free for another file
        self._writer = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()
        with suppress(OSError):  # on a full disk; `add` has raised it
            self._file.close()

    def keep_done(
        self,
        keys: Mapping[int, str] | None,
        *,
        is_forced: bool,
        use: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> int:
        """Keep the rows of tasks that are done, and return how many there are.

        `keys` are those of all tasks by their index; None if the tasks are not known yet, because
        they come from a pipe. `use` takes each row that is kept. Rows with an error are removed;
        with `is_forced`, all rows are. Raises `WrongUse` if the file has anything but rows of these
        tasks, and `FileRefused` if it cannot be read or written.
        """
        if not self._path.is_file():  # but a pipe, of which nothing can be read
            return 0
        try:
            data = self._path.read_bytes()
            content = b"" if is_forced else self._kept_rows(data, keys, use)
            if content != data:
                self._file.close()  # Windows replaces no open file
                write_atomically(self._path, content, keeps_mode=True)
                self._file = self._open()
        except OSError as error:
            raise self._write_error(error, _OTHER_FILE) from error
        return len(self._keys)

    def is_done(self, task: Task) -> bool:
        """Return whether a row of the task was kept; raises `WrongUse` if it is of another run."""
        key = self._keys.get(task.index)
        if key not in (None, task.head["key"]):
            raise self._other_run(f"The row with index {task.index}")
        return key is not None

    def _open(self) -> BufferedWriter:
        """Return the open file, locked; raises `WrongUse` if another batch has locked it.

        A pipe is not locked, nor is a file on Windows or where the file system has no locks.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            file = os.fdopen(os.open(self._path, flags, _FILE_MODE), "ab")
        except OSError as error:
            raise self._write_error(error, _OTHER_FILE) from error
        is_locked = True
        if self._path.is_file() and CAN_RENAME_OPEN_FILES:
            with suppress(OSError):
                is_locked = try_lock(file.fileno())
        if not is_locked:
            file.close()
            message = f"Another `lmchat batch` writes {self._path}."
            raise WrongUse(message, hint="Wait for its end, or name another file with -o.")
        return file

    def _kept_rows(
        self, data: bytes, keys: Mapping[int, str] | None, use: Callable[[dict[str, Any]], None]
    ) -> bytes:
        """Return the rows to keep: those without an error; of several for one task, the first."""
        kept: list[bytes] = []
        rows = data.splitlines(keepends=True)
        last = b"" if not rows or rows[-1].endswith(b"\n") else rows[-1]
        if last and (last.startswith(_ANY_ROW) or _ANY_ROW.startswith(last)):
            rows.pop()  # cut by a kill or a full disk
        for position, encoded in enumerate(rows, 1):
            try:
                row = strict_json(encoded.decode())
                index, key = row["index"], row["key"]
                is_new = index not in self._keys
            except (ValueError, UnfitError, LookupError, TypeError):
                message = (
                    f"{self._path} is no output of `lmchat batch`: line {position} is not a row."
                )
                raise WrongUse(message, hint=_REPLACE_HINT) from None
            if "error" in row:  # its task is done again, so its key need not fit
                continue
            if keys is not None and keys.get(index) != key:
                raise self._other_run(f"Row {position}")
            if is_new:
                self._keys[index] = key
                kept.append(encoded)
                use(row)
        return b"".join(kept)

    async def add(self, row: Mapping[str, Any]) -> None:
        """Append a row and wait until it is on the disk; raises `FileRefused`."""
        encoded = (to_json(row) + "\n").encode("utf-8", "replace")
        await asyncio.get_running_loop().run_in_executor(self._writer, self._append, encoded)

    def _append(self, encoded: bytes) -> None:
        try:
            self._file.write(encoded)
            self._file.flush()
            if self._path.is_file():  # a pipe cannot be waited for
                os.fsync(self._file.fileno())
        except OSError as error:
            hint = "When that is mended, the same command does what is missing."
            raise self._write_error(error, hint) from error

    def _write_error(self, error: OSError, hint: str) -> FileRefused:
        return FileRefused(f"{self._path} cannot be written: {error.strerror or error}.", hint=hint)

    def _other_run(self, row: str) -> WrongUse:
        return WrongUse(
            f"{row} of {self._path} belongs to another run: its prompt, model or settings differ.",
            hint=_REPLACE_HINT,
        )


def rounded_median(figures: Sequence[float | None]) -> float | None:
    """Return the median of the known figures, rounded; None if no figure is known."""
    known = [figure for figure in figures if figure is not None]
    return rounded(median(known)) if known else None


def figure_cells(
    ttft_ms: float | None,
    tokens_per_second: float | None,
    tokens: float | None,
    elapsed_ms: float | None,
) -> tuple[str, ...]:
    """Return the cells of a table below `FIGURES`; times are in seconds there."""
    return (
        "" if ttft_ms is None else f"{ttft_ms / 1e3:.2f} s",
        "" if tokens_per_second is None else f"{tokens_per_second:.1f} tok/s",
        "" if tokens is None else f"{tokens:.0f}",
        "" if elapsed_ms is None else f"{elapsed_ms / 1e3:.1f} s",
    )
