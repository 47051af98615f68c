"""What a function of `tools.py` becomes: a tool with a schema, and how it is called."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import threading
from pathlib import Path
from typing import Any, Literal

import pytest

from lmchat.base.errors import RequestInvalid


@pytest.fixture(scope="module")
def make_tool():
    """Import the SDK where a tool is made, not in each process that collects tests."""
    from lmchat.core.tools.function_server import FunctionTool  # noqa: PLC0415

    return FunctionTool


@dataclasses.dataclass
class Point:
    x: int


def search(
    words: str,
    at: list[Point] = [],  # noqa: B006 - what people write
    *,
    kind: Literal["file", "mail"] = "file",
    since: dt.date | None = None,
) -> Any:
    """Search everything."""
    return {"words": words, "at": at, "kind": kind, "since": since}


def test_a_signature_becomes_a_schema(make_tool):
    tool = make_tool(search).tool
    assert (tool.name, tool.description) == ("search", "Search everything.")
    assert tool.input_schema["required"] == ["words"]
    assert tool.input_schema["properties"] == {
        "words": {"type": "string"},
        "at": {"type": "array", "items": {"$ref": "#/$defs/Point"}, "default": []},
        "kind": {"enum": ["file", "mail"], "default": "file"},
        "since": {
            "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
            "default": None,
        },
    }
    assert tool.input_schema["$defs"]["Point"]["properties"] == {"x": {"type": "integer"}}


async def test_arguments_are_converted_and_the_result_is_json(make_tool):
    given = {"words": "a", "at": [{"x": 2}, {"x": "3"}], "since": "2026-01-02"}
    assert await make_tool(search).call(given) == (
        '{"words":"a","at":[{"x":2},{"x":3}],"kind":"file","since":"2026-01-02"}'
    )


async def test_arguments_that_do_not_fit_are_refused(make_tool):
    for given in ({}, {"words": 1}, {"words": "a", "other": 1}, {"words": "a", "kind": "x"}):
        with pytest.raises(RequestInvalid, match="The arguments of search do not fit"):
            await make_tool(search).call(given)


def thread() -> str:
    "Name the thread."
    return threading.current_thread().name


async def thread_of_async() -> str:
    "Name the thread."
    return thread()


async def test_a_sync_function_runs_in_a_thread_and_an_async_one_on_the_loop(make_tool):
    assert await make_tool(thread).call({}) != thread()
    assert await make_tool(thread_of_async).call({}) == thread()


def test_a_function_that_cannot_be_described_is_refused_with_its_name(make_tool):
    for signature, words in (
        ("(a): 'Do.'", "the parameter a has no type hint."),
        ("(*names: str): 'Do.'", "the parameter names cannot be given by name."),
        ("(a: Path): 'Do.'", "Generating JSON schema for custom types"),
        ("(a: list = [1]): 'Do.'", "Using a"),
        ("(a: int): pass", "it has no docstring."),
    ):
        found = {"Path": Path}
        exec(f"def one{signature}", found)  # noqa: S102 - ours
        with pytest.raises(
            RequestInvalid, match=re.escape(f"The function one cannot be a tool: {words}")
        ):
            make_tool(found["one"])
