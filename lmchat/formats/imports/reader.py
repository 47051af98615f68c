"""Import of chats from files in any format: `import_chats` is the entrance.

The format of a file is found by its first bytes, or by the first objects of a text. If a record
cannot be read, only that record is lost. Nothing is stored here; that is up to the caller.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache, partial
from importlib import import_module
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from lmchat.errors import FileRefused, FormatUnknown, LMChatError
from lmchat.files.disk import expanded_path
from lmchat.formats.imports.file_values import BAD_VALUE_ERRORS, Record
from lmchat.formats.imports.format import DatabaseFormat, FileChat, JsonFormat, ReadSession
from lmchat.formats.imports.programs import AUTO, OWN, PROGRAM_NAMES, PROGRAMS
from lmchat.formats.imports.sources import (
    LARGEST_BYTES,
    ZIP_HEAD,
    Source,
    files_below,
    head_of,
    text_source,
    zip_sources,
)
from lmchat.sessions.session import Skipped

STDIN = "-"  # name of the standard input in place of a file
_FORMATS_HINT = (
    "lmchat imports its own JSON exports, JSON lists of {role, content}, "
    f"and chats of {', '.join(program.name for program in PROGRAMS)}."
)
_SQLITE_HEAD = b"SQLite format 3\0"
_PEEKED_RECORDS = 20  # records read to find out the format of a text; some may be broken
_DAMAGED = "it is damaged"

# Sessions of a file, in its order, and between them each part of the file that was left out.
ReadItems = Iterator[ReadSession | Skipped]


# Name of a file, and one thing from it: a chat, a part that is left out, or the error that ended
# the reading. The name is `-` for standard input. If a folder has no chats, the name is that of the
# folder.
FileItem = tuple[str, ReadSession | Skipped | LMChatError]


def import_chats(
    names: Iterable[str], *, moment: datetime, source: str = AUTO, stdin: bytes | None = None
) -> Iterator[FileItem]:
    """Yield the chats of files and folders, one at a time, and what could not be read. Blocks.

    `stdin` is the content of the file `-`; without `stdin`, `-` is an ordinary name. `source` is
    the program that the files must be of, as a value of `--from`; `AUTO` allows any. `moment` is
    the time for sessions that have none.
    """
    reader = _FileReader(moment, source)
    for name in names:
        if name == STDIN and stdin is not None:
            yield from _file_items(name, reader.items(stdin))
            continue
        try:
            path = expanded_path(name)
            # Path.is_dir would raise an error for a long name, and for a folder that may not be
            # entered
            is_folder = os.path.isdir(path)  # noqa: PTH112
            # companions are read with the chats beside them
            paths = files_below(path, without=_companions()) if is_folder else [path]
        except FileRefused as error:
            yield name, error
            continue
        has_chats = False
        for file in paths:
            file_name = str(file) if is_folder else name
            for _, item in _file_items(file_name, reader.items(file)):
                # any other error is about chats that cannot be read, so the folder has some
                has_chats = has_chats or not isinstance(item, FormatUnknown)
                yield file_name, item
        if is_folder and not has_chats:
            message = f"{name} has no chats that lmchat can read."
            yield name, FileRefused(message, hint="`lmchat import --help` lists the formats.")


def error_about(file: str, error: LMChatError) -> LMChatError:
    """Return an error whose message begins with the name of a file."""
    message = f"{'stdin' if file == STDIN else file}: {error.message}"
    return type(error)(message, hint=error.hint, details=error.details)


def _file_items(file: str, items: ReadItems) -> Iterator[FileItem]:
    """Yield the items of a file with its name; the last one is its error, if there is one.

    Errors are items and not raised, so that the other files are still read.
    """
    try:
        for item in items:
            yield file, item
    except FileRefused as error:
        yield file, error_about(file, error)
    except OSError as error:
        reason, hint = error.strerror or str(error), "Check the path."
        if error.errno == errno.EFBIG:
            reason = f"it is larger than {LARGEST_BYTES // (1024 * 1024)} MB"
            hint = "Split it into smaller files."
        yield file, FileRefused(f"{file} cannot be read: {reason}.", hint=hint)
    # `UnicodeDecodeError`: SQLite may quote a damaged name of a column
    except (sqlite3.Error, UnicodeDecodeError) as error:
        hint = "Close the program that uses the file. If that does not help, the file is damaged."
        yield file, FileRefused(f"{file} cannot be read: {error}.", hint=hint)


class _FileReader:
    """Reader of files of one program, or of any.

    A program is named by its value of `--from`. A `Source` is a text that may have chats.
    """

    def __init__(self, moment: datetime, wanted_program: str) -> None:
        self._moment = moment
        self._wanted_program = wanted_program  # `AUTO` for any

    def items(self, content: Path | bytes) -> ReadItems:
        """Yield the sessions of a file that have messages, and what is left out.

        Raises `FileRefused`, `FormatUnknown` for a file without such a session, `OSError` or
        `sqlite3.Error`.
        """
        head = head_of(content)
        if head.startswith(ZIP_HEAD):
            items = self._zip_items(content)
        elif head.startswith(_SQLITE_HEAD) and isinstance(content, Path):
            items = self._database_items(content)
        else:  # also a database from a pipe, which SQLite cannot open: it is refused as a text
            items = self._text_items(text_source(content))

        has_messages = False
        reason = ""
        for item in items:
            if isinstance(item, ReadSession) and item.session.messages:
                has_messages = True
                yield item
                continue
            # a session without messages is not yielded itself
            skipped = item.skipped if isinstance(item, ReadSession) else (item,)
            for part in skipped:
                reason = reason or f" ({part.where}: {part.reason})"  # that of the first one
                yield part
        if not has_messages:
            message = f"It has no readable messages{reason}."
            hint = "Export the chats again; if you named a program with --from, leave it out."
            raise FormatUnknown(message, hint=hint)

    def _zip_items(self, content: Path | bytes) -> ReadItems:
        """Yield the chats of the texts in a zip file, and a `Skipped` for each that is refused.

        Texts in no format of chats, and those of another program, are passed over.
        """
        for source in zip_sources(content):
            if isinstance(source, Skipped):
                yield source
                continue
            try:
                yield from self._text_items(source)
            except FormatUnknown:
                continue
            except FileRefused as error:
                yield Skipped(where=source.name, reason=error.message.rstrip("."))

    def _database_items(self, path: Path) -> ReadItems:
        """Yield the chats of a database, in the first format that fits it.

        Raises `FormatUnknown` for a database of no program in `PROGRAMS`, or of another program
        than the user named. Raises `sqlite3.Error` for a damaged database.
        """
        known_versions: list[str] = []
        for program, file_format in _formats():
            if not isinstance(file_format, DatabaseFormat):
                continue
            known_versions.append(file_format.versions)
            if file_format.fits(path):
                self._require_wanted(program)
                for number, read in enumerate(file_format.read(path), 1):
                    yield self._session(read, program, number)
                return
        message = "It is a database, but not one that lmchat knows."
        hint = f"lmchat imports the database of {', '.join(known_versions)}."
        raise FormatUnknown(message, hint=hint)

    def _text_items(self, source: Source) -> ReadItems:
        """Yield the chats of a text, in the first format that fits one of its first objects.

        Yield a `Skipped` for each broken object and unreadable chat. Raises `FileRefused` for an
        empty or broken text, and `FormatUnknown` for one of no format, or of another program than
        the user named.
        """
        records = _records(source)
        first_records = list(islice(records, _PEEKED_RECORDS))
        objects = [record for record in first_records if not isinstance(record, Skipped)]
        fitting = [
            (program, file_format)
            for program, file_format in _formats()
            if isinstance(file_format, JsonFormat) and any(map(file_format.fits, objects))
        ]
        if not fitting:
            message = "It is JSON, but not a chat format that lmchat knows."
            raise FormatUnknown(message, hint=_FORMATS_HINT)
        program, file_format = fitting[0]
        self._require_wanted(program)

        # each chat is one record, or several in a row: the format says which begins the next chat
        chat: list[Record] = []
        number = 1  # of the chat
        for record in chain(first_records, records):
            if isinstance(record, Skipped):
                yield record
                continue
            if chat and file_format.begins_chat(record, chat):
                yield self._session(partial(file_format.read, chat, source), program, number)
                chat = []
                number += 1
            chat.append(record)
        if chat:
            yield self._session(partial(file_format.read, chat, source), program, number)

    def _session(
        self, read: Callable[[], FileChat], program: str, number: int
    ) -> ReadSession | Skipped:
        """Return the session that `read` makes of the chat with this number; `Skipped` on failure.

        A failure costs one chat: the caller continues with the next one.
        """
        try:
            # lmchat's own sessions need no tag
            return read().finish(self._moment, source="" if program == OWN else program)
        except FileRefused as error:
            return Skipped(where=f"chat {number}", reason=error.message.rstrip("."))
        except (*BAD_VALUE_ERRORS, sqlite3.Error):
            return Skipped(where=f"chat {number}", reason=_DAMAGED)

    def _require_wanted(self, program: str) -> None:
        """Raise `FormatUnknown` if a file of `program` was found, but the user named another."""
        wanted = self._wanted_program
        if wanted not in (AUTO, program):
            message = f"It has chats of {PROGRAM_NAMES[program]}, not of {PROGRAM_NAMES[wanted]}."
            raise FormatUnknown(message, hint=f"Import it with --from {program}.")


def _companions() -> set[str]:
    """Return the names of files that are read with the chat beside them, and are no chats."""
    json_formats = [form for _, form in _formats() if isinstance(form, JsonFormat)]
    return {name for form in json_formats for name in form.companions}


@cache
def _formats() -> Sequence[tuple[str, JsonFormat | DatabaseFormat]]:
    """Return the formats, each with its program before it, as a value of `--from`.

    If several fit a file, the first one is used. Their modules are imported here, and not when
    lmchat starts.
    """
    modules = [
        (OWN, "json_sessions"),
        *((program.source, f"imports.programs.{program.module}") for program in PROGRAMS),
        (OWN, "imports.message_list"),
    ]
    return [
        (source, import_module(f"lmchat.formats.{module}").FORMAT) for source, module in modules
    ]


def _records(source: Source) -> Iterator[Record | Skipped]:
    """Yield the objects of a JSON list or of JSON Lines, or a single object.

    A `Skipped` takes the place of a value that is broken or no object. If a text is no JSON as a
    whole, it is JSON Lines if its name says so, or if its first line is an object. Only one record
    is decoded at a time. Raises `FormatUnknown` for a text that is no JSON at all, and
    `FileRefused` for an empty one or broken JSON.
    """
    data = source.data
    begin = data.lstrip()[:1]
    if not begin:
        raise FileRefused("It is empty.", hint="Export the chats again.")
    # only JSON Lines, known by the name, may begin with a broken line
    if begin not in (b"[", b"{") and not source.has_lines:
        # lmchat's own Markdown exports begin with their title
        is_markdown = source.name.lower().endswith(".md") or data.startswith(b"# ")
        if is_markdown:
            message = "It is Markdown, which cannot be imported; export the session as JSON."
        else:
            message = "Its format cannot be imported."
        raise FormatUnknown(message, hint=_FORMATS_HINT)

    encoded: Iterable[tuple[str, Any]]  # "record 3" or "line 3", and the JSON of that object
    try:
        # `Raw` is JSON that is not decoded yet
        if begin == b"[":
            raw_values = msgspec.json.decode(data, type=list[msgspec.Raw])
        else:
            raw_values = [msgspec.json.decode(data, type=msgspec.Raw)]
        encoded = ((f"record {number}", raw) for number, raw in enumerate(raw_values, 1))
    except (msgspec.DecodeError, RecursionError) as error:
        if not (source.has_lines or _is_object(data.lstrip().partition(b"\n")[0])):
            message = f"It is not valid JSON: {str(error)[:100]}."
            raise FileRefused(message, hint="Export it again.") from error
        lines = enumerate(BytesIO(data), 1)
        encoded = ((f"line {number}", line) for number, line in lines if not line.isspace())

    for where, value_json in encoded:
        try:
            # msgspec would refuse half of a surrogate pair, as cut texts have it
            record = json.loads(bytes(value_json))
        except (ValueError, RecursionError):
            record = None
        yield record if isinstance(record, dict) else Skipped(where=where, reason=_DAMAGED)


def _is_object(line: bytes) -> bool:
    """Return whether a line is a whole JSON object; the values in it are not decoded."""
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
