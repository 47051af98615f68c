"""The queued prompts of all sessions."""

from __future__ import annotations

from lmchat.chat.drafts import Drafts
from lmchat.chat.events import PromptsReturned, QueueChanged
from lmchat.chat.open_session import OpenSession
from lmchat.chat.reporter import Reporter
from lmchat.chat.sessions_in_memory import SessionsInMemory


class PromptQueue:
    """The prompts that wait for the end of a turn, for a server or for a model.

    Those of one session are its `OpenSession.queue`, oldest first, which only this class changes.
    Each is a draft, in which attached files are lines. `ChatService` queues and sends them. The
    draft on the disk, which begins with the queued prompts, is written after each change.
    """

    def __init__(self, in_memory: SessionsInMemory, drafts: Drafts, reporter: Reporter) -> None:
        self._in_memory = in_memory
        self._drafts = drafts
        self._reporter = reporter

    def add(self, opened: OpenSession, prompt: str) -> None:
        """Queue a prompt behind the others of its session."""
        self._change(opened, (*opened.queue, prompt))

    def put_first(self, opened: OpenSession, prompt: str) -> None:
        """Queue a prompt in front of the others of its session."""
        self._change(opened, (prompt, *opened.queue))

    def take_first(self, opened: OpenSession) -> str:
        """Take the oldest prompt out of the queue of a session, and return it."""
        prompt, *others = opened.queue
        self._change(opened, tuple(others))
        return prompt

    def take_last(self, opened: OpenSession) -> str:
        """Take the newest prompt out of the queue of a session, and return it."""
        *others, prompt = opened.queue
        self._change(opened, tuple(others))
        return prompt

    def _change(self, opened: OpenSession, queue: tuple[str, ...]) -> None:
        opened.queue = queue
        self._drafts.write_soon()
        self._reporter.report(opened, QueueChanged())

    def move(self, opened: OpenSession, other: OpenSession) -> None:
        """Move the queued prompts of a session to the end of the queue of another one.

        Nothing is reported to the front end: the caller shows both queues.
        """
        other.queue += opened.queue
        opened.queue = ()
        self._drafts.write_soon()

    def return_all(self, opened: OpenSession, *unsent: str) -> None:
        """Return unsent prompts, and behind them all queued ones, to the draft of the front end."""
        returned, opened.queue = (*unsent, *opened.queue), ()
        self._drafts.write_soon()
        if returned:
            self._reporter.report(opened, PromptsReturned(prompts=returned))

    def return_waiting(self) -> None:
        """Return all waiting prompts to the prompt field, as no model can answer."""
        for opened in self._in_memory.waiting:
            self.return_all(opened)
