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
from hashlib import sha256
from pathlib import Path

from lmchat.errors import StoreUnavailable
from lmchat.files.disk import read_plain, write_atomically
from lmchat.storage.opening import Connection
from lmchat.storage.row_values import text_from

_logger = logging.getLogger(__name__)

_DIGEST = re.compile("[0-9a-f]{64}")
# a digest, or the file that a killed `write_atomically` left
_OWN_NAME = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{50}\.[0-9a-f]{8}")
# a younger file stays: its message is written after it
_YOUNG_S = 60
_MOST_BYTES = 256_000_000


def save(folder: Path, data: bytes) -> str:
    """Raises `StoreUnavailable`."""
    digest = sha256(data).hexdigest()
    try:
        write_atomically(folder / digest, data)
    except OSError as error:
        raise StoreUnavailable(
            f"The attached file cannot be saved: {error.strerror or error}.",
            hint="Check the disk, or set LMCHAT_HOME to another folder.",
        ) from error
    return digest


def read(folder: Path, digest: str) -> bytes:
    """Raises `StoreUnavailable`."""
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
    return StoreUnavailable(f"The attached file {reason}.", hint="Attach it again.")


def remove(folder: Path, digests: Collection[str]) -> list[Path]:
    """Return the files that could not be removed.

    Only digests are: an imported message may name the path of a file of the user.
    """
    kept: list[Path] = []
    for digest in filter(_DIGEST.fullmatch, digests):
        try:
            (folder / digest).unlink(missing_ok=True)
        except OSError:  # a read-only folder
            kept.append(folder / digest)
    return kept


def remove_unnamed(connection: Connection, folder: Path, moment: datetime) -> None:
    """Remove only files with names of lmchat's: LMCHAT_HOME may be a folder of the user."""
    digests = named_digests(connection)
    young_from_s = moment.timestamp() - _YOUNG_S
    for path in folder.glob("*"):
        with suppress(OSError):  # another process has just removed it
            is_unnamed = _OWN_NAME.fullmatch(path.name) and path.name not in digests
            if is_unnamed and path.stat().st_mtime < young_from_s:
                path.unlink()
                _logger.info("an attached file that no message names was removed")


def named_digests(connection: Connection) -> set[str]:
    rows = connection.execute("select call_id from parts where kind = 'file'")
    digests = {text_from(digest) for (digest,) in rows}
    for (text,) in connection.execute("select text from drafts"):
        digests.update(_DIGEST.findall(text_from(text)))
    return digests
