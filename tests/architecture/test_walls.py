from __future__ import annotations

import re

import pytest

from tests.support.programs import PYTHON, run
from tests.support.pty_program import ROOT

_MODULES = sorted((ROOT / "lmchat").rglob("*.py"))
_LONGEST = 300
_CLASS = re.compile(r"^class (\w+)", re.MULTILINE)


def _name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.timeout(120)
def test_every_floor_imports_only_what_stands_below_it():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = run([PYTHON, "-c", program, "--no-cache"])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_a_module_stays_short(path):
    lines = path.read_text().count("\n")
    assert lines <= _LONGEST, f"{lines} lines: which decision could move down a floor?"


def test_nothing_names_the_place_where_it_was_made():
    home = str(ROOT)
    found = [
        _name(path)
        for folder in ("lmchat", "tests", "docs", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".tcss", "") and home in path.read_text()
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["lmchat/tui/quirks", "lmchat/tui/widgets/chat_log"])
def test_architecture_names_each_room_of_the_largest_folders(folder):
    words = (ROOT / "docs" / "architecture.md").read_text()
    unnamed = [
        path.name
        for path in (ROOT / folder).glob("[a-z]*.py")
        if not any(f"`{name}`" in words for name in (path.stem, *_CLASS.findall(path.read_text())))
    ]
    assert unnamed == []
