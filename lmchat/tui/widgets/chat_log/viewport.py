"""Which rows of a log are on the screen, and that they stay where they are whatever changes around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict

from lmchat.domain.message import Role
from lmchat.domain.path import MessagePath
from lmchat.tui.widgets.chat_log.anchor import Anchor, anchor_at, row_now
from lmchat.tui.widgets.chat_log.blocks import Kind
from lmchat.tui.widgets.chat_log.document import Document, Place, StillReadingError
from lmchat.tui.widgets.chat_log.entry import Entry, Placeholder
from lmchat.tui.widgets.chat_log.layout.page import Page

COUNTED_LINES = 600
"""New lines that are laid out to be counted; the rest is estimated."""
SLICE_S = 0.003
"""Time for parsing a long message in one go."""
PAUSE_S = 0.002
"""Time for keys and frames after that: a key goes through several tasks before it is seen."""
SHOW_EVERY_S = 0.1
"""Time between two looks at what was parsed."""
_STATE_ROWS = 2
"""Rows of the state under an answer, with the blank row above: they move down, they are not new."""


class _Awaited(Struct):
    """An action that waits until a message is parsed."""

    entry: Entry
    number: int | None
    """The block that has to be parsed; None for all."""
    act: Callable[[], object]
    mark: str
    """The reading position that is gone to; empty for another action."""


class _Unfolded(Struct):
    """A fold that was opened off the screen, to come back from."""

    entry: Entry
    was_following: bool


class Viewport:
    """The window on a document: its height, its first row `top`, and the message with the focus.

    This is the only owner of the scroll position. `scroll_to` is called when the user has scrolled, `show_at`
    and `show_entry` when something is brought into view, `follow` when the end is; `lay_out` moves it so that
    the anchored text stays where it is. The widget copies `top` to Textual.
    """

    def __init__(self, document: Document, is_focused: Callable[[], bool] = lambda: False) -> None:
        self.document = document
        self.height = 1
        self.top = 0
        self.is_following = True
        """Whether the end stays in view."""
        self.cursor: int | None = None
        """The message that the message keys act on."""
        self.kept: dict[Literal["seen", "before find", "before unfolding"], Anchor] = {}
        """Other positions that have to survive changes."""
        self._anchor: Anchor | None = None
        self._is_focused = is_focused
        self._awaited: _Awaited | None = None
        self._unfolded: _Unfolded | None = None
        self._is_reading = False

    # Layout

    def reset(self) -> None:
        """Begin with other messages, at their end."""
        self.is_following, self._anchor, self.cursor = True, None, None
        self._awaited = self._unfolded = None
        self.kept.clear()

    def lay_out(self) -> None:
        """Lay out the screen and a screenful around it; what is read stays where it is."""
        document = self.document
        if not len(document):
            self.top = 0
            return
        if self.is_following:
            document.sweep(len(document) - 1, None, -1, 2 * self.height)
            self.top = self.last_top
        else:
            self._lay_out_held()
        document.trim()

    def _lay_out_held(self) -> None:
        """Choose the first row so that the anchor keeps its row on the screen."""
        document = self.document
        anchor = self._anchor = self._anchor or self._grip(self.top)
        place = row_now(document, anchor)
        offset = min(anchor.offset, self.height - 1)
        document.surround(place, self.height + offset, 2 * self.height)
        self.top = max(min(document.position(place) - offset, self.last_top), 0)
        if anchor.block is None and anchor.row:  # it was not laid out then; it is now
            self.hold()

    def take_page(self, page: Page) -> None:
        """Lay everything out on another page; new lines are counted again."""
        has_new = self.count_new_lines() > 0
        if not has_new:
            self.kept.pop("seen", None)
        self.document.set_page(page)
        self.lay_out()
        if not self.is_following and len(self.document):
            self.count_new_lines()
            self._lay_out_unseen()
            if not has_new:
                self._see_up_to(self._text_end)
            self.lay_out()

    @property
    def last_top(self) -> int:
        """The first row of the screen at the end of the document."""
        return max(self.document.total - self.height, 0)

    @property
    def is_at_end(self) -> bool:
        """Whether the last row is on the screen."""
        return self.top >= self.last_top

    def place_at(self, y: int) -> Place | None:
        """Return what a row of the screen shows."""
        y += self.top
        return self.document.locate(y) if 0 <= y < self.document.total else None

    def shows(self, y: int, rows: int) -> bool:
        """Whether some of these rows of the document are on the screen."""
        return y < self.top + self.height and y + rows > self.top

    # Anchors

    def keep(self, name: Literal["before find", "before unfolding"]) -> None:
        """Keep what is read now, to come back to it."""
        if len(self.document):
            self.kept[name] = self._grip(self.top)

    def hold(self) -> None:
        """Anchor what is on the screen now, unless the end is followed."""
        if not self.is_following and len(self.document):
            self._anchor = self._grip(self.top)

    def _grip(self, y: int) -> Anchor:
        """Return the anchor for a screen that begins with a row: the focused message if it begins there."""
        document, index = self.document, self.cursor
        if index is not None and self._is_focused() and document.entries[index].is_built:
            place = (index, 0, 0)
            offset = document.position(place) - y
            if 0 <= offset < self.height:
                return anchor_at(document, place, offset)
        return anchor_at(document, document.locate(y))

    def keep_still(self) -> None:
        """Anchor what is on the screen; to be called before anything changes."""
        if self.is_following or not len(self.document) or self.document.layout is None:
            return
        anchor = self._anchor
        if (
            anchor is None
            or self.document.position(row_now(self.document, anchor)) - anchor.offset != self.top
        ):
            self.hold()

    def _anchors(self) -> list[Anchor]:
        found = [self._anchor, *self.kept.values()]
        return list({id(one): one for one in found if one is not None}.values())

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages before all others."""
        count = len(earlier)
        self.keep_still()
        if self.cursor is not None:
            self.cursor += count
        for anchor in self._anchors():
            anchor.index += count
        self.document.prepend(earlier)

    def rebuild(self, index: int) -> None:
        """Make a message again that is shown in another way now."""
        self.keep_still()
        self.document.rebuild(index)
        if not self.is_following:
            self._lay_out_unseen()

    # Scrolling

    def scroll_to(self, y: int) -> None:
        """Take over that the user has scrolled."""
        self.give_up_waiting()
        self.top = y
        if self.is_at_end:
            self.is_following = True
        elif self.is_following:
            self.leave_end()
        if not self.is_following:
            self._anchor = anchor_at(self.document, self.document.locate(y))
            self.lay_out()
            self.hold()
        self.keep_cursor_in_view()

    def follow(self) -> None:
        """Follow the end."""
        self.give_up_waiting()
        self.is_following = True
        self.lay_out()
        self.keep_cursor_in_view()

    def leave_end(self) -> None:
        """Follow the end no more: lines that are added are new."""
        self.is_following = False
        self._see_up_to(self._text_end)

    def show_at(self, place: Place, offset: int = 0) -> None:
        """Bring a place so many rows below the top of the screen; at the end, the end is followed."""
        self.give_up_waiting()
        if self.is_following:
            self.leave_end()
        self._anchor = anchor_at(self.document, self._laid_out(place), offset)
        self.lay_out()
        self.is_following = self.is_at_end

    def show_anchor(self, anchor: Anchor) -> None:
        """Bring an anchor back to its row of the screen."""
        self.show_at(row_now(self.document, anchor), anchor.offset)

    def _laid_out(self, place: Place) -> Place:
        """Lay out the block of a place; return the place, or the nearest one in the block."""
        index, number, line = place
        if number < 0:
            return place
        number = min(number, self.document.build(index) - 1)
        return index, number, min(line, self.document.prepare(index, number) - 1)

    def show_entry(self, index: int) -> None:
        """Scroll a message into view, by as little as possible."""
        document = self.document
        document.sweep(index, 0, 1, self.height)
        document.sweep(index - 1, None, -1, self.height)
        self.lay_out()
        top, rows = document.heights.top(index), document.heights[index]
        if top < self.top or rows >= self.height:
            self.show_at((index, -1, 0))
        elif top + rows > self.top + self.height:
            self.scroll_to(top + rows - self.height)

    # New lines below the screen

    def count_new_lines(self) -> int:
        """Return the number of lines that came since the end was on the screen."""
        if self.is_following or not len(self.document):
            self.kept.pop("seen", None)
            return 0
        seen = self.kept.get("seen") or self._see_up_to(self._text_end)
        end = self.document.position(row_now(self.document, seen)) + 1
        on_screen = min(self.top + self.height, self._text_end)
        if on_screen > end:
            self._see_up_to(on_screen)
            end = on_screen
        return max(self._text_end - end, 0)

    def _see_up_to(self, end: int) -> Anchor:
        place = self.document.locate(end - 1) if end > 0 else (0, -1, -1)
        self.kept["seen"] = anchor = anchor_at(self.document, place)
        return anchor

    def _lay_out_unseen(self) -> None:
        """Lay out what is new, so that its lines can be counted."""
        seen = self.kept.get("seen")
        if seen is not None:
            index, number, _ = row_now(self.document, seen)
            self.document.sweep(index, max(number, 0), 1, COUNTED_LINES)

    @property
    def _text_end(self) -> int:
        """The row after the last text: the state under the last answer does not count."""
        last = self.document.entries[-1]
        if last.message is None or last.message.role is not Role.ASSISTANT or not len(last.heights):
            return self.document.total
        rows = last.heights[len(last.heights) - 1]
        is_state = last.blocks[-1].kind is Kind.MADE and rows <= _STATE_ROWS
        return self.document.total - (rows if is_state else 0)

    # Focus

    def set_cursor(self, index: int) -> None:
        """Give the focus to a message; the end is followed only while the last one has it."""
        self.cursor = index
        is_last = self.document.entries.message_from(index + 1, 1) is None
        if self.is_following and not is_last:
            self.leave_end()
        elif self.is_at_end and not self.is_following:
            self.is_following = is_last
        self.hold()

    def focus_last(self) -> None:
        """Give the focus to the last message if none has it."""
        if self.cursor is None:
            self.cursor = self.document.entries.message_from(len(self.document) - 1, -1)

    def step_cursor(self, step: int, *, is_here: bool) -> bool:
        """Move the focus to a neighbour, or, when the focus comes, to the last message in view.

        What is read stays where it is then; the next step up goes to where the message begins. Returns False
        below the last message.
        """
        entries = self.document.entries
        first = entries.message_from(0, 1)
        if first is None or (step > 0 and not is_here):
            return False
        if self.cursor is None or not is_here:
            last = self.document.locate(self.top + self.height - 1)[0]
            found = entries.message_from(len(self.document) - 1 if self.is_following else last, -1)
        elif step < 0 and self._begins_within(self.cursor):
            found = self.cursor
        else:
            found = entries.message_from(self.cursor + step, step)
            if found is None and step > 0:
                self.is_following = self.is_at_end
                return False
        found = first if found is None else found
        self.set_cursor(found)
        if is_here or not self._begins_within(found):
            self.show_entry(found)
        return True

    def row_of(self, message_id: str) -> int | None:
        """Return the row of the screen on which a message begins, if it is there."""
        index = self.document.entries.place(message_id)
        row = -1 if index is None else self.document.heights.top(index) - self.top
        return row if 0 <= row < self.height else None

    def neighbour(self, index: int, step: int) -> int:
        """Return the message a step further on, with a large step the last one there is."""
        entries = self.document.entries
        if abs(step) > 1:
            found = entries.message_from(len(entries) - 1, -1) if step > 0 else entries.message_from(0, 1)
        else:
            found = entries.message_from(index + step, step)
        return index if found is None else found

    def _begins_within(self, index: int) -> bool:
        """Whether the screen begins within a message."""
        top = self.document.heights.top(index)
        return top + int(index > 0) < self.top < top + self.document.heights[index]

    def keep_cursor_in_view(self) -> None:
        """Give the focus to the nearest message on the screen: what keys do elsewhere is not seen."""
        document = self.document
        if self.cursor is None or not len(document) or not self._is_focused():
            return
        last, number, _ = document.locate(self.top + self.height - 1)
        first, last = document.locate(self.top)[0], last - int(number < 0)
        if self.cursor < first:
            found = document.entries.message_from(first, 1)
        else:
            found = document.entries.message_from(last, -1) if self.cursor > last else None
        if found is not None:
            self.cursor = found
            self.hold()

    # Folding

    def toggle(self, attribute: Literal["is_folded", "is_source"]) -> None:
        """Change how the focused message is shown; its first row on the screen stays where it is.

        What unfolds off the screen is brought into view, else nothing would seem to happen. Folding it again
        brings back what was read.
        """
        index, document = self.cursor, self.document
        if index is None:
            return
        entry = document.entries[index]
        is_unseen = attribute == "is_folded" and self._is_fold_unseen(index)
        is_back = attribute == "is_folded" and not entry.is_folded and self._is_in_fold(index)
        offset = document.heights.top(index) - self.top
        place = document.locate(self.top) if offset < 0 else (index, -1, 0)
        anchor = anchor_at(document, place, max(offset, 0))
        was_following = self.is_following
        setattr(entry, attribute, not getattr(entry, attribute))
        document.rebuild(index)
        if is_unseen and not entry.is_folded:
            self._unfolded = _Unfolded(entry, was_following)
            self.kept["before unfolding"] = anchor
            self.show_at(self._fold_rows(index)[0])
        elif is_back and self._unfolded is not None and self._unfolded.entry is entry:
            self._fold_back(self._unfolded)
        elif not (entry.is_open and self.is_following):
            self.show_anchor(anchor)

    def _fold_back(self, unfolded: _Unfolded) -> None:
        self._unfolded = None
        self.show_anchor(self.kept.pop("before unfolding"))
        if unfolded.was_following:
            self.follow()

    def _fold_rows(self, index: int) -> list[Place]:
        """Return the rows that thought and files fold into; a system prompt has none."""
        document = self.document
        found = []
        for number in range(document.build(index)):
            block = document.entries[index].blocks[number]
            if not block.source:
                height = document.prepare(index, number)
                if any(line.action == "fold" for line in block.lines or ()):
                    found.append((index, number, height - 1))
        return found

    def _is_fold_unseen(self, index: int) -> bool:
        """Whether all rows that a message folds into are off the screen."""
        rows = [self.document.position(place) for place in self._fold_rows(index)]
        return bool(rows) and not any(self.shows(row, 1) for row in rows)

    def _is_in_fold(self, index: int) -> bool:
        """Whether the screen begins with what would be folded, or with the row that it folds into."""
        at, number, _ = self.document.locate(self.top)
        block = self.document.entries[at].blocks[number] if at == index and number >= 0 else None
        return block is not None and (block.is_thought or not self._is_fold_unseen(index))

    # Long messages, which are parsed piece by piece

    @property
    def has_to_read(self) -> bool:
        """Whether `read_long` is to be run."""
        return self.document.is_reading and not self._is_reading

    async def read_long(self, changed: Callable[[Place], None]) -> None:
        """Parse long messages with room for keys and frames; tell which rows change."""
        self._is_reading, shown_s = True, perf_counter()
        try:
            while self.document.is_reading:
                begun_s, is_more = perf_counter(), self.document.read()
                while is_more and perf_counter() - begun_s < SLICE_S:
                    is_more = self.document.read()
                if not is_more or perf_counter() - shown_s >= SHOW_EVERY_S:
                    for place in self.show_read():
                        changed(place)
                    shown_s = perf_counter()
                await asyncio.sleep(PAUSE_S)
        finally:
            self._is_reading = False

    def show_read(self) -> list[Place]:
        """Show what was parsed by now; return the first changed row of each message."""
        places = [place for index in self.document.being_read() if (place := self.show_more(index))]
        self._act_on_awaited()
        return places

    def show_more(self, index: int) -> Place | None:
        """Show more of a message; an anchor in its placeholder keeps its rows to the end of that."""
        document = self.document
        self.keep_still()
        self._hold_below_placeholder()
        held = [
            (anchor, self._rows_to_end(anchor))
            for anchor in self._anchors()
            if anchor.index == index and isinstance(anchor.block, Placeholder)
        ]
        entry = document.entries[index]
        links = entry.known_links
        changed = document.take_read(index)
        if changed is None:
            return None
        first, count = changed
        end = document.position((index, first + count, 0))
        for anchor, rows in held:
            now = anchor_at(document, document.locate(max(end - rows, 0)), anchor.offset)
            for name, value in asdict(now).items():
                setattr(anchor, name, value)
        self.lay_out()
        # words above may be links from now on
        is_all_new = entry.read_up_to < 0 or entry.known_links != links
        return (index, -1, 0) if is_all_new else (index, first, 0)

    def _hold_below_placeholder(self) -> None:
        """Where a placeholder ends on the screen, anchor what follows it: that is all that is read."""
        anchor, document = self._anchor, self.document
        if self.is_following or anchor is None or not isinstance(anchor.block, Placeholder):
            return
        index, number, _ = row_now(document, anchor)
        offset = anchor.offset + self._rows_to_end(anchor)
        if offset < self.height:
            behind = (index, number + 1, 0)
            place = behind if number + 1 < len(document.entries[index].blocks) else (index + 1, -1, 0)
            if place[0] < len(document):
                self._anchor = anchor_at(document, self._laid_out(place), offset)

    def _rows_to_end(self, anchor: Anchor) -> int:
        index, number, line = row_now(self.document, anchor)
        return self.document.position((index, number + 1, 0)) - self.document.position((index, number, line))

    def read_all(self, first: int, last: int) -> None:
        """Parse some messages to their end at once: they are to be copied."""
        for index in range(first, min(last + 1, len(self.document))):
            entry = self.document.entries.known(index)
            while entry is not None and entry.read_up_to >= 0:
                while self.document.read(entry):
                    pass
                self.show_more(index)

    def when_read(self, act: Callable[[], object]) -> None:
        """Do something now, or as soon as the message is parsed that it raises `StillReadingError` for."""
        try:
            act()
        except StillReadingError as still:
            self.wait_for(still.index, None, lambda: self.when_read(act))

    def wait_for(self, index: int, number: int | None, act: Callable[[], object], *, mark: str = "") -> None:
        """Do something as soon as a block of a message is parsed, or all; show its placeholder until then."""
        self.document.build(index)
        entry = self.document.entries[index]
        number_now = entry.read_up_to
        rows = self.document.prepare(index, number_now)  # text would come into view at its beginning
        self.show_at((index, number_now, max(rows - self.height, 0)))
        self._awaited = _Awaited(entry, number, act, mark)

    def is_read(self, index: int, number: int) -> bool:
        """Whether a block of a message is parsed."""
        self.document.build(index)
        return not 0 <= self.document.entries[index].read_up_to <= number

    def _act_on_awaited(self) -> None:
        awaited = self._awaited
        if awaited is None:
            return
        index = self.document.entries.index(awaited.entry)
        up_to = awaited.entry.read_up_to
        if index is None:
            self._awaited = None
        elif up_to < 0 or (awaited.number is not None and awaited.number < up_to):
            self._awaited = None
            awaited.act()

    def give_up_waiting(self) -> None:
        """Go nowhere: the user has scrolled on."""
        self._awaited = None

    # The reading position over restarts

    @property
    def bookmark(self) -> str:
        """Message id, block and row at the top of the screen, or what is gone to; empty at the end."""
        if self._awaited is not None and self._awaited.mark:
            return self._awaited.mark
        if self.is_at_end or not len(self.document):
            return ""
        index, number, row = self.document.locate(self.top)
        message = self.document.entries[index].message
        return f"{message.message_id} {number} {row}" if message is not None else ""

    def go_to_bookmark(self, mark: str) -> bool:
        """Bring a reading position to the top of the screen; return whether its message is there."""
        found = parse_bookmark(mark)
        index = self.document.entries.place(found[0]) if found is not None else None
        if found is None or index is None:
            return False
        _, number, row = found
        if self.is_read(index, number):
            self.show_at((index, max(number, -1), max(row, 0)))
        else:
            self.wait_for(index, number, lambda: self.go_to_bookmark(mark), mark=mark)
        return True


def parse_bookmark(mark: str) -> tuple[str, int, int] | None:
    """Return message id, block and row; None for anything else. Older versions stored two more numbers."""
    message_id, *numbers = mark.split(" ")
    is_one = len(numbers) in (2, 4) and all(one.removeprefix("-").isdecimal() for one in numbers)
    return (message_id, int(numbers[0]), int(numbers[1])) if is_one and message_id else None
