"""Model picker: models of all reachable servers, recent ones first, with a fuzzy filter.

A `ModelTable` holds the models with the texts of their rows and columns. It filters them, and lays
out the matches for a width. `FilePicker` shows model files of this disk in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size
from textual.binding import BindingType
from textual.widget import Widget

from lmchat import units
from lmchat.commands.table import Scope
from lmchat.matching import FuzzyMatch, fuzzy_match
from lmchat.safe_text import SafeText, safe_line
from lmchat.servers.endpoint import loopback
from lmchat.servers.engine.model_files import ModelFile
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.services.catalogue import ModelRow
from lmchat.tui.actions import LoadOrUnload, LoadWith, RefreshModels, ShowServers, bindings
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.icons import icons_for
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import HIT, MUTED, LineWidget, StyledText, StyledTexts, content, styled
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList, heading_row
from lmchat.tui.widgets.telemetry_rows import context_text
from lmchat.units import Icons

VISION = "vision"  # capability of models that can see images; as a filter, it shows only these

# Widths in cells
_LEAST_NAME = 16
_MOST_NAME = 48
_MOST_SERVER = 24
_SIGN = 2  # the sign of the state and a blank
_GAP = 2  # between two columns


class Column(Struct, frozen=True):
    """Column beside the names of the models."""

    title: str
    rank: int  # where room is short, the lowest are dropped first
    is_right: bool = False  # whether its texts are aligned at the right
    width: int = 0  # of its widest text

    def cell(self, text: str) -> str:
        """Return a text padded to the width of the column, with the gap before it."""
        padding = " " * (self.width - cell_len(text))
        return " " * _GAP + (padding + text if self.is_right else text + padding)


_COLUMNS = (
    Column("Params", 2, is_right=True),
    Column("Quant", 4),
    Column("Context", 5, is_right=True),
    Column("Disk", 1, is_right=True),
    Column("Can", 0),
    Column("tok/s", 3, is_right=True),
)


class ModelLine(Struct, frozen=True, kw_only=True):
    """Model with the texts that the list shows of it; name and server are safe to show."""

    row: ModelRow  # the model in the catalogue
    name: SafeText
    server: SafeText  # where two servers have the same recent model; else empty
    group: str
    cells: Mapping[str, StyledText]  # by title of their columns

    @property
    def title(self) -> str:
        """Name and server."""
        return f"{self.name}{' ' * _GAP}{self.server}" if self.server else self.name


class ModelMatch(Struct, frozen=True):
    """Model that matches the filter, with the characters of the name that match."""

    line: ModelLine
    fuzzy: FuzzyMatch


class ModelTable:
    """Models in the order of the catalogue, which can be filtered and laid out as rows."""

    def __init__(self, rows: Sequence[ModelRow]) -> None:
        self.rows = rows
        product_by_endpoint = {row.model.endpoint: row.model.product for row in rows}
        # the number of servers of each product
        self._servers_by_product = Counter(product_by_endpoint.values())
        servers_by_model = Counter(row.model.model_id for row in rows)
        self._lines = [
            self._line(row, names_server=servers_by_model[row.model.model_id] > 1) for row in rows
        ]

    def _line(self, row: ModelRow, *, names_server: bool) -> ModelLine:
        """Return the texts of a row.

        With `names_server`, a recent model is shown with its server: several servers have it, and
        in the group of recent models no heading names them.
        """
        server = ""
        if names_server and row.recent_index is not None:
            server = row.server_name or row.model.endpoint.netloc
        return ModelLine(
            row=row,
            name=safe_line(row.model.model_id),
            server=safe_line(server, limit=_MOST_SERVER),
            group=self._group(row),
            cells=_cells(row),
        )

    def _group(self, row: ModelRow) -> str:
        """Return the heading under which a model is listed.

        It is the only use of a model that cannot chat, else "Recent", else the name of the server:
        as configured, or its product, with the address if several servers have this product.
        """
        if row.model.only_for:
            return f"For {row.model.only_for} only"
        if row.recent_index is not None:
            return "Recent"
        if row.server_name:
            return safe_line(row.server_name, limit=_MOST_NAME)
        product = row.model.product
        if self._servers_by_product[product] > 1:
            return f"{product} {row.model.endpoint.netloc}"
        return product

    @property
    def server_count(self) -> int:
        return self._servers_by_product.total()

    def with_model(self, model: ModelInfo) -> ModelTable:
        """Return a table in which this state of a model replaces the one before."""
        key = (model.server_id, model.model_id)
        return ModelTable(
            [replace(row, model=model) if row.key == key else row for row in self.rows]
        )

    def model(self, key: Hashable) -> ModelInfo | None:
        return next((row.model for row in self.rows if row.key == key), None)

    def recent(self, digit: str) -> ModelInfo | None:
        """Return the recent model with a number from "1", for the one used last, to "9".

        Only models that can chat are counted. Return None for any other text.
        """
        recent = [row.model for row in self.rows if row.recent_index is not None]
        usable = [model for model in recent if model.can_chat]
        return dict(zip("123456789", usable, strict=False)).get(digit)

    def filtered(self, typed: str) -> list[ModelMatch]:
        """Return the models of which each typed word matches the name or a fact."""
        words = typed.split()
        tried = [(line, _match(words, line)) for line in self._lines]
        return [ModelMatch(line, fuzzy) for line, fuzzy in tried if fuzzy is not None]

    def best(self, typed: str) -> tuple[str, str] | None:
        """Return the key of the best match among the models that can chat.

        Return None if nothing is typed, or nothing matches.
        """
        if not typed.strip():
            return None
        usable = [match for match in self.filtered(typed) if match.line.row.model.can_chat]
        best = max(usable, key=lambda match: match.fuzzy.score, default=None)
        return None if best is None else best.line.row.key

    def laid_out(
        self, matches: Sequence[ModelMatch], width: int, icons: Icons
    ) -> tuple[StyledTexts, list[ListRow]]:
        """Return a line with the titles of the columns, and the rows of the list, for a width.

        The rows are the matches below the headings of their groups, with blank rows between groups.
        `width` is in cells.
        """
        columns = self._columns(width)
        name_width = max(width - _SIGN - sum(map(_width_with_gap, columns)), 1)
        lead = " " * (_SIGN + 1)  # the bar of the chosen row is before the sign
        heads = "".join(column.cell(column.title) for column in columns)
        rows: list[ListRow] = []
        for group, members in groupby(matches, key=lambda match: match.line.group):
            if rows:
                rows.append(ListRow())
            rows.append(heading_row(lead + group))
            rows += [_row(member, columns, name_width, icons) for member in members]
        return ((lead + set_cell_size("Model", name_width) + heads, MUTED),), rows

    def _columns(self, width: int) -> list[Column]:
        """Return the columns that fit beside the names, as wide as the widest of their texts.

        Columns without texts are left out. While the names have not enough room, the column with
        the lowest rank is dropped. Widths come from all rows, not only from the matches, so that
        nothing moves while the user types.
        """
        columns = []
        for column in _COLUMNS:
            widths = []
            for line in self._lines:
                text, _style = line.cells[column.title]
                widths.append(cell_len(text))
            if any(widths):
                columns.append(replace(column, width=max(cell_len(column.title), *widths)))
        room = width - _SIGN
        names = (cell_len(line.title) for line in self._lines)
        name_width = min(max([_LEAST_NAME, *names]), _MOST_NAME, room)
        while columns and room - sum(map(_width_with_gap, columns)) < name_width:
            columns.remove(min(columns, key=lambda column: column.rank))
        return columns


def _width_with_gap(column: Column) -> int:
    return column.width + _GAP


def _match(words: Sequence[str], line: ModelLine) -> FuzzyMatch | None:
    """Match each word with the name of a model, or else find it in the facts about the model.

    These are its server, product, address, quantization and capabilities. The result has the sum
    of the scores, and the offsets in the name. Return None if a word is in neither.
    """
    model = line.row.model
    facts = (
        *(line.row.server_name, model.product, model.endpoint.netloc, model.quantization),
        *model.capabilities,
    )
    known = " ".join(facts).lower()
    score = 0.0
    offsets = set[int]()
    for word in words:
        if (found := fuzzy_match(word, line.name)) is not None:
            score += found.score
            offsets.update(found.offsets)
        elif word.lower() not in known:
            return None
    return FuzzyMatch(score=score, offsets=tuple(sorted(offsets)))


def _cells(row: ModelRow) -> dict[str, StyledText]:
    """Return the texts of the columns of a row, with their styles, by the columns' titles."""
    model = row.model
    context: StyledText = (context_text(model), "")
    if model.state is LoadState.LOADING:
        context = (f"loading{units.so_far(model.load_fraction)}", "$warning")
    speed = ""
    if row.tokens_per_second is not None:  # only the number: the title of the column has the unit
        speed = units.rate(row.tokens_per_second).split(units.GAP)[0]
    return {
        "Params": (safe_line(model.params, limit=8), ""),
        "Quant": (safe_line(model.quantization, limit=10), ""),
        "Context": context,
        "Disk": (units.size_text(model.size_bytes), ""),
        "Can": (safe_line(" ".join(model.capabilities), limit=24), ""),
        "tok/s": (speed, ""),
    }


def _row(match: ModelMatch, columns: Sequence[Column], name_width: int, icons: Icons) -> ListRow:
    """Return the row of a match; a model that cannot chat is muted, and cannot be chosen."""
    row = match.line.row
    can_chat = row.model.can_chat
    parts = [*_name(match, name_width, icons)]
    for column in columns:
        text, style = match.line.cells[column.title]
        parts.append((column.cell(text), style if can_chat else MUTED))
    return ListRow((tuple(parts),), key=row.key if can_chat else None)


def _name(match: ModelMatch, width: int, icons: Icons) -> Iterator[StyledText]:
    """Yield the sign of the state, then name and server in `width` cells.

    If there is not enough room, the name is cut. Its characters that match are marked.
    """
    line = match.line
    model = line.row.model
    signs: Mapping[LoadState, StyledText] = {
        LoadState.LOADED: (icons.ready, "$success"),
        LoadState.LOADING: (icons.degraded, "$warning"),
        LoadState.ASLEEP: (icons.asleep, MUTED),
        LoadState.NOT_LOADED: (icons.off, MUTED),
    }
    yield signs.get(model.state, (" ", ""))
    yield " ", ""
    server = line.title.removeprefix(line.name)  # with the gap before it; empty without one
    name_width = max(width - cell_len(server), 1)
    name = line.name
    if cell_len(name) > name_width:
        cut = set_cell_size(name, max(name_width - cell_len(icons.cut), 0)) + icons.cut
        name = SafeText(cut)
    yield from highlighted(name, match.fuzzy.offsets, NAME if model.can_chat else MUTED)
    yield server, MUTED
    yield " " * (name_width - cell_len(name)), ""


def highlighted(name: str, offsets: Sequence[int], style: str) -> StyledTexts:
    """Return a name in parts: the characters at `offsets` are marked, the others in a style.

    Neighbours of one kind are one part.
    """
    runs = groupby(enumerate(name), key=lambda pair: pair[0] in offsets)
    return tuple(
        ("".join(char for _, char in run), HIT if is_hit else style) for is_hit, run in runs
    )


def show_matches(
    dialog: ListDialog[Any],
    table: ModelTable,
    no_match: str,
    *,
    figures: Sequence[str] = (),
    choose: Hashable = None,
) -> None:
    """Show the rows of a table that match the filter of a dialog, in that dialog.

    Args:
        dialog: The dialog, with a `Field` and a line for the titles of the columns.
        table: All rows.
        no_match: Words if none matches; `{typed}` in them is replaced by the filter.
        figures: Figures about the rows, for the title.
        choose: The key of the row to choose.
    """
    field = dialog.query_one(Field)
    width = dialog.list.text_width - 1  # without the bar of the chosen row
    if width < 1:
        return
    typed = field.value
    matches = table.filtered(typed)
    heads, rows = table.laid_out(matches, width, icons_for(dialog))
    dialog.query_one(".columns", LineWidget).show([content(heads)])
    no_match = no_match.replace("{typed}", safe_line(typed, limit=30))
    dialog.show_rows(rows, *figures, choose=choose, nothing=no_match)
    field.show_note(f"{len(matches)} of {len(table.rows)}" if typed.strip() else "")


class ModelPicker(ListDialog[ModelInfo | None]):
    """Picker of models; returns the chosen one, or None."""

    HEADING = "Models"
    HINTS = (
        ("Enter", "use"),
        ("^L", "load or unload"),
        ("^G", "load with …"),
        ("^R", "refresh"),
    )
    FIRST_HINTS = (("Enter", "load"), ("^G", "load with …"), ("^R", "refresh"))
    """Keys where the picker opens because no model is loaded."""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.PICKER)]

    def __init__(
        self,
        rows: Sequence[ModelRow],
        *,
        age_s: float,
        current: tuple[str, str] | None = None,
        reason: str = "",
        typed: str = "",
    ) -> None:
        """Create the picker.

        Args:
            rows: The models.
            age_s: How old the lists are, in seconds.
            current: Server id and model id of the model in use, which is chosen at first.
            reason: The title if the picker opens without a key of the user; else empty.
            typed: The filter at first.
        """
        super().__init__(reason, self.FIRST_HINTS if reason else self.HINTS)
        self.reason = reason
        self._table = ModelTable(rows)
        self._age_s = age_s
        self._note = ""  # why the last refresh failed; it is shown in place of the age
        self._current = current
        self._typed = typed

    @property
    def has_filter(self) -> bool:
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
        """Show newer lists, or `note`, why they could not be refreshed; filter and choice stay."""
        self._age_s = age_s
        self._note = note
        self._update(ModelTable(rows))

    def update_model(self, model: ModelInfo) -> None:
        self._update(self._table.with_model(model))

    def _update(self, table: ModelTable) -> None:
        self._table = table
        if self.can_show:
            self.draw()

    def draw(self, choose: tuple[str, str] | None = None) -> None:
        """Draw the legend, and the models that match the filter or words if none exist.

        `choose` is the server id and the model id of the row to choose; None keeps the choice.
        """
        self.query_one(".legend", LineWidget).show([styled(self._legend(), MUTED)])
        count = len(self._table.rows)
        if not count:
            nothing = "No models found. Enter shows the ways to a server; ^R checks again."
            show_matches(self, self._table, self._note or nothing, choose=choose)
            return
        nothing = f"No model matches “{{typed}}”. Backspace shows all {count}."
        if self._typed.strip() == VISION:
            nothing = (
                "No model is known to see images. Load one that can on its server, then press ^R."
            )
        servers = units.counted(self._table.server_count, "server")
        models = f"{units.counted(count, 'model')} on {servers}"
        age = self._note or f"updated {units.ago(self._age_s)} ago"
        show_matches(self, self._table, nothing, figures=(models, age), choose=choose)

    def _legend(self) -> str:
        """Return the signs of the states with their words; "asleep" only if a model is asleep."""
        icons = icons_for(self)
        signs = [(icons.ready, "loaded"), (icons.degraded, "loading"), (icons.off, "not loaded")]
        if any(row.model.state is LoadState.ASLEEP for row in self._table.rows):
            signs.insert(1, (icons.asleep, "asleep"))
        return "   ".join(f"{sign} {word}" for sign, word in signs)

    def filter(self, typed: str) -> None:
        """Draw the matches; a digit in an empty filter leaves with the recent model it names."""
        before = self._typed
        self._typed = typed
        recent = None if before else self._table.recent(typed)
        if recent is not None:
            self.dismiss(recent)  # Textual gives digits to the input before any binding
        else:
            self.draw(choose=self._table.best(typed))

    def _chosen(self) -> ModelInfo | None:
        return self._table.model(self.list.key)

    def action_take(self) -> None:
        """Leave with the chosen model; without any models, leave and ask for the welcome page."""
        if (model := self._chosen()) is not None:
            self.dismiss(model)
        elif not self._table.rows:
            self.dismiss(None)
            self.app.post_message(ShowServers())

    def action_load_or_unload(self) -> None:
        if (model := self._chosen()) is not None:
            self.post_message(LoadOrUnload(model))

    def action_load_with(self) -> None:
        if (model := self._chosen()) is not None:
            self.post_message(LoadWith(model))

    def action_refresh_models(self) -> None:
        self.post_message(RefreshModels())


_NOWHERE = loopback(1)
"""Placeholder address: files have none until a server serves them."""


class FilePicker(ListDialog[ModelFile | None]):
    """Picker of model files; returns the chosen one, or None."""

    HEADING = "Model files on this disk"

    def __init__(self, files: Sequence[ModelFile]) -> None:
        """Create the picker.

        A file is listed as a model would be, with the program in whose folder it is as its server.
        """
        super().__init__(hints=(("Enter", "start it"), ("↑ ↓", "choose")))
        self._files = {file.name: file for file in files}
        self._table = ModelTable(
            [
                ModelRow(model=file.info(_NOWHERE), server_name=file.source or "Others")
                for file in files
            ]
        )

    def compose_content(self) -> Iterable[Widget]:
        yield Field(placeholder="Type part of a name")
        yield LineWidget(classes="columns gap")
        yield RowList()

    def draw(self) -> None:
        """Draw the files that match the filter; the best match is chosen."""
        files = self._files.values()
        no_match = f"No file matches “{{typed}}”. Backspace shows all {len(files)}."
        count = units.counted(len(files), "file")
        size = units.size_text(sum(file.size_bytes for file in files))
        best = self._table.best(self.typed)
        show_matches(self, self._table, no_match, figures=(count, size), choose=best)

    def action_take(self) -> None:
        model = self._table.model(self.list.key)
        if model is not None:
            self.dismiss(self._files[model.model_id])
