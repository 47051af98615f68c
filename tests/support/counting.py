"""Counts of the lines of Python that work runs: on a busy machine they are as on a fast one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_COUNTED = ("lmchat.", "markdown_it.", "mdit_py_plugins.")


class Lines:
    """The lines of lmchat and its Markdown parser that were run in this thread."""

    count = 0


@contextmanager
def counted_lines() -> Iterator[Lines]:
    """Count lines, also those that tasks of the event loop run meanwhile; the count is there at the end."""
    lines = Lines()
    count = 0

    def note_line(_frame: FrameType, _event: str, _argument: Any) -> None:
        nonlocal count  # a variable is counted in half the time of an attribute
        count += 1

    def note_call(frame: FrameType, _event: str, _argument: Any) -> Callable[..., None] | None:
        # the name of its file comes from `f_code`, whose every look calls the guard of the network
        if not frame.f_globals.get("__name__", "").startswith(_COUNTED):
            return None
        note_line(frame, _event, _argument)
        return note_line

    before = sys.gettrace()
    sys.settrace(note_call)
    try:
        yield lines
    finally:
        sys.settrace(before)
        lines.count = count


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
