from __future__ import annotations

from pathlib import Path

import pytest

from lmchat.doctor.machine_checks import files_findings, mode_of
from lmchat.doctor.report import CheckResult, Grade
from lmchat.files.paths import Paths
from tests.support.faults import no_root, open_folder


def paths_in(folder: Path) -> Paths:
    return Paths(
        config_dir=folder / "config", cache_dir=folder / "cache", state_dir=folder / "state"
    )


def rows(paths: Paths, mode: int | None = None) -> dict[str, CheckResult]:
    return {
        row.check: row for row in files_findings(paths, mode or mode_of(paths.credentials_file))
    }


def keys(paths: Paths, mode: int) -> Path:
    paths.config_dir.mkdir(mode=0o700)
    paths.credentials_file.write_text('["http://127.0.0.1:1337"]\nkey = "sk-secret"\n')
    paths.credentials_file.chmod(mode)
    return paths.credentials_file


def test_before_the_first_start_all_is_well_and_nothing_is_made(tmp_path):
    found = rows(paths_in(tmp_path))
    assert {row.grade for row in found.values()} == {Grade.OK}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_keys_that_others_could_read_are_a_warning_without_the_keys(tmp_path, mode):
    paths = paths_in(tmp_path)
    file = keys(paths, mode)
    row = rows(paths)["files.credentials"]
    assert row.grade is Grade.WARNING
    assert f"mode {mode:o}" in row.cause
    assert row.next_step.startswith(f"chmod 600 {file}")
    assert "secret" not in repr(row)


def test_a_file_in_the_place_of_a_folder_is_a_fault(tmp_path):
    paths = paths_in(tmp_path)
    (tmp_path / "config").write_text("")
    (tmp_path / "cache").write_text("")
    found = [row for row in files_findings(paths, None) if row.check == "files.folder"]
    assert [row.grade for row in found] == [Grade.FAULT, Grade.FAULT]
    assert all(row.next_step for row in found)


def test_a_folder_that_cannot_be_written_to_is_a_fault():
    with open_folder() as folder:
        paths = paths_in(folder)
        paths.config_dir.mkdir(exist_ok=True)
        paths.config_dir.chmod(0o555)
        with no_root():
            assert rows(paths)["files.folder"].grade is Grade.FAULT
        paths.config_dir.chmod(0o700)
