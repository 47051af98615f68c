"""Import of a file in any format."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from io import BytesIO, StringIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from msgspec.structs import replace

from lmchat.domain.session import Session, Skipped
from lmchat.errors import FileRefused, FormatUnknown
from lmchat.formats import chatgpt, elia, jan, llama_cpp, llm_logs, lm_studio, open_webui, oterm, parllama
from lmchat.formats.checks import WRONG, Content, Reading, sound
from lmchat.formats.json_format import from_json, is_export
from lmchat.formats.markdown_read import from_markdown, is_markdown
from lmchat.formats.message_list import from_list, is_list
from lmchat.formats.sources import (
    BROKEN_ZIP,
    SQLITE,
    ZIP,
    Source,
    Tables,
    bytes_source,
    database,
    elements,
    file_source,
    head_of,
    tables_of,
    zipped,
)

Chats = Generator[Session | Skipped, None, None]
AUTO = "auto"


class _Format(NamedTuple):
    """Text format that can be imported."""

    source: str  # name for `--from`
    name: str
    fits: Callable[[Content], bool]
    read: Callable[[Content], Iterator[Session | Skipped]]
    is_foreign: bool = True
    """Whether it is another program's, of which a damaged chat costs itself only."""


class _Database(NamedTuple):
    """SQLite database that can be imported."""

    source: str
    name: str
    fits: Callable[[Tables], bool]
    read: Callable[[sqlite3.Connection, datetime], Iterator[Session | Skipped]]


def _whole(read: Callable[[Content], Reading], content: Content) -> Chats:
    found = read(content)
    yield from found.skipped
    yield from found.sessions


_OWN = "lmchat"
_FORMATS = (
    _Format(_OWN, "its own JSON exports", is_export, partial(_whole, from_json), is_foreign=False),
    _Format(lm_studio.SOURCE, "conversations of LM Studio", lm_studio.fits, lm_studio.read),
    _Format(chatgpt.SOURCE, "data exports of ChatGPT", chatgpt.fits, chatgpt.read),
    _Format(llama_cpp.SOURCE, "exports of llama.cpp's web UI", llama_cpp.fits, llama_cpp.read),
    _Format(open_webui.SOURCE, "exports of Open WebUI", open_webui.fits, open_webui.read),
    _Format(jan.SOURCE, "threads of Jan", jan.fits, jan.read),
    _Format(parllama.SOURCE, "chats of parllama", parllama.fits, parllama.read),
    _Format(_OWN, "JSON lists of {role, content}", is_list, partial(_whole, from_list), is_foreign=False),
    _Format(_OWN, "its own Markdown exports", is_markdown, partial(_whole, from_markdown), is_foreign=False),
)
"""The first that fits is used."""
_DATABASES = (
    _Database(open_webui.SOURCE, "Open WebUI", open_webui.fits_database, open_webui.read_database),
    _Database(elia.SOURCE, "elia", elia.fits, elia.read),
    _Database(oterm.SOURCE, "oterm", oterm.fits, oterm.read),
    _Database(llm_logs.SOURCE, "llm", llm_logs.fits, llm_logs.read),
)
SOURCES = tuple(dict.fromkeys([one.source for one in _FORMATS] + [one.source for one in _DATABASES]))
_TEXTS = (".json", ".jsonl", ".md", ".markdown")
BESIDE = (jan.THREAD,)  # names of files that are read with the one beside them
ENDINGS = (*_TEXTS, ".zip", ".db", ".sqlite", ".sqlite3")
_NO_JSON = (ValueError, RecursionError)
_ENDLESS = "It is not readable JSON."
_PEEKED = 20  # values of a list that are looked at, since the first ones may be broken


class Reader:
    """Reader of files in one format, or in any."""

    def __init__(self, moment: datetime, source: str = AUTO) -> None:
        self._moment = moment
        self._formats = [one for one in _FORMATS if source in (AUTO, one.source)]
        self._databases = [one for one in _DATABASES if source in (AUTO, one.source)]
        names = [one.name for one in self._formats]
        names += [f"databases of {', '.join(one.name for one in self._databases)}"] if self._databases else []
        self._wanted = f"lmchat imports {', '.join(names)}." if source == AUTO else "Choose another format."

    def file(self, path: Path) -> Chats:
        """Yield the chats of a file one at a time; raises `FileRefused` or `OSError`."""
        head = head_of(path)
        if head.startswith(SQLITE):
            yield from self._checked(self._database(path))
        else:
            yield from (
                self._zip(path) if head.startswith(ZIP) else self._checked(self._text(file_source(path)))
            )

    def data(self, data: bytes) -> Chats:
        """Yield the chats of what was read from a pipe; raises `FileRefused`."""
        if data.startswith(ZIP):
            return self._zip(BytesIO(data))
        return self._checked(self._text(bytes_source(data)))

    def _checked(self, chats: Chats) -> Chats:
        """Pass on what has messages; refuse a file of which nothing has."""
        skipped: list[Skipped] = []
        is_read = False
        for one in chats:
            if isinstance(one, Skipped):
                skipped.append(one)
            elif one.messages:
                is_read = True
                yield from skipped
                skipped.clear()
                yield one
        if is_read:
            yield from skipped
        else:
            raise self._nothing(FileRefused if skipped else FormatUnknown, skipped)

    def _nothing(self, kind: type[FileRefused], skipped: list[Skipped]) -> FileRefused:
        why = "".join(f" ({one.where}: {one.reason})" for one in skipped[:1])
        return kind(f"It has no readable messages{why}.", hint=self._wanted)

    def _zip(self, file: Path | IO[bytes]) -> Chats:
        is_read = False
        with zipped(file) as members:
            for member in members:
                try:
                    for one in (
                        self._checked(self._text(member)) if member.name.lower().endswith(_TEXTS) else ()
                    ):
                        is_read = is_read or isinstance(one, Session)
                        yield one
                except FormatUnknown:
                    continue
                except (FileRefused, *BROKEN_ZIP) as error:
                    words = error.message if isinstance(error, FileRefused) else "it is damaged"
                    yield Skipped(where=member.name, reason=words.rstrip("."))
        if not is_read:
            raise FormatUnknown("It has no chats that lmchat can read.", hint=self._wanted)

    def _database(self, path: Path) -> Chats:
        with database(path) as connection:
            tables = tables_of(connection)
            form = next((one for one in self._databases if one.fits(tables)), None)
            if form is None:
                raise FormatUnknown("It is a database, but not one that lmchat knows.", hint=self._wanted)
            yield from map(self._sound, form.read(connection, self._moment))

    def _text(self, source: Source) -> Chats:
        """Yield each chat of a list, or the one chat of anything else."""
        with source.open() as stream:
            values = elements(stream, source.limit)
            begun: list[Any] = []
            try:
                begun.extend(islice(values, _PEEKED))
            except _NO_JSON as error:
                values = _failing(error)
            contents = [self._content(value, source) for value in begun]
            foreign = [one for one in self._formats if one.is_foreign]
            form = next((one for one in foreign if any(map(one.fits, contents))), None)
            if form is not None:
                yield from self._each(form, chain(begun, values), source)
                return
        del values, begun, contents  # the whole is decoded again
        whole = _decoded(source.content())
        text = whole.lstrip()
        if not text:
            raise FileRefused("It is empty.", hint=self._wanted)
        is_json = text[0] in "{["
        lines = _lines(whole) if is_json else None
        value = lines or (_json(whole) if is_json else None)
        content = replace(self._content(value, source), text=text)
        form = next(
            (one for one in self._formats if one.is_foreign >= bool(lines) and one.fits(content)), None
        )
        if form is None and is_json:
            raise FormatUnknown("It is JSON, but not a chat format that lmchat knows.", hint=self._wanted)
        if form is None:
            raise FormatUnknown("Its format cannot be imported.", hint=self._wanted)
        if form.is_foreign:
            yield from self._each(form, [value], source)
            return
        try:
            found = list(form.read(content))
        except RecursionError as error:
            raise FileRefused(_ENDLESS, hint=self._wanted) from error
        if not any(isinstance(one, Session) and one.messages for one in found):
            raise self._nothing(FormatUnknown, [one for one in found if isinstance(one, Skipped)])
        for one in found:
            yield sound(one, moment=self._moment) if isinstance(one, Session) else one

    def _each(self, form: _Format, values: Iterable[Any], source: Source) -> Chats:
        number = 0
        try:
            for number, value in enumerate(values, 1):
                content, where = self._content(value, source), f"chat {number}"
                try:
                    if form.fits(content):
                        yield from map(self._sound, form.read(content))
                    else:
                        yield Skipped(where=where, reason="it is not like the others")
                except WRONG:
                    yield Skipped(where=where, reason="it is damaged")
        except _NO_JSON:
            reason = f"the file is damaged, or the next chat is larger than {source.limit >> 20} MB"
            yield Skipped(where=f"after chat {number}", reason=reason)

    def _content(self, value: Any, source: Source) -> Content:
        def beside(name: str) -> Any:
            text = source.beside(name).decode(errors="replace")
            try:
                return _lines(text) or json.loads(text)
            except _NO_JSON:
                return None

        return Content(value=value, moment=self._moment, name=source.name.rpartition("/")[2], beside=beside)

    def _sound(self, one: Session | Skipped) -> Session | Skipped:
        if isinstance(one, Skipped):
            return one
        try:
            return sound(one, moment=self._moment)
        except FileRefused as error:
            return Skipped(where=f"“{one.header.title}”", reason=error.message.rstrip("."))


def _failing(error: Exception) -> Iterator[Any]:
    raise error
    yield


def _lines(text: str) -> list[Any] | None:
    """Return the values of JSON Lines, None for a broken one; None for other texts."""
    first, _, rest = text.lstrip("\ufeff").strip().partition("\n")
    values: list[Any] = []
    for line in chain([first], StringIO(rest, newline="\n")) if rest and first.rstrip().endswith("}") else ():
        value = None
        with suppress(*_NO_JSON):
            value = json.loads(line)
        values.append(value if isinstance(value, dict) else None)
    return values if values and values[0] is not None else None


def _decoded(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark as Windows shells write it; raises `FileRefused`."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding, name = "utf-16", "UTF-16"
    else:
        encoding, name = "utf-8-sig", "UTF-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileRefused(f"Line {line} is not {name} text.", hint="Save the file as UTF-8.") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileRefused(
            f"Invalid JSON at line {error.lineno}, column {error.colno}.",
            hint="Export it again.",
            details=error.msg,
        ) from error
    except (ValueError, RecursionError) as error:  # a number with too many digits; brackets without end
        raise FileRefused(_ENDLESS, hint="Export it again.", details=repr(error)) from error
