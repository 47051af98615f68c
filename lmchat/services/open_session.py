"""A session that lies on the desk, and what waits in it."""

from __future__ import annotations

from itertools import takewhile

from msgspec import Struct, field

from lmchat.services.asking import still_answering
from lmchat.services.conversation import Conversation


class Queued(Struct, frozen=True, kw_only=True):
    """A message that waits: for the end of the running answer, for a server, or for a model."""

    text: str
    """What will be said."""
    is_held: bool = False
    """Whether it stays because the answer before it failed."""


class OpenSession(Struct):
    """A session that is open, with what waits in it."""

    conversation: Conversation
    """What was said."""
    queue: list[Queued] = field(default_factory=list)
    """What waits, first in first out."""
    is_asking: bool = False
    """Whether a turn was begun; true before the prompt is on the disk and its request on the way."""
    is_followed: bool = False
    """Whether that turn has taken its first step: only from there on can it be cancelled and end in order."""
    is_stopping: bool = False
    """Whether that turn was told to stop."""

    @property
    def is_busy(self) -> bool:
        """Whether a prompt has to wait."""
        return self.is_asking or self.conversation.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether what was said last waits for a server or a model, and for nothing else."""
        return not self.is_busy and bool(self.queue) and not self.queue[-1].is_held

    @property
    def first_waiting(self) -> int:
        """Place of the first message that is not held; the number of all where every one is."""
        return sum(1 for _ in takewhile(lambda one: one.is_held, self.queue))

    def require_rest(self) -> None:
        """Refuse to begin a second turn.

        Raises:
            RequestInvalid: an answer is on its way.
        """
        if self.is_busy:
            raise still_answering()

    def hold(self, text: str = "") -> None:
        """Send nothing of what waits by itself; a text that could not be sent waits first."""
        waiting = [text, *(one.text for one in self.queue)] if text else [one.text for one in self.queue]
        self.queue[:] = [Queued(text=one, is_held=True) for one in waiting]
