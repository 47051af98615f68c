"""The list of sessions in parts: its beginning is read without the rest, however long it is."""

from __future__ import annotations

from collections.abc import Callable

from lmchat.domain.session import ListFilter, SessionHeader, SessionsFound
from lmchat.storage.connection import Connection
from lmchat.storage.rows import HEADER_COLUMNS, header_from, loaded


def sessions_with(connection: Connection, wanted: ListFilter, limit: int) -> SessionsFound:
    """Return the first sessions of the list that fit, archived ones behind all others, and the number of all.

    A filter looks at every title, but not at what else belongs to a session.
    """
    where = "deleted_at is null"
    if wanted != ListFilter():
        connection.create_function("fits", 2, _on_stored(wanted), deterministic=True)
        where += " and fits(title, tags)"
    found: list[SessionHeader] = []
    for is_archived in (False, True):
        rows = connection.execute(
            f"select {HEADER_COLUMNS} from sessions where {where} and is_archived = ? "
            "order by is_pinned desc, updated_at desc, rowid desc limit ?",
            (is_archived, max(limit - len(found), 0)),
        )
        found += (header for header in map(header_from, rows) if header is not None)
    total = connection.execute(f"select count(*) from sessions where {where}").fetchone()[0]
    return SessionsFound(headers=tuple(found), total=total)


def _on_stored(wanted: ListFilter) -> Callable[[object, object], bool]:
    def fits(title: object, tags: object) -> bool:
        return wanted.fits(loaded(title), loaded(tags).split())

    return fits
