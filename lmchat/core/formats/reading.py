"""What formats of chats share: values, texts with chats, and the form of a format."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

import msgspec
from msgspec import Struct

from lmchat.base.errors import FileRefused
from lmchat.base.files.disk import MAX_BYTES, read_plain
from lmchat.base.files.folder_walk import folders_below
from lmchat.base.json_values import utf8_safe
from lmchat.base.units import counted
from lmchat.core.sessions.message import call_text, value_text
from lmchat.core.sessions.session import Session, Skipped

LONGEST_TITLE = 1000  # characters; lists read titles whole
_MOST_KINDS = 10  # of omissions that are named for a chat

# of code that does not check each type
BAD_VALUE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    msgspec.MsgspecError,
)
Record = dict[str, Any]  # object, or row of a database
EMPTY: tuple[object, ...] = (None, "", [], {})  # without content, so no omissions

# in every time zone, even with a long answer added
_SHOWABLE_YEARS = range(1970, 9000)
_FIRST_MS = 1e11  # larger numbers are milliseconds; as seconds they would be after the year 5000
_OWN_ID = re.compile(r"[0-9a-f]{16}")
_ID_CHARS = 16

ZIP_HEAD = b"PK\x03\x04"
_TEXT_ENDINGS = (".json", ".jsonl", ".ndjson")
PACKED = (".zip", ".gz", ".tgz")  # endings of files that hold others
# of files that may have chats
_ENDINGS = (*_TEXT_ENDINGS, ".zip", ".db", ".sqlite", ".sqlite3")
THREAD = "thread.json"  # of Jan, read with a chat, and has none
# damaged archives, unknown compression, encryption
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
_PARENTS_SEARCHED = 4  # folders above a text, for files of LM Studio

# of a folder: names, and functions that read them
Files = list[tuple[str, Callable[[], bytes]]]


def at(value: Any, *path: str | int) -> Any:
    for key in path:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def text_at(value: Any, *path: str | int) -> str:
    text = at(value, *path)
    return text if isinstance(text, str) else ""


def items_of(value: Any) -> list[Any]:
    """Return a list unchanged, nothing for an empty value, and others as a list of one."""
    if isinstance(value, list):
        return value
    return [] if value in EMPTY else [value]


def parsed(text: str | bytes) -> Any:
    """Decode JSON; return the text itself where it is none."""
    with suppress(ValueError, RecursionError):
        return utf8_safe(json.loads(text))
    return text


def time_of(value: object) -> datetime | None:
    """Read seconds or milliseconds since 1970, or ISO 8601; without a zone, UTC."""
    # `OSError`: a number that the system cannot take
    with suppress(*BAD_VALUE_ERRORS, OSError):
        if isinstance(value, str):
            return checked_time(datetime.fromisoformat(value))
        if isinstance(value, int | float):
            seconds = value / 1000 if value > _FIRST_MS else value
            return checked_time(datetime.fromtimestamp(seconds, UTC))
    return None


def checked_time(time: datetime) -> datetime:
    """Return a time with a zone, UTC by default; raises `ValueError` for a year out of range."""
    if time.year not in _SHOWABLE_YEARS:
        raise ValueError("a time out of range")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def local_id(file_id: str, session_id: str = "") -> str:
    """Keep an id of lmchat's form, 16 hexadecimal digits; make a hash of any other.

    `session_id` goes into the hash of a message's id, since two chats may have the same ids. Hashes
    must stay the same in all versions: else files would be imported twice.
    """
    if _OWN_ID.fullmatch(file_id):
        return file_id
    text = f"{session_id} {file_id}" if session_id else file_id
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARS]


class Source:
    """Text that may have chats.

    `find_files` returns the files that may belong to them, such as images: those of the nearest
    folder first.
    """

    def __init__(
        self, path: str, file: IO[bytes], find_files: Callable[[], Iterable[Files]] = tuple
    ) -> None:
        """`path` has slashes, and is empty for a pipe."""
        self._path = f"/{path}"
        self.name = self._path.rpartition("/")[2]
        self._file = file
        self._find_files = find_files

    def open_text(self) -> TextIO:
        """Return the text from its beginning; bytes that are not UTF-8 are halves of surrogates."""
        encoding = json.detect_encoding(self._file.read(4))  # UTF-16 of Windows shells, too
        self._file.seek(0)
        return io.TextIOWrapper(
            self._file,
            encoding,
            errors="surrogateescape" if encoding.startswith("utf-8") else "replace",
        )

    def folders_below(self, name: str) -> list[str]:
        """Return the names of the folders that it is in, down from one of a name."""
        _, found, below = self._path.rpartition(f"/{name}/")
        return below.split("/")[:-1] if found else []

    def read_beside(self, name: str) -> bytes:
        """Return the content of the first file that `name` means, or b"".

        In chats of LM Studio and ChatGPT, an image's name may lack the ending, or a hyphen and the
        user's name for it. `file_1` finds `file_1.png` and `file_1-photo.png`, but not
        `file_12.png`.
        """
        if not name:  # any name starts with ""
            return b""
        for files in self._folders:
            fitting = [
                (file_name, read)
                for file_name, read in files
                if file_name.startswith(name) and not file_name.removeprefix(name)[:1].isalnum()
            ]
            # `a.png` rather than `a.png.metadata.json`
            for _, read in sorted(fitting, key=lambda file: len(file[0])):
                with suppress(OSError, *BROKEN_ZIP):
                    return read()
        return b""

    @cached_property
    def _folders(self) -> list[Files]:
        return list(self._find_files())


def zip_sources(file: IO[bytes]) -> Iterator[tuple[str, Source]]:
    """Yield the texts in a zip file with their paths; read each before the next.

    Raises `FileRefused` for a file that is encrypted or damaged.
    """
    try:
        archive = zipfile.ZipFile(file)
    except BROKEN_ZIP as error:  # its list of files is its end
        raise FileRefused(
            "It ends too early, as a download that broke off.",
            next_step="Download it again.",
            details=repr(error),
        ) from error
    try:
        with archive:
            folders: dict[str, Files] = defaultdict(list)
            for info in archive.infolist():
                folder, _, name = info.filename.rpartition("/")
                if info.file_size <= MAX_BYTES:
                    folders[folder].append((name, partial(archive.read, info)))
            for member in archive.namelist():
                folder, _, name = member.rpartition("/")
                if name.lower().endswith((*_TEXT_ENDINGS, *PACKED)) and name != THREAD:
                    # each thread of Jan has a folder with files of the same names
                    files = partial(chain, [folders[folder]], folders.values())
                    with archive.open(member) as text:
                        yield member, Source(member, text, files)
    except BROKEN_ZIP as error:
        raise FileRefused(
            "It is an encrypted or damaged zip file.",
            next_step="Unpack it, and import the folder.",
            details=repr(error),
        ) from error


def files_below(folder: Path) -> list[Path]:
    """Return files that may have chats; raises `FileRefused` without any."""
    paths: list[Path] = []
    for parent, folder_names, file_names in folders_below(folder):
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        if not os.access(parent, os.R_OK | os.X_OK):
            paths.append(parent)  # who reads it says so
        paths += [
            parent / name
            for name in sorted(file_names)
            if name.lower().endswith(_ENDINGS) and not name.startswith(".") and name != THREAD
        ]
    if not paths:
        raise FileRefused(
            f"{folder} has no readable file that ends with {', '.join(_ENDINGS)}.",
            next_step="Name a file, or another folder.",
        )
    return paths


def files_beside(path: Path) -> Iterator[Files]:
    """Yield the files beside a text, and those in `user-files` of each folder above.

    LM Studio has that beside its folder of chats, which may have subfolders.
    """
    parents = path.parents[:_PARENTS_SEARCHED]
    for folder in (path.parent, *(parent / "user-files" for parent in parents)):
        with suppress(OSError):  # missing, or not readable
            yield [(file.name, partial(read_plain, file)) for file in sorted(folder.iterdir())]


class Format(NamedTuple):
    """JSON format of a program's chats."""

    fits: Callable[[Record], bool]  # a record is of this format
    # At the current time; may raise `FileRefused` or one of `BAD_VALUE_ERRORS`.
    session: Callable[[Sequence[Record], Source, datetime], Session]
    # a record belongs to the chat of those before it; else each is a chat
    continues: Callable[[Record, Sequence[Record]], bool] = lambda _record, _chat: False


class ToolQuote(Struct, frozen=True, kw_only=True):
    """Quoted text of a tool call or its result."""

    text: str


def omissions(title: str, counts_by_kind: Mapping[str, int]) -> tuple[Skipped, ...]:
    """Write `2 images, 1 damaged message left out`, or nothing."""
    words: list[str] = []
    for kind, count in counts_by_kind.items():
        if count > 0:  # readers may have added 0
            # cut, as a file may have any text
            noun, of, rest = kind[:100].partition(" of ")
            words.append(f"{counted(count, noun)}{of}{rest}")
    if not words:
        return ()
    return (Skipped(where=f"“{title[:100]}”", reason=f"{', '.join(words[:_MOST_KINDS])} left out"),)


def quoted_call(name: str, arguments: object) -> ToolQuote:
    """Quote a tool call in Markdown: `> Tool call: add(a=1, b=2)`."""
    return quoted(f"Tool call: {call_text(name, value_text(arguments))}")


def quoted(text: str) -> ToolQuote:
    return ToolQuote(text="\n".join(f"> {line}".rstrip() for line in text.split("\n")))
