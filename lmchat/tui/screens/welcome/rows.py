"""Rows of the welcome page: what can be done, and the places that were looked at."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size

from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.server import Candidate, Product, Verdict
from lmchat.services.candidates import MachineState, ServerRow, Step
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import Signs
from lmchat.tui.widgets.line import FAINT, MUTED, Parts, cut_middle
from lmchat.tui.widgets.row_list import NAME, UNLESS_CHOSEN, WHEN_CHOSEN, ListRow

ADDRESS = "address"
"""Key of the row that asks for an address."""
DEMO = "demo"
"""Key of the row that offers the demo model on the built-in engine."""
FILES = "files"
"""Key of the row that offers the model files of this disk."""
INSTALL = "install"
"""Key of the row that says how to get the built-in engine."""

_NAMED = 2
_NAME_CHARS = 32
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
_INDENT, _PORT_WIDTH, _MOST_NAME, _MOST_STEP = 4, 7, 28, 60
_KEY_WIDTH = 8
_DIGITS = "123456789"


class Choice(Struct, frozen=True, kw_only=True):
    """Something that can be done beside going to a place."""

    key: str
    """What tells it from others."""
    title: str
    """What it does."""
    words: str
    """What there is to know about it; it has passed the filter."""


TYPE_ADDRESS = Choice(key=ADDRESS, title="Type an address", words="A server on another port or host")
"""The choice that is always there."""


def choices(here: MachineState) -> tuple[Choice, ...]:
    """Return what is offered, the built-in engine first where it is installed."""
    if here.engine_command:
        missing = f"Not installed: {safe_line(here.engine_command)}"
        return TYPE_ADDRESS, Choice(key=INSTALL, title="Get the built-in engine", words=missing)
    offered: list[Choice] = []
    if here.offer is not None:
        has_demo = any(file.is_demo for file in here.files)
        words = _demo_words(here.offer, has_demo=has_demo)
        offered.append(Choice(key=DEMO, title="Try the built-in engine", words=words))
    own = [file for file in here.files if not file.is_demo]
    if here.offer is not None and own:
        offered.append(Choice(key=FILES, title="Use a model file of this disk", words=file_words(own)))
    return (*offered, TYPE_ADDRESS)


def file_words(files: Sequence[ModelFile]) -> str:
    """Return how many files there are, with the first of them."""
    named = [
        " ".join(
            word
            for word in (
                safe_line(file.name, limit=_NAME_CHARS),
                safe_line(file.quantization, limit=10) if file.quantization not in file.name else "",
                formatting.size(file.size_bytes),
            )
            if word
        )
        for file in files[:_NAMED]
    ]
    others = len(files) - len(named)
    return f"{len(files)} found: {', '.join(named)}{f', and {others} more' if others else ''}"


def _demo_words(offer: DemoOffer, *, has_demo: bool) -> str:
    name = safe_line(offer.name, limit=_NAME_CHARS)
    if has_demo:
        return f"{name}, a demo model, is on this disk."
    size = formatting.size(offer.download_bytes)
    return f"{name}, a demo model: {size} once, {safe_line(offer.licence)}. Asks before it fetches."


def candidate_key(candidate: Candidate) -> str:
    """Return what tells a place from others."""
    return f"at {candidate.endpoint.base_url}"


def welcome_rows(
    choices: Sequence[Choice], places: Sequence[ServerRow], width: int, signs: Signs
) -> list[ListRow]:
    """Return the rows for a width: a table, or two rows a place where a table has no room."""
    rows: list[ListRow] = []
    for choice in choices:
        rows.append(ListRow((((f" {choice.title}", NAME),),), key=choice.key))
        rows.append(ListRow((((f" {choice.words}", MUTED),),), key=choice.key))
        rows.append(ListRow())
    if places:
        rows += _places(places, width, signs)
    return _with_digits(rows)


def tight(rows: Sequence[ListRow]) -> list[ListRow]:
    """Return the rows without those that only separate."""
    return [row for row in rows if row.pieces]


def _places(places: Sequence[ServerRow], width: int, signs: Signs) -> list[ListRow]:
    rule = ListRow((((signs.rule * width, FAINT),),), is_heading=True)
    name_width = min(max(12, *(cell_len(_name(one.candidate)) + 2 for one in places)), _MOST_NAME)
    found_width = max(8, *(len(one.found) + 3 for one in places))
    step_width = max(
        min(cell_len(safe_line(one.next_step)), _MOST_STEP) + _room_of_key(one) for one in places
    )
    rows: list[ListRow] = []
    if _INDENT + name_width + _PORT_WIDTH + 3 + found_width + step_width <= width:
        head = f"    {'Looked for':{name_width}}{'Port':>{_PORT_WIDTH}}   {'Found':{found_width}}Next step"
        rows += [ListRow((((head, MUTED),),), is_heading=True), rule]
        rows += [_as_table_row(one, name_width, found_width, signs) for one in places]
    else:
        rows.append(rule)
        for place in places:
            rows += _as_pair(place, signs)
    rows.append(ListRow())
    return rows


def _room_of_key(place: ServerRow) -> int:
    return 0 if place.step is Step.NOTHING else _KEY_WIDTH


def _with_digits(rows: Sequence[ListRow]) -> list[ListRow]:
    """Say at the right of everything that can be chosen which key takes it, where there is room for that."""
    written: list[ListRow] = []
    seen: list[Hashable] = []
    for row in rows:
        is_first = row.key is not None and row.key not in seen
        if is_first:
            seen.append(row.key)
        written.append(replace(row, right=(*row.right, *_key_words(len(seen)))) if is_first else row)
    return written


def _key_words(number: int) -> Parts:
    digit = f" {number} " if number <= len(_DIGITS) else ""
    return ((digit, UNLESS_CHOSEN), (" Enter ", WHEN_CHOSEN))


def _as_table_row(place: ServerRow, name_width: int, found_width: int, signs: Signs) -> ListRow:
    candidate, (sign, style) = place.candidate, _sign(place, signs)
    name = set_cell_size(cut_middle(_name(candidate), name_width - 2, signs.cut), name_width)
    step = safe_line(place.next_step)
    parts: Parts = (
        (f" {sign} ", style),
        (name, NAME),
        (f"{candidate.endpoint.port:>{_PORT_WIDTH}}   ", MUTED),
        (f"{place.found:{found_width}}", style),
        (step, "" if place.is_here else MUTED),
    )
    return ListRow((parts,), key=_key(place))


def _as_pair(place: ServerRow, signs: Signs) -> Iterator[ListRow]:
    candidate, (sign, style) = place.candidate, _sign(place, signs)
    name = f"{_name(candidate)} "
    port = "" if str(candidate.endpoint.port) in name else str(candidate.endpoint.port)
    left: tuple[Parts, ...] = (((f" {sign} ", style), (name, NAME)), ((port, MUTED),))
    yield ListRow(left, ((place.found, style),), key=_key(place))
    if place.next_step:
        yield ListRow((((f"   {safe_line(place.next_step)}", MUTED),),), key=_key(place))


def _sign(place: ServerRow, signs: Signs) -> tuple[str, str]:
    style = _WARN if place.is_starting else _STYLES.get(place.candidate.verdict, MUTED)
    return {_OK: signs.ready, _WARN: signs.degraded, _BAD: signs.down}.get(style, signs.off), style


def _name(candidate: Candidate) -> str:
    """Return the product, or the address where the user named it or it is another machine."""
    endpoint = candidate.endpoint
    is_known = endpoint.is_loopback and (not candidate.is_own or candidate.product is Product.BUILT_IN)
    return candidate.product.value if is_known else safe_line(endpoint.netloc)


def _key(place: ServerRow) -> str | None:
    return None if place.step is Step.NOTHING else candidate_key(place.candidate)
