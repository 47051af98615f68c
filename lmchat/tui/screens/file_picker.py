"""The model files of this disk, with the filter of the model picker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import on
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from lmchat.domain.engine import ModelFile
from lmchat.domain.server import Endpoint
from lmchat.services.candidates import ModelRow
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import signs_for
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.screens.model_picker import ModelTable
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.keys_row import Hint
from lmchat.tui.widgets.line import Line, content
from lmchat.tui.widgets.row_list import RowList, words_as_rows

_NOWHERE = Endpoint(scheme="http", host="127.0.0.1", port=1)
"""Files have no address before something serves them; the table tells models apart by address and name."""


class FilePicker(ListDialog[ModelFile | None]):
    """Dismisses with the chosen file, or with None."""

    TITLE_TEXT = "Model files of this disk"

    def __init__(self, files: Sequence[ModelFile], *, verb: str = "use it") -> None:
        super().__init__()
        self._files = {file.name: file for file in files}
        self._table = ModelTable([_row(file) for file in files])
        self._verb = verb

    def hints(self) -> Iterable[Hint]:
        return (("Enter", self._verb), ("↑ ↓", "choose"))

    def compose_content(self) -> Iterable[Widget]:
        yield Field(placeholder="Type a part of a name")
        yield Line(classes="columns gap")
        yield RowList()

    def on_mount(self) -> None:
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Show what matches."""
        field, width = self.query_one(Field), self.list.text_width - 1
        if width < 1:
            return
        typed = field.value
        shown = self._table.filtered(typed)
        heads, rows = self._table.laid_out(shown, width, signs_for(self))
        if not shown:
            rows = words_as_rows(self._nothing(typed), width)
        self.query_one(".columns", Line).show([content(heads)])
        self.list.show(rows, choose=self._table.best(shown) if typed.strip() else None)
        self.fit_list(len(rows))
        count, total = len(self._files), sum(file.size_bytes for file in self._files.values())
        self.show_title(f"{count} file{'' if count == 1 else 's'}", formatting.size(total))
        field.show_note(f"{len(shown)} of {count}" if typed.strip() else "")

    def _nothing(self, typed: str) -> str:
        return f"No file matches *{safe_line(typed, limit=30)}*. Backspace shows all {len(self._files)}."

    @on(Input.Changed)
    def filter_files(self, event: Input.Changed) -> None:
        """Show what matches, with the best of it chosen."""
        event.stop()
        self.draw()

    @on(Input.Submitted)
    def take(self, event: Message) -> None:
        """Leave with the chosen file."""
        event.stop()
        model = self._table.model(self.list.key)
        if model is not None:
            self.dismiss(self._files[model.model_id])

    @on(RowList.Taken)
    def take_clicked(self, event: RowList.Taken) -> None:
        """Leave with the clicked file."""
        self.take(event)


def _row(file: ModelFile) -> ModelRow:
    return ModelRow(model=file.info(_NOWHERE), server_name=file.source or "Others")
