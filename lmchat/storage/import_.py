"""Files of the user, only read: chats to import, and texts for the prompt. Everything here blocks."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from lmchat.domain.message import as_attached
from lmchat.errors import FileRefused
from lmchat.files import path_of, read_plain
from lmchat.text import safe_line

LARGEST_BYTES = 256 << 20  # more than ten thousand long answers; reading takes several times as much memory
TOO_LARGE = f"larger than {LARGEST_BYTES >> 20} MB"


class DiskFiles:
    """Files to import."""

    def files_of(self, path: Path, endings: tuple[str, ...]) -> tuple[Path, ...]:
        """Return the file, or those of a folder with an ending; raises `FileRefused` without any."""
        if not path.is_dir():
            return (path,)
        try:
            found = sorted(
                one
                for one in path.iterdir()
                if one.suffix.lower() in endings and not one.name.startswith(".") and not one.is_dir()
            )
        except OSError as error:
            raise FileRefused(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
        if not found:
            message = f"{path} holds no file that ends with {', '.join(endings)}."
            raise FileRefused(message, hint="Name the file.")
        return tuple(found)

    def read(self, path: Path) -> bytes:
        """Return the content of a file; raises `FileRefused` if it is unreadable or too large."""
        try:
            return read_plain(path, limit=LARGEST_BYTES)
        except OSError as error:
            reason = f"it is {TOO_LARGE}" if error.errno == errno.EFBIG else error.strerror or str(error)
            raise FileRefused(f"It cannot be read: {reason}.", hint="Check the path.") from error


LARGEST_TEXT_BYTES = 1_000_000  # more than the context window of any local model


def read_as_block(name: str) -> str:
    """Return a text file as a fenced block; raises `FileRefused` for other files."""
    path = path_of(name)
    try:
        data = read_plain(path, limit=LARGEST_TEXT_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            message = f"{safe_line(path.name)} is larger than 1 MB."
            raise FileRefused(message, hint="Put a part of it into its own file.") from error
        raise FileRefused(f"{name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise FileRefused(f"{path.name} is not a text file.", hint="Only text in UTF-8 can be sent.")
    language = re.sub(r"[\s`]", "", path.suffix.removeprefix("."))
    return as_attached(safe_line(path.name), len(data), text, language)
