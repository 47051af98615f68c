"""The model picker: models of all reachable servers, recent ones first, with a fuzzy filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from lmchat.domain.server import ModelInfo
from lmchat.services.candidates import ModelRow
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.icons import signs_for
from lmchat.tui.intents import LoadModel, RefreshModels
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.screens.model_table import ModelTable
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.keys_row import Hint
from lmchat.tui.widgets.line import MUTED, Line, content
from lmchat.tui.widgets.row_list import RowList, words_as_rows


class ModelPicker(ListDialog[ModelInfo | None]):
    """Dismisses with the chosen model, or with None, which leaves all as it was."""

    TITLE_TEXT = "Models"
    HINTS = (("Enter", "use it from the next turn"), ("^L", "load or unload"), ("^R", "refresh"))
    FIRST_HINTS = (("Enter", "load it"), ("^R", "refresh"))
    """What its keys do where it comes because no model is in memory."""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.PICKER)]

    def __init__(
        self,
        rows: Sequence[ModelRow],
        *,
        age_s: float,
        current: tuple[str, str] | None = None,
        note: str = "",
        reason: str = "",
    ) -> None:
        super().__init__()
        self.reason = reason
        """Why it comes without being asked for."""
        self._table = ModelTable(rows)
        self._age_s, self._note = age_s, note
        self._current = current
        self._typed = ""

    def title_text(self) -> str:
        """Return why it comes, else what it lists."""
        return self.reason or self.TITLE_TEXT

    def hints(self) -> Iterable[Hint]:
        """Return what its keys do."""
        return self.FIRST_HINTS if self.reason else self.HINTS

    @property
    def is_touched(self) -> bool:
        """Whether something is typed in it."""
        return bool(self._typed)

    def compose_content(self) -> Iterable[Widget]:
        """Return filter, heads of the columns, list and what the signs mean."""
        digits = ", or 1 to 9 for a recent one" if self._table.recent("1") else ""
        yield Field(placeholder=f"Type a part of a name{digits}")
        yield Line(classes="columns gap")
        yield RowList()
        yield Line(classes="legend")

    def on_mount(self) -> None:
        """Choose the model in use."""
        signs = signs_for(self)
        legend = f"{signs.ready} loaded   {signs.degraded} loading   {signs.off} not loaded"
        self.query_one(".legend", Line).show([content(((legend, MUTED),))])
        self.call_after_refresh(self.draw, choose=self._current)

    def update_rows(self, rows: Sequence[ModelRow], *, age_s: float, note: str = "") -> None:
        """Show newer lists; filter and choice stay. `note` says what a refresh could not reach."""
        self._table = ModelTable(rows)
        self._age_s, self._note = age_s, note
        if self.can_show:
            self.draw()

    def update_model(self, model: ModelInfo) -> None:
        """Show what is newly known of one model, as how far loading it is."""
        self._table = self._table.with_model(model)
        if self.can_show:
            self.draw()

    def draw(self, choose: tuple[str, str] | None = None, *, is_typed: bool = False) -> None:
        """Show what matches; `is_typed` chooses the best of it."""
        typed = self.query_one(Field).value
        width = self.list.text_width - 1
        if width < 1:
            return
        shown = self._table.filtered(typed)
        heads, rows = self._table.laid_out(shown, width, signs_for(self))
        if not shown:
            rows = words_as_rows(self._nothing(typed), width)
        self.query_one(".columns", Line).show([content(heads)])
        self.list.show(rows, choose=self._table.best(shown) if is_typed and typed.strip() else choose)
        self.fit_list(len(rows))
        self._tell(len(shown), is_filtered=bool(typed.strip()))

    def _nothing(self, typed: str) -> str:
        if not self._table.count:
            return self._note or "No server has told its models yet. ^R asks again."
        return f"No model matches *{safe_line(typed, limit=30)}*. Backspace shows all {self._table.count}."

    def _tell(self, shown: int, *, is_filtered: bool) -> None:
        count, servers = self._table.count, self._table.server_count
        age = safe_line(self._note) if self._note and count else f"list {formatting.ago(self._age_s)} old"
        self.show_title(f"{count} on {servers} server{'' if servers == 1 else 's'}", age)
        self.query_one(Field).show_note(f"{shown} of {count}" if is_filtered else "")

    def _chosen(self) -> ModelInfo | None:
        return self._table.model(self.list.key)

    @on(Input.Changed)
    def filter_models(self, event: Input.Changed) -> None:
        """Show what matches, with the best of it chosen; a digit in an empty filter takes a recent model."""
        event.stop()
        before, self._typed = self._typed, event.value
        if not before and (model := self._table.recent(event.value)) is not None:
            self.dismiss(model)  # Textual gives digits to the input before any binding of the screen
        else:
            self.draw(is_typed=True)

    @on(Input.Submitted)
    def take(self, event: Message) -> None:
        """Leave with the chosen model."""
        event.stop()
        if (model := self._chosen()) is not None:
            self.dismiss(model)

    @on(RowList.Taken)
    def take_clicked(self, event: RowList.Taken) -> None:
        """Leave with the clicked model."""
        self.take(event)

    def action_load_or_unload(self) -> None:
        """Ask for the chosen model to be loaded or unloaded."""
        if (model := self._chosen()) is not None:
            self.post_message(LoadModel(model))

    def action_refresh_models(self) -> None:
        """Ask for new lists."""
        self.post_message(RefreshModels())
