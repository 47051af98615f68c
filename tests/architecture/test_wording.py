"""What users read is plain English: no phrase of the list, and errors with a full stop and a next step."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import lmchat
from lmchat.base import errors
from lmchat.core.servers.products import PRODUCTS
from lmchat.core.servers.wire.refusal_rules import STEPS

pytestmark = pytest.mark.timeout(60)  # all modules are parsed
MODULES = sorted(Path(lmchat.__file__).parent.rglob("*.py"))
OFFENDERS = re.compile(
    r"\b(stands|is told|is none|nobody|dear|goes on|go on with|lies|by itself|anew|meanwhile|cannot be had"
    r"|(?<!there )is no (text|JSON|address|number|ordinary|model)|speaks? no|holds? no|has to be|whoever"
    r"|had arrived|still on its way|bring(s|ing)? (it|this|that) back|brought back|for good|once more"
    r"|looks? (now|there|again)|looking there|wants? an? (API )?key|what there is|fetch(es|ed|ing)?"
    r"|there is room again|so many|is to mean|made for another|mend it|sets? aside|was begun|it is asked)\b",
    re.IGNORECASE,
)
PROMPTS = {"turn_starts.py"}  # modules whose texts go to a model
NAMES = {name for name, kind in vars(errors).items() if isinstance(kind, type)} | {"NothingAnswers"}
SELF_EXPLAINING = {
    "RequestInvalid",
    "EndpointNotAllowed",
}  # errors whose message says what is allowed
WITHOUT_STEP = re.compile(
    r"--all exports|Stopped before|Interrupted|This client|Streaming failed: lmchat|The sessions are closed"
    r"|Streaming failed: the program|refused the request with status|install them|This answer was not|“\{|\{\} cannot be read|The output|The temporary file|The editor deleted"
)
FIXED = re.compile(
    "Endpoint must be localhost|No LM Studio model selected|No LMStudio server detected"
)
"""Texts that scripts rely on, which have no full stop."""


@pytest.fixture(scope="module")
def nodes() -> dict[Path, list[ast.AST]]:
    """All nodes of each module: to parse and walk them all takes seconds."""
    return {path: list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))) for path in MODULES}


def texts_in(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that are not docstrings."""
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def messages_of(node: ast.expr, before: list[ast.AST]) -> Iterator[str]:
    """Yield the texts that an expression may have, with `{}` for what is put in.

    Names are followed through the assignments `before` it, from the nearest one on.
    """
    match node:
        case ast.Constant():
            yield str(node.value)
        case ast.JoinedStr():
            parts = node.values
            yield "".join(
                str(one.value) if isinstance(one, ast.Constant) else "{}" for one in parts
            )
        case ast.IfExp():
            yield from messages_of(node.body, before)
            yield from messages_of(node.orelse, before)
        case ast.Name():
            for number, given in enumerate(before):
                if isinstance(given, ast.Assign) and node.id in map(ast.unparse, given.targets):
                    yield from messages_of(given.value, before[number + 1 :])


def errors_in(nodes: list[ast.AST]) -> Iterator[tuple[ast.Call, list[str]]]:
    """Yield each error that a module makes, with the texts that it may have, the nearest first."""
    functions = [one for one in nodes if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    constants = list(nodes[0].body) if isinstance(nodes[0], ast.Module) else []
    for node in nodes:
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in NAMES:
            continue
        around = [one for one in functions if one.lineno <= node.lineno <= (one.end_lineno or 0)]
        own = list(ast.walk(around[-1])) if around else nodes
        before = [one for one in own if isinstance(one, ast.Assign) and one.lineno < node.lineno]
        before.sort(key=lambda one: one.lineno, reverse=True)
        if node.args:
            yield node, [text for text in messages_of(node.args[0], [*before, *constants]) if text]


def test_texts_have_no_known_offender(nodes):
    texts = [
        (path, *text)
        for path in MODULES
        if path.name not in PROMPTS
        for text in texts_in(nodes[path])
    ]
    assert [one for one in texts if " " in one[-1] and OFFENDERS.search(one[-1])] == []


def test_errors_end_with_a_full_stop_and_have_a_next_step(nodes):
    unread = 0
    for error, messages in chain.from_iterable(map(errors_in, nodes.values())):
        unread += not messages
        for message in messages:
            assert message.endswith((".", "?", "{}")) or FIXED.search(message), message
        has_next_step = any(keyword.arg in {"next_step", None} for keyword in error.keywords)
        is_clear = (
            has_next_step or len(error.args) > 1 or ast.unparse(error.func) in SELF_EXPLAINING
        )
        for message in messages[:1]:  # those further up may belong to other errors
            assert is_clear or WITHOUT_STEP.search(message), message
    assert unread < 30  # their texts come from elsewhere


def test_refusals_have_a_next_step():
    for kind, step in STEPS.items():
        hints = [product.refusal_context().next_steps.get(kind, step) for product in PRODUCTS]
        assert all(hint.endswith((".", "{model}")) for hint in hints), kind  # a command ends so
