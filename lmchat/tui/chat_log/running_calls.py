"""Tool calls of the running turn in the log, and the card of the one that asks the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from lmchat import units
from lmchat.sessions.message import ChatMessage
from lmchat.tui.chat_log.entry import ASKS, Entry
from lmchat.tui.chat_log.viewport import Viewport
from lmchat.tui.key_pause import KeyPause


class RunningCalls:
    """States of running calls, and the pause before the card takes keys."""

    def __init__(
        self, viewport: Viewport, changed: Callable[[int], AbstractContextManager[Entry]]
    ) -> None:
        """`changed` is the context for a change of the message with an index."""
        self.card_id = ""  # of the tool message that asks
        self.was_following = False
        """Whether the log follows the end again when the card is left: see `note_following`."""
        self.key_pause = KeyPause()  # until it is over, keys are meant for the prompt
        self._viewport = viewport
        self._changed = changed
        self._started_s = 0.0  # monotonic time from which `running …` is counted

    @property
    def has_focus(self) -> bool:
        """Whether the card is the focused message; the log itself may lack the focus."""
        # `card_id` is "" before the log shows the end of a stopped call
        focused = self._viewport.focused
        return focused is not None and self._viewport.document.entries[focused].call_state == ASKS

    def note_following(self) -> None:
        """Note whether the log follows the end, so that `TurnView` can follow it again.

        When a card appears and when the user scrolls; not when the card gets the focus, which may
        scroll the log away.
        """
        self.was_following = self._viewport.is_following

    def set_states(
        self,
        calls: Sequence[ChatMessage],
        asked_id: str,
        told: Mapping[str, str],
        now_s: float,
        *,
        is_on_top: bool,
    ) -> None:
        """Set the states of the calls that have no result, at the monotonic time `now_s`.

        The call with the message `asked_id` asks the user, and the others wait; if it is "", all
        run. `told` has what they said last, by message id. The card takes keys only after a pause,
        as the user may be typing. The pause starts when the card is seen: on the screen, under no
        dialog (`is_on_top`).
        """
        if not calls or asked_id:
            self._started_s = now_s
        other_state = "waiting" if asked_id else f"running {units.elapsed(now_s - self._started_s)}"
        document = self._viewport.document
        for call in calls:
            index = document.index_of(call.message_id)
            state = ASKS if call.message_id == asked_id else other_state
            if said := told.get(call.message_id):
                state += f": {said}"
            if index is not None and document.entries[index].call_state != state:
                with self._changed(index) as entry:
                    entry.call_state = state

        if asked_id != self.card_id:
            self.card_id = asked_id
            self.key_pause.cancel()  # a new card has its own pause
            if asked_id:  # before the card gets the focus
                self.note_following()
        card = document.index_of(asked_id) if asked_id else None
        is_seen = card is not None and self._viewport.shows(
            document.heights.top(card), document.heights[card]
        )
        if is_seen and is_on_top:
            self.key_pause.start()
        else:
            self.key_pause.cancel()
