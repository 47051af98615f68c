"""Tool calls of the running turn in the log, and the card of the one that asks the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from math import inf
from time import monotonic

from lmchat import units
from lmchat.sessions.message import ChatMessage
from lmchat.tui.chat_log.entry import ASKS, Entry
from lmchat.tui.chat_log.viewport import Viewport

# time without a key before a card that is visible takes one: keys before were meant for the prompt
REST_S = 0.5


class RunningCalls:
    """States of the calls of the running turn, and the time from which a card takes keys."""

    def __init__(
        self, viewport: Viewport, changed: Callable[[int], AbstractContextManager[Entry]]
    ) -> None:
        """Create it; `changed` is the context for a change of the message with an index."""
        self.card_id = ""  # the tool message that asks
        self.ready_s = inf  # time from which the card takes keys, by the monotonic clock
        self._viewport = viewport
        self._changed = changed
        self._began_s = 0.0  # monotonic time from which `running …` is counted

    @property
    def has_focus(self) -> bool:
        """Whether the card is the focused message."""
        cursor = self._viewport.cursor
        return cursor is not None and self._viewport.document.entries[cursor].call_state == ASKS

    def show(
        self,
        calls: Sequence[ChatMessage],
        asked_id: str,
        now_s: float,
        *,
        is_on_top: bool,
    ) -> None:
        """Set the states of the calls that have no result, at the monotonic time `now_s`.

        `asked_id` is the message of the call about which the user decides now: it gets the state
        `ASKS`, and the others wait. If it is empty, the user has decided about all calls, and they
        run. `ready_s` becomes the time from which its card takes keys: `REST_S` after it is seen.
        While it is off the screen, or a dialog covers the log (not `is_on_top`), it takes no keys.
        """
        if not calls or asked_id:  # no call runs: the time of the next one begins here
            self._began_s = now_s
        waiting = "waiting" if asked_id else f"running {units.elapsed(now_s - self._began_s)}"
        document = self._viewport.document
        is_visible = False  # whether any row of the card is on the screen
        for call in calls:
            index = document.index_of(call.message_id)
            if index is None:
                continue
            is_card = call.message_id == asked_id
            state = ASKS if is_card else waiting
            if document.entries[index].call_state != state:
                with self._changed(index) as entry:
                    entry.call_state = state
            if is_card:
                top = document.heights.top(index)
                is_visible = self._viewport.shows(top, document.heights[index])

        is_seen = is_visible and is_on_top
        if asked_id != self.card_id or not is_seen:
            self.card_id = asked_id
            self.ready_s = inf
        if is_seen:
            # a time that is set already is earlier, and stays; it is compared with the times of
            # key events, which `now_s` need not have the clock of
            self.ready_s = min(self.ready_s, monotonic() + REST_S)

    def ignore_keys(self, time_s: float) -> None:
        """Take no keys for `REST_S` after a key, or after the log got the focus, at `time_s`."""
        self.ready_s = max(self.ready_s, time_s + REST_S)
