"""Read-only access to texts with chats: from a pipe, in files, or in zip files.

The chats of some programs refer to other files, so a text also gives access to those beside it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any

from lmchat.errors import FileRefused
from lmchat.files.disk import read_plain
from lmchat.formats.file_values import Record, json_of
from lmchat.formats.json_stream import JsonValues

# Over ten thousand long answers; reading takes several times as much memory.
LARGEST_BYTES = 256 * 1024 * 1024
# Of a text in a zip file; decoded JSON takes up to 35 times as much memory.
_LARGEST_MEMBER_BYTES = 12 * 1024 * 1024
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
"""Errors of damaged archives and members, of unknown compression, and of encryption."""
_JSON_LINES_ENDINGS = (".jsonl", ".ndjson")
_PARENTS_SEARCHED = 4  # folders above a text in which files of LM Studio are looked for


class TextFile:
    """Text with chats: here from a pipe, without files beside it."""

    limit = LARGEST_BYTES  # bytes of the text, and characters of one value in it

    def __init__(self, data: bytes, name: str = "") -> None:
        self.name = name
        self._data = data

    def open(self) -> IO[bytes]:
        return BytesIO(self._data)

    def beside(self, name: str) -> bytes:
        """Return the content of a file in the same folder; raises `OSError` or `KeyError`."""
        raise FileNotFoundError(name)

    def stored(self, name: str) -> bytes:
        """Return the content of the first file near the text whose name begins with `name`.

        Return nothing if none exists. The name of an image in a chat of LM Studio or ChatGPT may
        lack what follows in the name of its file: an ending, or a hyphen and the name that the user
        gave it. `file_1` finds `file_1.png` and `file_1-photo.png`, but not `file_12.png`.
        """
        del name
        return b""

    def content(self) -> bytes:
        """Return the whole text; raises `FileRefused` if it is larger than `limit`."""
        with self.open() as stream:
            data = stream.read(self.limit + 1)
        if len(data) > self.limit:
            message = f"It is larger than {self.limit // (1024 * 1024)} MB."
            raise FileRefused(message, hint="Split it into smaller files.")
        return data

    def json_beside(self, name: str) -> Record:
        """Return the JSON object in a file in the same folder.

        Return an empty object if the file is missing, not readable, or has none.
        """
        with suppress(OSError, KeyError, *BROKEN_ZIP):  # KeyError: no such member
            value = json_of(self.beside(name))
            return value if isinstance(value, dict) else {}
        return {}

    def values(self) -> Iterator[Any]:
        """Yield the values of a JSON list or of JSON Lines from the beginning, one at a time.

        A broken value is a `Skipped`. Memory is used for one value only.
        """
        has_lines = self.name.lower().endswith(_JSON_LINES_ENDINGS)
        with TextIOWrapper(self.open(), encoding="utf-8-sig", errors="replace") as stream:
            yield from JsonValues(stream, self.limit, has_lines=has_lines)


class PlainFile(TextFile):
    """Text in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def open(self) -> IO[bytes]:
        return BytesIO(read_plain(self._path, max_bytes=LARGEST_BYTES))

    def beside(self, name: str) -> bytes:
        return read_plain(self._path.with_name(name))

    def stored(self, name: str) -> bytes:
        """Look for the file in the folder of the text, then in folders `user-files` in those above.

        LM Studio has such a folder beside the folder of its chats; these may be in subfolders.
        """
        folders = [self._path.parent]
        folders += [parent / "user-files" for parent in self._path.parents[:_PARENTS_SEARCHED]]
        with suppress(OSError):  # a folder or file that cannot be read
            for folder in folders:
                files = sorted(folder.iterdir()) if folder.is_dir() else []
                for file in files:
                    if _begins_with_name(file.name, name):
                        return read_plain(file)
        return b""


class ZipMember(TextFile):
    """Text that is a member of a zip file."""

    limit = _LARGEST_MEMBER_BYTES

    def __init__(self, archive: zipfile.ZipFile, member: str) -> None:
        self._archive = archive
        self._member = member
        folder, slash, self.name = member.rpartition("/")
        self._folder = folder + slash  # empty, or with a slash at the end

    def open(self) -> IO[bytes]:
        return self._archive.open(self._member)

    def beside(self, name: str) -> bytes:
        return self._read(self._folder + name)

    def stored(self, name: str) -> bytes:
        """Look for the file among all members of the archive."""
        with suppress(OSError, *BROKEN_ZIP):
            for member in self._archive.namelist():
                if _begins_with_name(member.rpartition("/")[2], name):
                    return self._read(member)
        return b""

    def _read(self, member: str) -> bytes:
        """Return the content of a member, cut to the limit."""
        with self._archive.open(member) as stream:
            return stream.read(_LARGEST_MEMBER_BYTES)


def _begins_with_name(file_name: str, name: str) -> bool:
    """Return whether the name of a file begins with the word `name`; False if that is empty."""
    if not name or not file_name.startswith(name):
        return False
    following = file_name.removeprefix(name)
    return not following[:1].isalnum()  # "" is not alphanumeric either
