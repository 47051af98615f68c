"""Another `sessions.db`, as a copy or of another machine, read as JSON exports of its sessions."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from lmchat.base.errors import FileRefused
from lmchat.base.files.disk import open_plain
from lmchat.base.processes.background import in_thread
from lmchat.base.safe_text import safe_line
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.storage.attachment_files import AttachedFiles
from lmchat.core.storage.schema import has_tables
from lmchat.core.storage.store import Store

_HEAD = b"SQLite format 3\0"


async def exports_of(database: Path) -> AsyncGenerator[bytes, None]:
    """Yield none if it is another database. It stays as it is; what is in the trash stays there.

    Raises `OSError`; `FileRefused` without sessions; `StoreUnavailable` for a file that is damaged
    or of a newer lmchat.
    """
    with TemporaryDirectory(prefix="lmchat-") as folder:
        copy = Path(folder) / "sessions.db"
        if not await _copy(database, copy):
            return
        async with aclosing(Store(copy)) as store:
            store.files = AttachedFiles(database.with_name("attachments"))
            headers = await store.list_sessions()
            if not headers:
                raise FileRefused(
                    f"{safe_line(str(database))} has no sessions outside of its trash.",
                    next_step="Name another file.",
                )
            library = Library(store)
            for header in headers:
                session = await store.open_session(header.session_id)
                if session.messages:
                    yield (await library.export_text(session, ExportAs(form="json"))).encode()


@in_thread
def _copy(database: Path, copy: Path) -> bool:
    """Return False for a file that is no `sessions.db`."""
    with open_plain(database) as file:
        if file.read(len(_HEAD)) != _HEAD:
            return False
    shutil.copyfile(database, copy)
    if not has_tables(copy):
        return False
    for log in ("-journal", "-wal"):  # the second is of an older lmchat
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{database}{log}", f"{copy}{log}")
    return True
