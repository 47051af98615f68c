"""Rows of the welcome page: ways to a server, and the servers that were probed.

The servers are a table, one row for each. Where a table has no room, each server has two rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from msgspec.structs import replace
from rich.cells import cell_len

from lmchat import units
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.probe_result import VERDICTS, ServerGrade
from lmchat.servers.engine.model_files import ModelFile
from lmchat.tui.welcome.server_rows import MachineState, RowAction, ServerRow
from lmchat.tui.widgets.columns import Column, aligned
from lmchat.tui.widgets.line import FAINT, MUTED, StyledText, cut_middle
from lmchat.tui.widgets.row_list import (
    NAME,
    UNLESS_CHOSEN,
    WHEN_CHOSEN,
    ListRow,
    heading_row,
    text_row,
)
from lmchat.units import UNICODE

_SIGNS: Mapping[ServerGrade, StyledText] = {
    ServerGrade.READY: (UNICODE.ready, "$success"),
    ServerGrade.STEP: (UNICODE.degraded, "$warning"),
    ServerGrade.FAULT: (UNICODE.down, "$error"),
    ServerGrade.AWAY: (UNICODE.off, MUTED),
}
_COLUMNS = (Column("Server"), Column("Port", is_right=True), Column("Result"))
_NAMED_FILES = 2  # model files that are named; the others are counted
_NAME_CHARS = 32
_LAST_DIGIT = 9  # of the keys that take a row

# Widths in cells
_INDENT = 4  # bar, blank, sign and blank; a row begins behind the bar
_GAP = 3  # between two columns
_MOST_NAME = 26
_MOST_STEP = 60  # a longer next step is cut where the table needs the room
_KEY = 9  # ` Enter ` and the digit


def welcome_rows(machine: MachineState, servers: Sequence[ServerRow], width: int) -> list[ListRow]:
    """Return all rows of the page for a width in cells: first the ways, then the servers."""
    rows: list[ListRow] = []
    for key, title, words in _ways(machine):
        rows.append(text_row(f" {title}", key=key))
        rows.append(text_row(f" {words}", MUTED, key=key))
        rows.append(ListRow())
    if servers:
        rule = heading_row(UNICODE.rule * width, FAINT)
        rows += [*(_table(servers, rule, width) or (rule, *_pairs(servers))), ListRow()]
    return _with_digits(rows)


def _ways(machine: MachineState) -> Iterator[tuple[str, str, str]]:
    """Yield the ways to a server: a key by which the page knows them, and two rows of words.

    If the built-in engine is installed, its ways come first: the model used last, the demo model,
    and model files of this disk. An address can always be typed. If the engine is not installed,
    the command that installs it comes last.
    """
    own_files = [file for file in machine.files if not file.is_demo]
    offer = machine.offer
    if offer is not None and not machine.engine_command:
        if machine.last_model in [file.name for file in machine.files]:
            yield "last", "Start the built-in engine", f"{machine.last_model}, as the last time"
        name = safe_line(offer.name, limit=_NAME_CHARS)
        size = units.size_text(offer.download_bytes)
        words = f"Asks to download {name}, a demo model ({size}, {offer.licence})."
        if len(own_files) < len(machine.files):
            words = f"{name}, a demo model, is on this disk."
        yield "demo", "Try the built-in engine", words
        if own_files:
            words = f"{len(own_files)} found: {', '.join(map(_file, own_files[:_NAMED_FILES]))}"
            if len(own_files) > _NAMED_FILES:
                words += f", and {len(own_files) - _NAMED_FILES} more"
            yield "files", "Use a model file from this disk", words
    yield "address", "Type an address", "A server on another port or host"
    if machine.engine_command:
        yield "install", "Copy the install command", f"Built-in engine: {machine.engine_command}"


def _file(file: ModelFile) -> str:
    """Return the name of a model file, its quantization if the name lacks it, and its size."""
    words = [safe_line(file.name, limit=_NAME_CHARS)]
    if file.quantization not in file.name:
        words.append(safe_line(file.quantization, limit=10))
    return " ".join([*words, units.size_text(file.size_bytes)])


def _sign(server: ServerRow) -> StyledText:
    """Return the sign of a server; its style is also that of the result."""
    grade = VERDICTS[server.probed.verdict].grade
    return _SIGNS[ServerGrade.STEP if server.action is RowAction.WAIT else grade]


def _table(servers: Sequence[ServerRow], rule: ListRow, width: int) -> list[ListRow]:
    """Return the servers as a table below a head and a rule; empty if the width is too small."""
    step_width = max(
        min(cell_len(safe_line(server.next_step)), _MOST_STEP)
        + (_KEY if server.key is not None else 0)
        for server in servers
    )
    texts = [
        (
            (cut_middle(server.name, _MOST_NAME), NAME),
            (server.port, MUTED),
            (server.result, _sign(server)[1]),
        )
        for server in servers
    ]
    heads, *cells = aligned(_COLUMNS, texts, width - _INDENT - _GAP - step_width, _GAP)
    if len(heads) < len(_COLUMNS):  # a column had no room
        return []
    gap = " " * _GAP
    head = "".join(text for text, _style in heads)
    rows = [heading_row(f"{' ' * _INDENT}{head}{gap}Next step"), rule]
    for server, (name, port, result) in zip(servers, cells, strict=True):
        sign, style = _sign(server)
        step = (f"{gap}{safe_line(server.next_step)}", "" if server.is_here else MUTED)
        pieces = ((f" {sign} ", style), name, port, result, step)
        rows.append(ListRow((pieces,), key=server.key))
    return rows


def _pairs(servers: Sequence[ServerRow]) -> Iterator[ListRow]:
    """Yield the rows of each server: name and result, and below them the next step, if any."""
    for server in servers:
        sign, style = _sign(server)
        port = "" if server.port in server.name else server.port
        pieces = (((f" {sign} ", style), (f"{server.name} ", NAME)), ((port, MUTED),))
        yield ListRow(pieces, ((server.result, style),), key=server.key)
        if server.next_step:
            yield text_row(f"   {safe_line(server.next_step)}", MUTED, key=server.key)


def _with_digits(rows: Sequence[ListRow]) -> list[ListRow]:
    """Return the rows with the key to press written at the right: a digit, or `Enter` if chosen.

    Rows with the same `ListRow.key` are chosen together, and only the first of them gets it. Behind
    the ninth choice, there are no more digits. Rows without a `ListRow.key` cannot be chosen.
    """
    written: list[ListRow] = []
    keys: set[Hashable] = {None}
    for row in rows:
        if row.key in keys:
            written.append(row)
            continue
        digit = f" {len(keys)} " if len(keys) <= _LAST_DIGIT else ""
        keys.add(row.key)
        ends = ((digit, UNLESS_CHOSEN), (" Enter ", WHEN_CHOSEN))
        written.append(replace(row, right=(*row.right, *ends)))
    return written
