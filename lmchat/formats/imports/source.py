"""Texts that may have chats: files, members of zip files and pipes, and the files beside them."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import IO, TextIO

from lmchat.errors import FileRefused
from lmchat.files.disk import MAX_BYTES, read_plain
from lmchat.files.folder_walk import folders_below

ZIP_HEAD = b"PK\x03\x04"
_TEXT_ENDINGS = (".json", ".jsonl", ".ndjson")
# of files that may have chats
_ENDINGS = (*_TEXT_ENDINGS, ".zip", ".db", ".sqlite", ".sqlite3")
THREAD = "thread.json"  # of Jan, read with a chat, and has none
# damaged archives, unknown compression, encryption
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
_PARENTS_SEARCHED = 4  # folders above a text, for files of LM Studio

# of a folder: names, and functions that read them
Files = list[tuple[str, Callable[[], bytes]]]


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
        errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
        return io.TextIOWrapper(self._file, encoding, errors=errors)

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
                with suppress(OSError, *_BROKEN_ZIP):
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
        with zipfile.ZipFile(file) as archive:
            folders: dict[str, Files] = defaultdict(list)
            for info in archive.infolist():
                folder, _, name = info.filename.rpartition("/")
                if info.file_size <= MAX_BYTES:
                    folders[folder].append((name, partial(archive.read, info)))
            for member in archive.namelist():
                folder, _, name = member.rpartition("/")
                if name.lower().endswith(_TEXT_ENDINGS) and name != THREAD:
                    # each thread of Jan has a folder with files of the same names
                    files = partial(chain, [folders[folder]], folders.values())
                    with archive.open(member) as text:
                        yield member, Source(member, text, files)
    except _BROKEN_ZIP as error:
        message = "It is an encrypted or damaged zip file."
        next_step = "Unpack it, and import the folder."
        raise FileRefused(message, next_step=next_step, details=repr(error)) from error


def file_source(path: Path, file: IO[bytes]) -> Source:
    return Source(path.as_posix(), file, partial(_files_beside, path))


def files_below(folder: Path) -> list[Path]:
    """Return files that may have chats; raises `FileRefused` without any."""
    paths: list[Path] = []
    for parent, folder_names, file_names in folders_below(folder):
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        paths += [
            parent / name
            for name in sorted(file_names)
            if name.lower().endswith(_ENDINGS) and not name.startswith(".") and name != THREAD
        ]
    if not paths:
        message = f"{folder} has no readable file that ends with {', '.join(_ENDINGS)}."
        raise FileRefused(message, next_step="Name a file, or another folder.")
    return paths


def _files_beside(path: Path) -> Iterator[Files]:
    """Yield the files beside a text, and those in `user-files` of each folder above.

    LM Studio has that beside its folder of chats, which may have subfolders.
    """
    parents = path.parents[:_PARENTS_SEARCHED]
    for folder in (path.parent, *(parent / "user-files" for parent in parents)):
        with suppress(OSError):  # missing, or not readable
            yield [(file.name, partial(read_plain, file)) for file in sorted(folder.iterdir())]
