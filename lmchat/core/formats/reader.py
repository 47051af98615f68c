"""Import of chats from files in any format: `read_chats` is the entrance.

The format of a file is found by its first bytes, or by the first records of a text. A damaged chat
or line costs itself only; broken JSON ends the import of its file. Nothing is stored here.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from importlib import import_module
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, TextIO

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import FileRefused, FormatUnknown, LMChatError
from lmchat.base.files.disk import open_plain, unreadable
from lmchat.base.json_values import utf8_safe
from lmchat.core.formats.programs import AUTO, OWN, Program, program_names
from lmchat.core.formats.reading import (
    BAD_VALUE_ERRORS,
    BROKEN_ZIP,
    PACKED,
    ZIP_HEAD,
    Format,
    Record,
    Source,
    files_beside,
    zip_sources,
)
from lmchat.core.sessions.session import Session, Skipped

STDIN = "-"  # in place of a file
LARGEST_RECORD = 256 * 1024 * 1024  # characters of a chat in JSON
_OWN_MODULE = "lmchat.core.formats.json_sessions"
# of gzip, bzip2, xz, 7-Zip, RAR and Zstandard
_PACKED_HEADS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"(\xb5/\xfd")
_SQLITE_HEAD = b"SQLite format 3\0"
_LINES_ENDINGS = (".jsonl", ".ndjson")
_PEEKED_RECORDS = 20  # to find out the format; some may be broken
_DAMAGED = "it is damaged"
_NOT_UTF8 = "it is not UTF-8"
_LONGEST_TOKEN = 16  # characters, but for strings and numbers
_LONGEST_INTEGER = 20  # digits; shorter ones have 64 bits at most
_CHUNK = 1 << 20  # characters, read at once
_GAP = re.compile(r"[, \t\r\n]*+")  # between values
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_WRONG_BYTE = re.compile("[\udc80-\udcff]")  # as `Source.open_text` has it


def _number(digits: str) -> float:
    """Return a float, perhaps infinity, for a number of more than 64 bits."""
    return int(digits) if len(digits) < _LONGEST_INTEGER else float(digits)


_DECODER = json.JSONDecoder(parse_int=_number)


class _Formats(Struct, frozen=True):
    """lmchat's own format, those of other programs, and the value of `--from`."""

    programs: Sequence[Program]
    wanted: str

    def of(self, record: Record) -> Format | None:
        """Return the first that fits; raise `FormatUnknown` if another one is wanted."""
        texts = (program for program in self.programs if not program.is_database)
        for program in (Program(OWN, OWN, _OWN_MODULE), *texts):
            text_format: Format = import_module(program.module).FORMAT
            if text_format.fits(record):
                self.require(program.source)
                return text_format
        return None

    def require(self, source: str) -> None:
        if self.wanted not in (AUTO, source):
            names = program_names(self.programs)
            raise FormatUnknown(
                f"It has chats of {names[source]}, not of {names[self.wanted]}.",
                next_step=f"Import it with --from {source}.",
            )

    @property
    def step(self) -> str:
        """Next step after a file of another format."""
        names = [name for name in program_names(self.programs).values() if name != OWN]
        others = f", JSON lists of {{role, content}}, and chats of {', '.join(names)}"
        return f"lmchat imports its own JSON exports{others if names else ''}."


def read_chats(
    name: str,
    content: Path | bytes,
    *,
    now: datetime,
    wanted: str = AUTO,
    programs: Sequence[Program] = (),
) -> Iterator[Session | Skipped]:
    """Yield the sessions of a file that have messages, and what cannot be read. Blocks.

    `content` is the file, or what came from a pipe; `wanted` a value of `--from`. Raises
    `FileRefused`, and `FormatUnknown` for a file without such a session; both name the file by
    `name`.
    """
    try:
        with BytesIO(content) if isinstance(content, bytes) else open_plain(content) as file:
            path = content if isinstance(content, Path) else None
            has_messages = False
            reason = ""
            for found in _chats(file, path, now, _Formats(programs, wanted)):
                if isinstance(found, Session) and found.messages:
                    has_messages = True
                    yield found
                    continue
                for part in found.skipped if isinstance(found, Session) else [found]:
                    reason = reason or f" ({part.where}: {part.reason})"  # of the first one
                    yield part
            if not has_messages:
                raise FormatUnknown(
                    f"It has no readable messages{reason}.",
                    next_step="Export the chats again; if you named a program with --from, "
                    "leave it out.",
                )
    except FileRefused as error:
        raise error_about(name, error) from error
    except OSError as error:
        raise unreadable(name, error) from error
    # SQLite may quote a damaged name of a column
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise FileRefused(
            f"{name} cannot be read: {error}.",
            next_step="Close the program that uses the file. If that does not help, the file is "
            "damaged.",
        ) from error


def error_about(file: str, error: LMChatError) -> LMChatError:
    return type(error)(
        f"{'stdin' if file == STDIN else file}: {error.message}",
        next_step=error.next_step,
        details=error.details,
    )


def _chats(
    file: IO[bytes], path: Path | None, now: datetime, formats: _Formats
) -> Iterator[Session | Skipped]:
    """Raises what `read_chats` handles."""
    head = file.read(len(_SQLITE_HEAD))
    file.seek(0)
    if head.startswith(ZIP_HEAD):
        for member, source in zip_sources(file):
            if member.lower().endswith(PACKED):
                yield Skipped(
                    where=member, reason="it is packed: unpack it, and import what is in it"
                )
                continue
            try:
                for found in _text_chats(source, now, formats):
                    if isinstance(found, Session):
                        yield found
                    else:
                        yield replace(found, where=f"{member}, {found.where}")
            except FormatUnknown:
                continue
            except FileRefused as error:
                yield Skipped(where=member, reason=error.message.rstrip("."))
            except BROKEN_ZIP:
                yield Skipped(where=member, reason=_DAMAGED)
    elif head.startswith(_PACKED_HEADS):
        raise FormatUnknown("It is packed.", next_step="Unpack it, and import that.")
    elif path is None:  # also a database, which SQLite cannot open: it is refused as a text
        yield from _text_chats(Source("", file), now, formats)
    elif head != _SQLITE_HEAD:
        source = Source(path.as_posix(), file, partial(files_beside, path))
        yield from _text_chats(source, now, formats)
    else:
        step = formats.step
        for program in formats.programs:
            if program.is_database:
                database = import_module(program.module)
                if database.fits(path):
                    formats.require(program.source)
                    yield from database.sessions(path, now)
                    return
                step = f"lmchat imports the database of {database.VERSIONS}."
        raise FormatUnknown("It is a database, but not one that lmchat knows.", next_step=step)


def _text_chats(source: Source, now: datetime, formats: _Formats) -> Iterator[Session | Skipped]:
    """Find the format by the first records, and yield a session of each chat.

    Raises `FileRefused` for a broken text, and `FormatUnknown` for one that is empty, of no format,
    or of another program than `wanted`. A damaged chat costs itself only.
    """
    records = _records(source, formats.step)
    first_records: list[Record | Skipped] = []
    for record in islice(records, _PEEKED_RECORDS):
        if isinstance(record, FileRefused):
            raise record
        first_records.append(record)
        if isinstance(record, dict) and (text_format := formats.of(record)):
            break
    else:
        message = "It has no chat in a format that lmchat knows."
        if _NOT_UTF8 in (record.reason for record in first_records if isinstance(record, Skipped)):
            raise FormatUnknown(
                "Its text is not UTF-8.", next_step="Save it as UTF-8, and try again."
            )
        raise FormatUnknown(message, next_step=formats.step)
    chat: list[Record] = []
    number = 0
    for item in chain(first_records, records, [None]):
        if isinstance(item, Skipped):
            yield item
            continue
        if chat and not (isinstance(item, dict) and text_format.continues(item, chat)):
            number += 1
            try:
                yield text_format.session(chat, source, now)
            except FileRefused as error:
                yield Skipped(where=f"chat {number}", reason=error.message.rstrip("."))
            except BAD_VALUE_ERRORS:
                yield Skipped(where=f"chat {number}", reason=_DAMAGED)
            chat = []
        if isinstance(item, FileRefused):
            raise item
        if item is not None:
            chat.append(item)


def _records(source: Source, step: str) -> Iterator[Record | Skipped | FileRefused]:
    """Yield the objects of a JSON list or of JSON Lines, or a single object.

    A `Skipped` takes the place of a value that is no object, or of a broken line. An error is the
    last one: nothing behind it can be read. Only one value is in memory at a time. Raises
    `FormatUnknown` if the text is empty, or with `step` if it is no JSON at all.
    """
    is_empty = True
    with source.open_text() as text:
        is_list = text.read(1) == "["
        text.seek(0)
        is_by_line = source.name.lower().endswith(_LINES_ENDINGS)
        if not (is_list or source.name):  # a pipe has no name, but its first line is whole
            is_by_line = any(value is not None for _, value in islice(_lines(text), 1))
            text.seek(0)
        for where, value in _lines(text) if is_by_line and not is_list else _values(text, step):
            is_empty = False
            if isinstance(value, dict | FileRefused):
                yield value
            else:
                yield Skipped(where=where, reason=value if value is _NOT_UTF8 else _DAMAGED)
    if is_empty:
        raise FormatUnknown("It is empty.", next_step="Export the chats again.")


def _lines(text: TextIO) -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of each line; None for a broken one."""
    for number, line in enumerate(iter(lambda: text.readline(LARGEST_RECORD), ""), 1):
        if line := line.strip():
            value = None
            with suppress(ValueError, RecursionError):
                value, end = _value_at(line, 0)
                value = value if end == len(line) else None
            yield f"line {number}", value


def _values(text: TextIO, step: str) -> Iterator[tuple[str, Any]]:
    """Yield the place and value of each item of a list, or of values in a row.

    The last value may be a `FileRefused`: where the next one starts is not known.
    """
    unread = ""
    while not unread and (more := text.read(_CHUNK)):
        unread = more.lstrip()
    if unread.startswith("\0"):
        raise FileRefused(
            "It is damaged: it begins with NULs, as after a crash.",
            next_step="Take it from a backup.",
        )
    if unread and unread[0] not in "[{":
        # lmchat's own exports start with their title
        is_markdown = unread.startswith("# ")
        message = "It is Markdown, which cannot be imported; export the session as JSON."
        raise FormatUnknown(
            message if is_markdown else "Its format cannot be imported.", next_step=step
        )
    is_list = unread.startswith("[")
    unread = unread.removeprefix("[")
    position = 0
    number = 1
    while True:
        if gap := _GAP.match(unread, position):  # always, as a gap may be empty
            position = gap.end()
        if is_list and unread.startswith("]", position):
            return
        try:
            value, position = _value_at(unread, position)
        except (ValueError, RecursionError) as error:
            # a value that goes on behind the text has its fault at the end, or in an open string
            is_cut = isinstance(error, json.JSONDecodeError) and (
                error.pos >= len(unread) - _LONGEST_TOKEN
                or error.msg.startswith("Unterminated string")
            )
            unread = unread[position:]
            position = 0
            more_chars = min(max(_CHUNK, len(unread)), LARGEST_RECORD + 1 - len(unread))
            if is_cut and (more := text.read(more_chars)):
                unread += more
                continue
            if unread or is_list:  # else it is the end
                message = f"Record {number} is damaged: nothing from there on is imported."
                next_step = "Export the chats again."
                if len(unread) > LARGEST_RECORD:
                    message = f"It is larger than {LARGEST_RECORD // (1024 * 1024)} MB."
                    next_step = "Export fewer chats at once."
                elif number == 1:
                    message = "It is not valid JSON: it is cut off or damaged."
                yield "", FileRefused(message, next_step=next_step, details=str(error))
            return
        yield f"record {number}", value
        number += 1


def _value_at(text: str, position: int) -> tuple[Any, int]:
    """Return the JSON value at a position, and its end; `_NOT_UTF8` for one with other bytes.

    Halves of surrogate pairs, as cut texts have them, become U+FFFD. Raises `ValueError` or
    `RecursionError`.
    """
    value, end = _DECODER.raw_decode(text, position)
    if _WRONG_BYTE.search(text, position, end):
        return _NOT_UTF8, end
    if _SURROGATE.search(text, position, end):
        value = utf8_safe(value)
    return value, end
