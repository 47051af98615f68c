"""Import of a file in any format.

`Reader` finds out the format of a file by its first bytes, by the tables of a database, or by the
first values of a text. The formats of other programs are tried before those of lmchat.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from importlib import import_module
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

from msgspec.structs import replace

from lmchat.errors import FileRefused, FormatUnknown
from lmchat.files.images import image_type, measure_image
from lmchat.formats.file_values import BAD_VALUE_ERRORS
from lmchat.formats.foreign import (
    MOST_NAMED,
    DatabaseFormat,
    ForeignChat,
    JsonFormat,
    RecordsFormat,
)
from lmchat.formats.foreign_database import opened_database
from lmchat.formats.json_format import from_json
from lmchat.formats.message_list import from_list, is_list
from lmchat.formats.normalizing import normalized
from lmchat.formats.table import AUTO, IMPORT_FORMATS, OWN, PROGRAMS
from lmchat.formats.text_files import BROKEN_ZIP, PlainFile, TextFile, ZipMember
from lmchat.sessions.session import Session, Skipped
from lmchat.units import plural

_TEXT_ENDINGS = (".json", ".jsonl")
_MARKDOWN_ENDINGS = (".md", ".markdown")
ENDINGS = (*_TEXT_ENDINGS, ".zip", ".db", ".sqlite", ".sqlite3")
"""Ends of the names of files that may have chats."""
_FORMATS_HINT = (
    "lmchat imports its own JSON exports, JSON lists of {role, content}, "
    f"and chats of {', '.join(row.program for row in IMPORT_FORMATS)}."
)
_SQLITE_HEAD = b"SQLite format 3\0"
_ZIP_HEAD = b"PK\x03\x04"
_PEEKED_VALUES = 20  # that are read to find out the format of a file; some may be broken
_DAMAGED = "it is damaged"
_UNREADABLE_JSON = "It is not readable JSON."

AnyFormat = JsonFormat | RecordsFormat | DatabaseFormat
ReadItems = Iterator[Session | Skipped]
"""Sessions of a file, and what is left out of it."""
ChatReader = Callable[[], Iterable[ForeignChat]]
"""Function that reads one chat, or the chats of one file."""


class Reader:
    """Reader of files of one program, or of any.

    `moment` is the time for sessions that have none. `source` is a program of the table, or `AUTO`.
    """

    def __init__(self, moment: datetime, source: str = AUTO) -> None:
        self._moment = moment
        self._source = source
        self._last_source = source  # program of the last text whose format was found

    def file(self, path: Path) -> ReadItems:
        """Yield the chats of a file one at a time, and what is left out.

        Raises `FileRefused` or `OSError`.
        """
        head = _head_of(path)
        if head.startswith(_SQLITE_HEAD):
            yield from _refuse_empty(self._read_database(path))
        elif head.startswith(_ZIP_HEAD):
            yield from self._read_zip(path)
        else:
            yield from _refuse_empty(self._read_text(PlainFile(path)))

    def data(self, data: bytes) -> ReadItems:
        """Return an iterator of the chats in the content of a pipe, and of what is left out.

        Reading it raises `FileRefused`, also for a database, which has to be a file.
        """
        if data.startswith(_ZIP_HEAD):
            return self._read_zip(BytesIO(data))
        return _refuse_empty(self._read_text(TextFile(data)))

    def _read_zip(self, file: Path | IO[bytes]) -> ReadItems:
        """Yield the chats of the text files in a zip file, and a `Skipped` for each damaged one.

        Raises `FileRefused` for a broken zip file. Raises `FormatUnknown` for one that has neither
        chats nor damaged files, or only chats of another program than the user named.
        """
        has_chats = False
        has_skipped = False
        try:
            with ZipFile(file) as archive:
                for name in archive.namelist():
                    if name.lower().endswith(_TEXT_ENDINGS):
                        for item in self._read_member(ZipMember(archive, name)):
                            if isinstance(item, Skipped):
                                has_skipped = True
                            else:
                                has_chats = True
                            yield item
        except BROKEN_ZIP as error:
            message = "It is an encrypted or damaged zip file."
            hint = "Unpack it, and import the folder."
            raise FileRefused(message, hint=hint, details=repr(error)) from error
        if not has_chats:
            # `_read_member` passes over chats of another program than the user named; if there
            # were any, the error should say so
            self._require_source(self._last_source)
        if not has_chats and not has_skipped:
            raise FormatUnknown("It has no chats that lmchat can read.", hint=_FORMATS_HINT)

    def _read_member(self, member: ZipMember) -> ReadItems:
        """Yield the chats of a member of a zip file.

        Yield a `Skipped` for a damaged member, and nothing for one of an unknown format, or of
        another program than the user named.
        """
        try:
            yield from _refuse_empty(self._read_text(member))
        except FormatUnknown:
            return
        except FileRefused as error:
            yield Skipped(where=member.name, reason=error.message.rstrip("."))
        except BROKEN_ZIP:
            yield Skipped(where=member.name, reason=_DAMAGED)

    def _read_database(self, path: Path) -> ReadItems:
        """Yield the chats of an SQLite database in the first format that has its tables."""
        with opened_database(path) as database:
            for source, file_format in _formats():
                if (
                    isinstance(file_format, DatabaseFormat)
                    and file_format.tables <= database.tables
                ):
                    self._note_source(source)
                    yield from self._sessions(file_format.read(database), source)
                    return
        message = "It is a database, but not one that lmchat knows."
        raise FormatUnknown(message, hint="lmchat imports the database of llm 0.36 and later.")

    def _read_text(self, file: TextFile) -> ReadItems:
        """Yield the chats of a text, in the first format that fits one of its first values.

        If no format of another program fits, the text is read in one of lmchat.
        """
        values = file.values()
        first_values = list(islice(values, _PEEKED_VALUES))
        records = [value for value in first_values if isinstance(value, dict)]
        for source, file_format in _formats():
            if isinstance(file_format, DatabaseFormat):
                continue
            if not any(map(file_format.fits, records)):
                continue
            self._note_source(source)
            if isinstance(file_format, RecordsFormat):
                readers = _readers_of_records(file_format, file)
            else:
                readers = _readers_of_values(file_format, file, chain(first_values, values))
            yield from self._sessions(readers, source)
            return

        has_lines = len(records) > 1
        del values, first_values, records  # frees memory: the whole file is decoded again
        yield from self._read_own_text(file, has_lines=has_lines)

    def _sessions(self, readers: Iterable[ChatReader | Skipped], source: str) -> ReadItems:
        """Read chats, and yield their sessions and what is left out.

        Among `readers` may be a `Skipped` for a broken value, which is yielded as it is. A damaged
        chat becomes a `Skipped`; an error of the whole database is raised. `source` is the program
        of the chats.
        """
        for number, reader in enumerate(readers, 1):
            if isinstance(reader, Skipped):
                yield reader
                continue
            try:
                for chat in reader():
                    yield from chat.finish(self._moment, source=source)
            except sqlite3.OperationalError:  # the database is locked, or a query took too long
                raise
            except (*BAD_VALUE_ERRORS, FileRefused, sqlite3.DatabaseError):
                yield Skipped(where=f"chat {number}", reason=_DAMAGED)

    def _read_own_text(self, file: TextFile, *, has_lines: bool) -> ReadItems:
        """Yield the session of a text, which is an export of lmchat or a list of messages.

        `has_lines` says that the text has several JSON objects, which no format fits. It is then
        not decoded as one JSON value. Raises `FileRefused` or `FormatUnknown`.
        """
        text = _decoded(file.content()).lstrip()
        if not text:
            raise FileRefused("It is empty.", hint="Export the chats again.")
        is_json = text[0] == "[" or (text[0] == "{" and not has_lines)
        value = _json(text) if is_json else None
        try:
            # a list, because the error may be raised only while the items are read
            items = list(self._own_items(file, text, value))
        except RecursionError as error:
            raise FileRefused(_UNREADABLE_JSON, hint="Export it again.") from error
        self._note_source(OWN)
        for item in items:
            if isinstance(item, Session):
                yield normalized(item, moment=self._moment)
            else:
                yield item

    def _own_items(self, file: TextFile, text: str, value: Any) -> ReadItems:
        """Return an iterator of the session of a file and what is left out of it.

        `text` is the content of the file, and `value` that decoded as one JSON value; None if it is
        not one. Raises `FormatUnknown` for a text in no known format, and `FileRefused` for a
        broken one.
        """
        if isinstance(value, dict) and "lmchat" in value:
            return _without_large_images(from_json(value))
        if is_list(value):
            return from_list(value, self._moment)
        if text[0] in "{[":
            message = "It is JSON, but not a chat format that lmchat knows."
            raise FormatUnknown(message, hint=_FORMATS_HINT)
        # lmchat's own Markdown exports begin with `---`
        if file.name.lower().endswith(_MARKDOWN_ENDINGS) or text.startswith("---\n"):
            hint = "Export the session as JSON, and import that: lmchat export ID -o FILE.json"
            raise FormatUnknown("It is Markdown, which cannot be imported.", hint=hint)
        raise FormatUnknown("Its format cannot be imported.", hint=_FORMATS_HINT)

    def _note_source(self, source: str) -> None:
        """Note the program of a file; raises `FormatUnknown` if the user named another one."""
        self._last_source = source
        self._require_source(source)

    def _require_source(self, source: str) -> None:
        """Raise `FormatUnknown` if the user named another program than this one."""
        if self._source not in (AUTO, source):
            message = f"It has chats of {PROGRAMS[source]}, not of {PROGRAMS[self._source]}."
            raise FormatUnknown(message, hint=f"Import it with --from {source}.")


def companions() -> set[str]:
    """Return the names of files that are read with a chat beside them, and not imported alone."""
    names: set[str] = set()
    for _source, file_format in _formats():
        if isinstance(file_format, RecordsFormat):
            names.update(file_format.companions)
    return names


@cache
def _formats() -> list[tuple[str, AnyFormat]]:
    """Return the formats of other programs, each after the source of its program.

    If several fit a file, the first one is used.
    """
    formats: list[tuple[str, AnyFormat]] = []
    for row in IMPORT_FORMATS:
        module = import_module(f"lmchat.formats.{row.module}")
        formats += [(row.source, file_format) for file_format in module.FORMATS]
    return formats


def _head_of(path: Path) -> bytes:
    """Return the first bytes of a regular file, nothing for other files; raises `OSError`."""
    if not path.is_file():  # a pipe would be waited for
        return b""
    with path.open("rb") as file:
        return file.read(len(_SQLITE_HEAD))


def _readers_of_values(
    file_format: JsonFormat, file: TextFile, values: Iterable[Any]
) -> Iterator[ChatReader | Skipped]:
    """Yield a reader for each value, and unchanged each `Skipped`, which marks a broken value."""
    for value in values:
        if isinstance(value, Skipped):
            yield value
        else:
            yield partial(file_format.read, value, file)


def _readers_of_records(
    file_format: RecordsFormat, file: TextFile
) -> Iterator[ChatReader | Skipped]:
    """Yield one reader for all objects of a file, then a `Skipped` for each other value.

    The file is read from its beginning once more, with `content`, which refuses a file over the
    limit: all its objects are in memory here. `file.values()` would limit only each of them.
    """
    values = list(TextFile(file.content(), file.name).values())
    records = [value for value in values if isinstance(value, dict)]
    yield partial(file_format.read, records, file)
    for number, value in enumerate(values, 1):
        if isinstance(value, Skipped):
            yield value
        elif not isinstance(value, dict):
            yield Skipped(where=f"record {number}", reason=_DAMAGED)


def _without_large_images(session: Session) -> ReadItems:
    """Yield a session without images over the limits; before it, a `Skipped` with their number."""
    files: dict[str, bytes] = {}
    for digest, data in session.files.items():
        if not image_type(data):
            files[digest] = data
            continue
        with suppress(FileRefused):
            files[digest] = measure_image(digest, data).data
    lost_count = len(session.files) - len(files)
    if lost_count:
        where = f"“{session.header.title}”"
        yield Skipped(where=where, reason=f"{plural(lost_count, 'image')} left out")
    yield replace(session, files=files)


def _refuse_empty(items: ReadItems) -> ReadItems:
    """Yield the sessions that have messages, and what is skipped; refuse a file without sessions.

    If no session has messages, raises `FileRefused` if something was skipped, else `FormatUnknown`.
    Before each session, at most `MOST_NAMED` items of what was skipped are yielded; a last item
    has the number of the others, if there are any.
    """
    skipped: list[Skipped] = []
    has_messages = False
    unnamed_count = 0
    for item in items:
        if isinstance(item, Skipped):
            if len(skipped) < MOST_NAMED:
                skipped.append(item)
            else:
                unnamed_count += 1
        elif item.messages:
            has_messages = True
            yield from skipped
            skipped.clear()
            yield item
    if not has_messages and skipped:
        reason = f"{skipped[0].where}: {skipped[0].reason}"
        message = f"It has no readable messages ({reason})."
        raise FileRefused(message, hint="Export the chats again.")
    if not has_messages:
        raise FormatUnknown("It has no readable messages.", hint="Export the chats again.")
    yield from skipped
    if unnamed_count:
        where = f"{unnamed_count} more places"
        yield Skipped(where=where, reason="they are damaged or incomplete")


def _decoded(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark as Windows shells write it.

    Raises `FileRefused`.
    """
    is_utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        encoding = "UTF-16" if is_utf_16 else "UTF-8"
        message = f"Line {line} is not {encoding} text."
        raise FileRefused(message, hint="Save the file as UTF-8.") from error


def _json(text: str) -> Any:
    """Return the value of a JSON text; raises `FileRefused`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"Invalid JSON at line {error.lineno}, column {error.colno}."
        raise FileRefused(message, hint="Export it again.", details=error.msg) from error
    except (ValueError, RecursionError) as error:  # a number with too many digits; deep brackets
        raise FileRefused(_UNREADABLE_JSON, hint="Export it again.", details=repr(error)) from error
