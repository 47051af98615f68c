from __future__ import annotations

import subprocess

import pytest

from lmchat.core.attachments.file_finder import FileFinder
from tests.support.hostile_files import deep_folder


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x", encoding="utf-8")


def git(folder, *words):
    command = ["git", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout  # noqa: S603 - as a user


def finder(folder):
    return FileFinder(folder, lambda: 0.0)


RULES = {
    "": ["*.o", "!keep.o", "/docs/*", "!/docs/api/", "logs/", "**/cache/**", "# *.py", "a[bc].md"],
    "src/": ["!*.o", "gen*", "/only"],
    "src/deep/": ["*.o\r"],
    "odd/": [
        *(
            "\\#h",
            "\\!n",
            "s\\ ",
            "t  ",
            "c\\*",
            "[^x]q",
            "[!x]r",
            "a**b",
            "/**/deep/?",
            "in/**",
            "!",
        ),
        *("*a*a*a*a*a*b", "", "/", "f/", "//", "[", "\\", "e/**/f", "!e/**/f/g"),
        *(
            "n[[:digit:]].t",
            "p[![:alpha:]_]",
            "q*[[:punct:]]",
            "s[[:graph:]]",
            "t[![:punct:]]",
            "k/***",
            "l[/]m",
            "l[n/o]p",
            "*.u",
            "![!a].u",
            "y\\\\  ",
            "[b-a]z",
            "j" + "*" * 600,
        ),
    ],
}
FILES = [
    "a.o",
    "keep.o",
    "docs/x.md",
    "docs/api/y.md",
    "docs/only",
    "logs/z",
    "x/logs/z",
    "x/cache/q/r",
    "m.py",
    "ab.md",
    "ad.md",
    "src/a.o",
    "src/generated",
    "src/only",
    "src/in/only",
    "src/deep/b.o",
    "src/logs",
    *("odd/#h", "odd/!n", "odd/s ", "odd/t", "odd/c*", "odd/cd", "odd/yq", "odd/xq", "odd/yr"),
    *("odd/a--b", "odd/x/deep/z", "odd/x/deep/zz", "odd/in/z", "odd/aaaaab", "odd/f"),
    *("odd/x/f/g", "odd/e/f", "odd/e/x/f/g"),
    *("odd/n1.t", "odd/n12.t", "odd/nx.t", "odd/pa", "odd/p1", "odd/p_", "odd/k/x/y", "odd/l/m"),
    *(
        "odd/lnp",
        "odd/lmp",
        "odd/q1_",
        "odd/q1a",
        "odd/sx",
        "odd/t-",
        "odd/tx",
        "odd/b.u",
        "odd/é.u",
        "odd/y\\",
        "odd/bz",
        "odd/az",
        "odd/jk",
    ),
]


@pytest.mark.posix
async def test_the_same_files_are_left_out_as_git_leaves_out(tmp_path):
    root = tmp_path / "root"
    made(root, *FILES)
    git(root, "init", "-q")
    for folder, lines in RULES.items():
        (root / folder / ".gitignore").write_text("\n".join(lines), encoding="utf-8")
    for below in ("", "src/", "src/deep/"):
        listed = git(root / below, "ls-files", "-coz", "--exclude-standard").split("\0")
        find = finder(root / below).find
        found = set()
        for name in FILES:
            if name.startswith(below):
                matches = await find(name.removeprefix(below))
                found |= {match for match in matches if ".gitignore" not in match}
        assert found == {name for name in listed if name and ".gitignore" not in name}, below
    (root / ".gitignore").write_text("src/\n", encoding="utf-8")
    for below in ("src/", "src/deep/"):
        assert not git(root / below, "ls-files", "-coz", "--exclude-standard")
        assert await finder(root / below).find("") == ()


@pytest.mark.posix
async def test_links_and_names_with_control_characters_are_no_files_and_hide_no_other(tmp_path):
    for name in "abcdefgh":
        (tmp_path / f"circle-{name}").symlink_to(f"circle-{name}")
    (tmp_path / "a-way-up").symlink_to(tmp_path)
    names = [f"{name}.md" for name in "abcdefgh"]
    made(tmp_path, *names, "a\x1b[2J.md", "a\nb.md")
    assert await finder(tmp_path).find("a") == ("a.md",)
    assert set(await finder(tmp_path).find(f"{tmp_path}/")) >= {f"{tmp_path}/{n}" for n in names}


async def test_a_path_is_completed_folder_by_folder(tmp_path, monkeypatch):
    made(tmp_path, "a/notes.md", "a/.env", "b/note")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    find = finder(tmp_path / "b").find
    assert await find("~/") == ("~/a/", "~/b/")
    assert await find(f"{tmp_path}/a/n") == (f"{tmp_path}/a/notes.md",)
    assert (await find("../a/"), await find("../a/.")) == (("../a/notes.md",), ("../a/.env",))
    assert await find("/no/such") == ()


@pytest.mark.windows
async def test_a_path_of_windows_is_completed_with_its_own_slashes(tmp_path, monkeypatch):
    made(tmp_path, "my beds/notes.md", "b/note")
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    find = finder(tmp_path / "b").find
    assert await find(rf"{tmp_path}\m") == (f"{tmp_path}\\my beds\\",)
    assert await find(rf"{tmp_path}\my beds\n") == (rf"{tmp_path}\my beds\notes.md",)
    assert await find("~\\b\\") == ("~\\b\\note",)
    assert await find("..\\my") == ("..\\my beds\\",)
    assert await finder(tmp_path).find("beds\\not") == ("my beds/notes.md",)
    assert await find(rf"\\?\{tmp_path}\m") == ()  # nothing behind two backslashes is looked up


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
    made(tmp_path, "more/xayaz", "more/xyaz")
    assert (await finder(tmp_path / "more").find("xyz"))[0] == "xyaz", "its letters are closer"


@pytest.mark.posix
async def test_a_file_in_a_very_deep_folder_is_found():
    with deep_folder() as top:
        assert await finder(top).find("z.txt") == ("e/" * 1050 + "z.txt",)


async def test_a_name_is_found_in_whichever_form_its_accents_are_typed(tmp_path):
    composed = "caf\u00e9"
    decomposed = "cafe\u0301"
    for number, (stored, typed) in enumerate(
        [(composed, decomposed), (decomposed, composed), (composed, composed)]
    ):
        folder = tmp_path / str(number)
        made(folder, f"{stored}/{stored}.md", f"{stored}.o", f"{stored}.log")
        (folder / ".gitignore").write_text(f"{typed}.o\n/{typed}.l*\n", encoding="utf-8")
        find = finder(folder).find
        assert await find(typed) == (f"{stored}/{stored}.md",)
        assert await find(f"{folder}/{typed}/{typed}") == (f"{folder}/{typed}/{stored}.md",)
