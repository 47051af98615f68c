"""Files that are attached to messages, in a folder beside the database.

The name of a stored file is its SHA-256, so each content is stored once. Messages name it in the
column `call_id` of a part, drafts within their text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

from lmchat.base.errors import StoreUnavailable
from lmchat.base.files.disk import read_plain, write_atomically
from lmchat.base.processes.background import run_abandonable
from lmchat.core.storage.opening import Connection
from lmchat.core.storage.record_values import text_from

_logger = logging.getLogger(__name__)

_DIGEST = re.compile("[0-9a-f]{64}")
# a digest, or the file that a killed `write_atomically` left
_OWN_NAME = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{50}\.[0-9a-f]{8}")
# a younger file stays: its message is written after it
_YOUNG_S = 60
_MOST_BYTES = 256_000_000


class AttachedFiles:
    """Stored files by their digests: in a folder or, without one, in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._in_memory: dict[str, bytes] = {}

    async def save(self, data: bytes) -> str:
        """Return the digest; raise `StoreUnavailable`."""
        digest = sha256(data).hexdigest()
        if self._folder is None:
            self._in_memory[digest] = data
        else:  # abandoned, it leaves no half file
            await run_abandonable(partial(_write, self._folder / digest, data))
        return digest

    async def read(self, digest: str) -> bytes:
        """Raises `StoreUnavailable`."""
        if self._folder is not None:
            return await run_abandonable(partial(_read, self._folder, digest))
        if digest not in self._in_memory:
            raise _unreadable_error("is missing")
        return self._in_memory[digest]

    def remove(self, digests: Collection[str]) -> list[Path]:
        """Return the files that could not be removed.

        Only digests are: an imported message may name the path of a file of the user.
        """
        left: list[Path] = []
        if self._folder is None:
            return left
        for path in map(self._folder.joinpath, filter(_DIGEST.fullmatch, digests)):
            try:
                path.unlink(missing_ok=True)
            except OSError:  # a read-only folder
                left.append(path)
        return left

    def remove_unnamed(self, connection: Connection, moment: datetime) -> None:
        """Remove only files with names of lmchat's: LMCHAT_HOME may be a folder of the user."""
        digests = named_digests(connection)
        young_from_s = moment.timestamp() - _YOUNG_S
        for path in self._folder.glob("*") if self._folder is not None else ():
            with suppress(OSError):  # another process has just removed it
                is_unnamed = _OWN_NAME.fullmatch(path.name) and path.name not in digests
                if is_unnamed and path.stat().st_mtime < young_from_s:
                    path.unlink()
                    _logger.info("an attached file that no message names was removed")


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise StoreUnavailable(
            f"The attached file cannot be saved: {error.strerror or error}.",
            next_step="Check the disk, or set LMCHAT_HOME to another folder.",
        ) from error


def _read(folder: Path, digest: str) -> bytes:
    try:
        data = read_plain(folder / digest, max_bytes=_MOST_BYTES)
    except FileNotFoundError as error:
        raise _unreadable_error("is missing") from error
    except OSError as error:
        raise _unreadable_error(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # an imported session may name any text, even with a NUL
        raise _unreadable_error(f"cannot be read: {error}") from error
    # or the path of another file as a “digest”
    if sha256(data).hexdigest() != digest:
        raise _unreadable_error("is damaged")
    return data


def _unreadable_error(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"The attached file {reason}.", next_step="Attach it again.")


def named_digests(connection: Connection) -> set[str]:
    # a part that is a file has its digest where a call has its id
    records = connection.execute("select call_id from parts where kind = 'file'")
    digests = {text_from(digest) for (digest,) in records}
    for (text,) in connection.execute("select text from drafts"):
        digests.update(_DIGEST.findall(text_from(text)))
    return digests
