"""Read-only access to files, zip files and SQLite databases of other programs."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

from lmchat.domain.session import Skipped
from lmchat.errors import FileRefused
from lmchat.files import read_plain

LARGEST_BYTES = 256 << 20  # more than ten thousand long answers; reading takes several times as much memory
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
NO_JSON = (ValueError, RecursionError)
SQLITE, ZIP = b"SQLite format 3\0", b"PK\x03\x04"
_LARGEST_MEMBER = 12 << 20  # decoded JSON takes up to 35 times as much memory
_STEP = 1 << 20
_BEGIN = re.compile(r"[^\s,\[\]]")  # of a value in a list, or in JSON Lines
_WAL = 2  # byte 18 of a database with a write-ahead log
Row = dict[str, Any]
RowsBy = Callable[[Any], Iterator[Row]]


class Source(NamedTuple):
    """Text file, member of a zip file, or what was piped."""

    name: str
    open: Callable[[], IO[bytes]]
    beside: Callable[[str], bytes] = lambda _: b""  # return the content of a file in the same folder
    stored: Callable[[str], bytes] = lambda _: b""
    """Return the file that a chat names an image by, whose name begins so; empty if there is none."""
    limit: int = LARGEST_BYTES

    def content(self) -> bytes:
        """Return all of it; raises `FileRefused` if it is too large."""
        with self.open() as stream:
            data = stream.read(self.limit + 1)
        if len(data) > self.limit:
            raise FileRefused(
                f"It is larger than {self.limit >> 20} MB.", hint="Split it into smaller files."
            )
        return data

    def json_beside(self, name: str) -> Row:
        """Return the JSON object of a file in the same folder; an empty one if there is none."""
        with suppress(OSError, KeyError, *BROKEN_ZIP, *NO_JSON):
            if isinstance(value := json.loads(self.beside(name)), dict):
                return value
        return {}

    def values(self) -> Iterator[Any]:
        """Yield the values of a JSON list or of JSON Lines one at a time, then what is left out as `Skipped`.

        Memory is used for one value only, which may have `limit` characters.
        """
        scan, text, at, step = json.JSONDecoder().raw_decode, "", 0, _STEP
        with TextIOWrapper(self.open(), encoding="utf-8-sig", errors="replace") as stream:
            while step > 0 and (more := stream.read(step)):
                text, at = text[at:] + more, 0
                with suppress(*NO_JSON):  # the value may go on
                    while begin := _BEGIN.search(text, at):
                        value, at = scan(text, begin.start())
                        yield value
                step = min(max(_STEP, len(text) - at), self.limit - len(text) + at)
        if _BEGIN.search(text, at):
            reason = f"it is damaged, or a chat in it is larger than {self.limit >> 20} MB"
            yield Skipped(where="the rest of the file", reason=reason)


class ForeignDatabase:
    """Database of another program; each query is fetched whole, since an open one locks it for its owner."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.tables: dict[str, set[str]] = {}  # names of columns by table
        query = "select m.name, c.name as field from sqlite_master m, pragma_table_info(m.name) c"
        for row in self.rows(f"{query} where m.type = 'table'"):
            self.tables.setdefault(row["name"], set()).add(row["field"])

    def has(self, table: str, *columns: str) -> bool:
        return {*columns} <= self.tables.get(table, set())

    def rows(self, query: str, **values: Any) -> list[Row]:
        """Return all rows of a query."""
        return self._connection.execute(query, values).fetchall()

    def rows_by(self, table: str, owner: str) -> RowsBy:
        """Return a function for the rows by a column without an index; without the table there are none."""
        numbers: dict[Any, list[int]] = {}
        if table in self.tables:
            query = f"select {owner} as owner, rowid as number from {table} order by id"  # noqa: S608 - constants
            for row in self.rows(query):
                numbers.setdefault(row["owner"], []).append(row["number"])
        one = f"select * from {table} where rowid = :number"  # noqa: S608 - the same
        return lambda key: (self.rows(one, number=number)[0] for number in numbers.get(key, ()))


def file_source(path: Path) -> Source:
    """Return a plain file as a source."""
    return Source(
        path.name,
        lambda: BytesIO(read_plain(path, limit=LARGEST_BYTES)),
        lambda name: read_plain(path.with_name(name)),
        lambda name: _stored(path, name),
    )


def _stored(path: Path, name: str) -> bytes:
    """Read a file beside a chat; those of LM Studio are in a folder beside that of all chats."""
    with suppress(OSError):
        for folder in (path.parent, *(above / "user-files" for above in path.parents[:4])):
            for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                if _is_named(file.name, name):
                    return read_plain(file)
    return b""


def _is_named(file: str, name: str) -> bool:
    return bool(name) and file.startswith(name) and not file[len(name) :][:1].isalnum()


def head_of(path: Path) -> bytes:
    """Return the first bytes of a regular file, nothing for other files; raises `OSError`."""
    if not path.is_file():  # a pipe would be waited for
        return b""
    with path.open("rb") as file:
        return file.read(len(SQLITE))


def member_source(archive: zipfile.ZipFile, name: str) -> Source:
    """Return a member of a zip as a source."""
    folder, slash, base = name.rpartition("/")

    def beside(other: str) -> bytes:
        with archive.open(f"{folder}{slash}{other}") as member:
            return member.read(_LARGEST_MEMBER)

    def stored(wanted: str) -> bytes:
        found = (one for one in archive.namelist() if _is_named(one.rpartition("/")[2], wanted))
        with suppress(OSError, KeyError, *BROKEN_ZIP), archive.open(next(found, "")) as member:
            return member.read(_LARGEST_MEMBER)
        return b""

    return Source(base, lambda: archive.open(name), beside, stored, _LARGEST_MEMBER)


@contextmanager
def database(path: Path) -> Iterator[ForeignDatabase]:
    """Open a database that its program may be using, and change nothing; raises `FileRefused`."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lmchat-", ignore_cleanup_errors=True) as folder,
            closing(_connection(path, Path(folder))) as connection,
        ):
            yield ForeignDatabase(connection)
    except (sqlite3.Error, OSError) as error:
        message = f"The database cannot be read: {error}."
        raise FileRefused(message, hint="Close the program that uses it, and try again.") from error


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
    connection.row_factory = lambda cursor, row: dict(
        zip((one[0] for one in cursor.description), row, strict=True)
    )
    return connection
