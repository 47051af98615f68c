from __future__ import annotations

import errno
from functools import partial

import pytest

from lmchat.app.leaves.doctor.checks import (
    FOLDER,
    folder_findings,
    kept_prompt_findings,
    locale_findings,
    store_findings,
)
from lmchat.app.leaves.doctor.finding import Grade, run_checks
from lmchat.base.processes.background import in_thread
from tests.support.faults import no_root, open_folder


def test_before_the_first_start_all_is_well_and_nothing_is_made(tmp_path):
    (row,) = folder_findings(tmp_path / "home" / "lmchat")
    assert row.grade is Grade.OK
    assert list(tmp_path.iterdir()) == []


@pytest.mark.posix
async def test_a_file_in_the_place_of_the_folder_and_one_without_rights_are_faults():
    with open_folder() as folder:
        (folder / "file").write_text("", encoding="utf-8")
        (folder / "fixed").mkdir(mode=0o555)
        (folder / "closed").mkdir(mode=0o000)
        with no_root():
            for name, words in (
                ("file", "file is a file, not a folder."),
                ("fixed", "fixed cannot be used: writing is not permitted"),
                ("closed", "closed cannot be entered: it belongs to "),
                ("closed/in", "closed cannot be entered: it belongs to "),
            ):
                find = in_thread(partial(folder_findings, folder / name))
                (row,) = await run_checks(((FOLDER, find),))
                assert (row.grade, words in row.cause) == (Grade.FAULT, True)
            for other in (store_findings, kept_prompt_findings):
                find = in_thread(partial(other, folder / "closed" / "in"))
                assert [one.cause for one in await run_checks(((FOLDER, find),))] == [row.cause]


@pytest.mark.posix
def test_the_locale_that_counts_decides():
    for environ, grade in [
        ({"LANG": "de_DE.UTF-8"}, Grade.OK),
        ({"LANG": "C", "LC_ALL": "en_US.utf8"}, Grade.OK),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, Grade.WARNING),
        ({"LANG": "de_DE.ISO-8859-1"}, Grade.WARNING),
        ({}, Grade.WARNING),
    ]:
        (row,) = locale_findings(environ)
        assert row.grade is grade


@pytest.mark.posix
def test_a_disk_without_locks_is_named_before_anything_is_saved(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", fail)
    (row,) = folder_findings(tmp_path / "lmchat")
    words = f"The disk of {tmp_path} has no file locks, as some network disks."
    assert (row.grade, row.cause) == (Grade.WARNING, words)
    assert row.next_step == "Set LMCHAT_HOME to a folder on this machine"
    assert list(tmp_path.iterdir()) == []
