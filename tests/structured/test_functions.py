from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from lmchat.errors import RequestInvalid
from lmchat.structured.functions import FunctionTool


@dataclasses.dataclass
class Point:
    x: int


def search(
    words: Annotated[str, "what to find"],
    at: list[Point] = [Point(1)],  # noqa: B006, B008 - what people write
    *,
    kind: Literal["file", "mail"] = "file",
    since: dt.date | None = None,
) -> Any:
    """Search everything."""
    return {"words": words, "at": at, "kind": kind, "since": since}


def test_a_signature_becomes_a_schema():
    tool = FunctionTool(search)
    assert (tool.name, tool.description) == ("search", "Search everything.")
    assert tool.schema["required"] == ["words"]
    assert tool.schema["properties"] == {
        "words": {"type": "string", "description": "what to find"},
        "at": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
        "kind": {"enum": ["file", "mail"], "default": "file"},
        "since": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
    }
    assert tool.schema["$defs"]["Point"]["properties"] == {"x": {"type": "integer"}}


async def test_arguments_are_converted_and_the_result_is_json():
    given = {"words": "a", "at": [{"x": 2}, {"x": "3"}], "since": "2026-01-02"}
    assert await FunctionTool(search).call(given) == (
        '{"words":"a","at":[{"x":2},{"x":3}],"kind":"file","since":"2026-01-02"}'
    )


@pytest.mark.parametrize("given", [{}, {"words": 1}, {"words": "a", "other": 1}, {"words": "a", "kind": "x"}])
async def test_arguments_that_do_not_fit_are_refused(given):
    with pytest.raises(RequestInvalid, match="The arguments of search do not fit"):
        await FunctionTool(search).call(given)


async def test_a_sync_function_runs_in_a_thread_and_an_async_one_on_the_loop():
    def sync() -> str:
        """Name the thread."""
        return threading.current_thread().name

    async def on_loop() -> str:
        """Name the thread."""
        return threading.current_thread().name

    here = threading.current_thread().name
    assert await FunctionTool(sync).call({}) != here
    assert await FunctionTool(on_loop).call({}) == here


async def test_an_end_of_iteration_is_an_error_and_no_hang():
    def first() -> str:
        """Return the first of none."""
        return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await FunctionTool(first).call({})


def test_a_function_that_cannot_be_described_is_refused_with_its_name():
    def without_hint(a):
        """Do."""

    def many(*names: str):
        """Do."""

    def of_path(a: Path):
        """Do."""

    def without_words(a: int):
        pass

    found = {}
    for function in (without_hint, many, of_path, without_words):
        with pytest.raises(RequestInvalid) as caught:
            FunctionTool(function)
        found[function.__name__] = caught.value.message
    assert found == {
        "without_hint": "The parameter a of the function without_hint has no type hint.",
        "many": "The parameter names of the function many cannot be given by name.",
        "of_path": "The type hints of the function of_path cannot become a JSON schema: "
        "Path is no type of JSON.",
        "without_words": "The function without_words has no docstring.",
    }
