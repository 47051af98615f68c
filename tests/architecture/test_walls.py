from __future__ import annotations

import pytest

from tests.support.programs import PYTHON, run
from tests.support.pty_program import ROOT

_MODULES = sorted((ROOT / "lmchat").rglob("*.py"))
_LONGEST_MODULE = 700


def _name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.timeout(120)
def test_every_floor_imports_only_what_is_below_it():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = run([PYTHON, "-c", program, "--no-cache"])
    assert done.returncode == 0, done.stdout


def test_no_module_is_longer_than_a_reader_can_follow():
    sizes = {_name(path): path.read_text().count("\n") for path in _MODULES}
    assert {name: size for name, size in sizes.items() if size > _LONGEST_MODULE} == {}


def test_nothing_names_the_place_where_it_was_made():
    home = str(ROOT)
    found = [
        _name(path)
        for folder in ("lmchat", "tests", "docs", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".tcss", "") and home in path.read_text()
    ]
    assert found == []
