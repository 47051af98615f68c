"""Names that people give: to branches of a session; every function is a job for the connection."""

from __future__ import annotations

from lmchat.storage.connection import Connection
from lmchat.storage.rows import loaded, stored


def branch_names(connection: Connection, session_id: str) -> dict[str, str]:
    """Return the names of branches by the id of their first message."""
    rows = connection.execute(
        "select message_id, branch from messages where session_id = ? and branch <> ''", (session_id,)
    )
    return {str(message_id): loaded(name) for message_id, name in rows}


def name_branch(connection: Connection, session_id: str, message_id: str, name: str) -> None:
    """Name the branch that begins with a message; an empty name takes it away."""
    connection.execute(
        "update messages set branch = ? where session_id = ? and message_id = ?",
        (stored(name), session_id, message_id),
    )
