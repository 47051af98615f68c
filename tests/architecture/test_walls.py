from __future__ import annotations

import re
from collections import Counter

from tests.support.programs import ROOT

_LONGEST_CHAIN = 3
_CLASS = re.compile(r"^ *class (\w+)(?:\[.*?\])?(?:\(([^)]*)\))?:$", re.MULTILINE)


def _classes():
    """Yield the module, the name and the bases of every class of ours."""
    for path in sorted((ROOT / "lmchat").rglob("*.py")):
        for name, bases in _CLASS.findall(path.read_text(encoding="utf-8")):
            yield path.name, name, re.findall(r"(?:^|, )(?:\w+\.)*(\w+)(?![\w.=])", bases)


def _chain(name, own):
    """Return a class and the longest row of our own classes above it."""
    above = [_chain(base, own) for base in own[name] if base in own and base != name]
    return [name, *max(above, key=len, default=[])]


def test_objects_are_composed_rather_than_chained():
    own = {name: bases for module, name, bases in _classes() if module != "errors.py"}
    chains = [_chain(name, own) for name in own]
    assert max(map(len, chains)) > 1
    assert [" -> ".join(chain) for chain in chains if len(chain) > _LONGEST_CHAIN] == []


def test_no_two_classes_have_the_same_name():
    names = Counter(name for _, name, _ in _classes())
    assert [name for name, times in names.items() if times > 1] == []


def test_nothing_names_the_place_where_it_was_made():
    home = str(ROOT)
    found = [
        path.relative_to(ROOT)
        for folder in ("lmchat", "tests", "docs", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix in (".py", ".md", ".toml", ".tcss", "")
        and home in path.read_text(errors="replace", encoding="utf-8")
    ]
    assert found == []
