"""Files, folders, zip files and pipes with chats: what is read of them, and how much at most.

Some programs keep images and titles in files beside a chat, so a source also finds those.
"""

from __future__ import annotations

import os
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
from lmchat.sessions.session import Skipped

LARGEST_BYTES = 256 * 1024 * 1024  # of a file, or of a text in a zip file
_TEXT_ENDINGS = (".json", ".jsonl", ".ndjson")
# Ends of the names of files that may have chats.
ENDINGS = (*_TEXT_ENDINGS, ".zip", ".db", ".sqlite", ".sqlite3")
_HEAD_BYTES = 16
ZIP_HEAD = b"PK\x03\x04"
# Errors of damaged archives, of unknown compression, and of encryption.
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks, as Windows shells write them
_PARENTS_SEARCHED = 4  # folders above a text in which files of LM Studio are looked for


class Source(Struct, frozen=True, kw_only=True):
    """Text that may have chats: a file, a member of a zip file, or the content of a pipe."""

    name: str
    data: bytes  # the text in UTF-8
    # Returns the content of a file near the text whose name begins with a name; b"" for none. The
    # name of an image in a chat of LM Studio or ChatGPT may lack what follows in the name of its
    # file: an ending, or a hyphen and the name that the user gave it. `file_1` finds `file_1.png`
    # and `file_1-photo.png`, but not `file_12.png`.
    near: Callable[[str], bytes] = lambda _name: b""

    @property
    def has_lines(self) -> bool:
        """Whether its name says that each line is a JSON value."""
        return self.name.lower().endswith((".jsonl", ".ndjson"))


def text_source(content: Path | bytes) -> Source:
    """Return the text of a file or pipe; raises `OSError`."""
    if isinstance(content, bytes):
        return Source(name="", data=_utf_8(content))
    data = read_plain(content, max_bytes=LARGEST_BYTES)
    near = partial(_read_near, partial(_files_near, content))
    return Source(name=content.name, data=_utf_8(data), near=near)


def zip_sources(content: Path | bytes) -> Iterator[Source | Skipped]:
    """Yield the texts in a zip file, and a `Skipped` for a huge one; raises `FileRefused`."""
    try:
        file = BytesIO(content) if isinstance(content, bytes) else content
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            for name in names:
                if not name.lower().endswith(_TEXT_ENDINGS):
                    continue
                folder = name[: name.rfind("/") + 1]
                if archive.getinfo(name).file_size > LARGEST_BYTES:
                    reason = f"it is larger than {LARGEST_BYTES // (1024 * 1024)} MB"
                    yield Skipped(where=name, reason=reason)
                    continue

                def files(folder: str = folder) -> Iterator[tuple[str, Callable[[], bytes]]]:
                    # those of the same folder first: each thread of Jan has a file of the same name
                    for member in sorted(names, key=lambda member: not member.startswith(folder)):
                        if archive.getinfo(member).file_size <= MAX_BYTES:
                            yield member.rpartition("/")[2], partial(archive.read, member)

                data = _utf_8(archive.read(name))
                near = partial(_read_near, files)
                yield Source(name=name.rpartition("/")[2], data=data, near=near)
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
    if not content.is_file():  # a pipe would be waited for
        return b""
    with content.open("rb") as file:
        return file.read(_HEAD_BYTES)


def files_below(folder: Path, *, without: set[str]) -> list[Path]:
    """Return the files below a folder whose endings are those of chats.

    Hidden files and folders are left out, and files whose names are in `without`. Raises
    `FileRefused` if there are none.
    """
    paths: list[Path] = []
    for parent, folder_names, file_names in os.walk(folder):
        # `os.walk` enters the folders of this list, in its order
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        paths += [
            Path(parent, name)
            for name in sorted(file_names)
            if name.lower().endswith(ENDINGS) and not name.startswith(".") and name not in without
        ]
    if not paths:
        message = f"{folder} has no readable file that ends with {', '.join(ENDINGS)}."
        raise FileRefused(message, hint="Name a file, or another folder.")
    return paths


def _utf_8(data: bytes) -> bytes:
    """Return a text without a byte order mark in UTF-8; what is no UTF-16 is replaced."""
    if data.startswith(_UTF_16):
        return data.decode("utf-16", errors="replace").encode()
    return data.removeprefix(b"\xef\xbb\xbf")


def _files_near(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the files beside a text, and those in folders `user-files` beside folders above it.

    LM Studio has such a folder beside the folder of its chats; these may be in subfolders.
    """
    parents = path.parents[:_PARENTS_SEARCHED]
    for folder in (path.parent, *(parent / "user-files" for parent in parents)):
        with suppress(OSError):  # it is missing, or cannot be read
            for file in sorted(folder.iterdir()):
                yield file.name, partial(read_plain, file, max_bytes=MAX_BYTES)


def _read_near(files: Callable[[], Iterable[tuple[str, Callable[[], bytes]]]], name: str) -> bytes:
    """Return the content of the first file whose name begins with the word `name`, if any."""
    for file_name, read in files() if name else ():
        if file_name.startswith(name) and not file_name.removeprefix(name)[:1].isalnum():
            with suppress(OSError, *_BROKEN_ZIP):
                return read()
    return b""
