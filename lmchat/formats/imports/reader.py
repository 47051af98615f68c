"""Import of chats from files in any format: `read_chats` is the entrance.

The format of a file is found by its first bytes, or by the first records of a text. If a record
cannot be read, only that record is lost. Nothing is stored here.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from io import BytesIO, StringIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, TextIO

from msgspec.structs import replace

from lmchat.errors import FileRefused, FormatUnknown, LMChatError
from lmchat.files.disk import open_plain
from lmchat.formats.imports.foreign_chat import Format
from lmchat.formats.imports.programs import AUTO, OWN, PROGRAM_NAMES, PROGRAMS
from lmchat.formats.imports.source import ZIP_HEAD, Source, file_source, zip_sources
from lmchat.formats.imports.values import BAD_VALUE_ERRORS, Record, whole_text
from lmchat.sessions.session import Session, Skipped

STDIN = "-"  # in place of a file
LARGEST_RECORD = 256 * 1024 * 1024  # characters of a chat in JSON
_FORMATS_HINT = (
    "lmchat imports its own JSON exports, JSON lists of {role, content}, "
    f"and chats of {', '.join(program.name for program in PROGRAMS)}."
)
# In the order of comparison: the program as in `--from`, and the module, imported when needed.
_FORMATS = (
    (OWN, "json_sessions"),
    *((row.source, f"imports.programs.{row.module}") for row in PROGRAMS if row.module != "llm"),
    (OWN, "imports.message_list"),
)
_SQLITE_HEAD = b"SQLite format 3\0"
_LINES_ENDINGS = (".jsonl", ".ndjson")
_PEEKED_RECORDS = 20  # to find out the format; some may be broken
_DAMAGED = "it is damaged"
_LONGEST_TOKEN = 16  # characters, but for strings and numbers
_CHUNK = 1 << 20  # characters, read at once
_GAP = re.compile(r"[, \t\r\n]*")  # between values
# brackets, and strings, which may have some; one without an end goes to the end of the text
_MARK = re.compile(r'[{}\[\]]|"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_DEPTHS = {"{": 1, "[": 1, "}": -1, "]": -1}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _number(digits: str) -> float:
    """Return infinity for more digits than Python converts (4,300)."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


_DECODER = json.JSONDecoder(parse_int=_number)


def read_chats(
    name: str, content: Path | bytes, *, now: datetime, wanted: str = AUTO
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
            for found in _chats(file, path, now, wanted):
                if isinstance(found, Session) and found.messages:
                    has_messages = True
                    yield found
                    continue
                for part in found.skipped if isinstance(found, Session) else [found]:
                    reason = reason or f" ({part.where}: {part.reason})"  # of the first one
                    yield part
            if not has_messages:
                message = f"It has no readable messages{reason}."
                hint = "Export the chats again; if you named a program with --from, leave it out."
                raise FormatUnknown(message, hint=hint)
    except FileRefused as error:
        raise error_about(name, error) from error
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror or error}."
        raise FileRefused(message, hint="Check the path.") from error
    # SQLite may quote a damaged name of a column
    except (sqlite3.Error, UnicodeDecodeError) as error:
        hint = "Close the program that uses the file. If that does not help, the file is damaged."
        raise FileRefused(f"{name} cannot be read: {error}.", hint=hint) from error


def error_about(file: str, error: LMChatError) -> LMChatError:
    message = f"{'stdin' if file == STDIN else file}: {error.message}"
    return type(error)(message, hint=error.hint, details=error.details)


def _chats(
    file: IO[bytes], path: Path | None, now: datetime, wanted: str
) -> Iterator[Session | Skipped]:
    """Raises what `read_chats` handles."""
    head = file.read(len(_SQLITE_HEAD))
    file.seek(0)
    if head.startswith(ZIP_HEAD):
        for member, source in zip_sources(file):
            try:
                for found in _text_chats(source, now, wanted):
                    if isinstance(found, Session):
                        yield found
                    else:
                        yield replace(found, where=f"{member}, {found.where}")
            except FormatUnknown:
                continue
            except FileRefused as error:
                yield Skipped(where=member, reason=error.message.rstrip("."))
    elif path is None:  # also a database, which SQLite cannot open: it is refused as a text
        yield from _text_chats(Source("", file), now, wanted)
    elif head != _SQLITE_HEAD:
        yield from _text_chats(file_source(path, file), now, wanted)
    else:
        llm = import_module("lmchat.formats.imports.programs.llm")
        if not llm.fits(path):
            message = "It is a database, but not one that lmchat knows."
            raise FormatUnknown(message, hint=f"lmchat imports the database of {llm.VERSIONS}.")
        _require("llm", wanted)
        yield from llm.sessions(path, now)


def _text_chats(source: Source, now: datetime, wanted: str) -> Iterator[Session | Skipped]:
    """Find the format by the first records.

    Raises `FileRefused` for a broken text, and `FormatUnknown` for one that is empty, of no format,
    or of another program than `wanted`.
    """
    records = _records(source)
    first_records: list[Record | Skipped] = []
    for record in islice(records, _PEEKED_RECORDS):
        first_records.append(record)
        if isinstance(record, dict) and (found := _format_of(record)):
            program, text_format = found
            break
    else:
        message = "It is JSON, but not a chat format that lmchat knows."
        raise FormatUnknown(message, hint=_FORMATS_HINT)
    _require(program, wanted)
    yield from _sessions(chain(first_records, records), text_format, source, now)


def _sessions(
    records: Iterator[Record | Skipped], text_format: Format, source: Source, now: datetime
) -> Iterator[Session | Skipped]:
    """Yield a session of each chat in the records; a damaged one costs itself only."""
    chat: list[Record] = []
    number = 0
    for record in chain(records, [None]):
        if isinstance(record, Skipped):
            yield record
            continue
        if chat and (record is None or not text_format.continues(record, chat)):
            number += 1
            try:
                yield text_format.session(chat, source, now)
            except FileRefused as error:
                yield Skipped(where=f"chat {number}", reason=error.message.rstrip("."))
            except BAD_VALUE_ERRORS:
                yield Skipped(where=f"chat {number}", reason=_DAMAGED)
            chat = []
        if record is not None:
            chat.append(record)


def _format_of(record: Record) -> tuple[str, Format] | None:
    """Return the first format that fits, with its program as in `--from`."""
    for program, module in _FORMATS:
        text_format: Format = import_module(f"lmchat.formats.{module}").FORMAT
        if text_format.fits(record):
            return program, text_format
    return None


def _require(program: str, wanted: str) -> None:
    if wanted not in (AUTO, program):
        message = f"It has chats of {PROGRAM_NAMES[program]}, not of {PROGRAM_NAMES[wanted]}."
        raise FormatUnknown(message, hint=f"Import it with --from {program}.")


def _records(source: Source) -> Iterator[Record | Skipped]:
    """Yield the objects of a JSON list or of JSON Lines, or a single object.

    A `Skipped` takes the place of a value that is broken or no object. Only one value is in memory
    at a time. Raises `FormatUnknown` if it is empty or no JSON at all, `FileRefused` if it begins
    with broken JSON.
    """
    is_empty = True
    with source.open_text() as text:
        is_list = text.read(1) == "["
        text.seek(0)
        if source.name.lower().endswith(_LINES_ENDINGS) and not is_list:
            values = _lines(iter(lambda: text.readline(LARGEST_RECORD), ""), "line")
        else:
            values = _values(text)
        for where, value in values:
            is_empty = False
            yield value if isinstance(value, dict) else Skipped(where=where, reason=_DAMAGED)
    if is_empty:
        raise FormatUnknown("It is empty.", hint="Export the chats again.")


def _lines(lines: Iterable[str], unit: str, first: int = 1) -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of each line; None for a broken one."""
    for number, line in enumerate(map(str.strip, lines), first):
        if line:
            value = None
            with suppress(ValueError, RecursionError):
                value, end = _value_at(line, 0)
                value = value if end == len(line) else None
            yield f"{unit} {number}", value


def _values(text: TextIO) -> Iterator[tuple[str, Any]]:
    """Yield the place and value of each item of a list, or of values in a row; None for broken.

    A list continues behind a broken object if its brackets soon tell its end. Values in a row are
    then read by lines, since they may be JSON Lines without a name that says so.
    """
    begun = ""
    while not begun and (more := text.read(_CHUNK)):
        begun = more.lstrip()
    if begun.startswith("\0"):
        message = "It is damaged: it begins with NULs, as after a crash."
        raise FileRefused(message, hint="Take it from a backup.")
    if begun and begun[0] not in "[{":
        # lmchat's own exports begin with their title
        is_markdown = begun.startswith("# ")
        message = "It is Markdown, which cannot be imported; export the session as JSON."
        raise FormatUnknown(
            message if is_markdown else "Its format cannot be imported.", hint=_FORMATS_HINT
        )
    is_list = begun.startswith("[")
    begun = begun.removeprefix("[")
    place, number = 0, 1
    while True:
        if gap := _GAP.match(begun, place):  # always, as a gap may be empty
            place = gap.end()
        if is_list and begun.startswith("]", place):
            return
        try:
            value, place = _value_at(begun, place)
        except (ValueError, RecursionError) as error:
            is_broken = (
                isinstance(error, json.JSONDecodeError)
                and error.pos < len(begun) - _LONGEST_TOKEN
                and not error.msg.startswith("Unterminated string")
            )
            begun, place = begun[place:], 0
            if len(begun) > LARGEST_RECORD:
                message = f"It is larger than {LARGEST_RECORD // (1024 * 1024)} MB."
                raise FileRefused(message, hint="Export fewer chats at once.") from error
            more_chars = min(max(_CHUNK, len(begun)), LARGEST_RECORD + 1 - len(begun))
            if not is_broken and (more := text.read(more_chars)):  # it may only be cut off
                begun += more
                continue
            if not begun and not is_list:  # the end
                return
            if is_list and is_broken:
                if len(begun) < _CHUNK:
                    begun += text.read(_CHUNK)
                if place := _end_of_broken(begun):
                    yield f"record {number}", None
                    number += 1
                    continue
            if number == 1:
                message = "It is not valid JSON: it is cut off or damaged."
                raise FileRefused(message, hint="Export it again.", details=str(error)) from error
            if is_list:
                yield f"record {number}, and all behind it", None
                return
            yield from _lines(chain(StringIO(begun + text.readline()), text), "record", number)
            return
        yield f"record {number}", value
        number += 1


def _end_of_broken(text: str) -> int:
    """Return where the broken object at the beginning ends, if another one follows it; else 0."""
    depth = 0
    for mark in _MARK.finditer(text) if text.startswith("{") else ():
        depth += _DEPTHS.get(mark[0], 0)
        if not depth:
            gap = _GAP.match(text, mark.end())
            return mark.end() if gap and text.startswith("{", gap.end()) else 0
    return 0


def _value_at(text: str, place: int) -> tuple[Any, int]:
    """Return a JSON value at a place in a text, and its end.

    Halves of surrogate pairs, as cut texts have them, become U+FFFD. Raises `ValueError` or
    `RecursionError`.
    """
    value, end = _DECODER.raw_decode(text, place)
    if _SURROGATE.search(text, place, end):
        value = _without_halves(value)
    return value, end


def _without_halves(value: Any) -> Any:
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(item) for key, item in value.items()}
    return value
