"""Events of turns for front ends, besides those of the stream, and the protocol of a front end."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from lmchat.chat.open_session import OpenSession
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.errors import LMChatError
from lmchat.servers.events import StreamEvent
from lmchat.sessions.message import AnswerState, ChatMessage
from lmchat.tools.calls import Decision


class TurnBegun(Struct, frozen=True):
    """A turn begins; it may first read older messages, and may still be refused."""


class PathChanged(Struct, frozen=True):
    """Messages have left the path: show `OpenSession.shown_messages` in place of what is shown.

    Another event follows at once. Its message is among the `shown_messages` already.
    """


class MessageAdded(Struct, frozen=True):
    """A prompt or a tool call was added to the path; it may not be on the disk yet."""

    message: ChatMessage


class AnswerBegun(Struct, frozen=True, kw_only=True):
    """An answer begins, with the text that it continues, if any."""

    message: ChatMessage
    first_words: str = ""  # words of the user (`/start`) with which the message begins, if any


class MessageEnded(Struct, frozen=True):
    """A tool call has its result, or an answer has ended whose calls run next.

    The last answer of a turn has no such event: `TurnEnded` has it.
    """

    message: ChatMessage


class TurnEnded(Struct, frozen=True, kw_only=True):
    """A turn has ended, or was refused before anything was sent."""

    state: AnswerState  # of the turn: that of its last answer, unless an error or a stop ended it
    answer: ChatMessage | None = None  # its last; None if the path has no answer of this turn
    error: LMChatError | None = None
    """Why it was refused, or why a summary failed; `Turn` lists the other errors of a turn."""
    is_summary: bool = False
    seconds: float = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether it was refused, failed or broke off."""
        return self.state in (AnswerState.FAILED, AnswerState.INTERRUPTED)


class QueueChanged(Struct, frozen=True):
    """Prompts were queued, or taken out of the queue."""


class PromptsReturned(Struct, frozen=True, kw_only=True):
    """Prompts that were not sent; they return to the draft of their session, at its beginning."""

    prompts: tuple[str, ...]


class TitleChanged(Struct, frozen=True):
    """The model has named the session."""


ChatEvent = (
    TurnBegun
    | PathChanged
    | MessageAdded
    | AnswerBegun
    | MessageEnded
    | TurnEnded
    | QueueChanged
    | PromptsReturned
    | TitleChanged
    | StreamEvent
)


class FrontEnd(Protocol):
    """The screen, the plain chat, or `ask`."""

    def receive(self, opened: OpenSession, event: ChatEvent) -> None:
        """Take an event of a session, which need not be the shown one, and let the user see it."""

    async def ask_about_call(self, opened: OpenSession, question: ToolQuestion) -> Decision:
        """Ask the user about a call of a tool; a stop of the turn cancels the question."""
