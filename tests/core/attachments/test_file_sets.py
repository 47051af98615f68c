from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from lmchat.base.errors import FileRefused
from lmchat.core.attachments.attachment import files_outside, read_attachment
from lmchat.core.attachments.file_sets import parse_set_name, read_set
from tests.support.faults import no_root, open_folder
from tests.support.hostile_files import deep_folder

FILES = (
    "a.py", "b.txt", "src/c.py", "src/d.md", "src/deep/e.py", "src/deep/f.txt", "build/g.py",
    ".hidden.py", ".git/h.py", "src/.cache/i.py", "odd[1].py", "[slug]/j.tsx", "l/k.tsx",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("build/\n", encoding="utf-8")
    return tmp_path


async def names(folder: Path, name: str) -> list[str]:
    wanted = await parse_set_name(name, folder)
    assert wanted is not None
    found = await read_set(wanted)
    assert [file.data.decode().strip() for file in found.files] == [
        file.part.name.removeprefix(f"{folder.as_posix()}/") for file in found.files
    ]
    return [file.part.name for file in found.files]


async def test_the_files_of_a_name_are_those_that_fit_it_in_order(folder):
    of_src = "src/c.py src/d.md src/deep/e.py src/deep/f.txt"
    for name, found in (
        ("*.py", "a.py odd[1].py"),
        ("src/**/*.py", "src/c.py src/deep/e.py"),
        ("**/*.py", "a.py odd[1].py src/c.py src/deep/e.py"),
        ("s?c/[a-d].*", "src/c.py src/d.md"),
        ("src/**", of_src),
        ("src/", of_src),
        (f"src{os.sep}", of_src),
        (f"src{os.sep}deep{os.sep}*.py", "src/deep/e.py"),
        (".", f"[slug]/j.tsx a.py b.txt l/k.tsx odd[1].py {of_src}"),
        ("[slug]/*.tsx", "[slug]/j.tsx"),
        ("[l-m]/*.tsx", "l/k.tsx"),
        (f"{folder}/src/*.py", f"{folder.as_posix()}/src/c.py"),
    ):
        assert await names(folder, name) == found.split(), name
    for name in ("a.py", "odd[1].py", "missing.py"):  # no set
        assert await parse_set_name(name, folder) is None
    for name in ("*.rs", "src/deep/*.py/*", ".git/*.rs", "missing/*.py"):
        with pytest.raises(FileRefused, match=r"has no text files|No text file fits"):
            await names(folder, name)


@pytest.mark.posix
async def test_links_devices_and_what_is_no_text_are_left_out(folder):
    (folder / "src/link.py").symlink_to(folder / "a.py")
    (folder / "src/loop").symlink_to(folder / "src")
    os.mkfifo(folder / "src/pipe.py")
    (folder / "src/binary.py").write_bytes(b"\0\1\2")
    (folder / "src/long.py").write_text("x" * 1_000_001, encoding="utf-8")
    (folder / "src/empty.py").write_text("", encoding="utf-8")
    wanted = await parse_set_name("src/*.py", folder)
    found = await read_set(wanted)
    assert [file.part.name for file in found.files] == ["src/c.py"]
    assert found.label == "1 file, 9 B, ~5 tokens; 3 skipped (not text, or too long)"


async def test_a_folder_with_too_many_files_is_refused_and_not_read_through(tmp_path, monkeypatch):
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text("x", encoding="utf-8")
    monkeypatch.setattr("lmchat.core.attachments.file_sets._MOST_ENTRIES", 20)
    with pytest.raises(FileRefused, match="too many files to look through"):
        await names(tmp_path, ".")


@pytest.mark.posix
async def test_hostile_names_are_safe_and_stay_different(tmp_path):
    (tmp_path / "\x1b[31mred.txt").write_text("one", encoding="utf-8")
    tmp_path.joinpath(os.fsdecode(b"\xff.txt")).write_text("two", encoding="utf-8")
    wanted = await parse_set_name("*", tmp_path)
    found = await read_set(wanted)
    shown = [file.part.name for file in found.files]
    assert len(set(shown)) == 2
    assert all(name.isprintable() for name in shown)
    [name.encode() for name in shown]


async def test_a_pattern_that_could_be_read_in_many_ways_takes_linear_time(tmp_path):
    deep = tmp_path.joinpath(*["a" * 100] * 20)
    deep.mkdir(parents=True)
    (deep / "b").write_text("b", encoding="utf-8")
    for pattern in ("**/" * 40 + "x", "*" * 200 + "y"):
        with pytest.raises(FileRefused, match=r"has no text files|No text file fits"):
            await names(tmp_path, pattern)


@pytest.mark.posix
async def test_files_in_very_deep_folders_are_read_and_fit_patterns():
    with deep_folder() as top:
        for name in (".", "e/**/e/**/*.txt", "*/" * 1050 + "z.txt"):
            found = await read_set(await parse_set_name(name, top))
            assert found.label == "1 file, 19 B, ~5 tokens"
        with pytest.raises(FileRefused, match="No text file fits"):
            await names(top, "**/e/**/x/**/z.txt")


@pytest.mark.posix
async def test_folders_that_cannot_be_read_are_told_with_the_files_or_instead_of_them():
    label = "1 file, 1 B, ~1 tokens; 1 folder skipped (not readable, or too deep)"
    with deep_folder("e" * 200, 25) as top:  # a path may have 4,096 bytes
        (top / "a.txt").write_text("a", encoding="utf-8")
        assert (await read_set(await parse_set_name(".", top))).label == label
    with open_folder() as top:
        (top / "closed").mkdir(mode=0o000)
        (top / "a.txt").write_text("a", encoding="utf-8")
        with no_root():
            assert (await read_set(await parse_set_name(".", top))).label == label
            for name in ("closed", "closed/*", "closed/in/*.md", "*.md"):
                with pytest.raises(FileRefused, match=r"closed.* cannot be read: you have no"):
                    await names(top, name)
        (top / ".gitignore").touch(mode=0o000)
        with no_root(), pytest.raises(FileRefused, match=r"rules of .gitignore that cannot be"):
            await names(top, ".")


async def test_rules_that_are_too_long_to_follow_refuse_the_files(folder):
    (folder / "src/.gitignore").write_text("x" * 256_001, encoding="utf-8")
    words = "has too many files to look through, or rules of .gitignore that cannot be followed."
    with pytest.raises(FileRefused, match=re.escape(f"**/*.py {words}")):
        await names(folder, "**/*.py")


@pytest.mark.posix
async def test_a_chain_of_links_that_the_system_does_not_follow_is_no_file(tmp_path):
    (tmp_path / "0").write_text("x", encoding="utf-8")
    for number in range(1100):
        (tmp_path / f"{number + 1}").symlink_to(str(number))
    below = tmp_path / "below"
    below.mkdir()
    chains = [tmp_path / "1100", tmp_path / "30"]
    assert await files_outside(chains, below) == (tmp_path / "0",)
    with pytest.raises(FileRefused, match="Too many levels of symbolic links"):
        await read_attachment(tmp_path / "1100")


async def test_a_name_means_its_files_in_whichever_form_its_accents_are_typed(tmp_path):
    composed = "caf\u00e9"
    decomposed = "cafe\u0301"
    for number, (stored, typed) in enumerate([(composed, decomposed), (decomposed, composed)]):
        folder = tmp_path / str(number)
        file = folder / stored / f"{stored}.py"
        file.parent.mkdir(parents=True)
        file.write_text("x", encoding="utf-8")
        for name in (typed, f"{typed}/*.py", f"{typed}/{typed}*", f"**/{typed}.*"):
            found = await read_set(await parse_set_name(name, folder))
            assert [one.data for one in found.files] == [b"x"], name
        named = folder / typed / f"{typed}.py"
        assert (await read_attachment(named)).data == b"x"
        assert await files_outside([named], folder / "other") == (file,)
        file.with_name(f"{typed}.py").write_text("y", encoding="utf-8")  # both are there
        assert (await read_attachment(folder / stored / f"{typed}.py")).data == b"y"
