"""Content of attached files: stored once, by its hash, in a folder beside the database."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from lmchat.errors import StoreUnavailable
from lmchat.files import MAX_BYTES, read_plain, write_atomically
from lmchat.storage.database import Connection
from lmchat.storage.row_values import loaded

log = logging.getLogger(__name__)

_YOUNG_S = 60  # the message that names a file is written after it


def save(folder: Path, data: bytes) -> str:
    """Write a content that is not there yet, and return its digest; raises `StoreUnavailable`."""
    digest = sha256(data).hexdigest()
    path = folder / digest
    try:
        if path.is_file() and path.stat().st_size == len(data):
            path.touch()  # or it may be removed as an old one
        else:
            write_atomically(path, data)
    except OSError as error:
        words = f"The attached file cannot be saved: {error.strerror or error}."
        raise StoreUnavailable(
            words, hint="Check the disk, or set LMCHAT_HOME to another folder."
        ) from error
    return digest


def read(folder: Path, digest: str) -> bytes:
    """Return a content; raises `StoreUnavailable`."""
    try:
        data = read_plain(folder / digest, limit=MAX_BYTES)
    except (OSError, ValueError) as error:
        is_missing = isinstance(error, FileNotFoundError)
        words = (
            "is missing" if is_missing else f"cannot be read: {getattr(error, 'strerror', error)}"
        )
        raise StoreUnavailable(f"The attached file {words}.", hint="Attach it again.") from error
    if sha256(data).hexdigest() != digest:  # also where an import made up a path
        raise StoreUnavailable("The attached file is damaged.", hint="Attach it again.")
    return data


def remove(connection: Connection, folder: Path, digests: Collection[str]) -> None:
    """Remove these files, young ones too, unless another message or draft names them."""
    names = _Names(connection) if digests else None
    for digest in digests:
        if names is not None and not names.has(digest):
            with suppress(OSError):
                (folder / digest).unlink()


def remove_unnamed(connection: Connection, folder: Path, moment: datetime) -> None:
    """Remove the files that neither a message nor a draft names anymore."""
    names = _Names(connection)
    for path in folder.glob("*"):
        with suppress(OSError):
            if not names.has(path.name) and path.stat().st_mtime < moment.timestamp() - _YOUNG_S:
                path.unlink()
                log.info("an attached file that no message names was removed")


class _Names:
    """Digests that messages and drafts name."""

    def __init__(self, connection: Connection) -> None:
        rows = connection.execute("select call_id from parts where kind = 'file'")
        self._in_messages = {loaded(digest) for (digest,) in rows}
        drafts = connection.execute("select text from drafts")
        self._drafts = "\n".join(loaded(text) for (text,) in drafts)

    def has(self, digest: str) -> bool:
        return digest in self._in_messages or digest in self._drafts
