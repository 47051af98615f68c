"""The page of rules and the tests that hold them name each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "rules.md").read_text(encoding="utf-8")
RULES = re.findall(r"^- \*\*(R-\d+)\*\* \S", PAGE, re.MULTILINE)


# Also of tests that this run leaves out.
MARKED = {
    rule
    for path in TESTS.rglob("test_*.py")
    for names in re.findall(r"mark\.rule\(([^)]*)\)", path.read_text(encoding="utf-8"))
    for rule in re.findall(r'"(.*?)"', names)
}


def test_the_page_has_each_rule_once_and_in_one_sentence():
    numbers = [*range(1, 15), *range(16, 42), *range(43, 48)]
    assert sorted(RULES, key=lambda one: int(one[2:])) == [f"R-{number}" for number in numbers]
    assert not re.search(r"^- \*\*R-\d+\*\*(?!.*\.$)", PAGE, re.MULTILINE)


@pytest.mark.leaf("imports")
def test_each_rule_has_a_test_that_names_it_and_each_mark_names_a_rule():
    assert set(RULES) == MARKED
