"""File of the answers to `batch` and `eval`, which says to the next run what is done.

A *row* is the answer to one `Task`: a line with a JSON object. It begins with the `index` of the
task and has the `key` of the task. If the task has failed, the row has an `error`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any, Self

from lmchat.answers.json_text import strict_json
from lmchat.batch.task_answers import Task
from lmchat.errors import FileRefused, WrongUse
from lmchat.files.disk import write_atomically
from lmchat.files.locks import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.terminal.output import to_json

_FILE_MODE = 0o666  # as the umask allows
_REPLACE_HINT = "Name another file with -o, or replace this one with --force."
_ROW_START = b'{"index": '


class RowFile:
    """File of rows; each row is on the disk when `add` returns.

    If the same command runs again, it does what is missing or has failed: `keep_done` keeps the
    other rows, and `done_row` returns them. Then `add` appends the new ones.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises `WrongUse` if another batch writes it, or `FileRefused`."""
        self._path = path
        # rows of earlier runs without an error, by the index of the task; `keep_done` adds them
        self._done_rows: dict[int, dict[str, Any]] = {}
        self._file = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # on a full disk; `add` has raised it
            self._file.close()

    def keep_done(self, *, is_forced: bool) -> None:
        """Keep the rows of an earlier run that have no error, for `done_row`; remove the others.

        With `is_forced`, remove all. Raises `WrongUse` if the file has anything but rows, and
        `FileRefused` if it cannot be read or written.
        """
        if not self._path.is_file():  # a pipe, from which nothing can be read
            return
        try:
            done = b"" if is_forced else b"".join(self._done_lines())
            if len(done) < self._path.stat().st_size:  # else no line has to go
                self._file.close()  # Windows replaces no open file
                write_atomically(self._path, done)
                self._file = self._open()
        except OSError as error:
            raise self._file_error(error) from error

    def _done_lines(self) -> Iterator[bytes]:
        """Yield the lines of the rows without an error, and add their rows to `_done_rows`.

        If a task has several rows, the first counts. Raises `OSError`, and `WrongUse` for a line
        that is no row. Only the last line may be half a row.
        """
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                # a line that was cut may have ended within the beginning of the row
                is_begun_row = line.startswith(_ROW_START) or _ROW_START.startswith(line)
                if is_begun_row and not line.endswith(b"\n"):
                    return  # cut by a kill or a full disk
                try:
                    row = strict_json(line.decode())
                except ValueError:
                    row = None
                match row:
                    case {"error": _, "index": _, "key": _}:
                        pass  # its task is done again
                    case {"index": int(index), "key": _}:
                        if index not in self._done_rows:
                            self._done_rows[index] = row
                            yield line
                    case _:
                        reason = f"line {number} is not a row."
                        message = f"{self._path} is no output of `lmchat batch` or `eval`: {reason}"
                        raise WrongUse(message, hint=_REPLACE_HINT)

    def done_row(self, task: Task) -> dict[str, Any] | None:
        """Return the row of a task that an earlier run has done; None if it is to be done.

        Raises `WrongUse` if the row has another key: it was written for other prompts, another
        model or other settings.
        """
        row = self._done_rows.get(task.head["index"])
        if row is not None and row["key"] != task.key:
            raise WrongUse(
                f"{self._path} belongs to another run: the prompt, model or settings "
                f"of its row with index {task.head['index']} differ.",
                hint=_REPLACE_HINT,
            )
        return row

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row and wait until it is on the disk; raises `FileRefused`."""
        try:
            # "replace" is for lone surrogates, which a model may write
            self._file.write((to_json(row) + "\n").encode("utf-8", "replace"))
            self._file.flush()
            if self._path.is_file():  # a pipe cannot be waited for
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._file_error(error) from error

    def _open(self) -> BufferedWriter:
        """Open the file to append rows, and lock it, so that only one run writes it.

        There is no lock on Windows, and where the file system has none.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            file = os.fdopen(os.open(self._path, flags, _FILE_MODE), "ab")
        except OSError as error:
            raise self._file_error(error) from error
        is_locked = True  # counts as locked where there are no locks
        if CAN_RENAME_OPEN_FILES:  # not on Windows
            with suppress(OSError):  # a file system without locks
                is_locked = try_lock(file.fileno())
        if not is_locked:
            file.close()
            message = f"Another `lmchat batch` or `eval` writes {self._path}."
            raise WrongUse(message, hint="Wait for its end, or name another file with -o.")
        return file

    def _file_error(self, error: OSError) -> FileRefused:
        """Return the error to raise when the file cannot be opened, read or written.

        Its words fit all three: `strerror` does not say which of them failed.
        """
        return FileRefused(
            f"{self._path} cannot be used: {error.strerror or error}.",
            hint="When that is mended, the same command does what is missing.",
        )
