"""Counts of the lines of Python that work runs: on a busy machine they are as on a fast one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import Any

_PACKAGES = ("lmchat", "markdown_it", "mdit_py_plugins")
_COUNTED = tuple(str(find_spec(name).submodule_search_locations[0]) for name in _PACKAGES)


class Lines:
    """The lines of lmchat and its Markdown parser that were run so far in this thread."""

    def __init__(self) -> None:
        self.count = 0

    def trace(self, frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        if event == "call" and not frame.f_code.co_filename.startswith(_COUNTED):
            return None
        self.count += 1
        return self.trace


@contextmanager
def counted_lines() -> Iterator[Lines]:
    """Count lines, also those that tasks of the event loop run meanwhile."""
    lines = Lines()
    before = sys.gettrace()
    sys.settrace(lines.trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


def calls_of(work: Callable[..., object], *given: object) -> int:
    """Return how many functions a call of a function calls, those in C too."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work(*given)
    finally:
        sys.setprofile(before)
    return count
