"""The models of the picker as a table: groups, columns that fit the width, filter; pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size

from lmchat.domain.server import Endpoint, LoadState, ModelInfo
from lmchat.services.candidates import ModelRow
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import Signs
from lmchat.tui.widgets.fuzzy import Match, highlighted, match
from lmchat.tui.widgets.line import MUTED, Part, Parts
from lmchat.tui.widgets.row_list import NAME, ListRow
from lmchat.tui.widgets.telemetry_rows import context_text

_LEAST_NAME = 16
_MOST_NAME = 48
_INDENT = 2
_BESIDE = 2


class Column(Struct, frozen=True):
    """One column: how wide it is, and on which side its cells stand."""

    title: str
    """Its head."""
    is_right: bool
    """Whether its cells are flush right."""
    drop: int
    """The lower, the earlier it goes where room is short."""


_COLUMNS = (
    Column("Params", is_right=True, drop=2),
    Column("Quant", is_right=False, drop=4),
    Column("Context", is_right=True, drop=5),
    Column("Disk", is_right=True, drop=1),
    Column("Can", is_right=False, drop=0),
    Column("tok/s", is_right=True, drop=3),
)


class Found(Struct, frozen=True):
    """A row that fits the filter."""

    row: ModelRow
    """The row."""
    match: Match
    """What of its name was typed."""


class ModelTable:
    """The rows of one moment."""

    def __init__(self, rows: Sequence[ModelRow]) -> None:
        self._given = tuple(rows)
        talking = [row for row in rows if not row.model.is_embedding]
        recent = sorted((row for row in talking if row.recent_index is not None), key=_recency)
        others = [row for row in talking if row.recent_index is None]
        self._rows = (*recent, *others, *(row for row in rows if row.model.is_embedding))
        self._recent = recent
        self._by_key = {row.key: row.model for row in self._rows}
        self._servers = list(dict.fromkeys(row.model.endpoint for row in rows))
        self._products = [row.model.product for row in {row.model.endpoint: row for row in rows}.values()]

    @property
    def count(self) -> int:
        """How many models there are."""
        return len(self._rows)

    @property
    def server_count(self) -> int:
        """How many servers they are on."""
        return len(self._servers)

    def with_model(self, model: ModelInfo) -> ModelTable:
        """Return the table with what is newly known of one model."""
        key = (model.endpoint.url, model.model_id)
        return ModelTable([replace(row, model=model) if row.key == key else row for row in self._given])

    def model(self, key: Hashable) -> ModelInfo | None:
        """Return a model by its key."""
        return self._by_key.get(key) if isinstance(key, tuple) else None

    def recent(self, digit: str) -> ModelInfo | None:
        """Return the recent model that a digit stands for: 1 is the one used last."""
        number = "123456789".find(digit) if len(digit) == 1 else -1
        return self._recent[number].model if 0 <= number < len(self._recent) else None

    def filtered(self, typed: str) -> list[Found]:
        """Return the rows that fit: every word in the name, or in server, quantisation or abilities."""
        words = typed.split()
        found = [(row, _fit(words, row)) for row in self._rows]
        return [Found(row, match) for row, match in found if match is not None]

    @staticmethod
    def best(found: Sequence[Found]) -> tuple[str, str] | None:
        """Return the key of the row that fits best."""
        chooseable = [one for one in found if not one.row.model.is_embedding]
        return max(chooseable, key=lambda one: one.match.score).row.key if chooseable else None

    def laid_out(self, found: Sequence[Found], width: int, signs: Signs) -> tuple[Parts, list[ListRow]]:
        """Return the heads of the columns, and rows under the headings of their groups."""
        columns, widths, name_width = self._columns(width)
        heads = "".join(_cell(column.title, widths[column], column) for column in columns)
        head = ((" " * (_INDENT + 1) + set_cell_size("Model", name_width) + heads, MUTED),)
        rows: list[ListRow] = []
        group = ""
        for one in found:
            if (name := self._group(one.row)) != group:
                group = name
                rows += [ListRow()] if rows else []
                rows.append(ListRow((((" " * (_INDENT + 1) + name, MUTED),),), is_heading=True))
            cells = _cells(one.row, columns, widths)
            parts = (*_name(one, name_width, signs), *cells)
            rows.append(ListRow((parts,), key=None if one.row.model.is_embedding else one.row.key))
        return head, rows

    def _columns(self, width: int) -> tuple[list[Column], dict[Column, int], int]:
        """Choose the columns that fit, by the widest cell of all rows, so that typing moves nothing."""
        cells = [_texts(row) for row in self._rows]
        widths = {
            column: max([cell_len(column.title), *(cell_len(row[column.title][0]) for row in cells)])
            for column in _COLUMNS
        }
        widest = max([_LEAST_NAME, *(cell_len(safe_line(row.model.model_id)) for row in self._rows)])
        wanted = min(widest, _MOST_NAME)
        kept = [column for column in _COLUMNS if any(row[column.title][0] for row in cells)]
        room = width - _INDENT
        while kept and room - sum(widths[column] + _BESIDE for column in kept) < min(wanted, room):
            kept.remove(min(kept, key=lambda column: column.drop))
        used = sum(widths[column] + _BESIDE for column in kept)
        return kept, widths, max(room - used, 1)

    def _group(self, row: ModelRow) -> str:
        if row.model.is_embedding:
            return "For embeddings only"
        if row.recent_index is not None:
            return "Recent"
        if row.server_name:
            return safe_line(row.server_name, limit=_MOST_NAME)
        product = row.model.product
        twice = self._products.count(product) > 1
        return f"{product.value} {_address(row.model.endpoint)}" if twice else product.value


def _recency(row: ModelRow) -> int:
    return row.recent_index if row.recent_index is not None else 1_000


def _address(endpoint: Endpoint) -> str:
    return safe_line(endpoint.netloc)


def _fit(words: Sequence[str], row: ModelRow) -> Match | None:
    name = safe_line(row.model.model_id)
    model = row.model
    about = " ".join((row.server_name, model.product, model.quantization, *model.capabilities)).lower()
    score, offsets = 0.0, set[int]()
    for word in words:
        if (found := match(word, name)) is not None:
            score += found.score
            offsets.update(found.offsets)
        elif word.lower() not in about:
            return None
    return Match(score=score, offsets=tuple(sorted(offsets)))


def _texts(row: ModelRow) -> dict[str, Part]:
    model = row.model
    context: Part = (context_text(model), "")
    if model.state is LoadState.LOADING:
        context = (f"loading{formatting.so_far(model.load_fraction)}", "$warning")
    speed = (
        ""
        if row.tokens_per_second is None
        else formatting.rate(row.tokens_per_second).split(formatting.GAP)[0]
    )
    return {
        "Params": (safe_line(model.params, limit=8), ""),
        "Quant": (safe_line(model.quantization, limit=10), ""),
        "Context": context,
        "Disk": (formatting.size(model.size_bytes), ""),
        "Can": (safe_line(" ".join(model.capabilities), limit=24), ""),
        "tok/s": (speed, ""),
    }


def _cells(row: ModelRow, columns: Sequence[Column], widths: dict[Column, int]) -> Iterator[Part]:
    texts = _texts(row)
    for column in columns:
        text, style = texts[column.title]
        yield _cell(text, widths[column], column), MUTED if row.model.is_embedding else style


def _cell(text: str, width: int, column: Column) -> str:
    padding = " " * (width - cell_len(text))
    return " " * _BESIDE + (padding + text if column.is_right else text + padding)


def _name(one: Found, width: int, signs: Signs) -> Iterator[Part]:
    model = one.row.model
    match model.state:
        case LoadState.LOADED:
            yield signs.ready, "$success"
        case LoadState.LOADING:
            yield signs.degraded, "$warning"
        case LoadState.NOT_LOADED:
            yield signs.off, MUTED
        case LoadState.UNKNOWN:
            yield " ", ""
    yield " ", ""
    name = safe_line(model.model_id)
    if cell_len(name) > width:
        name = set_cell_size(name, max(width - cell_len(signs.cut), 0)) + signs.cut
    yield from highlighted(name, one.match.offsets, MUTED if model.is_embedding else NAME)
    yield " " * (width - cell_len(name)), ""
