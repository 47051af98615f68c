"""Walks through folders whose `.gitignore` files are slow, and through deep ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.files.disk import ensure_folder
from lmchat.files.folder_walk import folders_below, walk
from lmchat.files.path_patterns import IgnoreRules, RuleTime, fits
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
    return {path for path, _ in found.files if ".gitignore" not in path}, found.dropped_count


def test_only_the_rules_of_a_slow_file_are_dropped(tmp_path):
    for name in ("a.txt", "b.log", "in/a.txt", "in/b.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("*.log\n", encoding="utf-8")
    (tmp_path / "in" / ".gitignore").write_text(
        "".join(f"*a*b{n}\n" for n in range(200)) + "a*", encoding="utf-8"
    )
    assert paths(tmp_path) == ({"a.txt"}, 0)
    # 0.001 s for a rule: only the file with 200 has no time left
    assert paths(tmp_path, 0.001) == ({"a.txt", "in/a.txt"}, 1)


def test_many_slow_files_do_not_take_longer_together(tmp_path):
    for number in range(300):
        folder = tmp_path / f"{number:03}"
        folder.mkdir()
        (folder / ".gitignore").write_text("*a*b\n" * 20, encoding="utf-8")
        (folder / "xab").write_text("x", encoding="utf-8")
    reads = 0
    steps = stepping(0.01)

    def clock():
        nonlocal reads
        reads += 1
        return steps()

    found = walk(tmp_path, most_entries=10_000, clock=clock)
    # no rule of a later file is read or matched once 2 s are over
    assert found.dropped_count > 250
    assert reads < 3000
    assert len(found.files) > 550


def test_a_rule_of_any_kind_takes_linear_time():
    lines = [*(f"*o*o*o*o*d{number}" for number in range(50)), "[!a]*[!a]*[!a]*b"]
    lines += ["**/o*/**/o/**/x", "o/**/o/**/o/**/x", "**/a/" * 40_000, "a*" * 40_000 + "b"]
    with limited_processor_time():
        rules = IgnoreRules("", lines, RuleTime(stepping(0.0)))
        for path in ("o" * 255, "o/" * 1000 + "o"):
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
def test_folders_of_any_depth_are_walked_and_made():
    with deep_folder() as top:
        assert paths(top)[0] == {"e/" * 1050 + "z.txt"}
        assert [len(names) for _, _, names in folders_below(top)] == [0] * 1050 + [1]
        made = top.joinpath(*["x"] * 1050)
        ensure_folder(made)
        assert made.is_dir()
