"""Question about a tool call on a terminal without a screen.

The model writes the arguments, so they are cut and printed on indented lines of their own: they can
neither scroll the name of the tool away nor look like the line that asks.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator

from lmchat.domain.message import ToolCallPart
from lmchat.domain.tool import CHOICES, parse_arguments
from lmchat.text import plural, safe_line, split_at_cell

_CHOICES = f"? {', '.join(f'{key} {words}' for key, words in CHOICES.items())}: "
_INDENT = "    "
_MIN_COLUMNS = 40
_MAX_ARGUMENTS = 6
_MAX_LINES = 12  # of all arguments, so that the whole question fits on a screen of 24 lines
_MAX_NAME_CELLS = 60
_MAX_MARKS = 2  # on one letter; more of them would paint over the lines above and below
_MAX_CHARS_PER_CELL = 4


def call_question(call: ToolCallPart, columns: int) -> str:
    """Return the lines of the question; the last one begins with server and tool."""
    safe_name = _few_marks(safe_line(call.name, limit=_MAX_NAME_CELLS))
    name, _ = split_at_cell(safe_name, _MAX_NAME_CELLS)
    arguments = parse_arguments(call.arguments) or {}
    without = "" if arguments else ", without arguments"
    lines = [f"{name} wants to run{without}:"]

    width = max(columns, _MIN_COLUMNS) - len(_INDENT) - 1
    shown = list(arguments.items())[:_MAX_ARGUMENTS]
    for key, value in shown:
        lines += _argument_lines(key, value, width, _MAX_LINES // len(shown))
    hidden = len(arguments) - len(shown)
    if hidden:
        lines.append(f"{_INDENT}… and {plural(hidden, 'more argument')}")
    return "\n".join([*lines, f"{name}{_CHOICES}"])


def _argument_lines(key: str, value: object, width: int, max_lines: int) -> Iterator[str]:
    """Yield the first lines of an argument, each of at most `width` cells, and what is cut."""
    is_plain_key = key.isascii() and key.isidentifier()
    shown_key = key if is_plain_key else json.dumps(key, ensure_ascii=False)
    text = f"{shown_key} = {json.dumps(value, ensure_ascii=False)}"
    max_chars = max_lines * width * _MAX_CHARS_PER_CELL
    rest = _few_marks(safe_line(text[:max_chars]))
    for _ in range(max_lines):
        line, rest = split_at_cell(rest, width)
        yield f"{_INDENT}{line.rstrip()}"
        if not rest:
            break
    hidden = len(rest) + max(len(text) - max_chars, 0)
    if hidden:
        yield f"{_INDENT}… and {plural(hidden, 'more character')}"


def _few_marks(text: str) -> str:
    """Return a text with at most two combining marks on a letter."""
    if text.isascii():
        return text
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char)[0] == "M" else 0
        if marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)
