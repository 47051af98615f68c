"""Modes of the files and folders that lmchat makes, under a umask that hides nothing."""

from __future__ import annotations

import os
import stat

import pytest

from tests.support.programs import Inside

Cli = Inside


@pytest.fixture(autouse=True)
def without_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def run_open(cli, *words):
    done = cli(*words)
    assert done.returncode == 0, done


def open_to_others(home):
    """Return what others may read or enter below a home."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.lstat().st_mode & 0o077}


@pytest.mark.parametrize("has_own_home", [False, True])
def test_what_lmchat_makes_is_closed_to_others_whatever_the_umask(tmp_path, cli, has_own_home):
    cli.env["LMCHAT_HOME"] = str(tmp_path / "new" / "deep") if has_own_home else ""
    for name in ("CONFIG", "CACHE", "STATE"):
        cli.env[f"XDG_{name}_HOME"] = str(tmp_path / "xdg" / name)
    run_open(cli, "config", "init")
    note = tmp_path / "note.txt"
    folder = tmp_path / "out" / "all"
    mine = tmp_path / "mine.md"
    note.write_text("Soil.")
    note.chmod(0o600)
    run_open(cli, "ask", "--save", "-f", str(note), "Hi", "--log-level", "debug")
    run_open(cli, "export", "--all", str(folder))
    (exported,) = folder.iterdir()
    assert open_to_others(tmp_path) == {str(exported.relative_to(tmp_path))}
    mine.write_text("mine")
    mine.chmod(0o600)
    run_open(cli, "export", "-o", str(mine), "--force")
    assert ("Hi" in mine.read_text(), stat.S_IMODE(mine.stat().st_mode)) == (True, 0o600)
