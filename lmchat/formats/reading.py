"""Import of a file in any format."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZipFile

from msgspec.structs import replace

from lmchat.domain.session import Session, Skipped
from lmchat.errors import FileRefused, FormatUnknown
from lmchat.files import image_type
from lmchat.formats import (
    chatgpt,
    elia,
    jan,
    llama_cpp,
    llm_logs,
    llm_responses,
    lm_studio,
    open_webui,
    oterm,
    parllama,
)
from lmchat.formats.checks import MOST_NAMED, WRONG, sound
from lmchat.formats.foreign import ForeignChat
from lmchat.formats.json_format import from_json
from lmchat.formats.markdown_read import from_markdown
from lmchat.formats.message_list import from_list, is_list
from lmchat.formats.sources import (
    BROKEN_ZIP,
    SQLITE,
    ZIP,
    Source,
    database,
    file_source,
    head_of,
    member_source,
)
from lmchat.images import checked
from lmchat.text import plural

Chats = Generator[Session | Skipped, None, None]
AUTO = "auto"


class _Format(NamedTuple):
    """JSON, or an SQLite database, of another program."""

    source: str  # name for `--from`
    name: str
    fits: Callable[[Any], bool]
    read: Callable[..., Iterator[Any]]
    is_whole: bool = False  # whether it reads all values of a file at once


_FORMATS = (
    _Format(lm_studio.SOURCE, "LM Studio", lm_studio.fits, lm_studio.read),
    _Format(chatgpt.SOURCE, "ChatGPT", chatgpt.fits, chatgpt.read),
    _Format(llama_cpp.SOURCE, "llama.cpp's web UI", llama_cpp.fits, llama_cpp.read, is_whole=True),
    _Format(llama_cpp.SOURCE, "llama.cpp's web UI", llama_cpp.fits_older, llama_cpp.read_older),
    _Format(open_webui.SOURCE, "Open WebUI", open_webui.fits, open_webui.read),
    _Format(jan.SOURCE, "Jan", jan.fits, jan.read, is_whole=True),
    _Format(parllama.SOURCE, "parllama", parllama.fits, parllama.read),
)
"""The first that fits is used."""
_DATABASES = (
    _Format(open_webui.SOURCE, "Open WebUI", open_webui.fits_database, open_webui.read_database),
    _Format(elia.SOURCE, "elia", elia.fits, elia.read),
    _Format(oterm.SOURCE, "oterm", oterm.fits, oterm.read),
    _Format(llm_responses.SOURCE, "llm", llm_logs.fits, llm_logs.read),
)
_OWN = "lmchat"
PROGRAMS = {_OWN: _OWN} | {one.source: one.name for one in (*_FORMATS, *_DATABASES)}
"""Names of programs by those for `--from`."""
_WANTED = (
    f"lmchat imports its own JSON and Markdown exports, JSON lists of {{role, content}}, and chats of "
    f"{', '.join(list(PROGRAMS.values())[1:])}."
)
_TEXTS = (".json", ".jsonl", ".md", ".markdown")
BESIDE = (jan.THREAD,)  # names of files that are read with the one beside them
ENDINGS = (*_TEXTS, ".zip", ".db", ".sqlite", ".sqlite3")
_ENDLESS = "It is not readable JSON."
_PEEKED = 20  # values of a list that are looked at, since the first ones may be broken


class Reader:
    """Reader of files in one format, or in any."""

    def __init__(self, moment: datetime, source: str = AUTO) -> None:
        self._moment, self._source = moment, source
        self._seen = source  # the program of the last file

    def file(self, path: Path) -> Chats:
        """Yield the chats of a file one at a time; raises `FileRefused` or `OSError`."""
        head = head_of(path)
        if head.startswith(SQLITE):
            yield from _checked(self._database(path))
        elif head.startswith(ZIP):
            yield from self._zip(path)
        else:
            yield from _checked(self._text(file_source(path)))

    def data(self, data: bytes) -> Chats:
        """Yield the chats of what was read from a pipe; raises `FileRefused`."""
        if data.startswith(ZIP):
            return self._zip(BytesIO(data))
        return _checked(self._text(Source("", lambda: BytesIO(data))))

    def _zip(self, file: Path | IO[bytes]) -> Chats:
        is_read = False
        try:
            with ZipFile(file) as archive:
                for name in archive.namelist():
                    if name.lower().endswith(_TEXTS):
                        for one in self._member(member_source(archive, name)):
                            is_read = is_read or isinstance(one, Session)
                            yield one
        except BROKEN_ZIP as error:
            message = "It is an encrypted or damaged zip file."
            hint = "Unpack it, and import the folder."
            raise FileRefused(message, hint=hint, details=repr(error)) from error
        if not is_read:
            self._expect(self._seen)
            raise FormatUnknown("It has no chats that lmchat can read.", hint=_WANTED)

    def _member(self, source: Source) -> Chats:
        try:
            yield from _checked(self._text(source))
        except FormatUnknown:
            return
        except FileRefused as error:
            yield Skipped(where=source.name, reason=error.message.rstrip("."))
        except BROKEN_ZIP:
            yield Skipped(where=source.name, reason="it is damaged")

    def _database(self, path: Path) -> Chats:
        with database(path) as found:
            form = next((one for one in _DATABASES if one.fits(found)), None)
            if form is None:
                raise FormatUnknown(
                    "It is a database, but not one that lmchat knows.", hint=_WANTED
                )
            self._expect(form.source)
            yield from self._each(form.read(found))

    def _text(self, source: Source) -> Chats:
        """Yield each chat of a list or of lines, or the one chat of anything else."""
        values = source.values()
        begun = list(islice(values, _PEEKED))
        objects = [one for one in begun if isinstance(one, dict)]
        form = next((one for one in _FORMATS if any(map(one.fits, objects))), None)
        if form is None:
            has_lines = len(objects) > 1
            del values, begun, objects  # the whole is decoded again
            yield from self._own(source, has_lines=has_lines)
            return
        self._expect(form.source)
        if form.is_whole:
            content = source.content()
            begun = list(source._replace(open=lambda: BytesIO(content)).values())
            records = [one for one in begun if isinstance(one, dict)]
            damaged = (_damaged_record(number, one) for number, one in enumerate(begun, 1))
            left_out = filter(None, damaged)
            yield from self._each(chain([partial(form.read, records, source)], left_out))
        else:
            every = chain(begun, values)
            yield from self._each(
                one if isinstance(one, Skipped) else partial(form.read, one, source)
                for one in every
            )

    def _each(self, chats: Iterable[Callable[[], Iterator[ForeignChat]] | Skipped]) -> Chats:
        """Yield the sessions of chats; one that is damaged costs itself only."""
        for number, read in enumerate(chats, 1):
            if isinstance(read, Skipped):
                yield read
                continue
            try:
                for chat in read():
                    yield from chat.finished(self._moment)
            except sqlite3.OperationalError:  # locked, or interrupted
                raise
            except (*WRONG, FileRefused, sqlite3.DatabaseError):
                yield Skipped(where=f"chat {number}", reason="it is damaged")

    def _own(self, source: Source, *, has_lines: bool) -> Chats:
        """Yield the sessions of lmchat's own formats."""
        text = _decoded(source.content()).lstrip()
        if not text:
            raise FileRefused("It is empty.", hint="Export the chats again.")
        is_json = text[0] == "[" or (text[0] == "{" and not has_lines)
        value = _json(text) if is_json else None
        try:
            if isinstance(value, dict) and "lmchat" in value:
                found: list[Session | Skipped] = [*_with_small_images(from_json(value))]
            elif is_list(value):
                found = list(from_list(value, self._moment))
            elif text.startswith("-"):
                found = [from_markdown(text)]
            elif text[0] in "{[":
                raise FormatUnknown(
                    "It is JSON, but not a chat format that lmchat knows.", hint=_WANTED
                )
            else:
                raise FormatUnknown("Its format cannot be imported.", hint=_WANTED)
        except RecursionError as error:
            raise FileRefused(_ENDLESS, hint="Export it again.") from error
        self._expect(_OWN)
        for one in found:
            yield sound(one, moment=self._moment) if isinstance(one, Session) else one

    def _expect(self, source: str) -> None:
        """Refuse a file of another program than the one that was named."""
        self._seen = source
        if self._source not in (AUTO, source):
            message = f"It has chats of {PROGRAMS[source]}, not of {PROGRAMS[self._source]}."
            raise FormatUnknown(message, hint=f"Import it with --from {source}.")


def _with_small_images(session: Session) -> Iterator[Session | Skipped]:
    """Leave out images that are too large to be decoded."""
    files: dict[str, bytes] = {}
    for digest, data in session.files.items():
        with suppress(FileRefused):
            is_image = bool(image_type(data))
            files[digest] = checked(digest, data).data if is_image else data
    if lost := len(session.files) - len(files):
        yield Skipped(where=f"“{session.header.title}”", reason=f"{plural(lost, 'image')} left out")
    yield replace(session, files=files)


def _damaged_record(number: int, value: object) -> Skipped | None:
    """Return what to tell of a record that is no object."""
    if isinstance(value, dict):
        return None
    if isinstance(value, Skipped):
        return value
    return Skipped(where=f"record {number}", reason="it is damaged")


def _checked(chats: Chats) -> Chats:
    """Pass on what has messages; refuse a file of which nothing has."""
    skipped: list[Skipped] = []
    is_read = False
    unnamed = 0
    for one in chats:
        if isinstance(one, Skipped):
            unnamed += len(skipped) >= MOST_NAMED
            skipped += [one] if len(skipped) < MOST_NAMED else []
        elif one.messages:
            is_read = True
            yield from skipped
            skipped.clear()
            yield one
    if not is_read:
        kind = FileRefused if skipped else FormatUnknown
        why = "".join(f" ({one.where}: {one.reason})" for one in skipped[:1])
        raise kind(f"It has no readable messages{why}.", hint="Export the chats again.")
    yield from skipped
    if unnamed:
        yield Skipped(where=f"{unnamed} more places", reason="they are damaged or incomplete")


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
        raise FileRefused(
            f"Line {line} is not {name} text.", hint="Save the file as UTF-8."
        ) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileRefused(
            f"Invalid JSON at line {error.lineno}, column {error.colno}.",
            hint="Export it again.",
            details=error.msg,
        ) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number with too many digits; brackets without end
        raise FileRefused(_ENDLESS, hint="Export it again.", details=repr(error)) from error
