"""Servers and ways to one, as the welcome screen shows them: rows, headline and next step.

A server is an address that the search has asked, whether one answers or not. A way is something
else that leads to one, such as typing an address.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len

from lmchat.app.markdown_lines.wrap import text_of, width_of
from lmchat.app.tui.widgets.line import FAINT, MUTED, SIGN_STYLES, StyledText, cut_middle
from lmchat.app.tui.widgets.row_list import (
    NAME,
    UNLESS_CHOSEN,
    WHEN_CHOSEN,
    Column,
    ListRow,
    aligned,
    edge_row,
    text_row,
)
from lmchat.base import units
from lmchat.base.safe_text import SafeText, safe_line
from lmchat.base.units import SIGNS
from lmchat.core.servers.discovery.status import Next, ServerStatus, usable_of
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.demo import DemoModel
from lmchat.core.servers.local.gguf import ModelFile
from lmchat.core.servers.local.installed import Installed, ServerStart
from lmchat.core.servers.model import OPENAI_COMPATIBLE
from lmchat.core.servers.products import product_named

NO_SERVER = "No model server answers on this machine yet."
_LEADS_TO_CHAT = (Next.CHAT, Next.WAIT, Next.PICK, Next.PULL, Next.KEY, Next.ALLOW)
"""What Enter does in the row that is chosen first; a model is named only by choice."""
_COLUMNS = (Column("Server"), Column("Port", is_right=True), Column("Result"))
_NAME_CHARS = 32
_LAST_DIGIT = 9  # of the keys that take a row

# in cells
_INDENT = 3  # bar, sign and blank
_GAP = 3  # between columns; less where room is short
_LEAST_STEP = 10  # a shorter next step says nothing
_WITH_PORT = 93  # of the rows on a screen of 100
_MOST_NAME_CELLS = 26
_RESULT_CELLS = len("not an LLM server")  # so that the columns stay while results change


class ServerRow(Struct, frozen=True, kw_only=True):
    """Server as it is shown; its texts may come from outside."""

    status: ServerStatus
    result: str  # of the probe, such as "needs key" or "not running"
    next_step: str  # of the user, if one is needed and known
    start: ServerStart | None = None  # what Enter runs after a question
    is_not_installed: bool = False  # looked for on this machine, and not found

    @property
    def key(self) -> Endpoint | None:
        """Address by which the row is chosen; None where nothing can be done."""
        server = self.status
        # Enter also checks one again that has answered
        is_choice = server.is_model_server or server.action in (Next.ALLOW, Next.NAME)
        return server.endpoint if is_choice or self.start else None

    @property
    def name(self) -> SafeText:
        """The product, with the address if it is on another host; the address if none is known.

        What does not answer at an address that the user named may be any product.
        """
        server = self.status
        endpoint = self.status.endpoint
        is_usual_address = endpoint.is_loopback and not server.has_named_address
        is_known = server.product != OPENAI_COMPATIBLE
        if server.own_name:
            return safe_line(server.own_name)
        if not is_known or not (is_usual_address or server.is_model_server):
            return safe_line(endpoint.netloc)
        if endpoint.is_loopback:
            return safe_line(server.label)
        return safe_line(f"{server.product} at {endpoint.netloc}")

    @property
    def port(self) -> str:
        """Empty if the name has it."""
        port = str(self.status.endpoint.port)
        return "" if self.name.endswith(f":{port}") else port


class LocalSetup(Struct, frozen=True, kw_only=True):
    """Means of this machine to start a server: programs, model files, the engine."""

    installed: tuple[Installed, ...] | None = None  # programs; None until they are looked for
    files: tuple[ModelFile, ...] = ()  # of models, on this disk
    offer: DemoModel | None = None  # that the engine can download; None if it is not installed
    install_command: str = ""  # of the built-in engine; "" if it is installed
    last_model: str = ""  # file that was used last
    starting: str = ""  # file with which the engine starts


def server_rows(servers: Sequence[ServerStatus], machine: LocalSetup) -> tuple[ServerRow, ...]:
    """Sort: programs that run, then installed ones, then others."""
    rows = [_row(server, machine) for server in servers]
    rows.sort(key=lambda row: (row.status.meaning.sign == SIGNS.off, row.is_not_installed))
    return tuple(rows)


def default_choice(rows: Sequence[ServerRow]) -> Endpoint | None:
    """Return the address of the row that Enter takes until the user moves.

    It is the first row with which a chat can start, maybe after a question. An address that the
    user named comes first.
    """
    for row in sorted(rows, key=lambda row: not row.status.has_named_address):
        # one that does not run is started only if the user chooses its row
        can_start = row.start is not None and row.status.reason == "server_off"
        if can_start or row.status.action in _LEADS_TO_CHAT:
            return row.key
    return None


def _row(server: ServerStatus, machine: LocalSetup) -> ServerRow:
    """Return the row of an address.

    If nothing answers on this machine, it says how to start the product that is usual there, or
    where to get it. Else it has the next step of the probe.
    """
    row = ServerRow(
        status=server,
        result=server.word,
        next_step="Choose a model" if server.action is Next.PICK else server.next_step,
    )
    # the step of the probe stays until the programs of this machine are known, and where none can
    # be started
    if machine.installed is None or server.action is not Next.START:
        return row

    fitting = (found for found in machine.installed if found.product == server.product)
    installed = next(fitting, None)
    if installed is not None and installed.start:
        start = ServerStart(product=server.product, argv=installed.start, endpoint=server.endpoint)
        row = replace(row, next_step=start.short, start=start)
    if server.reason == "server_off":  # the program runs, even if it was not found
        return row
    if installed is not None:  # where lmchat cannot start it, the step of the probe says how
        return replace(row, result="not running")
    where_to_get = product_named(server.product).step("get")
    return replace(
        row,
        result="not found",
        next_step=where_to_get or row.next_step,
        is_not_installed=True,
    )


def headline_and_advice(
    servers: Sequence[ServerStatus], chosen: Endpoint | None = None
) -> tuple[str, str]:
    """Return the headline, about one server, and the advice, the next step for a chat.

    It is about the chosen server, if that runs. The advice is "" if no step is missing or known.
    Both may contain text of a server.
    """
    named = [server for server in servers if server.has_named_address]
    # the chosen one comes first, then one that the user named
    runs = [one for one in servers if one.is_model_server or one.reason == "server_off"]
    runs.sort(key=lambda one: (one.endpoint != chosen, not one.has_named_address))
    usable = usable_of(runs)
    if named and usable and not any(server.is_model_server for server in named):
        return f"The server you named cannot be used. {_server_name(usable[0])} can.", ""
    for server in runs:
        if server.endpoint == chosen or server.action not in (Next.CHAT, Next.WAIT):
            return server.sentence(_server_name(server)), _advice(server)
    if usable:
        return usable[0].sentence(_server_name(usable[0])), ""
    # nothing answers: the headline says why if the user named exactly one, and its probe knows
    if len(named) != 1 or not named[0].detail:
        return NO_SERVER, ""
    endpoint = named[0].endpoint
    detail = named[0].detail
    text = detail if endpoint.host in detail else f"{endpoint.netloc}: {detail}"
    return text, _advice(named[0])


def _advice(server: ServerStatus) -> str:
    """Return the next step of a server, and what Enter does then."""
    if server.action is Next.PICK:
        return "Press Enter to choose one."
    if not server.next_step:
        return ""
    step = f"Next: {server.next_step.rstrip('.')}."
    match server.action:
        case Next.ALLOW:
            return f"{step} Or press Enter to allow it for this run."
        case Next.PULL:
            return f"{step} Or press Enter to download one."
        case Next.NAME:
            return f"{step} Or press Enter on its row to name a model."
        case Next.KEY:
            return f"{step} Press Enter, then type it."
        case _:
            return step


def _server_name(server: ServerStatus) -> str:
    """Return the product of a server as the subject of a sentence.

    Its address follows if it is on another host, or if the user has named it.
    """
    endpoint = server.endpoint
    if server.own_name:
        return server.own_name
    if server.product == OPENAI_COMPATIBLE:
        return f"The server at {endpoint.netloc}"
    is_usual_address = endpoint.is_loopback and not server.has_named_address
    return server.label if is_usual_address else f"{server.product} at {endpoint.netloc}"


def welcome_rows(machine: LocalSetup, servers: Sequence[ServerRow], width: int) -> list[ListRow]:
    """Return all rows for a width in cells.

    Servers come first if one answers, or if Enter can start one; else the ways do.
    """
    ways: list[ListRow] = []
    for key, title, text in _ways(machine, width):
        ways.append(text_row(f"  {title}", key=key))
        ways.append(text_row(f"  {text}", MUTED, key=key))
        ways.append(ListRow())
    if not servers:
        return _with_digits(ways)
    table = [*_table(servers, width), ListRow()]
    is_near = any(
        server.key is not None or server.status.reason == "server_off" for server in servers
    )
    return _with_digits([*table, *ways] if is_near else [*ways, *table])


def first_way(rows: Sequence[ListRow]) -> Hashable:
    """There is always one: an address can be typed."""
    return next(row.key for row in rows if isinstance(row.key, str))


def _ways(machine: LocalSetup, width: int) -> Iterator[tuple[str, str, str]]:
    """Yield the `ListRow.key` of each way, and the words of its two rows."""
    offer = machine.offer
    if machine.starting:
        yield "starting", "The built-in engine starts", f"{machine.starting} …"
    elif offer is not None:  # the engine is installed
        names = [file.name for file in machine.files]
        offered = offer.name
        if machine.last_model in names:
            offered = machine.last_model
            yield "last", "Start the built-in engine", f"{machine.last_model}, as the last time"
        else:
            name = safe_line(offer.name, limit=_NAME_CHARS)
            size = units.size_text(offer.download_bytes)
            text = f"Asks to download {name}, a demo model ({size}, {offer.licence})."
            if cell_len(text) + _INDENT > width:
                text = f"Asks to download {name}, a demo model ({size})."
            if any(file.is_demo for file in machine.files):
                text = f"{name}, a demo model, is on this disk."
            yield "demo", "Try the built-in engine", text
        if any(name != offered for name in names):
            yield "files", "Use a model file from this disk", f"{len(names)} found"
    yield "address", "Type an address", "A server on another port or host"
    if machine.install_command:
        text = f"Built-in engine: {machine.install_command}"
        yield "install", "Copy the install command", text


def _sign(server: ServerRow) -> StyledText:
    """Return the sign of a server; its style is also that of the result."""
    sign = server.status.meaning.sign
    return sign, SIGN_STYLES[sign]


def _table(servers: Sequence[ServerRow], width: int) -> list[ListRow]:
    """Make a table with its head above a rule.

    The port is shown on a wide screen only. A next step without room is cut, or on a very narrow
    screen left out.
    """
    has_port = width >= _WITH_PORT
    gap = _GAP if has_port else _GAP - 1
    most_name = min(max(width // 3, 1), _MOST_NAME_CELLS)
    names = [server.name for server in servers]
    texts = [
        (
            (
                cut_middle(server.name, most_name)
                if has_port or names.count(server.name) == 1
                else f"{cut_middle(server.name, most_name)} :{server.port}",
                MUTED if server.is_not_installed else NAME,
            ),
            (server.port if has_port else "", MUTED),
            (f"{server.result:<{_RESULT_CELLS}}", _sign(server)[1]),
        )
        for server in servers
    ]
    # no column is left out, also before the page has its width
    heads, *cells = aligned(_COLUMNS, texts, sys.maxsize, gap)
    used = _INDENT + width_of(heads) + gap
    has_step = width - used >= _LEAST_STEP
    head = f"{' ' * _INDENT}{text_of(heads)}"
    rows = [
        edge_row(f"{head}{' ' * gap}Next step" if has_step else head),
        edge_row(SIGNS.rule * width, FAINT),
    ]
    for server, (*columns, (result, _)) in zip(servers, cells, strict=True):
        sign, style = _sign(server)
        # muted if it only says how to get a product
        step_style = MUTED if server.is_not_installed else ""
        step = (f"{' ' * gap}{safe_line(server.next_step)}", step_style)
        ends = ((result, style), step) if has_step else ((result.rstrip(), style),)
        pieces = ((f"{sign} ", style), *columns, *ends)
        rows.append(ListRow(pieces=(pieces,), key=server.key))
    return rows


def _with_digits(rows: Sequence[ListRow]) -> list[ListRow]:
    """Add the key to press at the right: a digit, or `Enter` in the chosen row.

    Rows with the same `ListRow.key` are chosen together; only the first has it.
    """
    written: list[ListRow] = []
    keys: set[Hashable] = set()  # of the choices so far
    for row in rows:
        if row.key is None or row.key in keys:
            written.append(row)
            continue
        keys.add(row.key)
        number = len(keys)
        digit = f" {number} " if number <= _LAST_DIGIT else ""
        ends = ((digit, UNLESS_CHOSEN), (" Enter ", WHEN_CHOSEN))
        written.append(replace(row, right=(*row.right, *ends)))
    return written
