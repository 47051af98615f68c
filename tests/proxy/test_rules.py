"""The page of rules and the tests that hold them name each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "rules.md").read_text(encoding="utf-8")
RULES = re.findall(r"^- \*\*(R-\d+)\*\* \S", PAGE, re.MULTILINE)


def marked() -> Iterator[tuple[str, str]]:
    """Yield (rule, file) of all marks, also on tests and rows that this run leaves out."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.rule":
                yield from ((ast.literal_eval(rule), f"{path.name}:{node.lineno}") for rule in node.args)


def test_the_page_has_each_rule_once_and_in_one_sentence():
    assert sorted(RULES, key=lambda one: int(one[2:])) == [f"R-{number}" for number in range(1, 41)]
    assert len(RULES) == 40
    assert not re.search(r"^- \*\*R-\d+\*\*(?!.*\.$)", PAGE, re.MULTILINE)


def test_each_rule_has_a_test_that_names_it():
    assert set(RULES) - {rule for rule, _ in marked()} == set()


def test_each_mark_names_a_rule_of_the_page():
    assert [(rule, file) for rule, file in marked() if rule not in RULES] == []
