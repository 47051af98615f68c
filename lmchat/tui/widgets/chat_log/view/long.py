"""Long messages are read piece by piece, with room for keys and frames; what is on the screen stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict
from textual.worker import Worker

from lmchat.tui.widgets.chat_log.anchor import Hold, find, laid, take
from lmchat.tui.widgets.chat_log.document import Place, StillReadingError
from lmchat.tui.widgets.chat_log.entry import Entry, Placeholder
from lmchat.tui.widgets.chat_log.view.viewport import Viewport

SLICE_S = 0.003
"""So long is read in one go."""
PAUSE_S = 0.002
"""So long all else has its turn: a key that is pressed goes through several tasks before it is seen."""
SHOW_EVERY_S = 0.1
"""How often is shown what was read."""


class _Awaited(Struct):
    """What is to be done as soon as something is read."""

    entry: Entry
    number: int | None
    act: Callable[[], object]
    mark: str


class LongView(Viewport, can_focus=True):
    """A viewport that never cuts a long message into blocks at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._is_reading_long = False
        self._awaited: _Awaited | None = None

    @property
    def awaited_mark(self) -> str:
        """The bookmark that is gone to as soon as its message is read so far; empty for none."""
        return self._awaited.mark if self._awaited is not None else ""

    def settle(self, *, changed: Place | None = None) -> None:
        """Lay out what is near the screen; what is long is read beside all else."""
        super().settle(changed=changed)
        if self.document.unread and not self._is_reading_long and self.is_attached:
            self._is_reading_long = True
            _: Worker[None] = self.run_worker(self._read_long, name="reading", group="reading")

    async def _read_long(self) -> None:
        shown_s = perf_counter()
        try:
            while self.document.unread:
                begun_s, is_more = perf_counter(), self.document.unread.read()
                while is_more and perf_counter() - begun_s < SLICE_S:
                    is_more = self.document.unread.read()
                if not is_more or perf_counter() - shown_s >= SHOW_EVERY_S:
                    self._show_read()
                    shown_s = perf_counter()
                await asyncio.sleep(PAUSE_S)
        finally:
            self._is_reading_long = False

    def _show_read(self) -> None:
        """Show what was read by now; what is on the screen stays where it is."""
        for entry in self.document.unread.entries():
            index = self.document.entries.index(entry)
            if index is not None:
                self._show_more(index)
        self._act_on_awaited()

    def _show_more(self, index: int) -> None:
        """Show more of a message. What is held within what was not read keeps its rows to the end of that."""
        document = self.document
        self.keep_still()
        self._hold_what_is_seen()
        held = [(hold, self._rows_to_end(hold)) for hold in self.holds() if _is_in_rest(hold, index)]
        entry = document.entries[index]
        links = entry.known_links
        changed = document.take_read(index)
        if changed is None:
            return
        first, count = changed
        end = document.position((index, first + count, 0))
        for hold, rows in held:
            now = take(document, document.locate(max(end - rows, 0)), hold.offset)
            for name, value in asdict(now).items():
                setattr(hold, name, value)
        # words above it may be links from now on
        is_all_new = entry.read_up_to < 0 or entry.known_links != links
        self.settle(changed=(index, -1, 0) if is_all_new else (index, first, 0))

    def _hold_what_is_seen(self) -> None:
        """Hold what follows on what is not read, where that begins on the screen: it is all that is seen."""
        hold, document = self._hold, self.document
        if self.is_following or hold is None or not isinstance(hold.block, Placeholder):
            return
        index, number, _ = find(document, hold)
        offset = hold.offset + self._rows_to_end(hold)
        if offset < self.size.height:
            behind = (index, number + 1, 0)
            place = behind if number + 1 < len(document.entries[index].blocks) else (index + 1, -1, 0)
            if place[0] < len(document):
                self._hold = take(document, laid(document, place), offset)

    def _rows_to_end(self, hold: Hold) -> int:
        index, number, line = find(self.document, hold)
        return self.document.position((index, number + 1, 0)) - self.document.position((index, number, line))

    def read_all(self, first: int, last: int) -> None:
        """Read some messages to their end at once: they are to be copied."""
        for index in range(first, min(last + 1, len(self.document))):
            entry = self.document.entries.known(index)
            while entry is not None and entry.read_up_to >= 0:
                while self.document.unread.read_of(entry):
                    pass
                self._show_more(index)

    def when_read(self, act: Callable[[], object]) -> None:
        """Do something now, or as soon as the message is read that it raises `StillReadingError` for."""
        try:
            act()
        except StillReadingError as still:
            self.wait_for(still.index, None, lambda: self.when_read(act))

    def wait_for(self, index: int, number: int | None, act: Callable[[], object], *, mark: str = "") -> None:
        """Do something as soon as a block of a message is read, or all; until then show that it is read."""
        self.document.build(index)
        entry = self.document.entries[index]
        number_now = entry.read_up_to
        rows = self.document.prepare(index, number_now)  # text would come into view at the beginning of them
        self.show_at((index, number_now, max(rows - self.size.height, 0)))
        self._awaited = _Awaited(entry, number, act, mark)

    def is_read(self, index: int, number: int) -> bool:
        """Whether a block of a message is what it will be."""
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
        """Stay where one is: one has gone on."""
        self._awaited = None

    def hold_here(self) -> None:
        """Hold what has come to the top of the screen; what was waited for is not gone to any more."""
        self.give_up_waiting()
        super().hold_here()

    def show_at(self, place: Place, offset: int = 0) -> None:
        """Bring a place into view; what was waited for is not gone to any more."""
        self.give_up_waiting()
        super().show_at(place, offset)

    def scroll_end(self, **options: Any) -> None:
        """Follow the end again; what was waited for is not gone to any more."""
        self.give_up_waiting()
        super().scroll_end(**options)


def _is_in_rest(hold: Hold, index: int) -> bool:
    return hold.index == index and isinstance(hold.block, Placeholder)
