from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from lmchat.machine.scratch import ScratchFolders, sweep_scratch_folders
from tests.support.programs import wait_until
from tests.support.pty_program import ROOT

_OWNER = """
import sys
from lmchat.machine.scratch import ScratchFolders
folder = ScratchFolders(has_guard="guard" in sys.argv).make()
(folder / "prompt.md").write_text("words")
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Use a folder for temporary files of its own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def owner():
    """Another process that has made a folder and waits."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", _OWNER]
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # noqa: S603 - our own
        process.stdout.readline()
        yield process
        process.kill()


def test_a_folder_is_private_and_removed(temporary):
    with ScratchFolders().folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_all_folders_are_removed_at_once(temporary):
    scratch = ScratchFolders()
    folders = [scratch.make() for _ in range(3)]
    scratch.remove_all()
    scratch.remove(folders[0])
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_running_process_stays_and_that_of_a_killed_one_is_removed(
    temporary, owner
):
    sweep_scratch_folders()
    (folder,) = temporary.iterdir()
    assert (folder / "prompt.md").read_text() == "words"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    sweep_scratch_folders()
    assert list(temporary.iterdir()) == []


def test_folders_of_others_stay(temporary, tmp_path, owner):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    (left,) = temporary.iterdir()
    elsewhere = tmp_path / "elsewhere"
    left.rename(elsewhere)
    (temporary / "lmchat-link").symlink_to(elsewhere)
    mine = temporary / "lmchat-mine"
    mine.mkdir(mode=0o700)
    (mine / "notes.txt").write_text("mine")
    (temporary / "other").mkdir()
    (temporary / "lmchat-file").write_text("mine")
    sweep_scratch_folders()
    assert (elsewhere / "prompt.md").exists()
    names = {path.name for path in temporary.iterdir()}
    assert names == {"lmchat-link", "lmchat-mine", "other", "lmchat-file"}
    assert (mine / "notes.txt").exists()


def test_without_a_folder_for_temporary_files_nothing_is_removed(temporary):
    temporary.rmdir()
    sweep_scratch_folders()


def test_a_guard_removes_the_folder_of_a_killed_process(temporary):
    command = [sys.executable, "-c", _OWNER, "guard"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # noqa: S603 - our own
        process.stdout.readline()
        assert len(list(temporary.iterdir())) == 1
        process.kill()
        wait_until(lambda: list(temporary.iterdir()) == [], "the folder is removed")


def test_a_guard_ends_with_its_folder():
    scratch = ScratchFolders(has_guard=True)
    before = set(psutil.Process().children())
    folder = scratch.make()
    (guard,) = set(psutil.Process().children()) - before
    scratch.remove(folder)
    assert (folder.exists(), guard.is_running()) == (False, False)
