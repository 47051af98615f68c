from __future__ import annotations

import errno
import os
import signal
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmchat.base.errors import FileRefused, StoreUnavailable
from lmchat.base.files.disk import (
    empty_log,
    ensure_folder,
    expanded_path,
    locked,
    start_log,
    write_atomically,
    write_new_file,
)
from lmchat.base.files.paths import home_folder
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.state import State, change_state
from tests.support.faults import no_room, no_root, open_folder
from tests.support.held_files import HOLD_LOCKS, held
from tests.support.modes import is_private
from tests.support.programs import PYTHON, run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.posix
def test_what_is_written_leaves_the_cache_of_the_disk_too(tmp_path, monkeypatch):
    """On macOS, another call than `fsync` does that; some network disks refuse it."""
    fcntl = pytest.importorskip("fcntl")
    synced = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command: synced.append(command))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append("fsync"))
    write_new_file(tmp_path / "a", "text")
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    write_new_file(tmp_path / "b", "text")
    assert synced == [51, "fsync"]


def refuse(*_):
    raise OSError(errno.ENOTSUP, "not supported")


def test_a_file_is_replaced_as_a_whole_with_its_mode_and_folder(tmp_path):
    path = tmp_path / "deep" / "state.toml"
    write_atomically(path, "one")
    write_atomically(path, "two \ud800\r\n")
    assert path.read_bytes() == b"two ?\r\n"
    assert is_private(path)
    assert is_private(path.parent)
    assert names(path.parent) == ["state.toml"]


@pytest.mark.posix
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "state.toml"
    write_atomically(path, "old")
    with no_room(), pytest.raises(OSError, match="File too large"):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["state.toml"]


@pytest.mark.posix
def test_a_dangling_link_counts_as_taken(tmp_path):
    (tmp_path / "plan.md").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileRefused, match="already exists"):
        write_new_file(tmp_path / "plan.md", "one")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.posix
@pytest.mark.parametrize("is_forced", [False, True])
def test_what_cannot_be_written_is_refused_with_one_sentence(tmp_path, is_forced):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(FileRefused, match="cannot be written"):
        write_new_file(tmp_path / "file" / "plan.md", "one", is_forced=is_forced)
    with pytest.raises(FileRefused, match="No such file or directory"):
        write_new_file(tmp_path / "absent" / "plan.md", "one", is_forced=is_forced)
    with pytest.raises(FileRefused):
        write_new_file(tmp_path, "a folder", is_forced=is_forced)
    with no_room(), pytest.raises(FileRefused, match="cannot be written: File too large"):
        write_new_file(tmp_path / "plan.md", "one", is_forced=is_forced)
    with pytest.raises(FileRefused):
        write_new_file(tmp_path / ("x" * 300), "too long", is_forced=is_forced)
    assert names(tmp_path) == ["file"]


@pytest.mark.posix
def test_what_is_no_ordinary_file_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link.md").symlink_to(pipe)
    for path in (pipe, tmp_path / "link.md"):
        with pytest.raises(FileRefused, match="not a regular file"):
            write_new_file(path, "text", is_forced=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_name_that_is_as_long_as_the_system_takes_is_written(tmp_path):
    path = tmp_path / f"{'語' * 84}.md"
    write_new_file(path, "text")
    write_new_file(path, "newer", is_forced=True)
    assert path.read_text(encoding="utf-8") == "newer"


# The system ends it once its file has three bytes.
KILLED_WRITER = """
import resource, signal, sys
from pathlib import Path
from lmchat.base.files.disk import write_new_file
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))
write_new_file(Path(sys.argv[1]), "text", is_forced=len(sys.argv) > 2)
"""


@pytest.mark.posix
@pytest.mark.parametrize(("old", "forced"), [("", []), ("", ["forced"]), ("old", ["forced"])])
def test_a_kill_leaves_no_half_file_under_its_name(tmp_path, old, forced):
    path = tmp_path / "plan.md"
    if old:
        path.write_text(old, encoding="utf-8")
    done = run([PYTHON, "-c", KILLED_WRITER, path, *forced])
    assert done.returncode == -signal.SIGXFSZ, done.stderr
    assert (path.read_text(encoding="utf-8") if path.exists() else "") == old
    assert path.exists() == bool(old)


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_overwritten_keeps_its_mode_and_so_does_one_behind_a_link(tmp_path, mode):
    path = tmp_path / "plan.md"
    link = tmp_path / "link.md"
    path.write_text("old", encoding="utf-8")
    path.chmod(mode)
    link.symlink_to(path)
    with umask(0o022):
        write_new_file(path, "new", is_forced=True)
        assert (path.read_text(encoding="utf-8"), mode_of(path)) == ("new", mode)
        write_new_file(link, "newer", is_forced=True)
    assert (path.read_text(encoding="utf-8"), mode_of(path), link.is_symlink()) == (
        "newer",
        mode,
        True,
    )
    assert names(tmp_path) == ["link.md", "plan.md"]


@pytest.mark.posix
@pytest.mark.parametrize("is_forced", [False, True])
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path, is_forced):
    with umask(0o027):
        write_new_file(tmp_path / "plan.md", "new", is_forced=is_forced)
    assert mode_of(tmp_path / "plan.md") == 0o640


@pytest.mark.posix
def test_a_folder_that_is_there_keeps_its_mode_and_a_file_in_its_place_is_an_error(tmp_path):
    tmp_path.chmod(0o755)
    ensure_folder(tmp_path / "deep")
    assert mode_of(tmp_path) == 0o755
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "gone")
    for place in (tmp_path / "file", tmp_path / "file" / "deep", tmp_path / "nowhere" / "deep"):
        with pytest.raises(NotADirectoryError):
            ensure_folder(place)


def test_an_emptied_log_is_written_on_by_the_program_that_has_it_open(tmp_path):
    log = tmp_path / "logs" / "tools.log"
    os.close(start_log(log))
    log.write_text("words of an older run", encoding="utf-8")
    descriptor = start_log(log)
    os.write(descriptor, b"words of this run")
    empty_log(log)
    assert names(log.parent) == ["tools.log"]
    assert log.read_bytes() == b""
    os.write(descriptor, b"next")
    os.close(descriptor)
    assert log.read_bytes() == b"next"
    empty_log(tmp_path / "none.log")


@pytest.mark.posix
def test_a_user_without_a_home_folder_gets_one_that_does_not_exist(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)  # of no user
    assert home_folder() == Path("~")


@pytest.mark.posix
def test_a_terminal_that_an_export_names_gets_its_safe_form():
    reading, terminal = os.openpty()
    write_new_file(Path(os.ttyname(terminal)), "red \x1b[31m \u202ewor\n", may_stream=True)
    os.close(terminal)
    assert os.read(reading, 100) == "red \u241b[31m \ufffdwor\r\n".encode()
    os.close(reading)


@pytest.mark.windows
@pytest.mark.parametrize("name", ["notes: beds.md", r"C:\garden\ab:c.md"])
def test_a_name_with_a_colon_would_be_a_hidden_stream_and_is_refused(name):
    with pytest.raises(FileRefused, match="has a colon, which names of files on Windows must not"):
        expanded_path(name)
    assert expanded_path(r"C:\garden\c.md") == Path("C:/garden/c.md")


@pytest.mark.posix
@pytest.mark.parametrize("is_stopped", [False, True], ids=["sleeps", "stopped"])
def test_a_lock_that_another_process_keeps_is_an_error_after_a_limit_for_that_file_alone(
    tmp_path, is_stopped
):
    with held(HOLD_LOCKS, tmp_path / "state.toml", tmp_path / "config.toml") as other:
        if is_stopped:
            other.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match="another program has locked it"):
            change_state(tmp_path / "state.toml", lambda state: state)
        for is_shared in (False, True):
            with (
                pytest.raises(BlockingIOError),
                locked(tmp_path / "config.toml", is_shared=is_shared, wait_s=0.1),
            ):
                pass
        Credentials(tmp_path / "credentials.toml").set("http://a", "key")  # its lock is free
    assert change_state(tmp_path / "state.toml", lambda state: state) == State()


@pytest.mark.posix
@pytest.mark.parametrize("has_lock_file", [False, True])
def test_in_a_folder_that_cannot_be_written_to_a_file_is_held_to_be_read(has_lock_file):
    with open_folder() as folder:
        file = folder / "sessions.db"
        file.touch()
        if has_lock_file:
            (folder / ".sessions.db.lock").touch()
        before = names(folder)
        for path in (*folder.iterdir(), folder):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o555 | 0o444)
        with no_root():
            for is_shared in (False, True):
                with locked(file, is_shared=is_shared):
                    assert file.read_bytes() == b""
        assert names(folder) == before
        folder.chmod(0o755)
