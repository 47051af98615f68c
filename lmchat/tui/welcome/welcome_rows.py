"""Rows of the welcome page: ways to a server, and the servers that were probed.

The servers are a table, one row for each. Where a table has no room, each server has two rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size

from lmchat import units
from lmchat.safe_text import SafeText, safe_line
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.engine.model_files import DemoOffer, ModelFile
from lmchat.servers.products.product import OPENAI_COMPATIBLE
from lmchat.services.server_rows import MachineState, RowAction, ServerRow
from lmchat.tui.widgets.line import FAINT, MUTED, StyledTexts, cut_middle
from lmchat.tui.widgets.row_list import (
    NAME,
    UNLESS_CHOSEN,
    WHEN_CHOSEN,
    ListRow,
    heading_row,
    text_row,
)
from lmchat.units import Icons

_OK, _WARN, _BAD = "$success", "$warning", "$error"
_STYLES: Mapping[Verdict, str] = {
    Verdict.READY: _OK,
    Verdict.LOADING: _WARN,
    Verdict.NO_MODEL: _WARN,
    Verdict.NEEDS_KEY: _WARN,
    Verdict.SERVER_OFF: _WARN,
    Verdict.KEY_REJECTED: _BAD,
    Verdict.HOST_BLOCKED: _BAD,
    Verdict.SERVER_ERROR: _BAD,
}
_SIGNS: Mapping[str, str] = {_OK: "ready", _WARN: "degraded", _BAD: "down"}  # fields of `Icons`
_NAMED_FILES = 2  # model files that are named; the others are counted
_NAME_CHARS = 32
_LAST_DIGIT = 9  # of the keys that take a row

# Widths in cells
_INDENT = 4  # bar, blank, sign and blank; a row begins behind the bar
_NAME_GAP = 2  # between name and port
_GAP = 3  # between port, result and next step
_LEAST_NAME = 12
_MOST_NAME = 28
_LEAST_PORT = 7
_LEAST_RESULT = 8
_MOST_STEP = 60  # a longer next step is cut where the table needs the room
_KEY = 9  # ` Enter ` and the digit


class Way(Struct, frozen=True):
    """A way to a server that the page offers."""

    key: str  # by which the page knows what was chosen
    title: str  # first row
    words: str  # second row


class ServerLine(Struct, frozen=True, kw_only=True):
    """Texts of a server, which are safe to show."""

    key: Endpoint | None  # None where nothing can be done
    sign: SafeText
    style: str  # of sign and result
    name: SafeText
    ports: str
    has_port_in_name: bool
    result: str  # of the probe
    seen: str  # what answered instead of a model server
    next_step: SafeText
    is_here: bool  # whether the product is installed on this machine, or may be


def welcome_rows(
    machine: MachineState, servers: Sequence[ServerRow], width: int, icons: Icons
) -> list[ListRow]:
    """Return all rows of the page for a width in cells: first the ways, then the servers."""
    rows: list[ListRow] = []
    for way in _ways(machine):
        rows.append(text_row(f" {way.title}", key=way.key))
        rows.append(text_row(f" {way.words}", MUTED, key=way.key))
        rows.append(ListRow())
    if servers:
        lines = [_server_line(server, icons) for server in servers]
        rule = heading_row(icons.rule * width, FAINT)
        rows += _table(lines, rule, width, icons) or [rule, *_pairs(lines)]
        rows.append(ListRow())
    return _with_digits(rows)


def _ways(machine: MachineState) -> Iterator[Way]:
    """Yield the ways to a server.

    If the built-in engine is installed, its ways come first: the model used last, the demo model,
    and model files of this disk. An address can always be typed. If the engine is not installed,
    the command that installs it comes last.
    """
    own_files = [file for file in machine.files if not file.is_demo]
    if machine.offer is not None and not machine.engine_command:
        if machine.last_model in [file.name for file in machine.files]:
            yield Way(
                "last", "Start the built-in engine", f"{machine.last_model}, as the last time"
            )
        words = _demo_words(machine.offer, has_demo=len(own_files) < len(machine.files))
        yield Way("demo", "Try the built-in engine", words)
        if own_files:
            yield Way("files", "Use a model file from this disk", _file_words(own_files))
    yield Way("address", "Type an address", "A server on another port or host")
    if machine.engine_command:
        command = f"Built-in engine: {machine.engine_command}"
        yield Way("install", "Copy the install command", command)


def _file_words(files: Sequence[ModelFile]) -> str:
    """Return how many model files there are, the names of the first, and how many others."""
    words = f"{len(files)} found: {', '.join(map(_file_name, files[:_NAMED_FILES]))}"
    others = len(files) - _NAMED_FILES
    return f"{words}, and {others} more" if others > 0 else words


def _file_name(file: ModelFile) -> str:
    """Return the name of a model file, its quantization if the name lacks it, and its size."""
    words = [safe_line(file.name, limit=_NAME_CHARS)]
    if file.quantization not in file.name:
        words.append(safe_line(file.quantization, limit=10))
    return " ".join([*words, units.size_text(file.size_bytes)])


def _demo_words(offer: DemoOffer, *, has_demo: bool) -> str:
    """Return words for the demo model: whether it is on this disk, or what a download takes."""
    name = safe_line(offer.name, limit=_NAME_CHARS)
    if has_demo:
        return f"{name}, a demo model, is on this disk."
    size = units.size_text(offer.download_bytes)
    return f"Asks to download {name}, a demo model ({size}, {offer.licence})."


def _server_line(server: ServerRow, icons: Icons) -> ServerLine:
    """Return the texts of a server.

    The result of its probe, such as "not an LLM: nginx", is split at the colon: the second part,
    what answered instead of a model server, becomes `seen`.
    """
    probed = server.probed
    style = _STYLES.get(probed.verdict, MUTED)
    if server.action is RowAction.WAIT:
        style = _WARN
    name = safe_line(_name(probed))
    result, _, seen = safe_line(server.result).partition(": ")
    return ServerLine(
        key=None if server.action is RowAction.NOTHING else probed.endpoint,
        sign=getattr(icons, _SIGNS.get(style, "off")),
        style=style,
        name=name,
        ports=probed.port_words,
        has_port_in_name=str(probed.endpoint.port) in name,
        result=result,
        seen=seen,
        next_step=safe_line(server.next_step),
        is_here=server.is_here,
    )


def _name(probed: ProbeResult) -> str:
    """Return the name of a server: its address if the user named it or it is another machine.

    Otherwise it is the product, or "Recent" for an unknown product where no server answers.
    """
    if probed.has_named_address or not probed.endpoint.is_loopback:
        return probed.endpoint.netloc
    if probed.product == OPENAI_COMPATIBLE and not probed.verdict.is_server:
        return "Recent"  # used before: no other address of an unknown product is probed unasked
    return probed.product


def _table(lines: Sequence[ServerLine], rule: ListRow, width: int, icons: Icons) -> list[ListRow]:
    """Return the servers as a table below a head and a rule; empty if the width is too small.

    What answered instead of a model server is a row of its own below the server, so that no column
    gets too wide. Where two ports do not fit into their column, they begin in that of the names.
    """
    longest_name = max(cell_len(line.name) for line in lines)
    name_width = min(max(_LEAST_NAME, longest_name + _NAME_GAP), _MOST_NAME)
    most_name = name_width - _NAME_GAP  # a longer name is cut
    # both columns have room for the name, a blank and the ports of each row
    most_name_and_ports = max(
        min(cell_len(line.name), most_name) + 1 + len(line.ports) for line in lines
    )
    port_width = max(_LEAST_PORT, most_name_and_ports - name_width)
    result_width = max(_LEAST_RESULT, *(len(line.result) + _GAP for line in lines))
    step_width = max(map(_step_width, lines))
    if _INDENT + name_width + port_width + _GAP + result_width + step_width > width:
        return []
    gap = " " * _GAP
    columns = (
        f"{'Server':{name_width}}{'Port':>{port_width}}{gap}{'Result':{result_width}}Next step"
    )
    rows = [heading_row(" " * _INDENT + columns), rule]
    for line in lines:
        ports_width = max(port_width, len(line.ports))
        left_width = name_width + port_width - ports_width  # less for a name beside wide ports
        name = cut_middle(line.name, most_name, icons.cut)
        parts: StyledTexts = (
            (f" {line.sign} ", line.style),
            (set_cell_size(name, left_width), NAME),
            (f"{line.ports:>{ports_width}}{gap}", MUTED),
            (f"{line.result:{result_width}}", line.style),
            (line.next_step, "" if line.is_here else MUTED),
        )
        rows.append(ListRow((parts,), key=line.key))
        if line.seen:
            left_columns = _INDENT - 1 + name_width + port_width + _GAP  # without the bar
            indent = " " * left_columns
            rows.append(text_row(f"{indent}{line.seen}", MUTED, key=line.key))
    return rows


def _step_width(line: ServerLine) -> int:
    """Return the cells that the next step needs, at most `_MOST_STEP`, with those of its key."""
    key_width = _KEY if line.key is not None else 0
    return min(cell_len(line.next_step), _MOST_STEP) + key_width


def _pairs(lines: Sequence[ServerLine]) -> Iterator[ListRow]:
    """Yield the rows of each server: name and result, and below them the next step, if any."""
    for line in lines:
        name: StyledTexts = ((f" {line.sign} ", line.style), (f"{line.name} ", NAME))
        port = "" if line.has_port_in_name else line.ports
        result = f"{line.result}: {line.seen}" if line.seen else line.result
        yield ListRow((name, ((port, MUTED),)), ((result, line.style),), key=line.key)
        if line.next_step:
            yield text_row(f"   {line.next_step}", MUTED, key=line.key)


def _with_digits(rows: Sequence[ListRow]) -> list[ListRow]:
    """Return the rows with the key to press written at the right: a digit, or `Enter` if chosen.

    Rows with the same `ListRow.key` are chosen together, and only the first of them gets it. Behind
    the ninth choice, there are no more digits. Rows without a `ListRow.key` cannot be chosen.
    """
    written: list[ListRow] = []
    numbers: dict[Hashable, int] = {}  # by `ListRow.key`, from 1
    for row in rows:
        if row.key is None or row.key in numbers:
            written.append(row)
            continue
        number = numbers[row.key] = len(numbers) + 1
        digit = f" {number} " if number <= _LAST_DIGIT else ""
        keys: StyledTexts = ((digit, UNLESS_CHOSEN), (" Enter ", WHEN_CHOSEN))
        written.append(replace(row, right=(*row.right, *keys)))
    return written
