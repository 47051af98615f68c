"""What a `TurnListener` is shown and asked of the turns of all sessions, and who does it."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from lmchat.chat.session import OpenSession, PromptsReturned, QueueChanged, TurnEnded
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.servers.events import StreamEvent
from lmchat.sessions.message import ChatMessage
from lmchat.tools.calls import ApprovalScope, Decision


class TurnBegun(Struct, frozen=True):
    """A turn begins; it may first read older messages, and may still be refused."""


class PathChanged(Struct, frozen=True):
    """Messages have left the path: show `OpenSession.shown_messages` in place of what is shown.

    Another event may follow at once, whose message is among the `shown_messages` already.
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


class TitleChanged(Struct, frozen=True):
    """The title of the session is another one."""


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


class TurnListener(Protocol):
    """The screen, the plain chat, or `ask`."""

    def on_event(self, opened: OpenSession, event: ChatEvent) -> None:
        """Take an event of a session, which need not be the shown one, and let the user see it."""

    async def approve(self, opened: OpenSession, question: ToolQuestion) -> Decision:
        """Ask the user about a call of a tool; a stop of the turn cancels the question."""


class Reporter:
    """Gives events to the front end, and asks it about tool calls."""

    def __init__(self) -> None:
        self.listener: TurnListener | None = None  # the front end sets this itself

    def report(self, opened: OpenSession, event: ChatEvent) -> None:
        """Give an event to the front end, if there is one.

        If it raises an error, as at a broken pipe, the turn is stopped. `ChatService.wait` then
        raises the error.
        """
        if self.listener is not None:
            try:
                self.listener.on_event(opened, event)
            except Exception as error:  # noqa: BLE001 - of any class, as it is raised again
                opened.fail(error)

    async def ask(self, opened: OpenSession, question: ToolQuestion) -> Decision:
        """Let the front end ask the user about a tool call; without a front end, refuse it."""
        if self.listener is None:
            return Decision(choice=ApprovalScope.NO)
        return await self.listener.approve(opened, question)
