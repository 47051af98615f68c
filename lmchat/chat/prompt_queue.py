"""The queued prompts of all sessions."""

from __future__ import annotations

from collections.abc import Callable

from lmchat.chat.drafts import Drafts
from lmchat.chat.events import PromptsReturned, QueueChanged
from lmchat.chat.open_session import Hold, OpenSession
from lmchat.chat.reporter import Reporter
from lmchat.chat.sessions_in_memory import SessionsInMemory


class PromptQueue:
    """The prompts that wait for the end of a turn, for a server, a model or their files.

    Those of one session are its `OpenSession.queue`, oldest first, which only this class changes.
    Each is a draft, in which attached files are lines. `ChatService` queues and sends them. The
    draft on the disk, which begins with the queued prompts, is written after each change.

    A prompt whose files are being read is held, and so are those behind it: `OpenSession.held` has
    a `Hold` for each.
    """

    def __init__(self, in_memory: SessionsInMemory, drafts: Drafts, reporter: Reporter) -> None:
        self._in_memory = in_memory
        self._drafts = drafts
        self._reporter = reporter

    def add(self, opened: OpenSession, prompt: str) -> None:
        """Queue a prompt behind the others of its session."""
        if opened.held:  # it waits, too, until those before it are sent
            opened.held += (Hold(is_over=True),)
        self._change(opened, (*opened.queue, prompt))

    def hold(self, opened: OpenSession, prompt: str) -> Hold:
        """Queue a prompt that must not be sent before `end_hold`."""
        hold = Hold()
        opened.held += (hold,)
        self._change(opened, (*opened.queue, prompt))
        return hold

    def is_held(self, hold: Hold) -> bool:
        """Return whether a prompt is still in a queue with this hold."""
        return self._session_of(hold) is not None

    def change_held(self, hold: Hold, change: Callable[[str], str]) -> None:
        """Change the text of a held prompt."""
        opened = self._session_of(hold)
        if opened is not None:
            index = len(opened.queue) - len(opened.held) + opened.held.index(hold)
            prompt = change(opened.queue[index])
            queue = opened.queue
            self._change(opened, (*queue[:index], prompt, *queue[index + 1 :]))

    def end_hold(self, hold: Hold) -> OpenSession | None:
        """Let a prompt be sent once it is the first one; return its session, if it is queued."""
        opened = self._session_of(hold)
        hold.is_over = True
        while opened is not None and opened.held and opened.held[0].is_over:
            opened.held = opened.held[1:]
        return opened

    def return_held(self, opened: OpenSession) -> bool:
        """Return the held prompts of a session to the front end; return whether there were any."""
        count = len(opened.held)
        if not count:
            return False
        returned, opened.held = opened.queue[-count:], ()
        self._change(opened, opened.queue[:-count])
        self._reporter.report(opened, PromptsReturned(prompts=returned))
        return True

    def _session_of(self, hold: Hold) -> OpenSession | None:
        return next((opened for opened in self._in_memory.all if hold in opened.held), None)

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
        opened.held = opened.held[:-1]
        *others, prompt = opened.queue
        self._change(opened, tuple(others))
        return prompt

    def drop_last(self, opened: OpenSession) -> None:
        """Remove the newest prompt; the files that are being read for it are dropped, too."""
        for hold in opened.held[-1:]:
            hold.is_dropped = True
        self.take_last(opened)

    def _change(self, opened: OpenSession, queue: tuple[str, ...]) -> None:
        opened.queue = queue
        self._drafts.write_soon()
        self._reporter.report(opened, QueueChanged())

    def move(self, opened: OpenSession, other: OpenSession) -> None:
        """Move the queued prompts of a session to the end of the queue of another one.

        Nothing is reported to the front end: the caller shows both queues.
        """
        other.queue += opened.queue
        other.held += opened.held
        opened.queue = opened.held = ()
        self._drafts.write_soon()

    def return_all(self, opened: OpenSession, *unsent: str) -> None:
        """Return unsent prompts, and behind them all queued ones, to the draft of the front end."""
        returned, opened.queue = (*unsent, *opened.queue), ()
        opened.held = ()
        self._drafts.write_soon()
        if returned:
            self._reporter.report(opened, PromptsReturned(prompts=returned))

    def return_waiting(self) -> None:
        """Return all waiting prompts to the prompt field, as no model can answer."""
        for opened in self._in_memory.waiting:
            self.return_all(opened)
