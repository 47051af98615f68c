"""Opening, listing and keeping a prompt, however much there is, beside the same work in bare SQLite."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lmchat.domain.message import Role, new_id, text_message
from lmchat.domain.session import ListFilter, SessionHeader
from lmchat.storage import write
from lmchat.storage.database import connect
from lmchat.storage.schema import transaction
from lmchat.storage.search import index_batch
from lmchat.storage.store import SqliteStore
from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.search_store import fill

_COUNTS = (10, 1_000, 10_000, 100_000)
_SHOWN = 60
"""Sessions that fit on a tall screen."""
_TEXT = "What grows in the shade, in three metres, in August?"
_WORK = {
    "open": ("open, threads and all, and the list, {} messages", ""),
    "append": ("a prompt kept durably, {} messages", "<= 3 x"),
    "list": ("first screen of the list, {} sessions", ""),
}
_TICK_S = 0.002
_LIST = """select session_id, title, created_at, updated_at, model, endpoint, is_pinned, is_archived, deleted_at,
    parent_id, (select count(*) from messages m where m.session_id = s.session_id and m.hidden_by is null)
    from sessions s where deleted_at is null and is_archived = 0
    order by is_pinned desc, updated_at desc, rowid desc limit ?"""
_COUNT = "select count(*) from sessions where deleted_at is null"

Taken = dict[str, list[float]]


def sizes(bench: Bench) -> Iterator[Row]:
    """A file of so many messages, 20 to a session, is opened and written; one of so many sessions is listed."""
    few: dict[str, float] = {}
    for count in _COUNTS:
        path, many = bench.folder / f"sizes{count}.db", bench.folder / f"many{count}.db"
        fill(path, count)
        _fill_sessions(many, count)
        ours, bare, late_ms = _measured(path, many, bench.runs)
        for name, (what, must) in _WORK.items():
            mine, theirs = median(ours[name]), median(bare[name])
            few.setdefault(name, mine)
            yield row(f"{what.format(count)} : bare SQLite", f"{mine / theirs:.1f} x", must)
            yield row(
                f"  lmchat; bare; lmchat with {_COUNTS[0]}", f"{mine:.2f}; {theirs:.2f}; {few[name]:.2f} ms"
            )
        yield row("  event loop late meanwhile, worst of a run", f"{late_ms:.1f} ms", "<= 16 ms")


def _fill_sessions(path: Path, count: int) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    with closing(connect(path)) as connection:
        with transaction(connection):
            for number in range(count):
                moment += timedelta(minutes=4)
                header = SessionHeader(
                    session_id=new_id(), title=f"Session {number}", created_at=moment, updated_at=moment
                )
                write.put_session(connection, header)
                write.put_message(connection, header.session_id, text_message(Role.USER, _TEXT))
        while index_batch(connection):
            pass


def _measured(path: Path, many: Path, runs: int) -> tuple[Taken, Taken, float]:
    """Return ms of both, in turn, so that a busy machine is busy for both."""
    ours: Taken = {"open": [], "append": [], "list": []}
    bare: Taken = {"open": [], "append": [], "list": []}
    copy = Path(shutil.copy(path, path.with_suffix(".bare.db")))
    late: list[float] = []
    for _ in range(runs):
        late.append(asyncio.run(_ours(path, many, ours)))
        _bare(copy, many, bare)
    return ours, bare, median(late)


async def _ours(path: Path, many: Path, taken: Taken) -> float:
    late = [0.0]
    ticking = asyncio.ensure_future(_tick(late))
    await asyncio.sleep(0)
    begun_s = time.perf_counter()
    store = SqliteStore(path)
    await store.open()
    found = await store.sessions_with(ListFilter(), limit=_SHOWN)
    taken["open"].append(_ms_since(begun_s))
    for _ in range(20):
        begun_s = time.perf_counter()
        await store.append(found.headers[0], text_message(Role.USER, _TEXT))
        taken["append"].append(_ms_since(begun_s))
    await store.aclose()
    store = SqliteStore(many)
    await store.open()
    for _ in range(5):
        begun_s = time.perf_counter()
        await store.sessions_with(ListFilter(), limit=_SHOWN)
        taken["list"].append(_ms_since(begun_s))
    await store.aclose()
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    return max(late)


async def _tick(late_ms: list[float]) -> None:
    while True:
        begun_s = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        late_ms.append(_ms_since(begun_s) - _TICK_S * 1e3)


def _bare(path: Path, many: Path, taken: Taken) -> None:
    begun_s = time.perf_counter()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal").fetchone()
        session_id = _listed(connection)[0][0]
        taken["open"].append(_ms_since(begun_s))
        connection.execute("pragma synchronous = full")
        for _ in range(20):
            _timed(taken["append"], lambda: _append(connection, session_id))
    with closing(sqlite3.connect(many, isolation_level=None)) as connection:
        _listed(connection)
        for _ in range(5):
            _timed(taken["list"], lambda: _listed(connection))


def _listed(connection: sqlite3.Connection) -> list[tuple]:
    connection.execute(_COUNT).fetchone()
    return connection.execute(_LIST, (_SHOWN,)).fetchall()


def _append(connection: sqlite3.Connection, session_id: str) -> None:
    message_id, moment = new_id(), datetime.now(UTC).isoformat()
    connection.execute("begin immediate")
    number = connection.execute(
        "insert into messages (message_id, session_id, role, state, created_at, is_indexed) "
        "values (?, ?, 'user', 'complete', ?, 1)",
        (message_id, session_id, moment),
    ).lastrowid
    part_id = connection.execute(
        "insert into parts (number, kind, text) values (?, 'text', ?)", (number, _TEXT)
    ).lastrowid
    connection.execute("insert into words (rowid, text) values (?, ?)", (part_id, _TEXT))
    connection.execute(
        "update sessions set leaf_id = ?, updated_at = ? where session_id = ?",
        (message_id, moment, session_id),
    )
    connection.execute("commit")


def _timed(taken: list[float], work: Callable[[], object]) -> None:
    begun_s = time.perf_counter()
    work()
    taken.append(_ms_since(begun_s))


def _ms_since(begun_s: float) -> float:
    return (time.perf_counter() - begun_s) * 1e3
