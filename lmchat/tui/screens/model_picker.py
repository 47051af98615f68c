"""Model picker: models of all reachable servers, recent ones first, with a fuzzy filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size
from textual.binding import BindingType
from textual.widget import Widget

from lmchat.domain.engine import ModelFile
from lmchat.domain.server import Endpoint, LoadState, ModelInfo
from lmchat.services.catalogue import ModelRow
from lmchat.text import Match, match, safe_line
from lmchat.tui import formatting
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.icons import Icons, icons_for
from lmchat.tui.messages import LoadOrUnload, RefreshModels, ShowServers
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import HIT, MUTED, LineWidget, Part, Parts, content
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList
from lmchat.tui.widgets.telemetry_rows import context_text


def highlighted(name: str, offsets: tuple[int, ...], style: str) -> Parts:
    """Split a name into parts and mark the hits."""
    runs = groupby(enumerate(name), key=lambda one: HIT if one[0] in offsets else style)
    return tuple(("".join(char for _, char in run), wanted) for wanted, run in runs)


_LEAST_NAME = 16
_MOST_NAME = 48
_MOST_SERVER = 24
_INDENT = 2
_BESIDE = 2


_COLUMNS = {
    "Params": (True, 2),
    "Quant": (False, 4),
    "Context": (True, 5),
    "Disk": (True, 1),
    "Can": (False, 0),
    "tok/s": (True, 3),
}
"""Whether each column is aligned at the right, and when it is dropped: the lowest first."""


class ModelMatch(Struct, frozen=True):
    """Row that matches the filter."""

    row: ModelRow
    match: Match


class ModelTable:
    """Filtered rows of models, in the order of the catalogue."""

    def __init__(self, rows: Sequence[ModelRow]) -> None:
        self.rows = rows
        self._products = Counter({row.model.endpoint: row.model.product for row in rows}.values())
        self._servers = Counter(
            row.model.model_id for row in rows
        )  # how many servers have each model

    @property
    def server_count(self) -> int:
        return self._products.total()

    def with_model(self, model: ModelInfo) -> ModelTable:
        key = (model.server_id, model.model_id)
        return ModelTable(
            [replace(row, model=model) if row.key == key else row for row in self.rows]
        )

    def model(self, key: Hashable) -> ModelInfo | None:
        return next((row.model for row in self.rows if row.key == key), None)

    def recent(self, digit: str) -> ModelInfo | None:
        """Return the recent model of a digit: 1 is the one used last."""
        recent = [row for row in self.rows if row.recent_index is not None and row.model.can_chat]
        by_digit = dict(zip("123456789", recent, strict=False))
        return by_digit[digit].model if digit in by_digit else None

    def filtered(self, typed: str) -> list[ModelMatch]:
        """Return the rows where every word matches the name, server, quantization or capabilities."""
        words = typed.split()
        found = [(row, _fit(words, row)) for row in self.rows]
        return [ModelMatch(row, match) for row, match in found if match is not None]

    def best(self, typed: str) -> tuple[str, str] | None:
        """Return the key of the best match; None where nothing is typed, or nothing fits."""
        found = [one for one in self.filtered(typed) if one.row.model.can_chat]
        return (
            max(found, key=lambda one: one.match.score).row.key if found and typed.strip() else None
        )

    def laid_out(
        self, found: Sequence[ModelMatch], width: int, icons: Icons
    ) -> tuple[Parts, list[ListRow]]:
        """Return the column heads, and the rows under the headings of their groups."""
        titles, widths, name_width = self._columns(width)
        lead = " " * (_INDENT + 1)
        heads = "".join(_cell(title, title, widths) for title in titles)
        rows: list[ListRow] = []
        group = ""
        for one in found:
            if (name := self._group(one.row)) != group:
                group = name
                rows += [ListRow()] if rows else []
                rows.append(ListRow((((lead + name, MUTED),),), is_heading=True))
            can_chat, texts = one.row.model.can_chat, _texts(one.row)
            cells = [
                (_cell(title, texts[title][0], widths), texts[title][1] if can_chat else MUTED)
                for title in titles
            ]
            parts = (*_name(one, self._server(one.row), name_width, icons), *cells)
            rows.append(ListRow((parts,), key=one.row.key if can_chat else None))
        return ((lead + set_cell_size("Model", name_width) + heads, MUTED),), rows

    def _columns(self, width: int) -> tuple[list[str], dict[str, int], int]:
        """Choose the columns that fit; widths come from all rows, so typing moves nothing."""
        sizes = [
            {title: cell_len(text) for title, (text, _) in _texts(row).items()} for row in self.rows
        ]
        kept = [title for title in _COLUMNS if any(row[title] for row in sizes)]
        widths = {title: max([cell_len(title), *(row[title] for row in sizes)]) for title in kept}
        names = (cell_len(safe_line(row.model.model_id) + self._server(row)) for row in self.rows)
        room = width - _INDENT
        wanted = min(max([_LEAST_NAME, *names]), _MOST_NAME, room)
        while kept and room - sum(widths[title] + _BESIDE for title in kept) < wanted:
            kept.remove(min(kept, key=lambda title: _COLUMNS[title][1]))
        return kept, widths, max(room - sum(widths[title] + _BESIDE for title in kept), 1)

    def _server(self, row: ModelRow) -> str:
        """Return the server of a recent model that another server has too, with the gap before it."""
        if row.recent_index is None or self._servers[row.model.model_id] == 1:
            return ""
        return " " * _BESIDE + safe_line(
            row.server_name or row.model.endpoint.netloc, limit=_MOST_SERVER
        )

    def _group(self, row: ModelRow) -> str:
        if row.model.only_for:
            return f"For {row.model.only_for} only"
        if row.recent_index is not None:
            return "Recent"
        if row.server_name:
            return safe_line(row.server_name, limit=_MOST_NAME)
        product = row.model.product
        is_twice = self._products[product] > 1
        return (
            f"{product.value} {safe_line(row.model.endpoint.netloc)}" if is_twice else product.value
        )


def _fit(words: Sequence[str], row: ModelRow) -> Match | None:
    name = safe_line(row.model.model_id)
    model = row.model
    server = (row.server_name, model.product, model.endpoint.netloc)
    about = " ".join((*server, model.quantization, *model.capabilities)).lower()
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
    has_speed = row.tokens_per_second is not None
    speed = formatting.rate(row.tokens_per_second).split(formatting.GAP)[0] if has_speed else ""
    return {
        "Params": (safe_line(model.params, limit=8), ""),
        "Quant": (safe_line(model.quantization, limit=10), ""),
        "Context": context,
        "Disk": (formatting.size(model.size_bytes), ""),
        "Can": (safe_line(" ".join(model.capabilities), limit=24), ""),
        "tok/s": (speed, ""),
    }


def _cell(title: str, text: str, widths: dict[str, int]) -> str:
    padding = " " * (widths[title] - cell_len(text))
    return " " * _BESIDE + (padding + text if _COLUMNS[title][0] else text + padding)


def _name(one: ModelMatch, server: str, width: int, icons: Icons) -> Iterator[Part]:
    model, width = one.row.model, max(width - cell_len(server), 1)
    yield {
        LoadState.LOADED: (icons.ready, "$success"),
        LoadState.LOADING: (icons.degraded, "$warning"),
        LoadState.ASLEEP: (icons.asleep, MUTED),
        LoadState.NOT_LOADED: (icons.off, MUTED),
    }.get(model.state, (" ", ""))
    yield " ", ""
    name = safe_line(model.model_id)
    if cell_len(name) > width:
        name = set_cell_size(name, max(width - cell_len(icons.cut), 0)) + icons.cut
    yield from highlighted(name, one.match.offsets, NAME if model.can_chat else MUTED)
    yield server, MUTED
    yield " " * (width - cell_len(name)), ""


def show_matches(
    dialog: ListDialog[Any], table: ModelTable, nothing: str, *figures: str, choose: Hashable = None
) -> None:
    """Show the rows that match the filter, or `nothing`, where `{typed}` is the filter."""
    field, width = dialog.query_one(Field), dialog.list.text_width - 1
    if width < 1:
        return
    typed = field.value
    found = table.filtered(typed)
    heads, rows = table.laid_out(found, width, icons_for(dialog))
    dialog.query_one(".columns", LineWidget).show([content(heads)])
    nothing = nothing.replace("{typed}", safe_line(typed, limit=30))
    dialog.show_rows(rows, *figures, choose=choose, nothing=nothing)
    field.show_note(f"{len(found)} of {len(table.rows)}" if typed.strip() else "")


class ModelPicker(ListDialog[ModelInfo | None]):
    """Picker of models; returns the chosen one, or None."""

    HEADING = "Models"
    HINTS = (("Enter", "use"), ("^L", "load or unload"), ("^R", "refresh"))
    FIRST_HINTS = (("Enter", "load"), ("^R", "refresh"))
    """Keys where the picker opens because no model is loaded."""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.PICKER)]

    def __init__(
        self,
        rows: Sequence[ModelRow],
        *,
        age_s: float,
        current: tuple[str, str] | None = None,
        note: str = "",
        reason: str = "",
        typed: str = "",
    ) -> None:
        super().__init__(reason, self.FIRST_HINTS if reason else self.HINTS)
        self.reason = reason  # why the picker opened unasked
        self._table = ModelTable(rows)
        self._age_s, self._note = age_s, note
        self._current = current
        self._typed = typed

    @property
    def is_touched(self) -> bool:
        return bool(self._typed)

    def compose_content(self) -> Iterable[Widget]:
        digits = ", or 1 to 9 for a recent one" if self._table.recent("1") else ""
        yield Field(self._typed, placeholder=f"Type part of a name{digits}")
        yield LineWidget(classes="columns gap")
        yield RowList()
        yield LineWidget(classes="legend")

    def on_mount(self) -> None:
        if self._typed:
            self.query_one(Field).input.select_all()  # typing takes its place
        self.call_after_refresh(self.draw, choose=self._current)

    def update_rows(self, rows: Sequence[ModelRow], *, age_s: float, note: str = "") -> None:
        """Show newer lists; filter and choice stay. `note` names what a refresh could not reach."""
        self._table = ModelTable(rows)
        self._age_s, self._note = age_s, note
        if self.can_show:
            self.draw()

    def update_model(self, model: ModelInfo) -> None:
        self._table = self._table.with_model(model)
        if self.can_show:
            self.draw()

    def _legend(self) -> str:
        icons = icons_for(self)
        signs = [(icons.ready, "loaded"), (icons.degraded, "loading"), (icons.off, "not loaded")]
        if any(row.model.state is LoadState.ASLEEP for row in self._table.rows):
            signs.insert(1, (icons.asleep, "asleep"))
        return "   ".join(f"{sign} {word}" for sign, word in signs)

    def draw(self, choose: tuple[str, str] | None = None) -> None:
        self.query_one(".legend", LineWidget).show([content(((self._legend(), MUTED),))])
        count = len(self._table.rows)
        nothing = f"No model matches “{{typed}}”. Backspace shows all {count}."
        if self._typed.strip() == "vision":
            nothing = (
                "No model is known to see images. Load one that can on its server, then press ^R."
            )
        age = safe_line(self._note) if self._note else f"updated {formatting.ago(self._age_s)} ago"
        servers = formatting.counted(self._table.server_count, "server")
        figures: Sequence[str] = (f"{formatting.counted(count, 'model')} on {servers}", age)
        if not count:
            nothing = (
                self._note or "No models found. Enter shows the ways to a server; ^R checks again."
            )
            figures = ()
        show_matches(self, self._table, nothing, *figures, choose=choose)

    def _chosen(self) -> ModelInfo | None:
        return self._table.model(self.list.key)

    def filter(self, typed: str) -> None:
        """Draw the matches; a digit in an empty filter takes a recent model."""
        before, self._typed = self._typed, typed
        if not before and (model := self._table.recent(typed)) is not None:
            self.dismiss(
                model
            )  # Textual gives digits to the input before any binding of the screen
        else:
            self.draw(choose=self._table.best(typed))

    def action_take(self) -> None:
        if (model := self._chosen()) is not None:
            self.dismiss(model)
        elif not self._table.rows:
            self.dismiss(None)
            self.app.post_message(ShowServers())

    def action_load_or_unload(self) -> None:
        if (model := self._chosen()) is not None:
            self.post_message(LoadOrUnload(model))

    def action_refresh_models(self) -> None:
        self.post_message(RefreshModels())


_NOWHERE = Endpoint(scheme="http", host="127.0.0.1", port=1)
"""Placeholder address: files have none until a server serves them."""


class FilePicker(ListDialog[ModelFile | None]):
    """Picker of model files; returns the chosen one, or None."""

    HEADING = "Model files on this disk"

    def __init__(self, files: Sequence[ModelFile], *, verb: str = "use it") -> None:
        super().__init__(hints=(("Enter", verb), ("↑ ↓", "choose")))
        self._files = {file.name: file for file in files}
        rows = [
            ModelRow(model=file.info(_NOWHERE), server_name=file.source or "Others")
            for file in files
        ]
        self._table = ModelTable(rows)

    def compose_content(self) -> Iterable[Widget]:
        yield Field(placeholder="Type part of a name")
        yield LineWidget(classes="columns gap")
        yield RowList()

    def draw(self) -> None:
        count, total = len(self._files), sum(file.size_bytes for file in self._files.values())
        nothing = f"No file matches “{{typed}}”. Backspace shows all {count}."
        figures = formatting.counted(count, "file"), formatting.size(total)
        show_matches(self, self._table, nothing, *figures, choose=self._table.best(self.typed))

    def action_take(self) -> None:
        model = self._table.model(self.list.key)
        if model is not None:
            self.dismiss(self._files[model.model_id])
