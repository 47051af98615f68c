"""Copies of the sessions' file that nobody would look for."""

from __future__ import annotations

import os

import pytest

from lmchat.storage.backup import remove_old_copies

LONG_AGO_S = 1_000_000_000


@pytest.mark.parametrize("name", ["sessions.db.format-1", ".sessions.db.format-1.0a1b2c3d"])
def test_an_old_copy_goes_also_where_a_kill_left_half_of_it(tmp_path, name):
    old, fresh = tmp_path / name, tmp_path / f"{name}-journal"
    for one in (old, fresh):
        one.write_text("what was deleted since")
    os.utime(old, (LONG_AGO_S, LONG_AGO_S))
    remove_old_copies(tmp_path / "sessions.db", days=30)
    assert not old.exists()
    assert fresh.exists()  # another process may be making it


def test_a_copy_is_looked_for_beside_the_file_that_a_link_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    copy = tmp_path / "real" / "sessions.db.format-1"
    copy.write_text("what was deleted since")
    os.utime(copy, (LONG_AGO_S, LONG_AGO_S))
    (tmp_path / "real" / "sessions.db").touch()
    link = tmp_path / "sessions.db"
    link.symlink_to(tmp_path / "real" / "sessions.db")
    remove_old_copies(link, days=30)
    assert not copy.exists()
