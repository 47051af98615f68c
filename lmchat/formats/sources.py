"""Read-only access to files, zip files and SQLite databases of other programs."""

from __future__ import annotations

import codecs
import json
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

from lmchat.errors import FileRefused
from lmchat.files import read_plain

LARGEST_BYTES = 256 << 20  # more than ten thousand long answers; reading takes several times as much memory
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
SQLITE, ZIP = b"SQLite format 3\0", b"PK\x03\x04"
_LARGEST_MEMBER = 16 << 20  # decoded JSON takes up to 22 times as much memory
_STEP = 1 << 20
_WAL = 2  # byte 18 of a database with a write-ahead log
_SPACE = " \t\r\n"
Tables = dict[str, frozenset[str]]  # columns by table


class Source(NamedTuple):
    """Text file, or a member of a zip file."""

    name: str
    open: Callable[[], IO[bytes]]
    beside: Callable[[str], bytes]
    """Return the content of a file in the same folder; nothing if there is none."""
    limit: int = LARGEST_BYTES

    def content(self) -> bytes:
        with self.open() as stream:
            data = stream.read(self.limit + 1)
        if len(data) > self.limit:
            raise FileRefused(
                f"It is larger than {self.limit >> 20} MB.", hint="Split it into smaller files."
            )
        return data


def file_source(path: Path, limit: int = LARGEST_BYTES) -> Source:
    """Return a plain file as a source; it is read when it is opened."""

    def beside(name: str) -> bytes:
        with suppress(OSError):
            return read_plain(path.with_name(name), limit=limit)
        return b""

    return Source(path.name, lambda: BytesIO(read_plain(path, limit=limit)), beside)


def bytes_source(data: bytes) -> Source:
    """Return what was read from a pipe as a source."""
    return Source("", lambda: BytesIO(data), lambda _: b"")


def head_of(path: Path) -> bytes:
    """Return the first bytes of a regular file, nothing for other files; raises `OSError`."""
    if not path.is_file():  # a pipe would be waited for
        return b""
    with path.open("rb") as file:
        return file.read(len(SQLITE))


@contextmanager
def zipped(file: Path | IO[bytes]) -> Iterator[Iterator[Source]]:
    """Open a zip; its members are read in part or whole, never more than one. Raises `FileRefused`."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield (_member(archive, info) for info in archive.infolist() if not info.is_dir())
    except BROKEN_ZIP as error:
        message = "It is an encrypted or damaged zip file."
        raise FileRefused(message, hint="Unpack it, and import the folder.", details=repr(error)) from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Source:
    folder = info.filename.rpartition("/")[0]

    def beside(name: str) -> bytes:
        with suppress(KeyError), archive.open(f"{folder}/{name}" if folder else name) as member:
            return member.read(_LARGEST_MEMBER)
        return b""

    return Source(info.filename, lambda: archive.open(info), beside, _LARGEST_MEMBER)


def elements(stream: IO[bytes], limit: int) -> Iterator[Any]:
    """Yield the values of a JSON list one at a time; raises `ValueError`. Nothing for other JSON.

    Memory is used for one value only, which may have `limit` characters.
    """
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    scan = json.JSONDecoder().raw_decode
    text, is_begun, step = "", False, _STEP
    while True:
        data = stream.read(step)
        text = (text + decode(data, final=not data)).lstrip(_SPACE)
        if not is_begun and text:
            if text[0] != "[":
                return
            is_begun, text = True, text[1:].lstrip(_SPACE)
        at = 0
        while (begin := _skip(text, at, _SPACE)) < len(text) and text[begin] != "]":
            try:
                value, end = scan(text, begin)
            except json.JSONDecodeError:
                break
            end = _skip(text, end, _SPACE)
            if text[end : end + 1] not in (",", "]"):
                break  # a number may go on
            yield value
            at = end + 1 if text[end] == "," else end
        is_stuck = not text  # a step of white space
        text = text[at:]
        step = min(max(_STEP, len(text)), limit + 1 - len(text))
        if text.startswith("]"):
            return
        if not data or is_stuck or step <= 0:
            raise ValueError("the list is cut off or damaged, or a value of it is too large")


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that its program may be using, and change nothing; raises `FileRefused`."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lmchat-", ignore_cleanup_errors=True) as folder,
            closing(_connection(path, Path(folder))) as connection,
        ):
            yield connection
    except (sqlite3.Error, OSError) as error:
        message = f"The database cannot be read: {error}."
        raise FileRefused(message, hint="Close the program that uses it, and try again.") from error


def tables_of(connection: sqlite3.Connection) -> Tables:
    """Return the names of all tables and of their columns."""
    rows = connection.execute(
        "select m.name, c.name from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table'"
    ).fetchall()
    tables: dict[str, set[str]] = {}
    for table, column in rows:
        tables.setdefault(table, set()).add(column)
    return {table: frozenset(columns) for table, columns in tables.items()}


def numbers_by(connection: sqlite3.Connection, table: str, owner: str) -> dict[Any, list[int]]:
    """Return the numbers of the rows of a table by a column that has no index, each list by `id`."""
    found: dict[Any, list[int]] = {}
    query = f"select {owner}, rowid from {table} order by id"  # noqa: S608 - names are constants
    for key, number in connection.execute(query).fetchall():
        found.setdefault(key, []).append(number)
    return found


def numbered(connection: sqlite3.Connection, table: str, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield rows by their number; none is open while the caller works."""
    query = f"select * from {table} where rowid = ?"  # noqa: S608 - names are constants
    for number in numbers:
        yield dict(connection.execute(query, (number,)).fetchone())


def _connection(path: Path, folder: Path) -> sqlite3.Connection:
    wal, shm = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    with path.open("rb") as file:
        has_wal = file.read(19)[18:] == bytes([_WAL])
    if has_wal and not shm.exists():  # SQLite would make the two files
        if not wal.exists() or wal.stat().st_size == 0:
            return _opened(path, "mode=ro&immutable=1")
    else:
        with suppress(sqlite3.OperationalError):  # it is locked, or the folder cannot be written to
            return _opened(path, "mode=ro")
    for one in (path, wal, path.with_name(path.name + "-journal")):
        if one.exists():
            shutil.copyfile(one, folder / one.name)
    return _opened(folder / path.name, "mode=rw")


def _opened(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", uri=True, timeout=1, check_same_thread=False
    )
    try:
        connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    # Texts with invalid UTF-8 cost their characters only.
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.row_factory = sqlite3.Row
    return connection
