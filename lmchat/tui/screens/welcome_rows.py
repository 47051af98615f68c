"""The rows of the welcome page: what can be done, and the places that were looked at; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from lmchat.domain.server import Candidate, Verdict
from lmchat.safe_text import safe_line
from lmchat.tui.signs import Signs
from lmchat.tui.widgets.line import FAINT, MUTED, Parts, cut_middle
from lmchat.tui.widgets.row_list import NAME, WHEN_CHOSEN, ListRow

ADDRESS = "address"
"""Key of the row that asks for an address."""

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


def candidate_key(candidate: Candidate) -> str:
    """Return what tells a place from others."""
    return f"at {candidate.endpoint.base_url}"


def welcome_rows(candidates: Sequence[Candidate], width: int, signs: Signs) -> list[ListRow]:
    """Return the rows for a width: a table, or two rows a place where a table has no room."""
    enter: Parts = (("Enter ", WHEN_CHOSEN),)
    rows = [
        ListRow((((" Type an address", NAME),),), enter, key=ADDRESS),
        ListRow((((" A server on another port or host", MUTED),),), key=ADDRESS),
    ]
    if not candidates:
        return rows
    rows.append(ListRow())
    rule = ListRow((((signs.rule * width, FAINT),),), is_heading=True)
    name_width = min(max(12, *(cell_len(_name(one)) + 2 for one in candidates)), _MOST_NAME)
    found_width = max(8, *(len(one.verdict.value) + 3 for one in candidates))
    step_width = min(max(cell_len(safe_line(one.next_step)) for one in candidates), _MOST_STEP)
    if _INDENT + name_width + _PORT_WIDTH + 3 + found_width + step_width <= width:
        head = f"    {'Looked for':{name_width}}{'Port':>{_PORT_WIDTH}}   {'Found':{found_width}}Next step"
        rows += [ListRow((((head, MUTED),),), is_heading=True), rule]
        rows += [_as_table_row(one, name_width, found_width, signs) for one in candidates]
    else:
        rows.append(rule)
        for candidate in candidates:
            rows += _as_pair(candidate, signs)
    rows.append(ListRow())
    return rows


def _as_table_row(candidate: Candidate, name_width: int, found_width: int, signs: Signs) -> ListRow:
    sign, style = _sign(candidate, signs)
    name = set_cell_size(cut_middle(_name(candidate), name_width - 2, signs.cut), name_width)
    parts: Parts = (
        (f" {sign} ", style),
        (name, NAME),
        (f"{candidate.endpoint.port:>{_PORT_WIDTH}}   ", MUTED),
        (f"{candidate.verdict.value:{found_width}}", style),
        (safe_line(candidate.next_step), ""),
    )
    return ListRow((parts,), key=_key(candidate))


def _as_pair(candidate: Candidate, signs: Signs) -> Iterator[ListRow]:
    sign, style = _sign(candidate, signs)
    name = f"{_name(candidate)} "
    port = "" if str(candidate.endpoint.port) in name else str(candidate.endpoint.port)
    left: tuple[Parts, ...] = (((f" {sign} ", style), (name, NAME)), ((port, MUTED),))
    yield ListRow(left, ((candidate.verdict.value, style),), key=_key(candidate))
    if candidate.next_step:
        yield ListRow((((f"   {safe_line(candidate.next_step)}", MUTED),),), key=_key(candidate))


def _sign(candidate: Candidate, signs: Signs) -> tuple[str, str]:
    style = _STYLES.get(candidate.verdict, MUTED)
    return {_OK: signs.ready, _WARN: signs.degraded, _BAD: signs.down}.get(style, signs.off), style


def _name(candidate: Candidate) -> str:
    """Return the product, or the address where the user named it or it is another machine."""
    endpoint = candidate.endpoint
    is_known = endpoint.is_loopback and not candidate.is_own
    return candidate.product.value if is_known else safe_line(endpoint.netloc)


def _key(candidate: Candidate) -> str | None:
    return candidate_key(candidate) if candidate.verdict.is_server else None
