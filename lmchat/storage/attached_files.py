"""Content of attached files: stored once, by its hash, in a folder beside the database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from lmchat.errors import StoreUnavailable
from lmchat.files import MAX_BYTES, read_plain, write_atomically
from lmchat.storage.connection import Connection
from lmchat.storage.row_values import loaded

log = logging.getLogger(__name__)

_YOUNG_S = 60  # the message that names a file is written after it


def save(folder: Path, data: bytes) -> str:
    """Write a content that is missing, and return its digest; raises `StoreUnavailable`."""
    digest = sha256(data).hexdigest()
    path = folder / digest
    try:
        if path.is_file() and path.stat().st_size == len(data):
            path.touch()  # or it may be removed as an old one
        else:
            write_atomically(path, data)
    except OSError as error:
        raise StoreUnavailable(
            f"The attached file cannot be saved: {error.strerror or error}.",
            hint="Check the disk, or set LMCHAT_HOME to another folder.",
        ) from error
    return digest


def read(folder: Path, digest: str) -> bytes:
    """Return a content; raises `StoreUnavailable`."""
    try:
        data = read_plain(folder / digest, max_bytes=MAX_BYTES)
    except FileNotFoundError as error:
        raise _unreadable("is missing") from error
    except OSError as error:
        raise _unreadable(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in a digest that an import made up
        raise _unreadable(f"cannot be read: {error}") from error
    if sha256(data).hexdigest() != digest:  # also where an import made up a path
        raise _unreadable("is damaged")
    return data


def _unreadable(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"The attached file {reason}.", hint="Attach it again.")


def remove(connection: Connection, folder: Path, digests: Collection[str]) -> None:
    """Remove these files, young ones too, unless another message or draft names them."""
    if not digests:
        return
    is_named = _name_check(connection)
    for digest in digests:
        if not is_named(digest):
            with suppress(OSError):  # the folder may be read-only now
                (folder / digest).unlink()


def remove_unnamed(connection: Connection, folder: Path, moment: datetime) -> None:
    """Remove the files that neither a message nor a draft names anymore."""
    is_named = _name_check(connection)
    youngest_s = moment.timestamp() - _YOUNG_S
    for path in folder.glob("*"):
        with suppress(OSError):  # another process was faster
            if not is_named(path.name) and path.stat().st_mtime < youngest_s:
                path.unlink()
                log.info("an attached file that no message names was removed")


def _name_check(connection: Connection) -> Callable[[str], bool]:
    """Return a function that tells whether a message or a draft names a digest."""
    rows = connection.execute("select call_id from parts where kind = 'file'")
    in_messages = {loaded(digest) for (digest,) in rows}
    rows = connection.execute("select text from drafts")
    drafts = "\n".join(loaded(text) for (text,) in rows)
    return lambda digest: digest in in_messages or digest in drafts
