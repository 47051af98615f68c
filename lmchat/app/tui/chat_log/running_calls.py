"""Tool calls of the running turn in the log, and the card of the one that asks the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from msgspec import Struct

from lmchat.app.tui.chat_log.entry import CARD_STATES, Entry
from lmchat.app.tui.chat_log.viewport import Viewport
from lmchat.base import units
from lmchat.core.sessions.message import ChatMessage


class RunningCalls(Struct, eq=False):
    """States of running calls, and which answer is chosen on the card."""

    _viewport: Viewport
    # the context for a change of the message with an index
    _changed: Callable[[int], AbstractContextManager[Entry]]
    card_id: str = ""  # of the tool message that asks
    choice: int = 0  # number of the chosen answer in `CARD_STATES`
    was_following: bool = False
    """Whether the log follows the end again when the card is left: see `note_following`."""
    _started_s: float = 0.0  # monotonic time from which `running …` is counted

    def note_following(self) -> None:
        """Note whether the log follows the end, so that `TurnView` can follow it again.

        When a card appears and when the user scrolls; not when the card is brought into view, which
        may scroll the log away.
        """
        self.was_following = self._viewport.is_following

    def set_states(
        self, calls: Sequence[ChatMessage], asked_id: str, told: Mapping[str, str], now_s: float
    ) -> None:
        """Set the states of the calls that have no result, at the monotonic time `now_s`.

        The call with the message `asked_id` asks the user, and the others wait; if it is "", all
        run. `told` has what they said last, by message id.
        """
        if asked_id != self.card_id:
            self.card_id = asked_id
            self.choice = 0
            if asked_id:
                self.note_following()
        if not calls or asked_id:
            self._started_s = now_s
        other_state = "waiting" if asked_id else f"running {units.elapsed(now_s - self._started_s)}"
        document = self._viewport.document
        for call in calls:
            index = document.index_of(call.message_id)
            state = CARD_STATES[self.choice] if call.message_id == asked_id else other_state
            if said := told.get(call.message_id):
                state += f": {said}"
            if index is not None and document.entries[index].call_state != state:
                with self._changed(index) as entry:
                    entry.call_state = state
