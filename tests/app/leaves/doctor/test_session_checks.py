from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import aclosing, closing
from pathlib import Path

from lmchat.app.leaves.doctor.checks import STORE, kept_prompt_findings, store_findings
from lmchat.app.leaves.doctor.finding import Finding, Grade, run_checks
from lmchat.base.processes.background import in_thread
from lmchat.core.storage.opening import connect, transaction
from lmchat.core.storage.schema import newest_version
from lmchat.core.storage.store import Store
from tests.support.chats import fill

PAGE = 4096


async def filled(path: Path) -> Path:
    """A real file with 40 sessions in it, closed."""
    async with aclosing(Store(path)) as store:
        await fill(store, 40)
    return path


async def checked(path: Path) -> Finding:
    [row] = await run_checks(((STORE, in_thread(lambda: store_findings(path))),))
    assert row.next_step or row.grade is Grade.OK
    return row


async def test_a_good_file_is_told_with_its_figures_and_left_as_it_is_also_where_it_is_open(
    tmp_path,
):
    path = await filled(tmp_path / "sessions.db")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    row = await checked(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert row.grade is Grade.OK
    assert f"format {newest_version()}." in row.cause
    with closing(connect(path)) as open_file, open_file:
        size = path.stat().st_size
        open_file.execute("CREATE TABLE notes (text)")
        open_file.execute("INSERT INTO notes VALUES (zeroblob(?))", (10 * size,))
        open_file.commit()
        row = await checked(path)
        assert row.grade is Grade.OK
        assert ": 1 MB," in row.cause


async def test_nothing_saved_yet_is_no_fault(tmp_path):
    assert (await checked(tmp_path / "lmchat" / "sessions.db")).grade is Grade.OK
    assert not (tmp_path / "lmchat").exists()


async def test_damage_in_the_middle_and_what_is_no_database_are_found_and_left_as_they_are(
    tmp_path,
):
    path = await filled(tmp_path / "sessions.db")
    damaged = bytearray(path.read_bytes())
    damaged[PAGE * 3 : PAGE * 12] = b"\xff" * PAGE * 9
    for data in (damaged, b"this is no database " * 300):
        path.write_bytes(data)
        assert (await checked(path)).grade is Grade.FAULT
        assert path.read_bytes() == data


async def test_a_log_of_another_file_is_named_and_not_played_into_the_file(tmp_path):
    path = await filled(tmp_path / "sessions.db")
    other = await filled(tmp_path / "other.db")
    with closing(connect(other)) as writer:
        writer.execute("pragma cache_size = 2")  # pages: the others are written at once
        with transaction(writer):
            writer.execute("update parts set text = hex(randomblob(900))")
            shutil.copy(f"{other}-journal", f"{path}-journal")
    before = path.read_bytes()
    row = await checked(path)
    assert (row.grade, path.read_bytes()) == (Grade.WARNING, before)
    os.truncate(f"{path}-journal", 516)  # as for a moment of each change: no page to play
    assert (await checked(path)).grade is Grade.OK


async def test_a_file_of_another_version_names_both_versions(tmp_path):
    path = await filled(tmp_path / "sessions.db")
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"pragma user_version = {newest_version() + 7}")
    row = await checked(path)
    assert row.grade is Grade.FAULT
    assert f"format {newest_version() + 7}; this one reads up to {newest_version()})." in row.cause


def test_the_size_of_read_prompts_is_told_where_there_are_any(tmp_path):
    assert kept_prompt_findings(tmp_path / "missing") == []
    (tmp_path / "mine.txt").write_text("kale", encoding="utf-8")
    assert kept_prompt_findings(tmp_path) == []
    for engine in ("0" * 16, "1" * 16):  # two models have read one session
        (tmp_path / f"abc.{engine}.300000").write_bytes(bytes(300_000))
    (row,) = kept_prompt_findings(tmp_path)
    assert (row.grade, row.cause) == (Grade.OK, f"0.6 MB of 1 session, in {tmp_path}.")
