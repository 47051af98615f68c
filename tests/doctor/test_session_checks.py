from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing
from pathlib import Path

from lmchat.doctor.machine_checks import store_findings
from lmchat.doctor.report import CheckResult, Grade
from lmchat.storage.opening import connect
from lmchat.storage.schema import VERSION
from lmchat.storage.store import Store
from tests.support.chats import fill

PAGE = 4096


async def filled(path: Path) -> Path:
    """A real file with 40 sessions in it, closed."""
    async with aclosing(Store(path)) as store:
        await fill(store, 40)
    return path


def checked(path: Path) -> CheckResult:
    [row] = store_findings(path)
    assert row.next_step or row.grade is Grade.OK
    return row


async def test_a_good_file_is_told_with_its_figures_and_left_as_it_is_also_where_it_is_open(
    tmp_path,
):
    path = await filled(tmp_path / "sessions.db")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    row = checked(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert row.grade is Grade.OK
    assert f"format {VERSION}." in row.cause
    with closing(connect(path)):
        assert checked(path).grade is Grade.OK


def test_nothing_saved_yet_is_no_fault(tmp_path):
    assert checked(tmp_path / "lmchat" / "sessions.db").grade is Grade.OK
    assert not (tmp_path / "lmchat").exists()


async def test_damage_in_the_middle_is_found_and_left_as_it_is(tmp_path):
    path = await filled(tmp_path / "sessions.db")
    data = bytearray(path.read_bytes())
    data[PAGE * 3 : PAGE * 12] = b"\xff" * PAGE * 9
    path.write_bytes(data)
    assert checked(path).grade is Grade.FAULT
    assert path.read_bytes() == data


def test_what_is_no_database_is_a_fault(tmp_path):
    for text in (
        b"this is no database " * 300,
        b"SQLite format 3\x00" + b"\x00" * 5000,
    ):
        path = tmp_path / "sessions.db"
        path.write_bytes(text)
        assert checked(path).grade is Grade.FAULT
        assert path.read_bytes() == text


async def test_a_file_of_another_version_names_both_versions(tmp_path):
    path = await filled(tmp_path / "sessions.db")
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"pragma user_version = {VERSION + 7}")
    row = checked(path)
    assert row.grade is Grade.FAULT
    assert f"format {VERSION + 7}; this one reads only {VERSION})." in row.cause
