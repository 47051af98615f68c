"""The size of program and tests, which is raised on purpose only.

A commit that lowers a size lowers its limit here. To raise one is a commit of its own: its body says
what came in, who needs it, and why nothing could go.
"""

from __future__ import annotations

import ast

import pytest

from tests.support.programs import ROOT

LIMITS = {"lmchat": 423_800, "tests": 509_200}  # nodes of the syntax tree


def node_count(tree: ast.AST) -> int:
    """Return what `ast.walk` would count, which takes three times as long."""
    count, left = 0, [tree]
    while left:
        count += len(left)
        values = [value for node in left for value in vars(node).values()]
        listed = [one for value in values if type(value) is list for one in value]
        left = [one for one in (*values, *listed) if isinstance(one, ast.AST)]
    return count


@pytest.mark.parametrize("folder", LIMITS)
def test_program_and_tests_are_no_larger_than_was_decided(folder):
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py"))
    assert sum(node_count(ast.parse(text)) for text in texts) <= LIMITS[folder], (
        "take something out, or raise LIMITS in a commit that says why nothing could go"
    )
