"""Question about a tool call on a terminal without a screen.

The model writes the arguments, so they are cut and printed on indented lines of their own: they can neither
scroll the name of the tool away nor look like the line that asks.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator

from lmchat.domain.message import ToolCallPart
from lmchat.domain.tool import CHOICES, arguments_of
from lmchat.text import cut_at, plural, safe_line

_CHOICES = f"? {', '.join(f'{key} {words}' for key, words in CHOICES.items())}: "
_INDENT = "    "
_LEAST_COLUMNS = 40
_MOST_ARGUMENTS = 6
_MOST_LINES = 12  # of all arguments, so that the whole question fits on a screen of 24 lines
_MOST_NAME_CELLS = 60
_MOST_MARKS = 2  # on one letter; more of them would paint over the lines above and below
_MOST_CHARS_PER_CELL = 4


def call_question(call: ToolCallPart, columns: int) -> str:
    """Return the lines of the question; the last one begins with server and tool."""
    width = max(columns, _LEAST_COLUMNS)
    name, _ = cut_at(_few_marks(safe_line(call.name, limit=_MOST_NAME_CELLS)), _MOST_NAME_CELLS)
    arguments = arguments_of(call.arguments) or {}
    lines = [f"{name} wants to run{'' if arguments else ', without arguments'}:"]
    shown = list(arguments.items())[:_MOST_ARGUMENTS]
    for key, value in shown:
        lines += _argument_lines(key, value, width - len(_INDENT) - 1, _MOST_LINES // len(shown))
    if (count := len(arguments) - _MOST_ARGUMENTS) > 0:
        lines.append(f"{_INDENT}… and {plural(count, 'more argument')}")
    lines.append(f"{name}{_CHOICES}")
    return "\n".join(lines)


def _argument_lines(key: str, value: object, width: int, most_lines: int) -> Iterator[str]:
    """Yield the first lines of an argument, each of at most `width` cells, and how much more there is."""
    shown_key = key if key.isascii() and key.isidentifier() else json.dumps(key, ensure_ascii=False)
    text = f"{shown_key} = {json.dumps(value, ensure_ascii=False)}"
    most_chars = most_lines * width * _MOST_CHARS_PER_CELL
    rest = _few_marks(safe_line(text[:most_chars]))
    for _ in range(most_lines):
        line, rest = cut_at(rest, width)
        yield f"{_INDENT}{line.rstrip()}"
        if not rest:
            break
    if (count := len(rest) + max(len(text) - most_chars, 0)) > 0:
        yield f"{_INDENT}… and {plural(count, 'more character')}"


def _few_marks(text: str) -> str:
    """Return a text with at most two combining marks on a letter."""
    if text.isascii():
        return text
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char)[0] == "M" else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)
