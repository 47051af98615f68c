"""Model picker: models of all reachable servers, recent ones first, with a fuzzy filter.

A `ModelRecord` is a model with what the user knows it by; the picker draws it as a `ListRow` with
the same key, server id and model id. `file_picker` shows model files of this disk in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len
from textual.binding import BindingType
from textual.widget import Widget

from lmchat.app.commands.table import Scope
from lmchat.app.markdown_lines.wrap import width_of
from lmchat.app.tui.dialogs.dialog import ListDialog, PickDialog
from lmchat.app.tui.messages import bindings
from lmchat.app.tui.widgets.field import Field
from lmchat.app.tui.widgets.key_bar import Hint
from lmchat.app.tui.widgets.line import (
    MUTED,
    LineWidget,
    StyledText,
    StyledTexts,
    content,
    cut_apart,
    highlighted,
    same_characters,
    shared_beginnings,
    styled,
)
from lmchat.app.tui.widgets.row_list import (
    GAP,
    NAME,
    Column,
    ListRow,
    NamedRow,
    RowList,
    aligned,
    edge_row,
)
from lmchat.base import units
from lmchat.base.matching import FuzzyMatch, folded, fuzzy_match
from lmchat.base.safe_text import SafeText, safe_line
from lmchat.base.units import SIGNS
from lmchat.core.config.state import State
from lmchat.core.servers.local.gguf import ModelFile
from lmchat.core.servers.model import BUILT_IN, LoadState, ModelInfo, server_name_of
from lmchat.core.servers.products import product_named

VISION = "vision"  # capability of models that see images; also a filter
_NO_MODELS = "No models found. ^R checks again."
_NONE_YET = "No models found. Type the name of one, and ^D downloads it."
_NO_VISION = "No model is known to see images. Load one that can on its server, then press ^R."
_LEAVES = "! your prompts leave this machine"
_LEAST_NAME = 16  # cells that names have at least beside the columns
_MOST_NAME = 48  # longer names are cut, instead of dropping columns for them
_INDENT = "   "  # where rows have bar, sign of the state and blank
_COLUMNS = (
    Column("Params", 2, is_right=True),
    Column("Quant", 4),
    Column("Context", 5, is_right=True),
    Column("Disk", 1, is_right=True),
    Column("Can", 0),
    Column("tok/s", 3, is_right=True),
)
_SIGNS: Mapping[LoadState, StyledText] = {
    LoadState.LOADED: (SIGNS.ready, "$success"),
    LoadState.ASLEEP: (SIGNS.asleep, MUTED),
    LoadState.LOADING: (SIGNS.degraded, "$warning"),
    LoadState.NOT_LOADED: (SIGNS.off, MUTED),
    LoadState.REMOTE: (SIGNS.remote, "$warning"),
}


class ModelRecord(Struct, frozen=True, kw_only=True):
    """Model as the picker shows it."""

    model: ModelInfo
    tokens_per_second: float | None = None  # median of earlier turns
    recent_index: int | None = None
    """0 for the model used last; None for a remote one, which has no number."""
    server_name: str = ""  # of the user; empty: its product is shown

    @property
    def key(self) -> tuple[str, str]:
        return self.model.server_id, self.model.model_id


def model_records(
    models: Iterable[ModelInfo],
    state: State,
    *,
    speeds: Mapping[tuple[str, str], float],
    server_names: Mapping[str, str],
) -> tuple[ModelRecord, ...]:
    """Return recent models first, then others, then remote ones, then those that cannot chat.

    `speeds` are by `ModelRecord.key`, `server_names` the user's names by origin.
    """
    recent_indexes = {(used.endpoint, used.model): index for index, used in enumerate(state.recent)}
    records: list[ModelRecord] = []
    for model in models:
        key = (model.server_id, model.model_id)
        is_built_in = model.product == BUILT_IN  # its port changes with each start
        record = ModelRecord(
            model=model,
            tokens_per_second=speeds.get(key),
            recent_index=None if model.is_remote else recent_indexes.get(key),
            server_name=BUILT_IN if is_built_in else server_names.get(model.endpoint.origin, ""),
        )
        records.append(record)
    behind_recent = len(state.recent)
    records.sort(
        key=lambda record: (
            not record.model.can_chat,  # False is less than True
            record.model.is_remote,
            behind_recent if record.recent_index is None else record.recent_index,
        )
    )
    return tuple(records)


def recent_by_number(records: Sequence[ModelRecord]) -> dict[str, ModelInfo]:
    """Return the recent models by their numbers: "1" is the one used last."""
    recent = [
        record.model
        for record in records
        if record.recent_index is not None and record.model.can_chat
    ]
    return {str(number): model for number, model in enumerate(recent, start=1)}


def _match(typed: str, row: ModelRecord) -> FuzzyMatch | None:
    """Match each typed word with the name of a model, or else find it in the facts about it.

    The result has the sum of the scores, and the indices of the matched characters in the name. It
    is None if a word is found in neither. Without words, every model matches.
    """
    model = row.model
    about = (row.server_name, model.product, model.endpoint.netloc, model.quantization)
    facts = folded(" ".join((*about, *model.capabilities)))
    score = 0.0
    offsets = set[int]()
    for word in typed.split():
        if (found := fuzzy_match(word, safe_line(model.model_id))) is not None:
            score += found.score
            offsets.update(found.offsets)
        elif folded(word) not in facts:
            return None
    return FuzzyMatch(score=score, offsets=tuple(sorted(offsets)))


def _cells(row: ModelRecord) -> list[StyledText]:
    """Return the texts of a model for `_COLUMNS`, muted if the model cannot chat."""
    model = row.model
    style = "" if model.can_chat else MUTED
    context = (
        units.window_of_most(model.context_loaded or model.context_max, model.context_max),
        style,
    )
    if model.state is LoadState.LOADING:
        context = (f"loading{units.progress_suffix(model.load_fraction)}", "$warning")
    elif model.load_failure:
        context = (safe_line(f"failed: {model.load_failure}", limit=20), "$error")
    speed = "" if row.tokens_per_second is None else units.rate(row.tokens_per_second)
    return [
        (safe_line(model.params, limit=8), style),
        (safe_line(model.quantization, limit=10), style),
        context,
        (units.size_text(model.size_bytes), style),
        (safe_line(" ".join(model.capabilities), limit=24), style),
        (speed.partition(units.GAP)[0], style),  # the title of the column has the unit
    ]


def _group(row: ModelRecord) -> str:
    """Return the heading under which a model is listed.

    A model that is not recent is listed under the user's name for its server, or else under its
    product; a remote one also under where it runs.
    """
    if not row.model.can_chat:
        return "Cannot chat"
    if row.recent_index is not None:
        return "Recent"
    server = row.server_name or server_name_of(row.model.endpoint, row.model.product)
    if not row.model.is_remote:
        return server
    place = safe_line(row.model.runs_at, limit=_MOST_NAME)
    return f"{server}, at {place}" if place else f"{server}, remote"


class ModelActions(Struct, frozen=True, kw_only=True):
    """What the keys of the picker do."""

    load_or_unload: Callable[[ModelInfo], None]
    load_with: Callable[[ModelInfo], None]
    """Asks for options, and loads a model with them."""
    remove: Callable[[ModelInfo], None]
    """Asks, and has a model deleted from the disk."""
    pull: Callable[[str], None] | None
    """Asks, and has a model of a name downloaded; None if no server can do that."""
    refresh: Callable[[], None]
    """Asks the servers for their models, and calls `update_rows`."""


class ModelPicker(ListDialog):
    """Picker of models; returns the chosen one, or None."""

    HEADING = "Models"
    HINTS = (("Enter", "use"), ("^R", "refresh"))
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.PICKER)]

    def __init__(
        self,
        rows: Sequence[ModelRecord],
        *,
        age_s: float,
        actions: ModelActions,
        unlisted: Callable[[str], ModelInfo | None] = lambda _: None,
        current: tuple[str, str] | None,
        typed: str = "",
    ) -> None:
        """`age_s` is that of the oldest list of a server; `typed` is the filter at first.

        `unlisted` returns a model of this name, which may be "", that no server lists. `current`
        has server id and model id of the model in use, which is chosen at first.
        """
        super().__init__()
        self._rows = rows
        self._note = f"updated {units.rough_time(age_s)} ago"
        self._actions = actions
        self._unlisted = unlisted
        self._current = current
        self._typed = typed

    def compose_content(self) -> Iterable[Widget]:
        digits = ", or 1 to 9 for a recent one" if recent_by_number(self._rows) else ""
        yield Field(self._typed, placeholder=f"Type part of a name{digits}")
        yield LineWidget(classes="columns gap")
        yield RowList()
        yield LineWidget(classes="legend")

    def on_mount(self) -> None:
        if self._typed:
            self.query_one(Field).input.select_all()  # so that typing replaces it
        # The model in use is chosen once, here: later drawings keep the choice of the user. This
        # waits for the refresh, as the dialog has no size yet.
        self.call_after_refresh(self.redraw, choose=self._current)

    def update_rows(self, rows: Sequence[ModelRecord], *, age_s: float, note: str) -> None:
        """Show newer lists, while filter and choice stay.

        `note` says why the lists could not be refreshed.
        """
        self._rows = rows
        self._note = note or f"updated {units.rough_time(age_s)} ago"
        self.redraw()

    def update_models(self, change: Callable[[ModelInfo], ModelInfo]) -> None:
        """Show the models with other states, such as loading."""
        self._rows = [replace(row, model=change(row.model)) for row in self._rows]
        self.redraw()

    def draw(self, choose: tuple[str, str] | None = None, *, chooses_best: bool = False) -> None:
        """Draw the models that match the filter, or words if none does.

        `choose` is the server id and the model id of the row to choose; None keeps the choice. With
        `chooses_best`, the best match that can chat is chosen, if anything is typed.
        """
        typed = self._typed.strip()
        count = len(self._rows)
        matches = {
            row.key: found for row in self._rows if (found := _match(typed, row)) is not None
        }
        if typed and chooses_best:
            usable = [row for row in self._rows if row.key in matches and row.model.can_chat]
            # a remote model is chosen only if no other matches
            best = max(
                usable,
                key=lambda row: (not row.model.is_remote, matches[row.key].score),
                default=None,
            )
            choose = None if best is None else best.key
        step = "Backspace shows all."
        if has_name := self._typed_name() is not None:
            step = "Enter tries this name."
        if can_pull := self._can_pull_typed:
            step = f"^D downloads a model of this name. {step if count or has_name else ''}"
        nothing = f"No model matches “{safe_line(typed, limit=30)}”. {step}".rstrip()
        if not (count or has_name or can_pull):
            nothing = _NO_MODELS if self._actions.pull is None else _NONE_YET
        elif typed == VISION:  # the filter with which a prompt with images opens the picker
            nothing = _NO_VISION
        servers = len({row.model.endpoint for row in self._rows})
        titles, rows = self._table(matches)
        right = content((*titles, (" ", "")))  # the blank is above the scrollbar of the list
        self.query_one(".columns", LineWidget).show([styled(f"{_INDENT}Model", MUTED)], right)
        self.show_rows(
            rows,
            f"{units.counted(count, 'model')} on {units.counted(servers, 'server')}",
            self._note,
            choose=choose,
            nothing=nothing,
        )
        # `matches` also has models that cannot chat, whose rows are shown and cannot be chosen
        self.query_one(Field).show_note(f"{len(matches)} of {count}" if typed else "")
        states = {row.model.state for row in self._rows}
        signs = (
            f"{sign} {'runs elsewhere' if state is LoadState.REMOTE else state}"
            for state, (sign, _) in _SIGNS.items()
            if state in states
        )
        self.query_one(".legend", LineWidget).show([styled("   ".join(signs), MUTED)])

    def hints_now(self) -> Sequence[Hint]:
        """The keys that load and unload are shown if the server of the model can."""
        model = self._chosen_model()
        use, refresh = self.HINTS
        hints = [use] if model is not None or self._typed_name() is not None else []
        if self._can_pull_typed:
            hints.append(("^D", "download"))
        if model is not None and not model.is_remote:
            product = product_named(model.product)
            if product.can_load_or_unload(model):
                hints.append(("^L", "load or unload"))
            if product.acts.context_field:
                hints.append(("^G", "load with …"))
            if product.can_delete(model):
                hints.append(("^D", "delete"))
        return (*hints, refresh)

    def _table(
        self, matches: Mapping[tuple[str, str], FuzzyMatch]
    ) -> tuple[StyledTexts, list[ListRow]]:
        """Return the titles of the columns, and the rows of the matches below their headings.

        Columns are laid out for all models, so that nothing moves while the user types.
        """
        # the texts at the left: the name of each model, and of its server if needed
        name_counts = Counter(row.model.model_id for row in self._rows)
        recent_at = {row.model.endpoint for row in self._rows if row.recent_index is not None}
        names: list[tuple[SafeText, str]] = []
        for row in self._rows:
            server = ""
            # below "Recent"; also, the same name on two servers may be below one heading
            is_among_servers = row.recent_index is not None and len(recent_at) > 1
            if is_among_servers or name_counts[row.model.model_id] > 1:
                server = safe_line(row.server_name or row.model.endpoint.netloc, limit=24)
                server = f"{' ' * GAP}{server}"
            names.append((safe_line(row.model.model_id), server))

        # the columns get what the longest name leaves; names count for `_LEAST_NAME` cells at
        # least, and for `_MOST_NAME` at most
        width = max(self.list.text_width - len(_INDENT), 1)
        longest = max([_LEAST_NAME, *(cell_len("".join(name)) for name in names)])
        room = width - min(longest, _MOST_NAME, width) - GAP
        titles, *lines = aligned(_COLUMNS, [_cells(row) for row in self._rows], room)

        # the rows, with the cells of their columns at the right
        shared = shared_beginnings(name for name, _ in names)
        columns_width = max(map(width_of, lines), default=0)
        room = width - columns_width - (GAP if columns_width else 0)
        rows: list[ListRow] = []
        last_group = ""
        for row, (name, server), cells in zip(self._rows, names, lines, strict=True):
            if (found := matches.get(row.key)) is None:
                continue  # the filter hides it
            group = _group(row)
            if group != last_group:
                if rows:
                    rows.append(ListRow())  # a blank one between two groups
                rows.append(self._heading(group, row.model))
                last_group = group
            can_chat = row.model.can_chat
            shown_name = cut_apart(name, room - cell_len(server), shared[name])
            left = (
                _SIGNS.get(row.model.state, (" ", "")),
                (" ", ""),
                *highlighted(
                    shown_name,
                    _offsets_in(shown_name, name, found.offsets),
                    NAME if can_chat else MUTED,
                ),
                (server, MUTED),
            )
            key = row.key if can_chat else None  # without a key, the row cannot be chosen
            rows.append(ListRow(pieces=(left,), right=cells, key=key))
        return titles, rows

    def _heading(self, group: str, model: ModelInfo) -> ListRow:
        """The heading of remote models warns, if there is room."""
        is_warning = model.is_remote and model.can_chat
        heading = edge_row(f"{_INDENT}{group}", f"bold {'$warning' if is_warning else MUTED}")
        if not is_warning or cell_len(f"{_INDENT}{group}  {_LEAVES}") > self.list.text_width:
            return heading
        return replace(heading, right=((_LEAVES, "$warning"),))

    def filter(self, typed: str) -> None:
        """Draw the matches and choose the best of those that can chat.

        If a digit is typed into an empty filter, leave with the recent model of this number.
        """
        was_empty = not self._typed
        self._typed = typed
        recent = recent_by_number(self._rows).get(typed) if was_empty else None
        if recent is None:
            self.redraw(chooses_best=True)
        else:
            # not by a binding: Textual gives digits to the input before any binding
            self.dismiss(recent)

    def _chosen_model(self) -> ModelInfo | None:
        return next((row.model for row in self._rows if row.key == self.list.key), None)

    @property
    def _unmatched(self) -> str:
        """The typed name that no row matches, or ""."""
        typed = self._typed.strip()
        is_filter = typed == VISION or any(_match(typed, row) for row in self._rows)
        return "" if is_filter else typed

    def _typed_name(self) -> ModelInfo | None:
        return self._unlisted(self._unmatched)

    @property
    def _can_pull_typed(self) -> bool:
        return bool(self._unmatched) and self._actions.pull is not None

    def action_download_or_delete(self) -> None:
        if (model := self._chosen_model()) is not None:
            self._actions.remove(model)
        elif self._actions.pull is not None and self._unmatched:
            self._actions.pull(self._unmatched)

    def action_accept(self) -> None:
        model = self._chosen_model() or self._typed_name()
        if model is not None:
            self.dismiss(model)

    def action_load_or_unload(self) -> None:
        if (model := self._chosen_model()) is not None:
            self._actions.load_or_unload(model)

    def action_load_with(self) -> None:
        if (model := self._chosen_model()) is not None:
            self._actions.load_with(model)

    def action_refresh_models(self) -> None:
        self._actions.refresh()


def _offsets_in(shown_name: str, name: str, offsets: Sequence[int]) -> Sequence[int]:
    """Return where characters of a name are after a cut in its middle, without those cut off."""
    if shown_name == name:
        return offsets
    cut_at = same_characters(shown_name, name)
    moved = len(shown_name) - len(name)  # of those behind the cut
    ended = [offset + moved for offset in offsets if offset + moved > cut_at]
    return [offset for offset in offsets if offset < cut_at] + ended


def file_picker(files: Sequence[ModelFile]) -> PickDialog:
    """The result is the file to start the built-in engine with."""
    names = [safe_line(file.name) for file in files]
    shared = shared_beginnings(names)
    rows = []
    for file, name in zip(files, names, strict=True):
        facts = f"{safe_line(file.source, limit=24)}  {safe_line(file.quantization, limit=10)}"
        size = f"{units.size_text(file.size_bytes):>7}"
        right = ((f"{facts}  {size}", MUTED),)
        rows.append(NamedRow(right=right, key=file, name=name, shared=shared[name]))
    return PickDialog(
        "Model files on this disk",
        rows,
        figures=(
            units.counted(len(files), "file"),
            units.size_text(sum(file.size_bytes for file in files)),
        ),
        verb="start it",
    )
