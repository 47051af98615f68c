"""What the front end is shown, and asked, of the turns of all sessions."""

from __future__ import annotations

from lmchat.chat.events import ChatEvent, FrontEnd
from lmchat.chat.open_session import OpenSession
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.tools.calls import ApprovalScope, Decision


class Reporter:
    """Gives events to the front end, and asks it about tool calls."""

    def __init__(self) -> None:
        self.front_end: FrontEnd | None = None  # the front end sets this itself

    def report(self, opened: OpenSession, event: ChatEvent) -> None:
        """Give an event to the front end, if there is one.

        If the front end raises an error, as at a broken pipe, the turn is stopped.
        `ChatService.wait` then raises the error.
        """
        if self.front_end is not None:
            try:
                self.front_end.receive(opened, event)
            except Exception as error:  # noqa: BLE001 - of any class, as it is raised again
                opened.turn.error = error
                opened.stop_turn()

    async def ask(self, opened: OpenSession, question: ToolQuestion) -> Decision:
        """Let the front end ask the user about a tool call; without a front end, refuse it."""
        if self.front_end is None:
            return Decision(choice=ApprovalScope.NO)
        opened.question = question
        try:
            return await self.front_end.ask_about_call(opened, question)
        finally:
            opened.take_question(question)
