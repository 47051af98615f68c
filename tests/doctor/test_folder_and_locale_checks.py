from __future__ import annotations

from pathlib import Path

from lmchat.doctor.machine_checks import folder_findings, locale_findings
from lmchat.doctor.report import Grade
from lmchat.files.paths import Paths
from tests.support.faults import no_root, open_folder


def paths_in(folder: Path) -> Paths:
    return Paths(
        config_dir=folder / "config", cache_dir=folder / "cache", state_dir=folder / "state"
    )


def grades(paths: Paths) -> list[Grade]:
    rows = folder_findings(paths)
    assert all(row.next_step for row in rows if row.grade is not Grade.OK)
    return [row.grade for row in rows]


def test_before_the_first_start_all_is_well_and_nothing_is_made(tmp_path):
    assert grades(paths_in(tmp_path)) == [Grade.OK]
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_a_fault(tmp_path):
    paths = paths_in(tmp_path)
    (tmp_path / "config").write_text("")
    (tmp_path / "cache").write_text("")
    assert grades(paths) == [Grade.FAULT, Grade.FAULT]


def test_a_folder_that_cannot_be_written_to_is_a_fault():
    with open_folder() as folder:
        paths = paths_in(folder)
        paths.config_dir.mkdir(exist_ok=True)
        paths.config_dir.chmod(0o555)
        with no_root():
            assert grades(paths) == [Grade.FAULT]
        paths.config_dir.chmod(0o700)


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
