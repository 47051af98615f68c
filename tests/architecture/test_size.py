"""The size of program and tests, which is raised on purpose only.

A commit that lowers a size lowers its limit here. To raise one is a commit of its own: its body says
what came in, who needs it, and why nothing could go.
"""

from __future__ import annotations

import ast

import pytest

from tests.support.programs import ROOT

LIMITS = {"lmchat": 424_900, "tests": 508_100}  # nodes of the syntax tree


@pytest.mark.parametrize("folder", LIMITS)
def test_program_and_tests_are_no_larger_than_was_decided(folder):
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py"))
    assert sum(1 for text in texts for _ in ast.walk(ast.parse(text))) <= LIMITS[folder]
