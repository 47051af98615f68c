"""What users read is plain English: no phrase of the list, and errors with a full stop and a next step."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import lmchat
from lmchat import errors
from lmchat.servers.products import PRODUCTS
from lmchat.servers.wire.rows import STEPS

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
    r"|This answer was not|“\{|\{\} cannot be read|The output|The temporary file|The editor deleted"
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


def message_of(node: ast.expr) -> str:
    """Return a text with `{}` for each expression; empty where it is not written there."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    return str(node.value) if isinstance(node, ast.Constant) else ""


def test_texts_have_no_known_offender(nodes) -> None:
    texts = [
        (path, *text)
        for path in MODULES
        if path.name not in PROMPTS
        for text in texts_in(nodes[path])
    ]
    assert [one for one in texts if " " in one[-1] and OFFENDERS.search(one[-1])] == []


def test_errors_end_with_a_full_stop_and_have_a_next_step(nodes) -> None:
    for node in chain.from_iterable(nodes.values()):
        name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        if name not in NAMES or not node.args or not (message := message_of(node.args[0])):
            continue
        assert message.endswith((".", "{}")) or FIXED.search(message), message
        has_step = (
            any(keyword.arg in ("hint", None) for keyword in node.keywords) or len(node.args) > 1
        )
        assert has_step or name in SELF_EXPLAINING or WITHOUT_STEP.search(message), message


def test_refusals_have_a_next_step() -> None:
    for kind, step in STEPS.items():
        hints = [product.refusal_context().hints.get(kind, step) for product in PRODUCTS]
        assert all(hint.endswith((".", "{model}")) for hint in hints), kind  # a command ends so
