from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from functools import cache

from tests.support.programs import ROOT

_LONGEST_CHAIN = 3
_HOME = re.compile(r"(?:/home|[/\\]Users)[/\\]+(\w+)|/(root)/")
_MADE_UP = {"ada", "me", "r", "user"}


@cache
def _classes():
    """Return the module, the name and the bases of every class of ours."""
    found = []
    for path in sorted((ROOT / "lmchat").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = (
                    base.value if isinstance(base, ast.Subscript) else base for base in node.bases
                )
                names = [ast.unparse(base).rpartition(".")[-1] for base in bases]
                found.append((path.name, node.name, names))
    return found


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


def test_nothing_names_a_place_of_the_one_who_made_it():
    files = [
        path
        for folder in ("lmchat", "tests", "docs", ".ci", ".github")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    texts = {path: path.read_text(errors="replace", encoding="utf-8") for path in files}
    homes = [(path, *home) for path, text in texts.items() for home in _HOME.findall(text)]
    assert {user for _, user, _ in homes} >= _MADE_UP
    assert [home for home in homes if home[1] not in _MADE_UP] == []
    assert [path for path, text in texts.items() if str(ROOT) in text] == []


def test_a_module_of_a_product_is_below_the_table_and_protected():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = {one["name"]: one for one in tool["importlinter"]["contracts"]}
    layers = contracts["Inside the products"]["layers"]
    rows = layers[layers.index("table") + 1 : layers.index("product")]
    names = {f"lmchat.core.servers.products.{name}" for row in rows for name in row.split(" | ")}
    assert {*contracts["Only the table of products knows one"]["protected_modules"]} == names
