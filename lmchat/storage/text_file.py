"""A text file of the user's, as a block for the prompt."""

from __future__ import annotations

import errno
import re

from lmchat.domain.message import as_attached
from lmchat.errors import FileRefused
from lmchat.files import path_of, read_plain
from lmchat.text import safe_line

LARGEST_BYTES = 1_000_000
"""More than the window of any local model holds."""


def read_as_block(name: str) -> str:
    """Return a text file as a fenced block with its name and size; blocks, so it belongs into a thread.

    Raises:
        FileRefused: it cannot be read, is too large, or is no text.
    """
    path = path_of(name)
    try:
        data = read_plain(path, limit=LARGEST_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise FileRefused(
                f"{safe_line(path.name)} is larger than 1 MB.", hint="Put a part of it into its own file."
            ) from error
        raise FileRefused(f"{name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise FileRefused(f"{path.name} is not a text file.", hint="Only text in UTF-8 can be sent.")
    language = re.sub(r"[\s`]", "", path.suffix.removeprefix("."))
    return as_attached(safe_line(path.name), len(data), text, language)
