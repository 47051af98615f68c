from __future__ import annotations

import os
import resource
import stat
from contextlib import contextmanager

import pytest

from lmchat.errors import FileRefused
from lmchat.files import write_atomically, write_new_file


@contextmanager
def no_room():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole_with_its_mode_and_folder(tmp_path):
    path = tmp_path / "deep" / "state.toml"
    write_atomically(path, "one")
    write_atomically(path, "two \ud800\r\n")
    assert path.read_bytes() == b"two ?\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert names(path.parent) == ["state.toml"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "state.toml"
    write_atomically(path, "old")
    with no_room(), pytest.raises(OSError, match="File too large"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["state.toml"]


def test_a_link_is_followed_when_replacing(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state.toml").symlink_to(tmp_path / "elsewhere" / "state.toml")
    write_atomically(tmp_path / "state.toml", "text")
    assert (tmp_path / "state.toml").is_symlink()
    assert (tmp_path / "elsewhere" / "state.toml").read_text() == "text"


def test_a_new_file_is_never_written_over_another_one(tmp_path):
    path = tmp_path / "chats" / "plan.md"
    write_new_file(path, "one")
    with pytest.raises(FileRefused, match="already exists") as caught:
        write_new_file(path, "two")
    assert "--force" in caught.value.hint
    assert path.read_text() == "one"
    write_new_file(path, "three", is_forced=True)
    assert path.read_text() == "three"
    assert names(path.parent) == ["plan.md"]


def test_a_dangling_link_counts_as_taken(tmp_path):
    (tmp_path / "plan.md").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileRefused, match="already exists"):
        write_new_file(tmp_path / "plan.md", "one")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("is_forced", [False, True])
def test_what_cannot_be_written_is_refused_with_one_sentence(tmp_path, is_forced):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileRefused, match="cannot be written"):
        write_new_file(tmp_path / "file" / "plan.md", "one", is_forced=is_forced)
    with pytest.raises(FileRefused):
        write_new_file(tmp_path, "a folder", is_forced=is_forced)
    with no_room(), pytest.raises(FileRefused, match="cannot be written: File too large"):
        write_new_file(tmp_path / "plan.md", "one", is_forced=is_forced)
    with pytest.raises(FileRefused):
        write_new_file(tmp_path / ("x" * 300), "too long", is_forced=is_forced)
    assert names(tmp_path) == ["file"]


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
    assert path.read_text() == "newer"


def test_a_link_is_followed_unless_it_is_to_be_replaced(tmp_path):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    link.symlink_to(elsewhere)
    write_atomically(link, b"\x00\xff")
    assert (elsewhere.read_bytes(), link.is_symlink()) == (b"\x00\xff", True)
    write_atomically(link, "new", follows_link=False)
    assert (elsewhere.read_bytes(), link.read_text(), link.is_symlink()) == (b"\x00\xff", "new", False)
