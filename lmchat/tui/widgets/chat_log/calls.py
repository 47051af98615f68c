"""Tool calls of the running turn in the log, and the card of the one that asks the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from time import monotonic

from lmchat.domain.message import ChatMessage
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.tui import formatting
from lmchat.tui.widgets.chat_log.entry import ASKS
from lmchat.tui.widgets.chat_log.viewport import Viewport

RESTS_S = (
    0.5  # for which a card must be visible before it takes keys: they were meant for something else
)


class RunningCalls:
    """How the calls of the running turn stand. A card takes keys once it has been visible for a while."""

    def __init__(self, viewport: Viewport, changed: Callable[[int], None]) -> None:
        """Create it; `changed` shows another state of a message."""
        self.card_id = ""  # the tool message that asks
        self.ready_s = inf  # from when on the card takes keys, by the monotonic clock
        self._viewport = viewport
        self._changed = changed
        self._began_s = 0.0  # when the calls began to run

    @property
    def has_focus(self) -> bool:
        """Whether the card is the focused message."""
        cursor, entries = self._viewport.cursor, self._viewport.document.entries
        return cursor is not None and entries[cursor].call == ASKS

    def show(
        self,
        calls: Sequence[ChatMessage],
        asked: ApprovalAsked | None,
        now_s: float,
        *,
        is_on_top: bool,
    ) -> None:
        """Show calls without a result; they run once the user has decided about all of them."""
        document, is_seen = self._viewport.document, False
        self._began_s = self._began_s if calls and asked is None else now_s
        card_id = asked.message.message_id if asked else ""
        for call in calls:
            index = document.entries.index_of(call.message_id)
            if index is None:
                continue
            state = f"running {formatting.elapsed(now_s - self._began_s)}"
            if asked is not None and call.message_id == card_id:
                state = ASKS
                top, rows = document.heights.top(index), document.heights[index]
                is_seen = is_on_top and self._viewport.shows(top, rows)
            elif asked is not None:
                state = "waiting"
            if document.entries[index].call != state:
                document.entries[index].call = state
                self._changed(index)
        ready_s = self.ready_s if card_id == self.card_id else inf
        self.card_id, self.ready_s = (
            card_id,
            min(ready_s, monotonic() + RESTS_S) if is_seen else inf,
        )
