"""The text of docs/api.md, out of the docstrings of what `lmchat.proxy` offers."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

import lmchat.proxy

_EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
_HEAD = """\
# lmchat in a program

`lmchat.proxy` finds model servers, asks them and streams their answers, without the screen: the same layer
that lmchat itself works with, with its allow-list, limits, retries and time-outs. It reads no configuration
and writes no file, and a client counts for itself. Everything is imported from `lmchat.proxy`, and nothing
of it before a name is asked for.
"""
_ASYNC = "## An example\n\nAs [examples/ask.py](examples/ask.py):\n"
_SYNC = "## Without an event loop\n\nAs [examples/ask_sync.py](examples/ask_sync.py):\n"
_JSON = "## A JSON value\n\nAs [examples/ask_json.py](examples/ask_json.py):\n"
_ERRORS = """\
## Errors

All are `LMChatError`: `str(error)` is one sentence, `error.hint` the next step, `error.kind` a word of
[the table of errors](errors.md), `error.details` what is technical. No key and no text of a chat is in them.
"""
_EVENTS = """\
## Events

What `stream` yields: `StreamEvent` is one of these. More kinds may come, so pass over what you do not know.
"""
_VALUES = (
    *("Answer", "JsonAnswer", "Options", "Receipt", "ChatMessage", "Failure"),
    *("TextPart", "ReasoningPart", "RefusalPart", "ToolCallPart"),
    *("Candidate", "Endpoint", "ModelInfo", "Metrics"),
)
_SETTINGS = ("LimitSettings", "TimeoutSettings")
_ENUMS = ("Verdict", "Product", "LoadState", "Role", "AnswerState", "Limit")
_RULE = re.compile(r" \(R-\d+\)")
"""Numbers of rules, which say nothing to who calls."""
_WIDE = 100


def api_page() -> str:
    """Return the page."""
    parts = [_HEAD, _ASYNC, _example("ask.py"), *_client("Client"), _JSON, _example("ask_json.py")]
    parts += [_SYNC, _example("ask_sync.py"), *_client("SyncClient"), "## Values\n"]
    parts += [part for name in _VALUES for part in _fields(name)]
    parts += [
        _messages(),
        f"### `Part`\n\nOne of {', '.join(f'`{one.__name__}`' for one in get_args(lmchat.proxy.Part))}.\n",
        *(_enum(name) for name in _ENUMS),
        "## Settings\n",
        *(part for name in _SETTINGS for part in _fields(name)),
    ]
    parts += [_EVENTS, *(part for name in _names("lmchat.domain.event") for part in _fields(name))]
    errors = ((name, _doc(_class(name)).partition("\n")[0]) for name in _names("lmchat.errors"))
    return "\n".join([*parts, _ERRORS, "".join(f"- `{name}`: {doc}\n" for name, doc in errors)])


def _names(module: str) -> list[str]:
    return [name for name in lmchat.proxy.PLACES[module] if inspect.isclass(getattr(lmchat.proxy, name))]


def _class(name: str) -> ast.ClassDef:
    found = getattr(lmchat.proxy, name)
    source = Path(inspect.getfile(import_module(found.__module__))).read_text(encoding="utf-8")
    return next(
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name
    )


def _doc(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    text = ast.get_docstring(node) or ""
    return re.sub(r"\b(Args|Raises):\n((?:    .*\n?)+)", _listed, _RULE.sub("", text))


def _listed(found: re.Match[str]) -> str:
    rows = re.sub(r"^    ([\w, ]+): ", r"- `\1`: ", found[2], flags=re.MULTILINE)
    return ("Raises:\n\n" if found[1] == "Raises" else "") + rows


def _client(name: str) -> Iterator[str]:
    node = _class(name)
    yield f"## `{name}`\n"
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if method.name == "__init__":
            yield f"```python\n{_signature(method, name)}\n```\n"
            yield f"{_doc(node)}\n"
        elif not method.name.startswith("_"):
            yield f"```python\n{_signature(method, method.name)}\n```\n"
            yield f"{_doc(method)}\n"


def _signature(method: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
    arguments = _joined(list(_arguments(method.args)))
    returns = f" -> {ast.unparse(method.returns)}" if method.returns and name == method.name else ""
    is_awaited = isinstance(method, ast.AsyncFunctionDef) and "Generator" not in returns
    return f"{'await ' if is_awaited else ''}{name}({arguments}){returns}"


def _arguments(these: ast.arguments) -> Iterator[str]:
    defaults = [None] * (len(these.args) - len(these.defaults)) + these.defaults
    for argument, default in list(zip(these.args, defaults, strict=True))[1:]:
        yield _argument(argument, default)
    if these.kwonlyargs:
        yield "*"
    for argument, default in zip(these.kwonlyargs, these.kw_defaults, strict=True):
        yield _argument(argument, default)
    if these.kwarg is not None:
        yield f"**{ast.unparse(these.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")


def _joined(arguments: list[str]) -> str:
    """Return arguments on one line, or each on its own where there are many."""
    line = ", ".join(arguments)
    return line if len(line) < _WIDE else "".join(f"\n    {one}," for one in arguments) + "\n"


def _enum(name: str) -> str:
    values = ", ".join(f"`{one.value}`" for one in getattr(lmchat.proxy, name))
    return f"### `{name}`\n\n{_doc(_class(name))} {values}.\n"


def _fields(name: str) -> Iterator[str]:
    node = _class(name)
    yield f"### `{name}`\n"
    yield f"{_doc(node)}\n"
    rows = []
    for field, doc in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr):
            told = ast.literal_eval(doc.value) + (_default(field) if name in _SETTINGS else "")
            rows.append((ast.unparse(field.target), ast.unparse(field.annotation), told))
        elif isinstance(field, ast.FunctionDef) and _is_property(field):
            rows.append((field.name, ast.unparse(field.returns), _doc(field)))
    if rows:
        lines = (f"| `{name}` | `{kind}` | {' '.join(doc.split())} |" for name, kind, doc in rows)
        yield (
            "\n".join(["| field | type | meaning |", "|---|---|---|", *(_cell(line) for line in lines)])
            + "\n"
        )


def _default(field: ast.AnnAssign) -> str:
    value = None if field.value is None else ast.literal_eval(field.value)
    return "" if value is None else f" Default: {value:g}."


def _is_property(method: ast.FunctionDef) -> bool:
    return any(ast.unparse(one) == "property" for one in method.decorator_list)


def _cell(line: str) -> str:
    """Return a row whose types hold no bar that ends a cell."""
    return re.sub(r"(\w|\]) \| (?=\w+[`\]| ])", r"\1 \\| ", line)


def _messages() -> str:
    source = Path(inspect.getfile(import_module("lmchat.proxy.messages"))).read_text(encoding="utf-8")
    body = ast.parse(source).body
    place = next(
        i for i, n in enumerate(body) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "Messages"
    )
    doc = body[place + 1]
    assert isinstance(doc, ast.Expr)
    return f"### `Messages`\n\n{ast.literal_eval(doc.value)}\n"


def _example(name: str) -> str:
    return f"```python\n{(_EXAMPLES / name).read_text(encoding='utf-8')}```\n"
