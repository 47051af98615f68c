"""What the app knows of the houses below it is a list, which gets shorter.

A name more needs a reason in its commit: which ability of the app needs it. A function or a constant
of `core` is work that belongs below, or words that belong above.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.programs import ROOT

DOOR = Path(__file__).with_name("door.txt")
BELOW = ("lmchat.core.", "lmchat.api")


@cache
def imports_of(file: Path) -> list[tuple[str, str, str]]:
    """Return the module, the name and the name here of each `from … import` of a file."""
    return [
        (node.module or "", alias.name, alias.asname or alias.name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def made_in(module: str, name: str) -> str:
    """Follow a name that modules pass on to the one that makes it."""
    path = ROOT / module.replace(".", "/")
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    for source, original, here in imports_of(file):
        if here == name and source.startswith(BELOW):
            return made_in(source, original)
    return f"{module.removeprefix('lmchat.')}.{name}"


@pytest.mark.leaf("batch", "doctor", "plain", "serve")
def test_the_app_knows_the_names_of_the_list_and_no_others():
    names = {
        made_in(module, name)
        for file in (ROOT / "lmchat" / "app").rglob("*.py")
        for module, name, _ in imports_of(file)
        if module.startswith(BELOW)
    }
    assert sorted(names) == DOOR.read_text(encoding="utf-8").split()
