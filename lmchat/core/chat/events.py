"""Events of all turns, and the front end that gets them."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from lmchat.core.answers.repetition import Repetition
from lmchat.core.chat.prompt_queue import PromptsReturned, QueueChanged
from lmchat.core.chat.session import OpenSession, TurnEnded
from lmchat.core.chat.toolbox import ToolQuestion
from lmchat.core.servers.events import StreamEvent
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.tools.calls import Decision


class TurnStarted(Struct, frozen=True):
    """A turn starts; it may still be refused."""


class PathChanged(Struct, frozen=True):
    """Messages have left the path: show `OpenSession.messages_so_far`.

    They may already have the message of the next event.
    """


class MessageAdded(Struct, frozen=True):
    """A new prompt or tool call, perhaps not on the disk yet."""

    message: ChatMessage
    session_id: str


class AnswerStarted(Struct, frozen=True, kw_only=True):
    """An answer starts, with the text that it continues."""

    message: ChatMessage
    prefill_text: str = ""  # of the user (`/start`), at the beginning


class MessageEnded(Struct, frozen=True):
    """End of a tool call, or of an answer whose calls run next; `TurnEnded` has the last."""

    message: ChatMessage


class Compacted(Struct, frozen=True):
    """A summary takes the place of older messages, on another branch."""


class TitleChanged(Struct, frozen=True):
    pass


ChatEvent = (
    TurnStarted
    | PathChanged
    | MessageAdded
    | AnswerStarted
    | MessageEnded
    | TurnEnded
    | QueueChanged
    | PromptsReturned
    | Compacted
    | TitleChanged
    | Repetition
    | StreamEvent
)


class TurnListener(Protocol):
    """Front end: the screen, the plain chat, or a caller of `lmchat.api`, as `ask` is."""

    def on_event(self, session: OpenSession, event: ChatEvent) -> None:
        """The session need not be the active one."""

    async def approve(self, session: OpenSession, question: ToolQuestion) -> Decision:
        """Ask the user; a stop of the turn cancels the question."""


class Reporter:
    """Link to the front end."""

    def __init__(self) -> None:
        self.listener: TurnListener  # the front end sets it

    def report(self, session: OpenSession, event: ChatEvent) -> None:
        """An error of the front end stops the turn, and `ChatService.wait` raises it."""
        try:
            self.listener.on_event(session, event)
        except Exception as error:  # noqa: BLE001 - of any class, as it is raised again
            session.fail(error)
