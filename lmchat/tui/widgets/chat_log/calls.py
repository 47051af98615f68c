"""Tool calls of the running turn in the log, and the card of the one that asks the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from lmchat.domain.message import Role
from lmchat.domain.tool import Choice
from lmchat.tui.widgets.chat_log.layout.furniture import CARD_KEYS, CallState
from lmchat.tui.widgets.chat_log.viewport import Viewport

RESTS_S = 0.5  # for which a card must be visible before it takes keys: they were meant for something else


class CallRows:
    """How the last calls stand. A card takes keys that were pressed after it had been visible for a while."""

    def __init__(self, viewport: Viewport, changed: Callable[[int], None]) -> None:
        """Create it; `changed` shows another state of a message."""
        self.card_id = ""  # the tool message that asks
        self._viewport = viewport
        self._changed = changed
        self._ready_s: float | None = None  # from when on it takes keys; None where it is not visible

    @property
    def card(self) -> int | None:
        return self._viewport.document.entries.index_of(self.card_id) if self.card_id else None

    @property
    def is_focused(self) -> bool:
        return bool(self.card_id) and self._viewport.cursor == self.card

    def show(self, states: Mapping[str, CallState]) -> None:
        """Show what waits, what runs, and the card of the call that asks."""
        entries = self._viewport.document.entries
        for index in range(len(entries) - 1, -1, -1):
            message = entries.message(index)
            if message is not None and message.role is not Role.TOOL:
                break
            state = states.get(message.message_id) if message is not None else None
            if entries[index].call != state:
                entries[index].call = state
                self._changed(index)
        asks = next((key for key, state in states.items() if state.asked is not None), "")
        if asks != self.card_id:
            self.card_id, self._ready_s = asks, None

    def note(self, *, is_on_top: bool) -> None:
        """Note, while rows are painted, whether the card is on the screen."""
        if (index := self.card) is None:
            return
        heights = self._viewport.document.heights
        if not (is_on_top and self._viewport.shows(heights.top(index), heights[index])):
            self.hide()
        elif self._ready_s is None:
            self._ready_s = monotonic() + RESTS_S

    def hide(self) -> None:
        """Take no keys until the card has been visible again for a while."""
        self._ready_s = None

    def is_ready(self, at_s: float) -> bool:
        """Whether the card takes a key that was pressed at a time of the monotonic clock."""
        return self._ready_s is not None and at_s >= self._ready_s

    def choice(self, key: str, at_s: float) -> Choice | None:
        """Return what a key decides."""
        return CARD_KEYS[key][0] if key in CARD_KEYS and self.is_ready(at_s) else None
