"""Walks through folders whose `.gitignore` files are slow, and through deep ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.base.files.disk import ensure_folder
from lmchat.base.files.folder_walk import folders_below, walk
from lmchat.base.files.path_patterns import IgnoreRules, fits
from tests.support.hostile_files import deep_folder, limited_processor_time


def stepping(step_s):
    """A clock that goes on by a step whenever it is read."""
    now_s = 0.0

    def clock():
        nonlocal now_s
        now_s += step_s
        return now_s

    return clock


def paths(folder, step_s=0.0):
    found = walk(folder, most_entries=10_000, clock=stepping(step_s))
    return {path for path, _ in found.files if ".gitignore" not in path}, found.is_cut


def test_a_walk_ends_after_its_time_and_is_told_as_cut(tmp_path):
    for name in ("a.txt", "b.log", "in/a.txt", "in/b.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("*.log\n", encoding="utf-8")
    (tmp_path / "in" / ".gitignore").write_text("!*.log", encoding="utf-8")
    assert paths(tmp_path) == ({"a.txt", "in/a.txt", "in/b.log"}, False)
    assert paths(tmp_path, 1.0) == ({"a.txt"}, True)


def test_many_slow_files_of_rules_end_a_walk_within_its_time(tmp_path):
    for number in range(300):
        folder = tmp_path / f"{number:03}"
        folder.mkdir()
        (folder / ".gitignore").write_text("/*a*b\n" * 20, encoding="utf-8")
        (folder / "xac").write_text("x", encoding="utf-8")
    reads = 0
    steps = stepping(0.01)

    def clock():
        nonlocal reads
        reads += 1
        return steps()

    found = walk(tmp_path, most_entries=10_000, clock=clock)
    assert found.is_cut
    assert 0 < len(found.files) < 300
    assert reads < 550  # 500 are 5 s


@pytest.mark.parametrize("place", ["", "in/"])
def test_a_file_of_rules_that_is_too_long_ends_a_walk(tmp_path, place):
    (tmp_path / ".git").mkdir()
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "in/b.txt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / place / ".gitignore").write_text("x" * 256_001, encoding="utf-8")
    assert paths(tmp_path) == ({"a.txt"} if place else set(), True)
    assert paths(tmp_path / "in") == (set(), True)


HOSTILE = ("o" * 250, "ob" * 125, "o/" * 1000 + "o", ("o" * 250 + "/") * 15 + "o")


@pytest.mark.parametrize(
    "lines",
    [
        *(["*o" * count + "x"] for count in (3, 5, 120_000)),
        *(["**/" + "*o" * count + "x"] for count in (3, 5, 240)),
        ["[!a]*[!a]*[!a]*c"],
        *([rule] for rule in ("**/o*/**/o/**/x", "**/a/" * 40_000, "a*" * 40_000 + "b")),
        *([rule] for rule in ("[" * 250_000, "[" + "[:" * 120_000, "[" + "[:a" * 80_000 + "]")),
        ["x"] * 50_000,
        [f"[!o{number}]" for number in range(20_000)],
    ],
    ids=lambda lines: lines[0][:20],
)
def test_rules_of_any_kind_take_linear_time(lines):
    with limited_processor_time():
        rules = IgnoreRules("", lines)
        for path in HOSTILE:
            assert rules.ignores(path, is_folder=False) is None


def _fits_slowly(steps, pattern):
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_fits_slowly(steps[n:], pattern[1:]) for n in range(len(steps) + 1))
    return bool(steps) and steps[0] == pattern[0] and _fits_slowly(steps[1:], pattern[1:])


@given(
    st.lists(st.sampled_from("ab"), max_size=7),
    st.lists(st.sampled_from(["a", "b", "**"]), max_size=6),
)
def test_any_pattern_fits_what_its_definition_says(steps, pattern):
    assert fits(steps, pattern) == _fits_slowly(steps, pattern)


@pytest.mark.posix
@pytest.mark.posix
def test_a_link_to_a_folder_is_named_and_entered_only_if_that_is_wanted(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for follows_links, below in ((False, ["a", "a/b"]), (True, ["a", "a/b", "link", "link/b"])):
        walked = [*folders_below(tmp_path, follows_links=follows_links)]
        assert {*walked[0][1]} == {"a", "link"}
        assert sorted(str(one.relative_to(tmp_path)) for one, *_ in walked[1:]) == below


def test_folders_of_any_depth_are_walked_and_made():
    with deep_folder() as top:
        assert paths(top)[0] == {"e/" * 1050 + "z.txt"}
        assert [len(names) for _, _, names in folders_below(top)] == [0] * 1050 + [1]
        made = top.joinpath(*["x"] * 1050)
        ensure_folder(made)
        assert made.is_dir()
