"""Another `sessions.db`, as a copy or of another machine, read as JSON exports of its sessions."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from lmchat.library.library import ExportAs, Library
from lmchat.storage.schema import has_tables
from lmchat.storage.store import Store

_HEAD = b"SQLite format 3\0"


async def exports_of(database: Path) -> AsyncGenerator[bytes, None]:
    """Yield none if it is another database. It stays as it is; what is in the trash stays there.

    Raises `OSError` and `LMChatError`, as for a file of a newer lmchat.
    """
    with TemporaryDirectory(prefix="lmchat-") as folder:
        copy = Path(folder) / "sessions.db"
        if not await asyncio.to_thread(_copy, database, copy):
            return
        async with aclosing(Store(copy)) as store:
            library = Library(store)
            for header in await store.list_sessions():
                session = await store.open_session(header.session_id)
                yield (await library.export_text(session, ExportAs(form="json"))).encode()


def _copy(database: Path, copy: Path) -> bool:
    """Return False for a file that is no `sessions.db`."""
    with database.open("rb") as file:
        if file.read(len(_HEAD)) != _HEAD:
            return False
    shutil.copyfile(database, copy)
    if not has_tables(copy):
        return False
    with suppress(FileNotFoundError):  # of an older lmchat
        shutil.copyfile(f"{database}-wal", f"{copy}-wal")
    if (attachments := database.with_name("attachments")).is_dir():
        shutil.copytree(attachments, copy.with_name("attachments"))
    return True
