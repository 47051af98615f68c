"""Read-only access to files, zip files and SQLite databases of other programs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

from lmchat.errors import FileRefused
from lmchat.files import read_plain
from lmchat.formats.json_stream import NO_JSON, JsonValues

LARGEST_BYTES = (
    256 << 20
)  # more than ten thousand long answers; reading takes several times as much memory
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
SQLITE, ZIP = b"SQLite format 3\0", b"PK\x03\x04"
_LARGEST_MEMBER = 12 << 20  # decoded JSON takes up to 35 times as much memory
_LINES = (".jsonl", ".ndjson")  # endings of files with a value in each line
_WAL = 2  # byte 18 of a database with a write-ahead log
Row = dict[str, Any]
RowsBy = Callable[[Any], Iterator[Row]]


class Source(NamedTuple):
    """Text file, member of a zip file, or what was piped."""

    name: str
    open: Callable[[], IO[bytes]]
    beside: Callable[[str], bytes] = lambda _: (
        b""
    )  # return the content of a file in the same folder
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
        has_lines = self.name.lower().endswith(_LINES)
        with TextIOWrapper(self.open(), encoding="utf-8-sig", errors="replace") as stream:
            yield from JsonValues(stream, self.limit, has_lines=has_lines)


_TABLES = """
select name from sqlite_master where type = 'table' and rootpage > 0 and sql not like '%virtual%'
"""
_QUERY_S = 30.0  # of processor time; a query of a real database takes less than one
_STEPS_BETWEEN_LOOKS = 10_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LARGEST_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 10,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
}
"""Limits for a database that may be hostile: https://sqlite.org/security.html"""
_GUARDS = ("trusted_schema = off", "cell_size_check = on", "query_only = on", "mmap_size = 0")
_READ_ONLY_PRAGMAS = ("table_info", *(guard.partition(" ")[0] for guard in _GUARDS))
_FUNCTIONS = ("coalesce", "like")  # those of our queries
_OWN_VIEWS = (None, "chain")  # none, and the common table of our queries
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # end of a journal that names another file


class ForeignDatabase:
    """Database of another program; each query is fetched whole, since an open one locks it for its owner."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.tables: dict[str, set[str]] = {}  # names of columns by table
        for table in self.rows(_TABLES):
            name = table["name"].replace('"', '""')
            columns = self.rows(f'pragma table_info("{name}")')
            self.tables[table["name"]] = {column["name"] for column in columns}

    def has(self, table: str, *columns: str) -> bool:
        return {*columns} <= self.tables.get(table, set())

    def rows(self, query: str, **values: Any) -> list[Row]:
        """Return all rows of a query; raises `sqlite3.OperationalError` for one that takes too long."""
        end_s = time.process_time() + _QUERY_S
        self._connection.set_progress_handler(
            lambda: time.process_time() > end_s, _STEPS_BETWEEN_LOOKS
        )
        return self._connection.execute(query, values).fetchall()

    def rows_by(self, table: str, owner: str, order: str = "id") -> RowsBy:
        """Return a function for the rows by a column without an index; without the table there are none."""
        numbers: dict[Any, list[int]] = {}
        if table in self.tables:
            # constants, no values of the file
            query = f"select {owner} as owner, rowid as number from {table} order by {order}"  # noqa: S608
            for row in self.rows(query):
                numbers.setdefault(row["owner"], []).append(row["number"])
        by_number = f"select * from {table} where rowid = :number"  # noqa: S608 - a constant
        return lambda key: (
            self.rows(by_number, number=number)[0] for number in numbers.get(key, ())
        )


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
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the latter of a name
        message = f"The database cannot be read: {error}."
        raise FileRefused(message, hint="Close the program that uses it, and try again.") from error


def _connection(path: Path, folder: Path) -> sqlite3.Connection:
    wal, shm, journal = (
        path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal")
    )
    for beside in (wal, shm, journal):
        if beside.exists() and not beside.is_file():  # a pipe would be waited for
            raise FileRefused(f"{beside.name} is not a regular file.", hint="Move it away.")
    with path.open("rb") as file:
        has_wal = file.read(19)[18:] == bytes([_WAL])
    if has_wal and not shm.exists():  # SQLite would make the two files
        if not wal.exists() or wal.stat().st_size == 0:
            return _opened(path, "mode=ro&immutable=1")
    else:
        with suppress(sqlite3.OperationalError):  # it is locked, or the folder cannot be written to
            return _opened(path, "mode=ro")
    for part in (path, wal, journal):
        if part.exists():
            shutil.copyfile(part, folder / part.name)
    _refuse_super_journal(folder / journal.name)
    return _opened(folder / path.name, "mode=rw")


def _refuse_super_journal(journal: Path) -> None:
    """Refuse a journal that names another file: SQLite would delete that file."""
    if not journal.exists():
        return
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_SUPER_JOURNAL)))
        if file.read() == _SUPER_JOURNAL:
            words = f"{journal.name} belongs to several databases."
            raise FileRefused(words, hint="Start the program that wrote it, and close it again.")


def _opened(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", uri=True, timeout=1, check_same_thread=False
    )
    try:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.execute("select count(*) from sqlite_master").fetchone()  # plays a journal back
        for guard in _GUARDS:
            connection.execute(f"pragma {guard}")
        connection.set_authorizer(_authorized)
    except sqlite3.Error:
        connection.close()
        raise
    # Texts with invalid UTF-8 cost their characters only.
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.row_factory = lambda cursor, row: dict(
        zip((one[0] for one in cursor.description), row, strict=True)
    )
    return connection


def _authorized(
    action: int, name: str | None, detail: str | None, _schema: str | None, view: str | None
) -> int:
    """Allow SQLite to read tables; views, triggers and functions of the file are not run."""
    is_function = action == sqlite3.SQLITE_FUNCTION and detail in _FUNCTIONS
    is_pragma = action == sqlite3.SQLITE_PRAGMA and name in _READ_ONLY_PRAGMAS
    if view in _OWN_VIEWS and (action in _READING or is_function or is_pragma):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
