"""File of the records of `batch` and `eval`, which says to the next run what is done."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import FileIO
from itertools import zip_longest
from pathlib import Path
from typing import Self

from lmchat.api import strict_json
from lmchat.app.leaves.batch.jobs import Job, Record
from lmchat.app.leaves.batch.lines import read_lines
from lmchat.app.terminal.output import to_json
from lmchat.base.errors import FileRefused, LMChatError, WrongUse
from lmchat.base.files.disk import is_stream, sync, write_atomically
from lmchat.base.files.locks import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.base.processes.background import run_abandonable

_FILE_MODE = 0o666  # as the umask allows
_REPLACE_STEP = "Name another file with -o, or replace this one with --force."
_RECORD_START = b'{"index": '
# From the number of a record up to its key, which no other program writes. `.*` is the id.
_CUT_RECORD = re.compile(rb'\{"index": \d+, (?:"id": .*, )?(?:"run": \d+, )?"key"')


class RecordFile:
    """File of records, which one run writes at a time; each is on the disk when `add` returns.

    The records of an earlier run without an error are kept. The others are removed before the first
    new record, or at the end: until then the file may turn out to belong to another run.
    A record is found by its key. At the end, its `index` is that of its job in this run, or 0.
    """

    def __init__(self, path: Path, *, source: Path | None, is_forced: bool) -> None:
        """Open the file, which waits for the reader of a pipe; with `is_forced`, keep no records.

        `source` is the file of the prompts; None: stdin. Raises `WrongUse` if both are one file,
        another run writes it, or it has anything but records, and `FileRefused`.
        """
        self._path = path
        self._kept: list[int] = []  # the `index` of each kept record
        self._unused: dict[str, list[int]] = {}  # numbers of kept records, by their key
        self._used: dict[int, int] = {}  # numbers of kept records, by the index of their job
        self._has_others = False  # the file has more than these
        self._adding = asyncio.Lock()  # a pipe may take a record in several parts
        self._file = self._open()
        try:
            self._refuse_source(source)
            if is_forced and not is_stream(path):
                self._has_others = True
            else:
                for number, (_, record) in enumerate(self._finished_lines()):
                    self._kept.append(record["index"])
                    self._unused.setdefault(record["key"], []).append(number)
        except LMChatError:
            self._file.close()
            raise

    def _refuse_source(self, source: Path | None) -> None:
        with suppress(OSError):  # missing, which is said when it is read
            status = os.fstat(0) if source is None else source.stat()
            is_same = os.path.samestat(status, os.fstat(self._file.fileno()))
            if is_same and not is_stream(self._path):
                raise WrongUse(
                    "The output file is the input file.", next_step="Name another file with -o."
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        try:
            if error is None:
                self._remove_others()
                if self._used and self._indexes != self._kept:
                    self._replace(self._lines_with_indexes())
        finally:
            with suppress(OSError):  # a full disk; `add` has raised it
                self._file.close()

    def missing(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield the jobs that no earlier run has done, once one is met that it has.

        Raises `WrongUse` if it has done none of them, but others.
        """
        waiting: list[Job] = []
        for job in jobs:
            index = job.head["index"]
            unused = self._unused.get(job.key)
            if index not in self._used and unused:
                self._used[index] = unused.pop(0)
            if index not in self._used:
                waiting.append(job)
            if self._used or not self._kept:
                yield from waiting
                waiting.clear()
        if waiting:
            raise WrongUse(
                f"{self._path} belongs to another run: prompts, model or settings differ.",
                next_step=_REPLACE_STEP,
            )

    @property
    def done_count(self) -> int:
        """How many of the jobs until now an earlier run has done."""
        return len(self._used)

    @property
    def _indexes(self) -> list[int]:
        """What the `index` of each kept record is in this run."""
        indexes = {number: index for index, number in self._used.items()}
        return [indexes.get(number, 0) for number in range(len(self._kept))]

    def finished(self) -> Iterator[Record]:
        """Yield the records of an earlier run; to be read before the first `add`."""
        records = (record for _, record in self._finished_lines())
        for index, record in zip(self._indexes, records, strict=False):  # none with `--force`
            yield {**record, "index": index}

    async def add(self, record: Record) -> None:
        """Append a record and wait until it is on the disk; raises `FileRefused`."""
        self._remove_others()
        line = _line(record)
        try:
            if is_stream(self._path):  # its reader may pause
                async with self._adding:
                    await run_abandonable(partial(_write_whole, self._file, line))
            else:
                _write_whole(self._file, line)
                sync(self._file.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def _finished_lines(self) -> Iterator[tuple[bytes, Record]]:
        """Yield the lines of records without an error; set `_has_others` if there are more.

        Raises `FileRefused`, and `WrongUse` for a line that is no record. Only the last line may be
        half a record: it was cut by a kill, a full disk or a power cut, after which file systems
        leave NULs. Behind no other record, it must show that it is one.
        """
        for number, line in enumerate(self._lines(), 1):
            is_last = not line.endswith(b"\n")
            self._has_others |= is_last
            text = line.rstrip(b"\0") if is_last else line
            if number > 1 and not text.strip():  # as `cat` or an editor may leave it
                self._has_others = True
                continue
            try:
                record = strict_json(text)
            except ValueError:
                # behind other records, it may have ended within `_RECORD_START`
                is_cut = text.startswith(_RECORD_START) or _RECORD_START.startswith(text)
                if is_last and (is_cut if number > 1 else _CUT_RECORD.match(text)):
                    return
                record = None
            match record:
                case {"index": int(), "key": str()}:
                    if "error" in record:  # its job is done again
                        self._has_others = True
                    else:
                        yield text.removesuffix(b"\n") + b"\n", record
                case _:
                    reason = f"line {number} is not a row."
                    raise WrongUse(
                        f"{self._path} is no output of `lmchat batch` or `eval`: {reason}",
                        next_step=_REPLACE_STEP,
                    )

    def _lines(self) -> Iterator[bytes]:
        try:
            if not is_stream(self._path):
                with self._path.open("rb") as file:
                    yield from read_lines(file, str(self._path))
        except OSError as error:
            raise self._refused(error) from error

    def _remove_others(self) -> None:
        """Replace the content by the kept records."""
        if self._has_others:
            # with `--force`, none is kept, and lines may be of anything
            finished = (line for line, _ in self._finished_lines())
            self._replace(finished if self._kept else ())
            self._has_others = False

    def _lines_with_indexes(self) -> Iterator[bytes]:
        for line, index in zip_longest(self._lines(), self._indexes):
            yield line if index is None else _line({**strict_json(line), "index": index})

    def _replace(self, lines: Iterable[bytes]) -> None:
        """Replace the content; the old file is locked until the new one is.

        Raises `FileRefused`, and `WrongUse` if another run has opened the new file first.
        """
        replaced = self._file
        if not CAN_RENAME_OPEN_FILES:  # Windows, where record files have no lock
            replaced.close()
        try:
            write_atomically(self._path, lines)
        except OSError as error:
            raise self._refused(error) from error
        self._file = self._open()
        replaced.close()

    def _open(self) -> FileIO:
        """Open the file to append records, and lock it, but not on Windows."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        while True:
            try:
                file = FileIO(os.open(self._path, flags, _FILE_MODE), "ab")
            except OSError as error:
                raise self._refused(error) from error
            if not CAN_RENAME_OPEN_FILES or is_stream(self._path):  # on Windows; as `/dev/null`
                return file
            is_locked = True  # counts as locked without locks
            with suppress(OSError):  # a file system without locks
                is_locked = try_lock(file.fileno())
            if not is_locked:
                file.close()
                raise WrongUse(
                    f"Another `lmchat batch` or `eval` writes {self._path}.",
                    next_step="Wait for its end, or name another file with -o.",
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    return file
            file.close()  # another run has replaced it before it was locked

    def _refused(self, error: OSError) -> FileRefused:
        """Say that a file cannot be used: `strerror` does not say for what."""
        return FileRefused(
            f"{self._path} cannot be used: {error.strerror or error}.",
            next_step="When that is mended, the same command does what is missing.",
        )


def _line(record: Record) -> bytes:
    # a model may write lone surrogates
    return (to_json(record) + "\n").encode("utf-8", "replace")


def _write_whole(file: FileIO, data: bytes) -> None:
    """Write all bytes: a pipe, or a nearly full disk, may take fewer at once."""
    while data:
        data = data[file.write(data) :]
