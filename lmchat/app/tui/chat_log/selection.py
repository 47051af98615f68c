"""The selection: from one position to another, by characters, words, paragraphs or messages.

Its origin was pressed first, its head is under the pointer now; each is a range between two
anchors. Cells are counted from 0, the empty cell beside the bar; the bar is -1.
"""

from __future__ import annotations

import re
from enum import IntEnum
from math import inf

from msgspec import Struct
from rich.cells import cell_len

from lmchat.app.cells import graphemes
from lmchat.app.markdown_lines.block import Line
from lmchat.app.tui.chat_log.anchor import (
    END,
    Anchor,
    anchor_in_text,
    find_again,
    row_starts,
    unwrapped_text,
)
from lmchat.app.tui.chat_log.document import Document, LogPosition
from lmchat.app.tui.chat_log.find import Range
from lmchat.app.tui.chat_log.viewport import Viewport

# a second press on a cell selects a word, a third one the paragraph
AGAIN_S = 0.5
# to `re`, vowel signs and joiners of Indian scripts are no letters
_LETTER = r"[\w\u0300-\u036f\u0900-\u0eff\u200c\u200d]"
# a word, also across apostrophes as in `don't`; a run of blanks; or one character
_WORD = rf"{_LETTER}+(?:['\u2019]{_LETTER}+)*|\s+|."
_RIGHT_OF_ALL_CELLS = 1 << 30

Ends = tuple[Anchor, Anchor]  # of a selected range


class Unit(IntEnum):
    """Unit that a selection grows by; the value is its number of presses.

    Keys begin with `MESSAGE`.
    """

    CHARACTER = 1
    WORD = 2
    PARAGRAPH = 3
    MESSAGE = 4


class SelectedRange(Struct):
    """Text from where a selection started to where the pointer is."""

    origin: Ends  # what the first press selected
    head: Ends  # what is under the pointer now
    unit: Unit = Unit.CHARACTER  # that it grows by

    @property
    def start(self) -> Anchor:
        return min(self.origin + self.head, key=lambda anchor: anchor.order)

    @property
    def end(self) -> Anchor:
        return max(self.origin + self.head, key=lambda anchor: anchor.order)

    @property
    def is_in_own_row(self) -> bool:
        """Whether the selection is within one block that the log itself writes, such as stats.

        Only then is it marked and copied.
        """
        block = self.start.block
        is_one_block = self.start.order[:2] == self.end.order[:2]
        return is_one_block and block is not None and not block.source

    def span(self, index: int, number: int) -> Range | None:
        """Return what is selected of block `number` of message `index`.

        The end is after the last character, or `END` if the selection continues below. Characters
        are counted in the unwrapped text.
        """
        block = (index, number)
        start = (self.start.index, self.start.number)
        end = (self.end.index, self.end.number)
        if not start <= block <= end:
            return None
        first = self.start.chars if start == block else 0
        last = self.end.chars if end == block else END
        return (first, last) if first < last else None

    def find_again(self, document: Document) -> SelectedRange | None:
        """Find it in the log as it is now; None if the text at an end is gone."""
        ends = []
        for anchor in self.origin + self.head:
            found_anchor = find_again(document, anchor)
            if found_anchor is None:
                return None
            ends.append(found_anchor)
        origin_start, origin_end, head_start, head_end = ends
        return SelectedRange((origin_start, origin_end), (head_start, head_end), self.unit)


class TextSelection:
    """Selection by mouse or keys, which keeps its text when the log changes.

    From the press until it is dropped, the log stays where it is.
    """

    def __init__(self, viewport: Viewport) -> None:
        self._viewport = viewport
        self._document = viewport.document
        self.selected: SelectedRange | None = None
        self.pointer = (0, 0)  # cell, and row of the screen
        self.was_dragged = False  # the last press became a drag, and is no click
        self.pressed: SelectedRange | None = None  # what a drag extends while the button is held
        self._presses = 0  # quick ones on one cell
        self._pressed_s = -inf

    def drop(self) -> None:
        self.selected = None
        self.release()
        self.let_go_of_log()

    def release(self) -> None:
        """Note that the button is up: the selection stays."""
        self.pressed = None

    def let_go_of_log(self) -> None:
        """Let the log follow its end again, unless a button is held or text is selected."""
        if self.pressed is None and self.selected is None:
            self._viewport.let_go()

    def find_again(self) -> SelectedRange | None:
        """Find the selection in the log as it is now; None if its text is gone.

        This lays out the messages at its ends: call it within `Viewport.anchored`.
        """
        if self.selected is not None:
            self.selected = self.selected.find_again(self._document)
            self.let_go_of_log()
        return self.selected

    def press(self, x: int, y: int, time_s: float) -> None:
        """Start a selection at cell `x` and row `y` of the screen, at a time in seconds.

        The second press on a cell selects the word, the third one the paragraph.
        """
        is_again = self.pointer == (x, y) and time_s - self._pressed_s < AGAIN_S
        # a press soon after the third is the first again
        self._presses = self._presses % Unit.PARAGRAPH + 1 if is_again else 1
        self._pressed_s = time_s
        self.pointer = (x, y)
        unit = Unit(self._presses)
        self._viewport.hold()
        ends = self._ends_under(x, y, unit)
        self.selected = None
        self.was_dragged = False
        self.pressed = SelectedRange(ends, ends, unit)
        if unit is not Unit.CHARACTER:  # a single press selects nothing until the pointer moves
            self.selected = self.pressed

    def drag(self, x: int, y: int) -> None:
        """Extend what was pressed to cell `x` and row `y` of the screen.

        If no button is held, or the pressed text is gone, only note the pointer.
        """
        self.pointer = (x, y)
        if self.pressed is None:
            return
        with self._viewport.anchored():  # what was pressed may be off the screen
            self.pressed = self.pressed.find_again(self._document)
        if self.pressed is None:
            return
        self.was_dragged = True
        self._presses = 0
        self.pressed.head = self._ends_under(x, y, self.pressed.unit)
        self.selected = self.pressed

    def _ends_under(self, x: int, y: int, unit: Unit) -> Ends:
        """Return the ends of the character, word or paragraph at cell `x`, row `y` of the screen.

        Above or below the screen, the first or last row counts; below the last message, the end of
        its last line.
        """
        document = self._document
        row = min(max(y, 0), self._viewport.height - 1) + self._viewport.top
        if row >= document.total:
            row = document.total - 1
            x = _RIGHT_OF_ALL_CELLS
        return ends_at(document, document.locate(row), x, unit)

    def extend(self, step: int) -> None:
        """Extend a selection of messages by the next one (`step` 1) or the previous one (-1).

        The focus moves to it. A new selection starts with the focused message.
        """
        first = self._viewport.focused
        if self.selected is not None and self.selected.unit is Unit.MESSAGE:
            first = self.selected.origin[0].index
        last = self._viewport.extend_focus(step)
        if first is not None and last is not None:
            self.selected = SelectedRange(message_ends(first), message_ends(last), Unit.MESSAGE)
            self._viewport.hold()


def message_ends(index: int) -> Ends:
    return Anchor(index, -1), Anchor(index, END)


def ends_at(document: Document, position: LogPosition, cell: int, unit: Unit) -> Ends:
    """Return the ends of what a press on a cell selects; lays out the message.

    On the blank row above a block, both are the beginning of the block.
    """
    index = position.message_index
    blocks = document.lay_out(index)
    number = min(max(position.number, 0), len(blocks) - 1)
    block = blocks[number]
    lines = block.lines or []
    row = position.row - document.blank_rows(position._replace(number=number))
    if position.number < 0 or row < 0 or not lines:
        start = anchor_in_text(document, index, number, 0)
        return start, start

    row = min(row, len(lines) - 1)  # the position may be from an estimate, which had more rows
    row_start = row_starts(block)[row]
    first, last = _character_at_cell(lines[row], cell)
    first += row_start
    last += row_start
    if unit is not Unit.CHARACTER:
        first, last = _word_or_paragraph(unwrapped_text(block), first, unit)
    return (
        anchor_in_text(document, index, number, first),
        anchor_in_text(document, index, number, last),
    )


def _word_or_paragraph(text: str, pressed: int, unit: Unit) -> Range:
    first = text.rfind("\n", 0, pressed) + 1
    last = text.find("\n", pressed)
    if unit is Unit.PARAGRAPH:
        return first, last
    for word in re.compile(_WORD).finditer(text, first, last):
        if word.end() > pressed:
            return word.span()
    return last, last  # pressed behind the last word


def _character_at_cell(line: Line, cell: int) -> Range:
    """Return the range of the character at a cell of a line.

    Left or right of the text, it is empty, at that end.
    """
    shown = "".join(segment.text for segment in line.segments)
    next_cell = cell_len(shown[: line.start])  # of the text
    if cell < next_cell:
        return 0, 0
    for start, end, cells in graphemes(line.text):
        next_cell += cells
        if cell < next_cell:
            return start, end
    return len(line.text), len(line.text)
