"""Viewport: the rows on the screen, and the only owner of the scroll position.

The position is an anchor in the text, or None while the end is followed, but not while text is
selected (`hold`). Only `lay_out` computes the first row `top` from it. Whoever changes the document
or lays out blocks does so within `anchored`, except `set_page`, `scroll_to_row` and
`scroll_to_position` (which compute `top` again), `ChatLog.show` (which calls `reset`), and
`TextSelection` (which lays out the blocks under the pointer).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from msgspec.structs import replace

from lmchat.app.markdown_lines.page import Page
from lmchat.app.tui.chat_log.anchor import Anchor, anchor_at, relocate
from lmchat.app.tui.chat_log.document import Document, LogPosition
from lmchat.core.sessions.message import ChatMessage


class Bookmark(NamedTuple):
    """The saved top of the screen, as `MESSAGE_ID BLOCK ROW`."""

    message_id: str
    number: int  # of the block, and the row, as in a `LogPosition`
    row: int

    @classmethod
    def parse(cls, text: str) -> Bookmark | None:
        """Return None if it is no bookmark; the empty text means the end of the log."""
        found = re.fullmatch(r"(\S+) (-1|\d{1,9}) (\d{1,9})", text)
        return cls(found[1], int(found[2]), int(found[3])) if found else None

    def __str__(self) -> str:
        return f"{self.message_id} {self.number} {self.row}"


class Viewport:
    """The window on a document. The log itself may lack the focus while `focused` is set."""

    def __init__(self, document: Document, has_choice: Callable[[], bool]) -> None:
        self.document = document
        self.height = 1  # rows of the screen
        self.top = 0
        self.has_choice = has_choice  # whether commands act on the message `focused`
        self.reset()

    def reset(self) -> None:
        """Follow the end after the messages were replaced; drop the focus."""
        self.focused: int | None = None  # index of the message that is chosen if one is
        self._anchor: Anchor | None = None
        self._is_held = False  # between `hold` and `let_go`
        self._follows_later = False  # from `let_go` on
        self.has_new_text = False  # below the screen
        self.lay_out()

    # Layout

    @contextmanager
    def anchored(self) -> Iterator[None]:
        """Change the document or lay out blocks in the block: what is read keeps its row."""
        document = self.document
        anchor = self._anchor
        if anchor is not None and len(document) and document.layout is not None:
            row = document.row_of(relocate(document, anchor)) - anchor.screen_row
            # Near the beginning or end of the log, the anchor may not be on its row: the log became
            # shorter, or its end is on the screen. Then what is on the screen has to stay.
            if row != self.top:
                self._anchor = self._anchor_at_top()
        yield
        self.lay_out()  # not after an exception: the document may be changed in part

    def lay_out(self) -> None:
        """Lay out the screen and a screenful around it, and compute `top`; 0 without a page."""
        document = self.document
        height = self.height
        anchor = self._anchor
        if not len(document) or document.layout is None:
            self.top = 0
            return
        if anchor is None:
            document.lay_out_from(len(document) - 1, -1, 2 * height)
            self.top = self.last_top
        else:
            position = relocate(document, anchor)
            screen_row = min(anchor.screen_row, height - 1)
            document.lay_out_around(position, height + screen_row, 2 * height)
            self.top = max(min(document.row_of(position) - screen_row, self.last_top), 0)
        if self.is_at_end:
            self.has_new_text = False

    def note_new_text(self) -> None:
        """`lay_out` takes this back if the end is on the screen."""
        self.has_new_text = True

    def resize(self, height: int) -> None:
        if height != self.height:
            self.height = height
            self.lay_out()

    def set_page(self, page: Page, height: int) -> None:
        self.height = height
        self.document.set_page(page)
        self.lay_out()

    @property
    def is_following(self) -> bool:
        return self._anchor is None

    @property
    def last_top(self) -> int:
        return max(self.document.total - self.height, 0)

    @property
    def is_at_end(self) -> bool:
        return self.top >= self.last_top

    def shows(self, y: int, rows: int) -> bool:
        """Whether any of `rows` rows of the log, from row `y` on, is on the screen."""
        return y < self.top + self.height and y + rows > self.top

    def _anchor_at_top(self) -> Anchor:
        return anchor_at(self.document, self.document.locate(self.top))

    # Messages

    def prepend(self, earlier: Sequence[ChatMessage]) -> None:
        """Put messages before all others; what is read keeps its row on the screen."""
        count = len(earlier)
        with self.anchored():
            if self.focused is not None:
                self.focused += count
            if self._anchor is not None:
                self._anchor = replace(self._anchor, index=self._anchor.index + count)
            self.document.prepend(earlier)

    # Scrolling

    def _move(self, anchor: Anchor | None) -> None:
        self._anchor = anchor
        self.lay_out()
        if self._is_held:
            self._follows_later = anchor is None
            self._anchor = anchor or self._anchor_at_top()

    def scroll_to_row(self, y: int) -> None:
        """Bring row `y` of the log to the top of the screen, or follow the end if `y` is there."""
        if y >= self.last_top:
            self._move(None)
        else:
            # its height may be an estimate: laid out, other rows may be at `y`
            self.document.lay_out(self.document.locate(y).message_index)
            self._move(anchor_at(self.document, self.document.locate(y)))
        self._keep_focus_in_view()

    def scroll_to_end(self) -> None:
        self._move(None)
        self._keep_focus_in_view()

    def stop_following(self) -> None:
        """Keep what is on the screen when text is added below it."""
        self._move(self._anchor_at_top())

    def hold(self) -> None:
        """Keep what is on the screen, also at the end of the log, until `let_go`."""
        if not self._is_held:
            self._is_held = True
            self._move(self._anchor)

    def let_go(self) -> None:
        """Follow the end if that was so before `hold`, or if it was scrolled to since."""
        self._is_held = False
        if self._follows_later:
            self._follows_later = False
            self._move(None)

    def scroll_to_position(self, position: LogPosition, screen_row: int = 0) -> None:
        """Bring a position to a row of the screen; if that shows the end of the log, follow it.

        A saved position may be beyond the last block or row: then that one is taken.
        """
        number = min(position.number, len(self.document.lay_out(position.message_index)) - 1)
        heights = self.document.entries[position.message_index].heights
        if number >= 0 and heights:  # without a page, no block has a height yet
            position = LogPosition(
                position.message_index, number, min(position.row, heights[number] - 1)
            )
        self._move(anchor_at(self.document, position, screen_row))
        if self.is_at_end:
            self._move(None)

    def scroll_to_message(self, index: int) -> None:
        """Scroll a message into view, by as little as possible.

        If it is higher than the screen, or starts above it, its beginning is at the top.
        """
        document = self.document
        with self.anchored():  # exact heights instead of estimates
            document.lay_out_from(index, 1, self.height)
            document.lay_out_from(index - 1, -1, self.height)
        top = document.heights.top(index)
        rows = document.heights[index]
        if top < self.top or rows >= self.height:
            self.scroll_to_position(LogPosition(index))
        elif top + rows > self.top + self.height:
            self.scroll_to_row(top + rows - self.height)

    # Focus

    def focus(self, index: int) -> None:
        """Focus a message.

        The end is no longer followed if others come after it: new text must not push it away.
        """
        self.focused = index
        is_last = self.document.focusable_from(index + 1, 1) is None
        if (self.is_following or self._follows_later) and not is_last:
            self.stop_following()
        elif self.is_at_end and is_last:
            self._move(None)

    def focus_last(self) -> None:
        if self.focused is None:
            self.focused = self.document.focusable_from(len(self.document) - 1, -1)

    def step_focus(self, step: int, *, had_focus: bool) -> bool:
        """Focus and show the next message (`step` 1) or the previous one (-1), if there is one.

        Without `had_focus`, the step comes from the prompt below the log: up focuses the last
        message in view.
        """
        if step > 0 and not had_focus:
            return False
        if self.focused is None or not had_focus:
            last = len(self.document) - 1
            if not self.is_following:
                last = self.document.locate(self.top + self.height - 1).message_index
            target = self.document.focusable_from(last, -1)
        elif step < 0 and self._starts_above(self.focused):
            target = self.focused  # its beginning is shown first
        else:
            target = self.document.focusable_from(self.focused + step, step)

        if target is None and step < 0:
            target = self.document.focusable_from(0, 1)
        if target is None:
            if self.is_at_end:
                self._move(None)  # down from the last message follows the end
            return False
        self.focus(target)
        # one in view that starts above the screen is not scrolled: it is being read
        if had_focus or not self._starts_above(target):
            self.scroll_to_message(target)
        return True

    def extend_focus(self, step: int) -> int | None:
        """Move the focus by one message, if there is one, and show it; return its index."""
        if self.focused is not None:
            target = self.document.focusable_from(self.focused + step, step)
            if target is not None:
                self.focus(target)
                self.scroll_to_message(target)
        return self.focused

    def row_of(self, message_id: str) -> int | None:
        """Return the row of the screen on which a message starts; None if it is off the screen."""
        index = self.document.index_of(message_id)
        if index is None:
            return None
        row = self.document.heights.top(index) - self.top
        return row if 0 <= row < self.height else None

    def _starts_above(self, index: int) -> bool:
        """Whether a message without its blank row starts above the screen and ends lower."""
        top = self.document.heights.top(index)
        end = top + self.document.heights[index]
        return top + self.document.gap_above(index) < self.top < end

    def _keep_focus_in_view(self) -> None:
        """Focus the nearest message on the screen if the focused one has left it.

        Commands must not act on what is not seen. Without a choice, nothing changes.
        """
        document = self.document
        if self.focused is None or not len(document) or not self.has_choice():
            return
        first = document.locate(self.top).message_index
        last, number, _ = document.locate(self.top + self.height - 1)
        if number < 0:  # only the blank row above the last message is on the screen
            last -= 1

        if self.focused < first:
            self.focused = document.focusable_from(first, 1)
        elif self.focused > last:
            self.focused = document.focusable_from(last, -1)

    # Folding

    def toggle(self, index: int, attribute: Literal["is_collapsed", "is_source"]) -> None:
        """Fold or unfold a message, or switch between its source and its Markdown.

        Its first row on the screen stays. If it streams and the end is followed, the end stays in
        view.
        """
        document = self.document
        # the anchor may be in another message, but the user looks at this one
        if not (document.entries[index].is_streaming and self.is_following):
            screen_row = document.heights.top(index) - self.top
            if screen_row < 0:
                self._move(self._anchor_at_top())
            else:
                self._move(anchor_at(document, LogPosition(index), screen_row))
        with self.anchored():
            document.toggle(index, attribute)
        if self.is_at_end:
            self._move(None)

    # The reading position over restarts

    @property
    def bookmark(self) -> str:
        """The top of the screen as the text of a `Bookmark`; "" at the end of the log."""
        if self.is_at_end or not len(self.document):
            return ""
        index, number, row = self.document.locate(self.top)
        return str(Bookmark(self.document.entries[index].message.message_id, number, row))

    def go_to_bookmark(self, bookmark: Bookmark) -> None:
        index = self.document.index_of(bookmark.message_id)
        if index is not None:
            self.scroll_to_position(LogPosition(index, bookmark.number, bookmark.row))
