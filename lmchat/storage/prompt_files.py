"""Prompts that the built-in engine has read: which may be kept, and which files have to go.

Such a file holds the words of its session.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from lmchat.files.kept_prompts import kept_prompts
from lmchat.storage.opening import Connection
from lmchat.storage.row_values import text_from

_VISIBLE = """select m.session_id from messages m
    join sessions s on s.session_id = m.session_id
    where m.message_id = ? and m.hidden_by is null and s.deleted_at is null"""


def are_visible(connection: Connection, message_ids: Sequence[str]) -> bool:
    """Return whether these messages are all saved, in sessions outside the trash."""
    return all(connection.execute(_VISIBLE, (one,)).fetchone() for one in message_ids)


def remove_deleted(
    connection: Connection, folder: Path | None, session_ids: Collection[str] = ()
) -> list[Path]:
    """Remove the files of deleted sessions, and of those with these ids.

    Return the files that could not be removed.
    """
    left: list[Path] = []
    for kept in kept_prompts(folder) if folder is not None else ():
        row = connection.execute(_VISIBLE, (kept.message_id,)).fetchone()
        if row is not None and text_from(row[0]) not in session_ids:
            continue
        try:
            kept.path.unlink(missing_ok=True)
        except OSError:
            left.append(kept.path)
    return left
