"""Servers as the welcome page shows them: rows, headline and next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.product import Product
from lmchat.domain.program import Installed, ServerStart
from lmchat.domain.server import Candidate, Verdict
from lmchat.files import is_absolute_path
from lmchat.services.server_launcher import Program, is_startable, start_of

NOTHING = "No model server answers on this machine yet."
_ONE_STEP_AWAY = (
    Verdict.NEEDS_KEY,
    Verdict.KEY_REJECTED,
    Verdict.SERVER_OFF,
    Verdict.READY,
    Verdict.LOADING,
)
"""Verdicts after which one step on the page is enough to chat."""
_USABLE = "{} answers."
_OTHER_USABLE = "The server you named does not answer. {} does."
_HEADLINES: Mapping[Verdict, str] = {
    Verdict.NEEDS_KEY: "{name} answers, but needs an API key.",
    Verdict.KEY_REJECTED: "{name} answers, but rejected the API key.",
    Verdict.HOST_BLOCKED: "{name} does not accept the host name {host}.",
    Verdict.NO_MODEL: "{name} answers, but has no model yet.",
    Verdict.SERVER_OFF: "{name} runs, but its server is off.",
}


class RowAction(Enum):
    """Action of Enter on a row."""

    NOTHING = auto()
    CHOOSE = auto()
    START = auto()
    START_WITH_FILE = auto()
    WAIT = auto()  # a server was started and does not answer yet


class ServerRow(Struct, frozen=True, kw_only=True):
    """A server as the welcome page shows it; its texts may come from outside."""

    candidate: Candidate
    found: str
    next_step: str
    action: RowAction = RowAction.NOTHING
    start: ServerStart | None = None
    program: str = ""
    is_here: bool = True  # whether the product is installed on this machine, or may be


class MachineState(Struct, frozen=True, kw_only=True):
    """Servers, model files and programs of this machine that do not answer."""

    installed: tuple[Installed, ...] | None = None
    running: tuple[Program, ...] = ()
    files: tuple[ModelFile, ...] = ()
    offer: DemoOffer | None = None
    engine_command: str = ""  # command that installs the built-in engine, where that is missing
    last_model: str = ""  # model of the built-in engine, where that was used last


def server_rows(candidates: Sequence[Candidate], here: MachineState) -> tuple[ServerRow, ...]:
    """Return the rows; first those of servers that answer, then of installed products."""
    rows = [_row(candidate, here) for candidate in candidates]
    return tuple(sorted(rows, key=_rank))  # a stable sort: equal ranks keep their order


def _rank(row: ServerRow) -> int:
    verdict = row.candidate.verdict
    if verdict.is_server or verdict in (Verdict.SERVER_OFF, Verdict.SERVER_ERROR):
        return 0
    return 1 if row.is_here else 2


def first_step(rows: Sequence[ServerRow]) -> ServerRow | None:
    """Return the row where one step on the page is enough to chat, if any."""
    for row in rows:
        if row.candidate.verdict in _ONE_STEP_AWAY and row.action is not RowAction.NOTHING:
            return row
    return None


def _row(candidate: Candidate, here: MachineState) -> ServerRow:
    can_choose = candidate.verdict.is_server or candidate.can_be_allowed
    row = ServerRow(
        candidate=candidate,
        found="not allowed" if candidate.is_forbidden else candidate.finding,
        next_step=candidate.next_step,
        action=RowAction.CHOOSE if can_choose else RowAction.NOTHING,
    )
    if not can_choose:
        for program in here.running:
            if program.start.endpoint == candidate.endpoint:
                return _starting_row(row, program)
    if here.installed is None or candidate.is_own or not is_startable(candidate):
        return row
    for installed in here.installed:
        if installed.product is candidate.product:
            return _installed_row(row, installed, has_files=bool(here.files))
    return _missing_row(row)


def _starting_row(row: ServerRow, program: Program) -> ServerRow:
    return replace(
        row,
        found="starting",
        next_step=f"{program.start.short} runs (process {program.pid})",
        action=RowAction.WAIT,
        start=program.start,
    )


def _missing_row(row: ServerRow) -> ServerRow:
    """Return the row of a product that is not installed; a program that answers is here anyway."""
    is_off = row.candidate.verdict is Verdict.SERVER_OFF
    where_to_get = "" if is_off else row.candidate.product.facts.where_to_get
    return replace(
        row,
        found=row.candidate.verdict.value,
        next_step=where_to_get or row.next_step,
        is_here=is_off,
    )


def _installed_row(row: ServerRow, installed: Installed, *, has_files: bool) -> ServerRow:
    candidate = row.candidate
    is_off = candidate.verdict is Verdict.SERVER_OFF
    row = replace(row, found=candidate.verdict.value if is_off else "not running")
    start = start_of(candidate, installed)
    if start is not None:
        return replace(row, next_step=start.short, action=RowAction.START, start=start)
    can_serve_files = candidate.product is Product.LLAMA_CPP and is_absolute_path(installed.program)
    if can_serve_files and has_files:
        return replace(
            row,
            next_step="llama-server with a model file",
            program=installed.program,
            action=RowAction.START_WITH_FILE,
        )
    return row if is_off else replace(row, next_step=installed.start_words or row.next_step)


def headline_of(candidates: Sequence[Candidate]) -> str:
    """Return the state of the servers in one sentence, which may hold words of a server."""
    if (lacking := _lacking(candidates)) is not None:
        sentence = _HEADLINES[lacking.verdict]
        return sentence.format(name=_name(lacking), host=lacking.endpoint.host)
    is_any_named = any(candidate.is_own for candidate in candidates)
    for candidate in candidates:
        if candidate.verdict.is_usable:
            sentence = _OTHER_USABLE if is_any_named else _USABLE
            return sentence.format(candidate.product.value)
    named = _only_named(candidates)
    if named is None:
        return NOTHING
    has_host = named.endpoint.host in named.detail
    return named.detail if has_host else f"{named.endpoint.netloc}: {named.detail}"


def advice_of(candidates: Sequence[Candidate]) -> str:
    """Return the one step that is missing for a chat; empty if it is more than one."""
    candidate = _lacking(candidates)
    has_usable = any(found.verdict.is_usable for found in candidates)
    if candidate is None and not has_usable:
        candidate = _only_named(candidates)
    if candidate is None or not candidate.next_step:
        return ""
    step = f"Next: {candidate.next_step}"
    if candidate.can_be_allowed:
        return f"{step}, or type the address here to allow it for this run"
    if candidate.kind == "certificate":  # the trusted ones are read once in a run
        return f"{step} Then start lmchat again."
    return f"{step} (this page then continues)"


def _lacking(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the first server that answers and lacks one thing."""
    for candidate in candidates:
        has_model = candidate.verdict.is_usable and candidate.has_model
        if candidate.verdict in _HEADLINES and not has_model:
            return candidate
    return None


def _only_named(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the server that the user named, if it is only one, and failed with an error."""
    own = [candidate for candidate in candidates if candidate.is_own]
    return own[0] if len(own) == 1 and own[0].detail else None


def _name(candidate: Candidate) -> str:
    endpoint = candidate.endpoint
    if candidate.product is Product.OPENAI_COMPATIBLE:
        return f"The server at {endpoint.netloc}"
    is_known = endpoint.is_loopback and not candidate.is_own
    name = candidate.product.value
    return name if is_known else f"{name} at {endpoint.netloc}"
