"""What came below the screen since the end was left, counted in lines."""

from __future__ import annotations

from typing import Any

from lmchat.domain.message import Role
from lmchat.tui.messages import Post
from lmchat.tui.widgets.chat_log.anchor import Hold, find, take
from lmchat.tui.widgets.chat_log.blocks import Kind
from lmchat.tui.widgets.chat_log.view.marked import MarkedView

COUNTED_LINES = 600
"""So many new lines are laid out after the width has changed; what follows is estimated."""
_STATE_ROWS = 2
"""What stands under each answer, with the blank row above: it moves down, it is not new."""


class UnseenLines(MarkedView, can_focus=True):
    """A view that knows how much of its end nobody has seen."""

    class NewLines(Post, namespace="chat_log"):
        """Lines came below what is on the screen, or all have been seen; or the end was left or reached."""

        count: int
        """How many have not been on the screen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._seen: Hold | None = None
        self._told = (0, True)

    def restyle(self) -> None:
        """Forget all lines; what is new is counted anew."""
        has_new = self._told[0] > 0
        if not has_new:
            self._seen = None  # up to the end, whatever the last line becomes
        super().restyle()
        if self._seen is not None and not self.is_following and self._page is not None:
            self._lay_out_unseen()
            if not has_new:
                self._see_up_to(self._text_end)
            self.settle()

    def kept_places(self) -> list[Hold | None]:
        """Return what is to be found again, also how far one has seen."""
        return [*super().kept_places(), self._seen]

    def leave_end(self) -> None:
        """Follow the end no more: what comes behind it is new."""
        super().leave_end()
        self._see_up_to(self._text_end)

    def count_new_lines(self) -> None:
        """Tell how many lines came since the end was on the screen, where that changed."""
        count = 0
        if self.is_following or not len(self.document):
            self._seen = None
        else:
            count = self._count()
        told = count, self.is_at_end
        if told != self._told:
            self._told = told
            self.post_message(self.NewLines(count))

    def _count(self) -> int:
        if self._seen is None:
            self._see_up_to(self._text_end)
        if self._seen is None:
            return 0
        end = self.document.position(find(self.document, self._seen)) + 1
        on_screen = min(self.scroll_offset.y + self.size.height, self._text_end)
        if on_screen > end:
            self._see_up_to(on_screen)
            end = on_screen
        return max(self._text_end - end, 0)

    def _see_up_to(self, end: int) -> None:
        """Note that all rows before one have been seen."""
        if len(self.document):
            place = self.document.locate(end - 1) if end > 0 else (0, -1, -1)
            self._seen = take(self.document, place)

    def _lay_out_unseen(self) -> None:
        """Lay out what is new, so that its lines can be counted."""
        if self._seen is not None:
            index, number, _ = find(self.document, self._seen)
            self.document.sweep(index, max(number, 0), 1, COUNTED_LINES)

    @property
    def _text_end(self) -> int:
        """The row behind the last text: what tells the state of the last answer does not count."""
        last = self.document.entries[-1]
        if last.message is None or last.message.role is not Role.ASSISTANT or not len(last.heights):
            return self.document.total
        rows = last.heights[len(last.heights) - 1]
        is_state = last.blocks[-1].kind is Kind.MADE and rows <= _STATE_ROWS
        return self.document.total - (rows if is_state else 0)
