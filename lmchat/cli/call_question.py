"""Question about a tool call on a terminal without a screen.

The model writes the arguments, so they are cut and printed on indented lines of their own: they can
neither scroll the name of the tool away nor look like the line that asks. Widths are in cells, the
columns of a terminal.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator

from lmchat.cells import split_at_cell
from lmchat.safe_text import safe_line
from lmchat.sessions.message import ToolCallPart, parse_arguments
from lmchat.tools.tool import CHOICES
from lmchat.units import plural

_CHOICES = f"? {', '.join(f'{key} {words}' for key, words in CHOICES.items())}: "
_INDENT = "    "
_MIN_COLUMNS = 40
_MAX_ARGUMENTS = 6
_MAX_LINES = 12  # of all arguments, so that the whole question fits on a screen of 24 lines
_MAX_NAME_CELLS = 60
_MAX_MARKS = 2  # on one letter; more of them would paint over the lines above and below
_MAX_CHARS_PER_CELL = 4  # of an argument; of a huge one, no more are filtered and measured


def call_question(call: ToolCallPart, columns: int) -> str:
    """Return the question as one text: the name of the tool, its arguments, and the choices.

    Each argument has at most an equal share of the lines. Arguments that are not shown are counted
    on a line of their own. `columns` is the width of the terminal.
    """
    safe_name = _limit_marks(safe_line(call.name, limit=_MAX_NAME_CELLS))
    name, _ = split_at_cell(safe_name, _MAX_NAME_CELLS)
    # None is impossible here: a call whose arguments are no JSON object is refused without asking
    arguments = parse_arguments(call.arguments) or {}
    ending = "" if arguments else ", without arguments"
    lines = [f"{name} wants to run{ending}:"]

    # the last column stays free: some terminals begin a new line after a character in it
    width = max(columns, _MIN_COLUMNS) - len(_INDENT) - 1
    shown_arguments = list(arguments.items())[:_MAX_ARGUMENTS]
    for key, value in shown_arguments:
        lines += _argument_lines(key, value, width, _MAX_LINES // len(shown_arguments))
    hidden_count = len(arguments) - len(shown_arguments)
    if hidden_count:
        lines.append(f"{_INDENT}… and {plural(hidden_count, 'more argument')}")
    return "\n".join([*lines, f"{name}{_CHOICES}"])


def _argument_lines(key: str, value: object, width: int, max_lines: int) -> Iterator[str]:
    """Yield at most `max_lines` indented lines with `KEY = VALUE`, the value as JSON.

    Each line has at most `width` cells after its indentation. If the text is longer, one more line
    says how many of its characters are not shown.
    """
    is_plain_key = key.isascii() and key.isidentifier()
    # in quotes, a key such as "a = 1, b" cannot look like a key and its value
    shown_key = key if is_plain_key else json.dumps(key, ensure_ascii=False)
    text = f"{shown_key} = {json.dumps(value, ensure_ascii=False)}"
    max_chars = max_lines * width * _MAX_CHARS_PER_CELL
    remaining_text = _limit_marks(safe_line(text[:max_chars]))
    for _ in range(max_lines):
        line, remaining_text = split_at_cell(remaining_text, width)
        yield f"{_INDENT}{line.rstrip()}"
        if not remaining_text:
            break
    hidden_count = len(remaining_text) + max(len(text) - max_chars, 0)
    if hidden_count:
        yield f"{_INDENT}… and {plural(hidden_count, 'more character')}"


def _limit_marks(text: str) -> str:
    """Return a text in which each letter keeps at most `_MAX_MARKS` combining marks (accents)."""
    if text.isascii():
        return text
    chars: list[str] = []
    mark_count = 0  # on the current letter
    for char in text:
        is_mark = unicodedata.category(char).startswith("M")
        mark_count = mark_count + 1 if is_mark else 0
        if mark_count <= _MAX_MARKS:
            chars.append(char)
    return "".join(chars)
