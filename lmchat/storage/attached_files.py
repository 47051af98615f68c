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

# A younger file is kept without a message that names it, as the message is written after the file.
_YOUNG_S = 60


def save(folder: Path, data: bytes) -> str:
    """Write a file unless there is one with its content; return its digest, which is its name.

    Raises `StoreUnavailable`.
    """
    digest = sha256(data).hexdigest()
    path = folder / digest
    try:
        if path.is_file() and path.stat().st_size == len(data):
            path.touch()  # so that it counts as young, and is kept until its message is written
        else:
            write_atomically(path, data)
    except OSError as error:
        raise StoreUnavailable(
            f"The attached file cannot be saved: {error.strerror or error}.",
            hint="Check the disk, or set LMCHAT_HOME to another folder.",
        ) from error
    return digest


def read(folder: Path, digest: str) -> bytes:
    """Return the content of a file; raises `StoreUnavailable` if it is missing or damaged."""
    try:
        data = read_plain(folder / digest, max_bytes=MAX_BYTES)
    except FileNotFoundError as error:
        raise _unreadable("is missing") from error
    except OSError as error:
        raise _unreadable(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # an imported session may have any text as digest, as with a NUL
        raise _unreadable(f"cannot be read: {error}") from error
    if sha256(data).hexdigest() != digest:  # or the digest of an import is a path to another file
        raise _unreadable("is damaged")
    return data


def _unreadable(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"The attached file {reason}.", hint="Attach it again.")


def remove(connection: Connection, folder: Path, digests: Collection[str]) -> None:
    """Remove files, young ones too, unless a message or draft still names them."""
    if not digests:
        return
    is_named = _check_of_names(connection)
    for digest in digests:
        if not is_named(digest):
            with suppress(OSError):  # the folder may be read-only now
                (folder / digest).unlink()


def remove_unnamed(connection: Connection, folder: Path, moment: datetime) -> None:
    """Remove the files that neither a message nor a draft names anymore, except young ones."""
    is_named = _check_of_names(connection)
    young_from_s = moment.timestamp() - _YOUNG_S
    for path in folder.glob("*"):
        with suppress(OSError):  # another process has just removed it
            if not is_named(path.name) and path.stat().st_mtime < young_from_s:
                path.unlink()
                log.info("an attached file that no message names was removed")


def _check_of_names(connection: Connection) -> Callable[[str], bool]:
    """Return a function that tells whether a message or a draft names a digest.

    Messages and drafts are read now, once for all calls.
    """
    rows = connection.execute("select call_id from parts where kind = 'file'")
    digests_in_messages = {loaded(digest) for (digest,) in rows}
    rows = connection.execute("select text from drafts")
    text_of_drafts = "\n".join(loaded(text) for (text,) in rows)

    def is_named(digest: str) -> bool:
        return digest in digests_in_messages or digest in text_of_drafts

    return is_named
