"""Import of a file in any format."""

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

from lmchat.domain.session import Session, Skipped
from lmchat.errors import FileRefused, FormatUnknown
from lmchat.files import image_type
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
from lmchat.formats.markdown_read import from_markdown
from lmchat.formats.message_list import from_list, is_list
from lmchat.formats.normalizing import normalized
from lmchat.formats.table import AUTO, IMPORT_FORMATS, OWN, PROGRAMS
from lmchat.formats.text_files import BROKEN_ZIP, PlainFile, TextFile, ZipMember
from lmchat.images import measure_image
from lmchat.text import plural

_TEXTS = (".json", ".jsonl", ".md", ".markdown")
ENDINGS = (*_TEXTS, ".zip", ".db", ".sqlite", ".sqlite3")
_WANTED = (
    "lmchat imports its own JSON and Markdown exports, JSON lists of {role, content}, "
    f"and chats of {', '.join(row.program for row in IMPORT_FORMATS)}."
)
_SQLITE_HEAD = b"SQLite format 3\0"
_ZIP_HEAD = b"PK\x03\x04"
_PEEKED = 20  # values of a list that are looked at, since the first ones may be broken
_DAMAGED = "it is damaged"
_UNREADABLE_JSON = "It is not readable JSON."

AnyFormat = JsonFormat | RecordsFormat | DatabaseFormat
ReadItems = Iterator[Session | Skipped]


class Reader:
    """Reader of files in one format, or in any."""

    def __init__(self, moment: datetime, source: str = AUTO) -> None:
        self._moment = moment
        self._source = source
        self._last_source = source  # the program of the last file

    def file(self, path: Path) -> ReadItems:
        """Yield the chats of a file one at a time; raises `FileRefused` or `OSError`."""
        head = _head_of(path)
        if head.startswith(_SQLITE_HEAD):
            yield from _refuse_empty(self._database(path))
        elif head.startswith(_ZIP_HEAD):
            yield from self._zip(path)
        else:
            yield from _refuse_empty(self._text(PlainFile(path)))

    def data(self, data: bytes) -> ReadItems:
        """Yield the chats of what was read from a pipe; raises `FileRefused`."""
        if data.startswith(_ZIP_HEAD):
            return self._zip(BytesIO(data))
        return _refuse_empty(self._text(TextFile(data)))

    def _zip(self, file: Path | IO[bytes]) -> ReadItems:
        has_chats = False
        try:
            with ZipFile(file) as archive:
                for name in archive.namelist():
                    if name.lower().endswith(_TEXTS):
                        for item in self._member(ZipMember(archive, name)):
                            has_chats = has_chats or isinstance(item, Session)
                            yield item
        except BROKEN_ZIP as error:
            message = "It is an encrypted or damaged zip file."
            hint = "Unpack it, and import the folder."
            raise FileRefused(message, hint=hint, details=repr(error)) from error
        if not has_chats:
            self._expect(self._last_source)
            raise FormatUnknown("It has no chats that lmchat can read.", hint=_WANTED)

    def _member(self, member: ZipMember) -> ReadItems:
        try:
            yield from _refuse_empty(self._text(member))
        except FormatUnknown:
            return
        except FileRefused as error:
            yield Skipped(where=member.name, reason=error.message.rstrip("."))
        except BROKEN_ZIP:
            yield Skipped(where=member.name, reason=_DAMAGED)

    def _database(self, path: Path) -> ReadItems:
        with opened_database(path) as database:
            for source, form in _formats():
                if isinstance(form, DatabaseFormat) and database.has(form.tables):
                    self._expect(source)
                    yield from self._sessions(form.read(database), source)
                    return
        raise FormatUnknown("It is a database, but not one that lmchat knows.", hint=_WANTED)

    def _text(self, file: TextFile) -> ReadItems:
        """Yield each chat of a list or of lines, or the one chat of anything else."""
        values = file.values()
        first = list(islice(values, _PEEKED))
        records = [value for value in first if isinstance(value, dict)]
        for source, form in _formats():
            if isinstance(form, DatabaseFormat) or not any(map(form.fits, records)):
                continue
            self._expect(source)
            if isinstance(form, RecordsFormat):
                yield from self._sessions(_records_reader(form, file), source)
            else:
                readers = (
                    value if isinstance(value, Skipped) else partial(form.read, value, file)
                    for value in chain(first, values)
                )
                yield from self._sessions(readers, source)
            return

        has_lines = len(records) > 1
        del values, first, records  # the whole is decoded again
        yield from self._own(file, has_lines=has_lines)

    def _sessions(
        self, readers: Iterable[Callable[[], Iterable[ForeignChat]] | Skipped], source: str
    ) -> ReadItems:
        """Yield the sessions of chats; one that is damaged costs itself only."""
        for number, read in enumerate(readers, 1):
            if isinstance(read, Skipped):
                yield read
                continue
            try:
                for chat in read():
                    yield from chat.finish(self._moment, source=source)
            except sqlite3.OperationalError:  # locked, or interrupted
                raise
            except (*BAD_VALUE_ERRORS, FileRefused, sqlite3.DatabaseError):
                yield Skipped(where=f"chat {number}", reason=_DAMAGED)

    def _own(self, file: TextFile, *, has_lines: bool) -> ReadItems:
        """Yield the sessions of lmchat's own formats, and of lists of messages."""
        text = _decoded(file.content()).lstrip()
        if not text:
            raise FileRefused("It is empty.", hint="Export the chats again.")
        is_json = text[0] == "[" or (text[0] == "{" and not has_lines)
        value = _json(text) if is_json else None
        try:
            items = list(self._own_items(text, value))
        except RecursionError as error:
            raise FileRefused(_UNREADABLE_JSON, hint="Export it again.") from error
        self._expect(OWN)
        for item in items:
            if isinstance(item, Session):
                yield normalized(item, moment=self._moment)
            else:
                yield item

    def _own_items(self, text: str, value: Any) -> ReadItems:
        """Return what a text holds; `value` is its JSON."""
        if isinstance(value, dict) and "lmchat" in value:
            return _with_small_images(from_json(value))
        if is_list(value):
            return from_list(value, self._moment)
        if text.startswith("-"):
            return iter([from_markdown(text)])
        if text[0] in "{[":
            message = "It is JSON, but not a chat format that lmchat knows."
            raise FormatUnknown(message, hint=_WANTED)
        raise FormatUnknown("Its format cannot be imported.", hint=_WANTED)

    def _expect(self, source: str) -> None:
        """Refuse a file of another program than the one that was named."""
        self._last_source = source
        if self._source not in (AUTO, source):
            message = f"It has chats of {PROGRAMS[source]}, not of {PROGRAMS[self._source]}."
            raise FormatUnknown(message, hint=f"Import it with --from {source}.")


def companions() -> set[str]:
    """Return the names of files that are read with the one beside them."""
    names: set[str] = set()
    for _, form in _formats():
        if isinstance(form, RecordsFormat):
            names.update(form.companions)
    return names


@cache
def _formats() -> list[tuple[str, AnyFormat]]:
    """Return the formats of other programs with their sources; the first that fits is used."""
    formats: list[tuple[str, AnyFormat]] = []
    for row in IMPORT_FORMATS:
        module = import_module(f"lmchat.formats.{row.module}")
        formats += [(row.source, form) for form in module.FORMATS]
    return formats


def _head_of(path: Path) -> bytes:
    """Return the first bytes of a regular file, nothing for other files; raises `OSError`."""
    if not path.is_file():  # a pipe would be waited for
        return b""
    with path.open("rb") as file:
        return file.read(len(_SQLITE_HEAD))


def _records_reader(
    form: RecordsFormat, file: TextFile
) -> Iterator[Callable[[], Iterable[ForeignChat]] | Skipped]:
    """Yield the reader of all records of a file, and what is no record."""
    values = list(TextFile(file.content(), file.name).values())
    records = [value for value in values if isinstance(value, dict)]
    yield partial(form.read, records, file)
    for number, value in enumerate(values, 1):
        if isinstance(value, Skipped):
            yield value
        elif not isinstance(value, dict):
            yield Skipped(where=f"record {number}", reason=_DAMAGED)


def _with_small_images(session: Session) -> ReadItems:
    """Leave out images that are too large to be decoded."""
    files: dict[str, bytes] = {}
    for digest, data in session.files.items():
        with suppress(FileRefused):
            files[digest] = measure_image(digest, data).data if image_type(data) else data
    if lost := len(session.files) - len(files):
        where = f"“{session.header.title}”"
        yield Skipped(where=where, reason=f"{plural(lost, 'image')} left out")
    yield replace(session, files=files)


def _refuse_empty(items: ReadItems) -> ReadItems:
    """Pass on what has messages; refuse a file of which nothing has."""
    skipped: list[Skipped] = []
    has_messages = False
    unnamed = 0
    for item in items:
        if isinstance(item, Skipped):
            if len(skipped) < MOST_NAMED:
                skipped.append(item)
            else:
                unnamed += 1
        elif item.messages:
            has_messages = True
            yield from skipped
            skipped.clear()
            yield item
    if not has_messages:
        kind = FileRefused if skipped else FormatUnknown
        reason = f" ({skipped[0].where}: {skipped[0].reason})" if skipped else ""
        message = f"It has no readable messages{reason}."
        raise kind(message, hint="Export the chats again.")
    yield from skipped
    if unnamed:
        yield Skipped(where=f"{unnamed} more places", reason="they are damaged or incomplete")


def _decoded(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark as Windows shells write it."""
    is_utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"Line {line} is not {'UTF-16' if is_utf_16 else 'UTF-8'} text."
        raise FileRefused(message, hint="Save the file as UTF-8.") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"Invalid JSON at line {error.lineno}, column {error.colno}."
        raise FileRefused(message, hint="Export it again.", details=error.msg) from error
    except (ValueError, RecursionError) as error:  # a number with too many digits; deep brackets
        raise FileRefused(_UNREADABLE_JSON, hint="Export it again.", details=repr(error)) from error
