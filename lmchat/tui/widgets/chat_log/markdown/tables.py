"""The rows and cells of tables, as the parser finds them, at a cost that grows with what is in them."""

from __future__ import annotations

import re

from markdown_it.common.utils import mdTrim
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_block.table import escapedSplit

from lmchat.tui.widgets.chat_log.blocks import MOST_COLUMNS

_CODE = r"(`+)(?=[^`])(.*?[^`])\1(?!`)"


def whole_table(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Take a table; what is too much for a row stays in its last cell, where the parser would drop it.

    The cells that a row lacks have no token: the parser makes three for each, and a row of one letter may
    lack 31.
    """
    below = min(first + 1, last - 1)
    if state.src.count("|", state.bMarks[below], state.eMarks[below]) > MOST_COLUMNS + 1:
        return False
    if not table(state, first, last, True):
        return False
    if silent:
        return True
    before, state.parentType = state.parentType, "table"
    token = state.push("table_open", "table", 1)
    token.map = lines = [first, first + 2]
    aligns = [_align(mark) for mark in _bare_cells(mdTrim(_text(state, below)))]
    _push_row(state, first, _bare_cells(mdTrim(_text(state, first))), aligns)
    lines[1] = state.line = _push_rows(state, first + 2, last, len(aligns))
    state.push("table_close", "table", -1)
    state.parentType = before
    return True


def _push_rows(state: StateBlock, line: int, last: int, columns: int) -> int:
    """Take the rows below the head; return the line behind them."""
    ends = state.md.block.ruler.getRules("blockquote")
    while line < last and state.sCount[line] >= state.blkIndent:
        if any(end(state, line, last, True) for end in ends):
            break
        text = _text(state, line)
        if not mdTrim(text) or state.is_code_block(line):
            break
        _push_row(state, line, row_cells(text, columns))
        line += 1
    return line


def _push_row(state: StateBlock, line: int, cells: list[str], aligns: list[str] | None = None) -> None:
    state.push("tr_open", "tr", 1).map = [line, line + 1]
    for place, cell in enumerate(cells):
        if aligns:
            state.push("th_open", "th", 1).attrs = {"style": "text-align:" + aligns[place]}
        token = state.push("inline", "", 0)
        token.map, token.content, token.children = [line, line + 1], cell, []
        if aligns:
            state.push("th_close", "th", -1)
    state.push("tr_close", "tr", -1)


def _text(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _align(mark: str) -> str:
    """Return how a column is aligned whose dashes these are."""
    if mark.endswith(":"):
        return "center" if mark.startswith(":") else "right"
    return "left" if mark.startswith(":") else ""


def row_cells(text: str, columns: int) -> list[str]:
    """Return the cells of a row; those at its end may lack.

    A bar within code divides none if there would be too many else.
    """
    if text.count("|") < columns:
        return _bare_cells(mdTrim(text))
    text = text.strip()
    cells = _inner(escapedSplit(text))
    if len(cells) > columns:
        parts = re.split(_CODE, text)
        for place in range(1, len(parts), 3):
            parts[place + 1] = parts[place] + parts[place + 1].replace("|", "\\|") + parts[place]
            parts[place] = ""
        coded = _inner(escapedSplit("".join(parts)))
        cells = coded if len(coded) >= columns else cells
    return [*cells[: columns - 1], " | ".join(cells[columns - 1 :])]


def _bare_cells(text: str) -> list[str]:
    """Return the cells of a row as the parser divides it."""
    cells = escapedSplit(text)
    cells = cells[1:] if cells and not cells[0] else cells
    cells = cells[:-1] if cells and not cells[-1] else cells
    return [mdTrim(cell) for cell in cells]


def _inner(cells: list[str]) -> list[str]:
    """Return cells without the empty ones before the first bar and behind the last."""
    cells = cells[1:] if cells and not cells[0] else cells
    cells = cells[:-1] if cells and not cells[-1] else cells
    return [cell.strip() for cell in cells]
