"""Read-only access to texts with chats: piped, in files, or in zip files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any

from lmchat.errors import FileRefused
from lmchat.files import read_plain
from lmchat.formats.file_values import Record, json_of
from lmchat.formats.json_stream import JsonValues

LARGEST_BYTES = (
    256 << 20
)  # over ten thousand long answers; reading takes several times as much memory
_LARGEST_MEMBER = 12 << 20  # bytes; decoded JSON takes up to 35 times as much memory
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
"""Errors of damaged archives and members, of unknown compression, and of encryption."""
_LINES = (".jsonl", ".ndjson")  # endings of files with a value in each line


class TextFile:
    """Text with chats: here what was piped, which has no files beside it."""

    limit = LARGEST_BYTES  # bytes of it, or characters of one chat

    def __init__(self, data: bytes, name: str = "") -> None:
        self.name = name
        self._data = data

    def open(self) -> IO[bytes]:
        return BytesIO(self._data)

    def beside(self, name: str) -> bytes:
        """Return the content of a file in the same folder."""
        raise FileNotFoundError(name)

    def stored(self, name: str) -> bytes:
        """Return the image whose name begins so, or nothing."""
        del name
        return b""

    def content(self) -> bytes:
        """Return all of it; raises `FileRefused` if it is too large."""
        with self.open() as stream:
            data = stream.read(self.limit + 1)
        if len(data) > self.limit:
            message = f"It is larger than {self.limit >> 20} MB."
            raise FileRefused(message, hint="Split it into smaller files.")
        return data

    def json_beside(self, name: str) -> Record:
        """Return the JSON object of a file in the same folder, or an empty one."""
        with suppress(OSError, KeyError, *BROKEN_ZIP):  # KeyError: no such member
            value = json_of(self.beside(name))
            return value if isinstance(value, dict) else {}
        return {}

    def values(self) -> Iterator[Any]:
        """Yield the values of a JSON list or of JSON Lines one at a time, and what is left out.

        The latter as `Skipped`. Memory is used for one value only.
        """
        has_lines = self.name.lower().endswith(_LINES)
        with TextIOWrapper(self.open(), encoding="utf-8-sig", errors="replace") as stream:
            yield from JsonValues(stream, self.limit, has_lines=has_lines)


class PlainFile(TextFile):
    """Plain file."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def open(self) -> IO[bytes]:
        return BytesIO(read_plain(self._path, max_bytes=LARGEST_BYTES))

    def beside(self, name: str) -> bytes:
        return read_plain(self._path.with_name(name))

    def stored(self, name: str) -> bytes:
        """Return an image beside a chat; those of LM Studio are beside the folder of all chats."""
        folders = [self._path.parent]
        folders += [above / "user-files" for above in self._path.parents[:4]]
        with suppress(OSError):  # a folder or file that cannot be read
            for folder in folders:
                files = sorted(folder.iterdir()) if folder.is_dir() else []
                for file in files:
                    if _is_named(file.name, name):
                        return read_plain(file)
        return b""


class ZipMember(TextFile):
    """Member of a zip file."""

    limit = _LARGEST_MEMBER

    def __init__(self, archive: zipfile.ZipFile, member: str) -> None:
        self._archive = archive
        self._member = member
        folder, slash, self.name = member.rpartition("/")
        self._folder = folder + slash

    def open(self) -> IO[bytes]:
        return self._archive.open(self._member)

    def beside(self, name: str) -> bytes:
        return self._read(self._folder + name)

    def stored(self, name: str) -> bytes:
        with suppress(OSError, *BROKEN_ZIP):
            for member in self._archive.namelist():
                if _is_named(member.rpartition("/")[2], name):
                    return self._read(member)
        return b""

    def _read(self, member: str) -> bytes:
        with self._archive.open(member) as stream:
            return stream.read(_LARGEST_MEMBER)


def _is_named(file: str, name: str) -> bool:
    is_longer_word = file[len(name) : len(name) + 1].isalnum()
    return bool(name) and file.startswith(name) and not is_longer_word
