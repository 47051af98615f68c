"""Rows of the welcome page: what can be done, and the places that were looked at."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size

from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.product import Product
from lmchat.domain.server import Candidate, Endpoint, Verdict
from lmchat.services.server_rows import MachineState, RowAction, ServerRow
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import Icons
from lmchat.tui.widgets.line import FAINT, MUTED, Parts, cut_middle
from lmchat.tui.widgets.row_list import NAME, UNLESS_CHOSEN, WHEN_CHOSEN, ListRow

_NAMED = 2
_NAME_CHARS = 32
_OK, _WARN, _BAD = "$success", "$warning", "$error"
_STYLES: Mapping[Verdict, str] = {
    Verdict.READY: _OK,
    **dict.fromkeys(
        (Verdict.LOADING, Verdict.NO_MODEL, Verdict.NEEDS_KEY, Verdict.SERVER_OFF), _WARN
    ),
    **dict.fromkeys((Verdict.KEY_REJECTED, Verdict.HOST_BLOCKED, Verdict.SERVER_ERROR), _BAD),
}
_INDENT, _PORT_WIDTH, _MOST_NAME, _MOST_STEP = 4, 7, 28, 60
_KEY_WIDTH = 9
_MOST_DIGIT = 9


def welcome_rows(
    here: MachineState, places: Sequence[ServerRow], width: int, icons: Icons
) -> list[ListRow]:
    """Return the rows for a width: a table, or two rows a place where a table has no room."""
    rows: list[ListRow] = []
    for key, title, words in _choices(here):
        rows.append(ListRow((((f" {title}", NAME),),), key=key))
        rows.append(ListRow((((f" {words}", MUTED),),), key=key))
        rows.append(ListRow())
    if places:
        rows += [*_places(places, width, icons), ListRow()]
    return _with_digits(rows)


def _choices(here: MachineState) -> Iterator[tuple[str, str, str]]:
    """Yield key, title and words of what is offered, the built-in engine first where it is installed."""
    own = [file for file in here.files if not file.is_demo]
    if here.offer is not None and not here.engine_command:
        if any(one.name == here.last_model for one in here.files):
            yield (
                "last",
                "Start the built-in engine",
                f"{safe_line(here.last_model)}, as the last time",
            )
        words = _demo_words(here.offer, has_demo=len(own) < len(here.files))
        yield "demo", "Try the built-in engine", words
        if own:
            yield "files", "Use a model file from this disk", _file_words(own)
    yield "address", "Type an address", "A server on another port or host"
    if here.engine_command:
        yield (
            "install",
            "Copy the install command",
            f"Built-in engine: {safe_line(here.engine_command)}",
        )


def _file_words(files: Sequence[ModelFile]) -> str:
    named = []
    for file in files[:_NAMED]:
        quantization = file.quantization if file.quantization not in file.name else ""
        words = (safe_line(file.name, limit=_NAME_CHARS), safe_line(quantization, limit=10))
        named.append(" ".join(filter(None, (*words, formatting.size(file.size_bytes)))))
    others = len(files) - len(named)
    return f"{len(files)} found: {', '.join(named)}{f', and {others} more' if others else ''}"


def _demo_words(offer: DemoOffer, *, has_demo: bool) -> str:
    name = safe_line(offer.name, limit=_NAME_CHARS)
    if has_demo:
        return f"{name}, a demo model, is on this disk."
    size = formatting.size(offer.download_bytes)
    return f"Asks to download {name}, a demo model ({size}, {safe_line(offer.licence)})."


def _places(places: Sequence[ServerRow], width: int, icons: Icons) -> list[ListRow]:
    """Return a table; what was seen at a place is a row of its own there, so that no column gets too wide."""
    rule = ListRow((((icons.rule * width, FAINT),),), is_heading=True)
    name_width = min(max(12, *(cell_len(_name(one.candidate)) + 2 for one in places)), _MOST_NAME)
    # two ports need more room than one: they may begin in the column of the names
    candidates = [place.candidate for place in places]
    pairs = [(_name(candidate), candidate.port_words) for candidate in candidates]
    most = max(min(cell_len(name), name_width - 2) + 1 + len(ports) for name, ports in pairs)
    port_width = max(_PORT_WIDTH, most - name_width)
    found_width = max(8, *(len(_found(one)[0]) + 3 for one in places))
    steps = [(min(cell_len(safe_line(one.next_step)), _MOST_STEP), _key(one)) for one in places]
    step_width = max(cells + (_KEY_WIDTH if key else 0) for cells, key in steps)
    if _INDENT + name_width + port_width + 3 + found_width + step_width > width:
        return [rule, *(row for place in places for row in _as_pair(place, icons))]
    head = f"    {'Server':{name_width}}{'Port':>{port_width}}   {'Result':{found_width}}Next step"
    rows = [ListRow((((head, MUTED),),), is_heading=True), rule]
    for place in places:
        candidate, (sign, style), (found, seen) = (
            place.candidate,
            _sign(place, icons),
            _found(place),
        )
        ports = candidate.port_words
        left_width = min(name_width, name_width + port_width - len(ports))
        name = cut_middle(_name(candidate), name_width - 2, icons.cut)
        parts: Parts = (
            (f" {sign} ", style),
            (set_cell_size(name, left_width), NAME),
            (f"{ports:>{name_width + port_width - left_width}}   ", MUTED),
            (f"{found:{found_width}}", style),
            (safe_line(place.next_step), "" if place.is_here else MUTED),
        )
        rows.append(ListRow((parts,), key=_key(place)))
        if seen:
            indent = " " * (3 + name_width + port_width + 3)
            rows.append(ListRow((((f"{indent}{seen}", MUTED),),), key=_key(place)))
    return rows


def _as_pair(place: ServerRow, icons: Icons) -> Iterator[ListRow]:
    candidate, (sign, style) = place.candidate, _sign(place, icons)
    name = f"{_name(candidate)} "
    port = "" if str(candidate.endpoint.port) in name else candidate.port_words
    left: tuple[Parts, ...] = (((f" {sign} ", style), (name, NAME)), ((port, MUTED),))
    yield ListRow(left, ((safe_line(place.found), style),), key=_key(place))
    if place.next_step:
        yield ListRow((((f"   {safe_line(place.next_step)}", MUTED),),), key=_key(place))


def _with_digits(rows: Sequence[ListRow]) -> list[ListRow]:
    """Say at the right of everything that can be chosen which key takes it."""
    written: list[ListRow] = []
    seen: list[Hashable] = []
    for row in rows:
        if row.key is None or row.key in seen:
            written.append(row)
            continue
        seen.append(row.key)
        digit = f" {len(seen)} " if len(seen) <= _MOST_DIGIT else ""
        keys: Parts = ((digit, UNLESS_CHOSEN), (" Enter ", WHEN_CHOSEN))
        written.append(replace(row, right=(*row.right, *keys)))
    return written


def _found(place: ServerRow) -> tuple[str, str]:
    found, _, seen = safe_line(place.found).partition(": ")
    return found, seen


def _sign(place: ServerRow, icons: Icons) -> tuple[str, str]:
    style = _WARN if place.action is RowAction.WAIT else _STYLES.get(place.candidate.verdict, MUTED)
    return {_OK: icons.ready, _WARN: icons.degraded, _BAD: icons.down}.get(style, icons.off), style


def _name(candidate: Candidate) -> str:
    """Return the product, or the address where the user named it or it is another machine."""
    endpoint = candidate.endpoint
    is_known = endpoint.is_loopback and (
        not candidate.is_own or candidate.product is Product.BUILT_IN
    )
    if (
        is_known
        and candidate.product is Product.OPENAI_COMPATIBLE
        and not candidate.verdict.is_server
    ):
        return "Recent"  # no other address without a product is looked at unasked
    return candidate.product.value if is_known else safe_line(endpoint.netloc)


def _key(place: ServerRow) -> Endpoint | None:
    return None if place.action is RowAction.NOTHING else place.candidate.endpoint
