from __future__ import annotations

import ast
from collections import Counter
from functools import cache

from tests.support.pty_program import ROOT

_MODULES = sorted((ROOT / "lmchat").rglob("*.py"))
_LONGEST_CHAIN = 3


def _name(path):
    return str(path.relative_to(ROOT))


@cache
def _definitions():
    """Every class of ours, as (module, syntax tree)."""
    trees = [(path.name, ast.parse(path.read_text())) for path in _MODULES]
    return [
        (name, node)
        for name, tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]


@cache
def _classes():
    return {node.name: node for module, node in _definitions() if module != "errors.py"}


def _own_bases(name):
    names = [ast.unparse(base).split("[")[0].split(".")[-1] for base in _classes()[name].bases]
    return [base for base in names if base in _classes() and base != name]


def _chain(name):
    return [name, *max((_chain(base) for base in _own_bases(name)), key=len, default=[])]


def test_objects_are_composed_rather_than_chained():
    chains = [_chain(name) for name in _classes()]
    assert [" -> ".join(chain) for chain in chains if len(chain) > _LONGEST_CHAIN] == []


def test_no_two_classes_have_the_same_name():
    names = Counter(node.name for _, node in _definitions())
    assert [name for name, times in names.items() if times > 1] == []


def test_nothing_names_the_place_where_it_was_made():
    home = str(ROOT)
    found = [
        _name(path)
        for folder in ("lmchat", "tests", "docs", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix in (".py", ".md", ".toml", ".tcss", "")
        and home in path.read_text()
    ]
    assert found == []
