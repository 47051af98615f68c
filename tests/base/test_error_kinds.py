"""The table of docs/errors.md has each kind of error that is raised, and no other."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import lmchat
from lmchat.base import errors
from lmchat.base.errors import LMChatError, ServerRejected
from lmchat.core.config.settings import LimitSettings
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.products import product_named
from lmchat.core.servers.sending.exchange import retry_plan
from lmchat.core.servers.wire.refusal_rules import CODES, REFUSAL_RULES, STATUSES, STEPS
from tests.support.programs import ROOT

_ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \| ([\d or]+) \| (.+) \|$", re.MULTILINE)
_TABLES = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").partition("<!--")[0]
KINDS = {kind: (codes, again) for kind, _, _, codes, again in _ROW.findall(_TABLES)}
_CLASSES = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
_OTHERS = {"Row", "Failure"}  # what carries a kind and is no error itself


@cache
def _sources() -> list[str]:
    return [path.read_text("utf-8") for path in Path(lmchat.__file__).parent.rglob("*.py")]


@cache
def _raised() -> dict[str, set[str]]:
    """Return the kinds that the source names, with what is called with them."""
    found: dict[str, set[str]] = defaultdict(set)
    for kind in (
        *CODES.values(),
        *STATUSES.values(),
        *(rule.kind for rule in REFUSAL_RULES),
        *STEPS,
    ):
        found[kind].add("Row")
    for source in _sources():
        if "kind" not in source.lower():
            continue
        for node in ast.walk(ast.parse(source)):
            for kind, name in _named(node):
                found[kind].add(name)
    return found


def _named(node: ast.AST) -> list[tuple[str, str]]:
    """Return the kinds that a node of the source names: in a call, a verdict or a class."""
    if isinstance(node, ast.Call):
        words = [one.value for one in node.keywords if one.arg == "kind"]
        name = getattr(node.func, "id", "")
        found = [(one.value, name) for one in words if isinstance(one, ast.Constant)]
        verdicts = [one.value for one in node.keywords if one.arg == "error_kind"]
        return found + [(one.value, "") for one in verdicts if isinstance(one, ast.Constant)]
    if isinstance(node, ast.ClassDef) and any(_is_error(base) for base in node.bases):
        lines = [one for one in node.body if isinstance(one, ast.Assign)]
        return [
            (ast.literal_eval(one.value), node.name)
            for one in lines
            if ast.unparse(one.targets[0]) == "kind"
        ]
    return []


def _is_error(base: ast.expr) -> bool:
    return getattr(base, "id", "") in _CLASSES or getattr(base, "id", "") == "Exception"


@pytest.mark.leaf("batch", "serve")
def test_the_table_has_each_kind_that_is_raised_and_no_other():
    raised = _raised()
    assert set().union(*raised.values()) >= {
        "",
        "Row",
        "Failure",
        "ServerUnavailable",
        "EngineUnavailable",
    }
    assert set(raised) == set(KINDS)


def test_exit_codes_are_those_of_the_errors_that_bear_the_kind():
    for kind, names in _raised().items():
        codes = {_CLASSES[name].exit_code for name in names if name in _CLASSES}
        codes |= {1} if names & _OTHERS else set()
        codes |= {130} if kind == "interrupted" else set()
        codes |= {2} if kind == "no_server" else set()
        assert codes == set(map(int, KINDS[kind][0].split(" or "))), kind


def test_what_the_table_says_is_never_tried_again_is_not():
    limits = LimitSettings()
    gateway = product_named("LiteLLM")
    for kind in [kind for kind, (_, again) in KINDS.items() if again == "never"]:
        for address in map(Endpoint.parse, ("127.0.0.1:1", "api.example.com")):
            for status in (None, 408, 409, 429, 500, 502, 503, 504, 529):
                error = ServerRejected("no", kind=kind, status=status)
                assert retry_plan(error, address, gateway, attempt=1, limits=limits) is None


def test_an_error_of_an_unknown_kind_is_noticed():
    assert LMChatError("x").kind in KINDS
    assert all(one.kind in KINDS for one in _CLASSES.values() if issubclass(one, LMChatError))


def test_a_hint_follows_the_words_of_a_server_as_a_sentence_of_its_own():
    error = LMChatError("llama.cpp says: try again later", next_step="Check the server's log.")
    assert (
        error.message_with_next_step == "llama.cpp says: try again later. Check the server's log."
    )
