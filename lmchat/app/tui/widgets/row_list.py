"""List of rows with a chosen one; draws only the rows in view.

The key of a row is the value that it means, such as the id of a session. Rows with the same key are
chosen as one; those without a key, such as headings, cannot be chosen. A style is one of Textual,
or one of the five below. `aligned` pads texts to columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lmchat.app.markdown_lines.wrap import width_of
from lmchat.app.tui.messages import AppMessage
from lmchat.app.tui.widgets.line import (
    MUTED,
    STRONG,
    StyledText,
    StyledTexts,
    content,
    cut_apart,
    fit,
    styled,
    wrapped_lines,
)
from lmchat.base.units import SIGNS

GAP = 2  # cells between columns
NAME = "name"  # bold in the chosen row
ASIDE = "aside"  # muted except in the chosen row
ASIDE_NAME = "aside-name"  # bold in the chosen row, else muted
WHEN_CHOSEN = "when-chosen"  # only in the chosen row, in bold
UNLESS_CHOSEN = "unless-chosen"  # in all other rows, in bold
# of Textual for these five; None hides a text
_STYLES_OF_CHOSEN = {
    NAME: STRONG,
    ASIDE: "",
    ASIDE_NAME: STRONG,
    WHEN_CHOSEN: STRONG,
    UNLESS_CHOSEN: None,
}
_STYLES_OF_OTHERS = {
    NAME: "",
    ASIDE: MUTED,
    ASIDE_NAME: MUTED,
    WHEN_CHOSEN: None,
    UNLESS_CHOSEN: STRONG,
}


class ListRow(Struct, frozen=True):
    """Row of a list; neighbours with the same key are chosen together.

    Without pieces it is blank.
    """

    pieces: tuple[StyledTexts, ...] = ()
    """Texts at the left; without room, the last are dropped."""
    right: StyledTexts = ()  # never cut
    key: Hashable = None  # None: it cannot be chosen
    is_at_edge: bool = False  # it starts in the column of the bar
    is_open: bool = False  # marked although it is not chosen

    def fitted(self, width: int) -> ListRow:  # noqa: ARG002 - for rows that depend on it
        """Return the row as it is drawn in `width` cells; only rows in view are asked."""
        return self


class NamedRow(ListRow, frozen=True, kw_only=True):
    """Row whose name is cut in its middle if it would look like another one."""

    lead: StyledTexts = ((" ", ""),)
    name: str
    shared: int  # as `shared_beginnings` counts

    def fitted(self, width: int) -> ListRow:
        room = width - width_of((*self.lead, *self.right)) - GAP
        name = cut_apart(self.name, room, self.shared)
        return replace(self, pieces=((*self.lead, (name, NAME)),))


def text_row(
    text: str,
    style: str = NAME,
    *,
    right: str = "",
    right_style: str = MUTED,
    key: Hashable = None,
) -> ListRow:
    return ListRow(
        pieces=(((text, style),),),  # one piece of one text
        right=((right, right_style),) if right else (),
        key=key,
    )


def edge_row(text: str, style: str = MUTED, *, right: str = "") -> ListRow:
    """Make a row at the left edge that cannot be chosen, such as a heading."""
    return replace(text_row(text, style, right=right), is_at_edge=True)


def wrapped_rows(text: str, width: int) -> list[ListRow]:
    """Wrap a text; its rows cannot be chosen."""
    return [*map(edge_row, wrapped_lines(text, width))]


class RowList(ScrollView):
    """Rows with a bar at the chosen one: blue while the list is shown as focused, else grey."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"row-list--chosen", "row-list--open"}

    looks_focused = reactive(False)
    """The list never has Textual's focus: its owner has it, and calls `move` for a key."""

    class Clicked(AppMessage):
        """A row was clicked."""

        key: Hashable

    def __init__(self, *, hides_choice: bool = False) -> None:
        """With `hides_choice`, mark no row while the list is not shown as focused."""
        super().__init__()
        self.can_focus = False
        self.rows: Sequence[ListRow] = ()
        self.keys: list[Hashable] = []  # of rows that can be chosen, each once, from the top
        self._chosen_index = 0  # in `keys`
        self._hides_choice = hides_choice
        self._most_rows = 0  # the most rows so far, for `get_content_height`

    @property
    def key(self) -> Hashable:
        return self.keys[self._chosen_index] if self.keys else None

    @property
    def text_width(self) -> int:
        """Leave the last column to the scrollbar."""
        return max(self.outer_size.width - 1, 0)

    def show(self, rows: Sequence[ListRow], *, choose: Hashable = None) -> None:
        """Show other rows, and scroll to the chosen one.

        It is that with the key `choose`, or by default the same key as before, else at the same
        index, or the last.
        """
        wanted_key = self.key if choose is None else choose  # before `keys` are the new ones
        self.rows = rows
        self.keys = list(dict.fromkeys(row.key for row in rows if row.key is not None))
        if wanted_key in self.keys:
            self._chosen_index = self.keys.index(wanted_key)
        else:
            self._chosen_index = min(self._chosen_index, max(len(self.keys) - 1, 0))
        self._most_rows = max(self._most_rows, len(rows))
        self.virtual_size = Size(self.size.width, len(rows))
        self.refresh()
        self._scroll_to_chosen()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """Return the most rows so far; with a lower list, a filter above it would move."""
        return self._most_rows

    def choose(self, key: Hashable) -> None:
        self._set_chosen(self.keys.index(key))

    def move(self, step: int) -> None:
        """Move down by `step` choices, or up if negative; scroll if the choice cannot move.

        So headings above the first choice, and lists without a choice, can be read.
        """
        old_index = self._chosen_index
        self._set_chosen(old_index + step)
        if self._chosen_index == old_index:
            self.scroll_relative(y=step, animate=False)

    def page(self, direction: int) -> None:
        """Move by a screenful less one choice, down (1) or up (-1)."""
        _, rows_of_choice = self._rows_of_choice()
        self.move(direction * max(self.size.height // max(rows_of_choice, 1) - 1, 1))

    def _set_chosen(self, index: int) -> None:
        """Choose the first or the last beyond the ends."""
        index = min(max(index, 0), max(len(self.keys) - 1, 0))
        if index != self._chosen_index:
            self._chosen_index = index
            self.refresh()
            self._scroll_to_chosen()

    def _rows_of_choice(self) -> tuple[int, int]:
        """Return the first index and the number of chosen rows; (0, 0) for none."""
        if self.key is None:
            return 0, 0
        numbers = [y for y, row in enumerate(self.rows) if row.key == self.key]
        return numbers[0], len(numbers)

    def _scroll_to_chosen(self) -> None:
        """Show also the headings above the first choice."""
        start, height = self._rows_of_choice()
        if height and self.size.height:
            top = start if self._chosen_index else 0
            region = Region(0, top, 1, start + height - top)
            # `force`: Textual else scrolls only with a scrollbar, and new rows get theirs later
            self.scroll_to_region(region, animate=False, force=True)

    def on_resize(self) -> None:
        """Show the list from its top, or as far below it as the chosen rows need.

        Without rows that can be chosen, as a text, it stays where it was.
        """
        self.virtual_size = Size(self.size.width, len(self.rows))
        if self.keys:
            self.scroll_to(y=0, animate=False, force=True)
            self._scroll_to_chosen()

    def on_click(self, event: events.Click) -> None:
        y = event.get_content_offset_capture(self).y + self.scroll_offset.y
        key = self.rows[y].key if 0 <= y < len(self.rows) else None
        if key is not None:
            self.choose(key)
            self.post_message(self.Clicked(key))

    def render_line(self, y: int) -> Strip:
        width = self.outer_size.width
        index = y + self.scroll_offset.y
        if index >= len(self.rows):
            return Strip([])  # Textual fills it with the background
        row = self.rows[index]
        is_chosen = row.key is not None and row.key == self.key
        if self._hides_choice and not self.looks_focused:
            is_chosen = False
        base = self.visual_style
        # such as that of the active session
        if is_chosen or row.is_open:
            base = self.get_visual_style(f"row-list--{'chosen' if is_chosen else 'open'}")
            has_focus = is_chosen and self.looks_focused
            bar = styled(SIGNS.bar, "$primary" if has_focus else MUTED)
            styles = _STYLES_OF_CHOSEN
        else:
            # such as a heading; others keep this column free
            bar = Content("" if row.is_at_edge else " ")
            styles = _STYLES_OF_OTHERS
        room = self.text_width - len(bar)
        row = row.fitted(room)
        pieces = [content(_with_styles(piece, styles)) for piece in row.pieces]
        right = content(_with_styles(row.right, styles))
        line = bar + fit(pieces, right, room)
        return Strip(line.render_segments(base)).adjust_cell_length(width, base.rich_style)


def _with_styles(texts: StyledTexts, styles: Mapping[str, str | None]) -> StyledTexts:
    shown = [(text, styles.get(style, style)) for text, style in texts]
    return tuple((text, style) for text, style in shown if style is not None)


class Column(Struct, frozen=True):
    title: str
    rank: int = 0  # without room, the lowest is dropped first
    is_right: bool = False  # aligned at the right


def aligned(
    columns: Sequence[Column], rows: Sequence[Sequence[StyledText]], room: int, gap: int = GAP
) -> list[StyledTexts]:
    """Return a line with the titles of the columns, then one for each row.

    A row has a text for each column, or "", safe to show. Columns without texts are left out; then
    others are dropped until the rest fits into `room` cells.
    """
    lines = [[(column.title, MUTED) for column in columns], *rows]
    widths = [max(cell_len(text) for text, _ in cells) for cells in zip(*lines, strict=True)]
    # columns with texts, less those without room
    shown = [index for index in range(len(columns)) if any(row[index][0] for row in rows)]
    while shown and sum(widths[index] + gap for index in shown) - gap > room:
        shown.remove(min(shown, key=lambda index: columns[index].rank))

    padded_lines: list[StyledTexts] = []
    for line in lines:
        cells: list[StyledText] = []
        for index in shown:
            text, style = line[index]
            padding = " " * (widths[index] - cell_len(text))
            padded = padding + text if columns[index].is_right else text + padding
            gap_before = " " * gap if cells else ""  # no gap at the left edge
            cells.append((gap_before + padded, style))
        padded_lines.append(tuple(cells))
    return padded_lines
