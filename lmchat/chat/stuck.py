"""A model that repeats itself: what the user is told of it, and what ends it."""

from __future__ import annotations

from lmchat.answers.repetition import RepetitionWatch
from lmchat.chat.events import AnswerBegun, ChatEvent
from lmchat.chat.session import OpenSession, TurnEnded
from lmchat.config.settings import Stuck


class StuckNotices:
    """Sentences for the front end; with "act", lmchat itself ends the thought or the answer."""

    def __init__(self, stuck: Stuck, *, stop_key: str, now_key: str = "") -> None:
        """Without `now_key`, the user cannot end a thought alone."""
        self.has_acted = False  # in any turn
        self._stuck = stuck
        self._stop_key = stop_key
        self._now_key = now_key
        self._watches: dict[str, RepetitionWatch] = {}  # of running answers, by session

    def words(self, session: OpenSession, event: ChatEvent, *, is_shown: bool = True) -> str:
        """Return what the user is told after an event, "" after nearly all.

        The keys act on the session that is shown.
        """
        session_id = session.session_id
        if isinstance(event, AnswerBegun):
            self._watches[session_id] = RepetitionWatch(self._stuck)
        elif isinstance(event, TurnEnded):
            self._watches.pop(session_id, None)
        turn, watch = session.turn, self._watches.get(session_id)
        if turn is None or watch is None or (repetition := watch.add(event)) is None:
            return ""
        ends_thought = repetition.is_thought and turn.can_answer_now
        if self._stuck == "act":
            self.has_acted = True
            if ends_thought:
                turn.answer_now()
            else:
                turn.stop()
            way_out = f"lmchat {'ends' if ends_thought else 'stops'} it."
        elif not is_shown:
            way_out = "Open its session to stop it."
        elif ends_thought and self._now_key:
            way_out = f"{self._now_key} answers now."
        else:
            way_out = f"{self._stop_key} stops it."
        return f"{repetition.words} {way_out}"
