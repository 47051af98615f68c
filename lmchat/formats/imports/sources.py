"""Sources of chats: files, folders, zip files and pipes, each read up to a limit.

Some programs keep images and titles in files beside a chat, so a source also finds those.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path

from msgspec import Struct

from lmchat.errors import FileRefused
from lmchat.files.disk import MAX_BYTES, read_plain
from lmchat.files.folder_walk import folders_below
from lmchat.sessions.session import Skipped

LARGEST_BYTES = 256 * 1024 * 1024  # of a file, or of a text in a zip file
_TEXT_ENDINGS = (".json", ".jsonl", ".ndjson")
# Ends of the names of files that may have chats.
ENDINGS = (*_TEXT_ENDINGS, ".zip", ".db", ".sqlite", ".sqlite3")
_HEAD_BYTES = 16  # enough for the marks with which zip files and SQLite databases begin
ZIP_HEAD = b"PK\x03\x04"
# Errors of damaged archives, of unknown compression, and of encryption.
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks, as Windows shells write them
_PARENTS_SEARCHED = 4  # folders above a text in which files of LM Studio are looked for


# Name of a file, and a function that reads it.
NamedFile = tuple[str, Callable[[], bytes]]


class Source(Struct, frozen=True, kw_only=True):
    """Text that may have chats: a file, a member of a zip file, or the content of a pipe."""

    name: str
    data: bytes  # the text in UTF-8
    # Returns files that may belong to the chats in the text, such as images. They are in the folder
    # of the text, or for LM Studio in folders above it.
    files: Callable[[], Iterable[NamedFile]] = lambda: ()

    @property
    def has_lines(self) -> bool:
        """Whether its name says that each line is a JSON value."""
        return self.name.lower().endswith((".jsonl", ".ndjson"))

    def file_content(self, name: str) -> bytes:
        """Return the content of the first of `files` that `name` means; b"" if there is none.

        In chats of LM Studio and ChatGPT, the name of an image may be only the beginning of the
        name of its file. The ending may be missing, or a hyphen and the name that the user gave the
        image. `file_1` finds `file_1.png` and `file_1-photo.png`, but not `file_12.png`.
        """
        if not name:  # the name of any file begins with ""
            return b""
        for file_name, read in self.files():
            if file_name.startswith(name) and not file_name.removeprefix(name)[:1].isalnum():
                with suppress(OSError, *_BROKEN_ZIP):
                    return read()
        return b""


def text_source(content: Path | bytes) -> Source:
    """Return the text of a file, or of a pipe whose content was read; raises `OSError`.

    A pipe has no name, and no files beside it.
    """
    if isinstance(content, bytes):
        return Source(name="", data=_utf_8(content))
    data = read_plain(content, max_bytes=LARGEST_BYTES)
    return Source(name=content.name, data=_utf_8(data), files=partial(_files_beside, content))


def zip_sources(content: Path | bytes) -> Iterator[Source | Skipped]:
    """Yield the texts in a zip file, and a `Skipped` for a huge one.

    The files beside a text can be read only until the next text is asked for.

    Raises `FileRefused` for a file that is encrypted or damaged.
    """
    try:
        file = BytesIO(content) if isinstance(content, bytes) else content
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                if not member.lower().endswith(_TEXT_ENDINGS):
                    continue
                if archive.getinfo(member).file_size > LARGEST_BYTES:
                    reason = f"it is larger than {LARGEST_BYTES // (1024 * 1024)} MB"
                    yield Skipped(where=member, reason=reason)
                    continue
                folder, _, name = member.rpartition("/")
                data = _utf_8(archive.read(member))
                yield Source(name=name, data=data, files=partial(_members, archive, folder))
    except _BROKEN_ZIP as error:
        message = "It is an encrypted or damaged zip file."
        hint = "Unpack it, and import the folder."
        raise FileRefused(message, hint=hint, details=repr(error)) from error


def head_of(content: Path | bytes) -> bytes:
    """Return the first bytes of a regular file or a pipe's content, nothing for other files.

    Raises `OSError`.
    """
    if isinstance(content, bytes):
        return content[:_HEAD_BYTES]
    if not content.is_file():  # reading a pipe would wait for its writer
        return b""
    with content.open("rb") as file:
        return file.read(_HEAD_BYTES)


def files_below(folder: Path, *, without: set[str]) -> list[Path]:
    """Return the files below a folder whose endings are those of chats.

    Hidden files and folders are left out, and files whose names are in `without`. Raises
    `FileRefused` if there are none.
    """
    paths: list[Path] = []
    for parent, folder_names, file_names in folders_below(folder):
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        paths += [
            parent / name
            for name in sorted(file_names)
            if name.lower().endswith(ENDINGS) and not name.startswith(".") and name not in without
        ]
    if not paths:
        message = f"{folder} has no readable file that ends with {', '.join(ENDINGS)}."
        raise FileRefused(message, hint="Name a file, or another folder.")
    return paths


def _utf_8(data: bytes) -> bytes:
    """Return a text in UTF-8 without a byte order mark, by which UTF-16 is recognized."""
    if data.startswith(_UTF_16):
        return data.decode("utf-16", errors="replace").encode()
    return data.removeprefix(b"\xef\xbb\xbf")


def _files_beside(path: Path) -> Iterator[NamedFile]:
    """Yield the files beside a text, and those in a folder `user-files` of each folder above it.

    LM Studio has `user-files` beside its folder of chats, and chats may be in subfolders of that.
    """
    parents = path.parents[:_PARENTS_SEARCHED]
    for folder in (path.parent, *(parent / "user-files" for parent in parents)):
        with suppress(OSError):  # it is missing, or cannot be read
            for file in sorted(folder.iterdir()):
                yield file.name, partial(read_plain, file, max_bytes=MAX_BYTES)


def _members(archive: zipfile.ZipFile, folder: str) -> Iterator[NamedFile]:
    """Yield the files in a zip file that are not too large, those of the text's folder first.

    Each thread of Jan has a folder with files of the same names, so the nearest must be found.
    """
    prefix = f"{folder}/" if folder else ""
    for member in sorted(archive.namelist(), key=lambda member: not member.startswith(prefix)):
        if archive.getinfo(member).file_size <= MAX_BYTES:
            yield member.rpartition("/")[2], partial(archive.read, member)
