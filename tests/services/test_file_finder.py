from __future__ import annotations

import os
import subprocess

import pytest

from lmchat.services.file_finder import MOST_FILES, FileFinder, named_files


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def git(folder, *words):
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607 - as a user


def finder(folder, clock=lambda: 0.0, **environ):
    return FileFinder(folder, {**os.environ, **environ}, clock)


async def test_in_a_repository_ignored_files_are_left_out_and_new_ones_found(tmp_path):
    git(tmp_path, "init", "-q")
    made(tmp_path, "src/garden.py", "new/garden.md", "build/garden.o", ".env")
    (tmp_path / ".gitignore").write_text("build/\n.env\n")
    git(tmp_path, "add", "src")
    assert await finder(tmp_path).find("gar") == ("new/garden.md", "src/garden.py")
    assert await finder(tmp_path).find("env") == ()


async def test_no_program_of_a_repository_runs(tmp_path):
    git(tmp_path, "init", "-q")
    made(tmp_path, "a.txt")
    git(tmp_path, "config", "core.fsmonitor", "touch ran; true")
    assert await finder(tmp_path).find("a") == ("a.txt",)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", ["/nowhere", os.environ["PATH"]])
async def test_without_a_repository_or_git_hidden_folders_are_left_out(tmp_path, path):
    made(tmp_path, "notes.md", ".cache/notes.md", "old/notes.md")
    found = await finder(tmp_path, PATH=path, GIT_CEILING_DIRECTORIES=str(tmp_path.parent)).find("notes")
    assert found == ("notes.md", "old/notes.md")


async def test_a_path_is_completed_folder_by_folder(tmp_path, monkeypatch):
    made(tmp_path, "a/notes.md", "a/.env", "b/note")
    monkeypatch.setenv("HOME", str(tmp_path))
    find = finder(tmp_path / "b").find
    assert await find("~/") == ("~/a/", "~/b/")
    assert await find(f"{tmp_path}/a/n") == (f"{tmp_path}/a/notes.md",)
    assert (await find("../a/"), await find("../a/.")) == (("../a/notes.md",), ("../a/.env",))
    assert await find("/no/such") == ()


async def test_of_ten_thousand_files_the_first_thousands_are_looked_at(tmp_path):
    made(tmp_path, "many/file00000.txt", "zz.txt")
    for number in range(1, 10_000):
        os.link(tmp_path / "zz.txt", f"{tmp_path}/many/file{number:05}.txt")
    assert len(await finder(tmp_path).find("file")) == 20
    assert await finder(tmp_path).find("zz") == ("zz.txt",)  # the upper folders come first
    git(tmp_path, "init", "-q")
    assert await finder(tmp_path).find(f"file{MOST_FILES - 1:05}") == (f"many/file{MOST_FILES - 1:05}.txt",)
    assert await finder(tmp_path).find(f"file{MOST_FILES:05}") == ()


async def test_letters_in_order_are_enough_and_the_closest_name_is_first(tmp_path):
    made(tmp_path, "tests/chat_screen.py", "screens/chat/screen.py", "cs.py", "readme.md")
    assert (await finder(tmp_path).find("chatscreen.py"))[0] == "tests/chat_screen.py"
    assert (await finder(tmp_path).find("CS"))[0] == "cs.py"
    assert (await finder(tmp_path).find("s"))[0] == "screens/chat/screen.py"
    assert await finder(tmp_path).find("") == (
        "cs.py",
        "readme.md",
        "tests/chat_screen.py",
        "screens/chat/screen.py",
    )


async def test_a_new_file_is_found_after_some_seconds(tmp_path):
    now_s = 0.0
    found = finder(tmp_path, lambda: now_s)
    assert await found.find("new") == ()
    made(tmp_path, "new.txt")
    now_s = 6.0
    assert await found.find("new") == ("new.txt",)


async def test_names_with_control_characters_are_not_offered(tmp_path):
    made(tmp_path, "a\x1b[2J.txt", "a\nb.txt", "ab.txt")
    assert await finder(tmp_path).find("a") == ("ab.txt",)


@pytest.mark.parametrize("form", ["{0}", "'{0}' ", '"{0}"', "{1}", "file://{2}", "{1} '{0}'\n"])
def test_a_dropped_path_is_recognised_as_terminals_write_it(tmp_path, form):
    file = tmp_path / "my garden é.png"
    file.write_text("x")
    written = str(file)
    text = form.format(written, written.replace(" ", "\\ "), written.replace(" ", "%20"))
    assert set(named_files(text)) == {file}


def test_a_path_in_the_home_folder_is_recognised(tmp_path, monkeypatch):
    made(tmp_path, "it's.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_files("~/it's.png") == (tmp_path / "it's.png",)


def test_other_texts_are_not_taken_for_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "fifo")
    others = ["a.txt", f"{tmp_path}", f"{tmp_path}/fifo", f"see {tmp_path}/a.txt", f"{tmp_path}/b.txt"]
    strange = ["", "/", "'", "/" + "x" * 5_000, "/a\0b", "~nobody/x", "file://", "/* a */"]
    assert [named_files(text) for text in [*others, *strange]] == [()] * 13
