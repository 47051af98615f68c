"""Modes of the files and folders that lmchat makes, under a umask that hides nothing."""

from __future__ import annotations

import stat
import subprocess

import pytest

from tests.support.programs import Cli
from tests.support.pty_program import clean_environment

_WITHOUT_UMASK = ("sh", "-c", 'umask 000; exec "$@"', "sh")


def run_open(cli, *words, **environment):
    """Run a command of a user whose umask is 000."""
    argv = [*_WITHOUT_UMASK, *cli.argv(*words)]
    env = clean_environment(cli.home) | environment
    done = subprocess.run(argv, env=env, cwd=cli.home, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done
    return done


def open_to_others(home):
    """Return what others may read or enter below a home."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.lstat().st_mode & 0o077}


@pytest.mark.parametrize("has_own_home", [False, True])
def test_what_lmchat_makes_is_closed_to_others_whatever_the_umask(tmp_path, server, has_own_home):
    cli = Cli(home=tmp_path, url=server.url)
    environment = (
        {"LMCHAT_HOME": str(tmp_path / "new" / "deep")} if has_own_home else {"LMCHAT_HOME": ""}
    )
    environment |= {
        f"XDG_{name}_HOME": str(tmp_path / "xdg" / name) for name in ("CONFIG", "CACHE", "STATE")
    }
    run_open(cli, "config", "init", **environment)
    (tmp_path / "note.txt").write_text("Soil.")
    (tmp_path / "note.txt").chmod(0o600)
    run_open(cli, "ask", "--save", "-f", "note.txt", "Hi", "--log-level", "debug", **environment)
    run_open(cli, "export", "--all", "out/all", **environment)
    exported = {str(path.relative_to(tmp_path)) for path in (tmp_path / "out" / "all").iterdir()}
    assert len(exported) == 1
    assert open_to_others(tmp_path) == exported


def test_an_export_keeps_the_mode_of_the_file_that_it_overwrites(tmp_path, server):
    cli = Cli(home=tmp_path, url=server.url)
    run_open(cli, "ask", "--save", "Hi")
    file = tmp_path / "mine.md"
    file.write_text("mine")
    file.chmod(0o600)
    run_open(cli, "export", "-o", str(file), "--force")
    assert ("Hi" in file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (True, 0o600)
