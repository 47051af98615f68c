"""File of the answers to `batch` and `eval`, which says to the next run what is done.

A *row* is the answer to one `Task`: a line with a JSON object. It begins with the `index` of the
task and has the `key` of the task. If the task has failed, the row has an `error`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any, Self

from lmchat.answers.json_text import strict_json
from lmchat.batch.task_answers import Task
from lmchat.errors import FileRefused, WrongUse
from lmchat.files.disk import is_stream, write_atomically
from lmchat.files.locks import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.terminal.output import to_json

_FILE_MODE = 0o666  # as the umask allows
_REPLACE_HINT = "Name another file with -o, or replace this one with --force."
_ROW_START = b'{"index": '
# Beginning of a row from its number up to its key, which no other program writes. `.*` is the id.
_BEGUN_ROW = re.compile(rb'\{"index": \d+, (?:"id": .*, )?(?:"run": \d+, )?"key"')


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
        # lines of these rows, which replace the file before the first new row; None: it has no more
        self._kept: bytes | None = None
        self._file = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        try:
            if error is None:  # else the file may belong to another run, and is not changed
                self._remove_others()
        finally:
            with suppress(OSError):  # on a full disk; `add` has raised it
                self._file.close()

    def keep_done(self, *, is_forced: bool) -> None:
        """Keep the rows of an earlier run that have no error, for `done_row`; remove the others.

        With `is_forced`, remove all. Nothing is removed before the first new row, as the file may
        turn out to belong to another run. Raises `WrongUse` if the file has anything but rows, and
        `FileRefused` if it cannot be read.
        """
        if not self._path.is_file():  # a pipe, from which nothing can be read
            return
        try:
            done = b"" if is_forced else b"".join(self._done_lines())
            # the sizes may be equal: a row may have a NUL in place of its line break
            if len(done) != self._path.stat().st_size or done != self._path.read_bytes():
                self._kept = done
        except OSError as error:
            raise self._file_error(error) from error

    def _remove_others(self) -> None:
        """Replace the file by the kept rows; its lock is held until the new file has its name.

        Raises `FileRefused`, and `WrongUse` if another batch has opened the new file first.
        """
        if self._kept is None:
            return
        replaced = self._file
        if not CAN_RENAME_OPEN_FILES:  # Windows, where row files have no lock
            replaced.close()
        try:
            write_atomically(self._path, self._kept)
        except OSError as error:
            raise self._file_error(error) from error
        self._file, self._kept = self._open(), None
        replaced.close()

    def _done_lines(self) -> Iterator[bytes]:
        """Yield the lines of the rows without an error, and add their rows to `_done_rows`.

        If a task has several rows, the first counts. Raises `OSError`, and `WrongUse` for a line
        that is no row. Only the last line may be half a row: it was cut by a kill, a full disk or
        a power cut, after which file systems leave NULs. Behind no other row, it must show that
        it is one.
        """
        has_rows = False
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                is_last = not line.endswith(b"\n")
                text = line.rstrip(b"\0") if is_last else line
                try:
                    row = strict_json(text.decode())
                except ValueError:
                    # behind other rows, it may have ended within `_ROW_START`
                    is_begun = text.startswith(_ROW_START) or _ROW_START.startswith(text)
                    if is_last and (is_begun if has_rows else _BEGUN_ROW.match(text)):
                        return
                    row = None
                match row:
                    case {"error": _, "index": int(), "key": str()}:
                        pass  # its task is done again
                    case {"index": int(index), "key": str()}:
                        if index not in self._done_rows:
                            self._done_rows[index] = row
                            yield text + b"\n" if is_last else text
                    case _:
                        reason = f"line {number} is not a row."
                        message = f"{self._path} is no output of `lmchat batch` or `eval`: {reason}"
                        raise WrongUse(message, hint=_REPLACE_HINT)
                has_rows = True

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
        self._remove_others()
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
        while True:
            try:
                file = os.fdopen(os.open(self._path, flags, _FILE_MODE), "ab")
            except OSError as error:
                raise self._file_error(error) from error
            if not CAN_RENAME_OPEN_FILES or is_stream(self._path):  # on Windows; as `/dev/null`
                return file
            is_locked = True  # counts as locked where there are no locks
            with suppress(OSError):  # a file system without locks
                is_locked = try_lock(file.fileno())
            if not is_locked:
                file.close()
                message = f"Another `lmchat batch` or `eval` writes {self._path}."
                raise WrongUse(message, hint="Wait for its end, or name another file with -o.")
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    return file
            file.close()  # another run has replaced it before it was locked here

    def _file_error(self, error: OSError) -> FileRefused:
        """Return the error to raise when the file cannot be opened, read or written.

        Its words fit all three: `strerror` does not say which of them failed.
        """
        return FileRefused(
            f"{self._path} cannot be used: {error.strerror or error}.",
            hint="When that is mended, the same command does what is missing.",
        )
