"""Approval of tool calls on the chat screen: the card that asks, and the decision."""

from __future__ import annotations

import asyncio
from functools import partial

from lmchat.chat.open_session import OpenSession
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.safe_text import safe_line
from lmchat.tools.tool import Choice, Decision
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.shown_session import ShownSession
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.dialogs.ask_dialog import AskDialog

_MAX_NAME = 80  # characters of a tool's name in a notice
_MAX_TITLE = 60  # characters of a session's title in a notice


class ToolApprovals:
    """Asks the user about tool calls, and gives the decision to the turn that waits for it."""

    def __init__(self, chat: Chat, status: StatusDisplay, sessions: ShownSession) -> None:
        self._chat = chat
        self._status = status
        self._sessions = sessions
        self._decisions: dict[str, asyncio.Future[Decision]] = {}
        """Where turns wait for decisions, by the ids of the messages of their calls."""

    async def ask(self, opened: OpenSession, question: ToolQuestion) -> Decision:
        """Show the user that a call waits for a decision, and return that.

        In the shown session, the card of the call gets the focus if the user is not typing. For
        another session, a notification names it, and the list marks it.
        """
        decision: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._decisions[question.message.message_id] = decision
        self._status.show_action("waiting for you")  # this also shows the card
        if question.note:  # why it is asked again about a tool that was always allowed
            self._chat.notify(question.note)
        if opened is self._sessions.opened:
            self._chat.focus_approval_card()
        else:
            name = safe_line(question.name, limit=_MAX_NAME)
            title = safe_line(opened.header.title, limit=_MAX_TITLE)
            self._chat.notify(f"{name} waits for you in the session “{title}”.")
            self._sessions.show_list()
        self._chat.notify_if_unfocused("A tool waits for you.")
        try:
            return await decision
        finally:
            del self._decisions[question.message.message_id]

    def decide(self, choice: Choice) -> None:
        """Use what the user chose on the card of the shown session, in a worker.

        Do nothing if no call waits any more, as after a stop of the turn.
        """
        opened = self._sessions.opened
        if opened.question is not None:
            work = partial(self._decide, opened, opened.question, choice)
            self._chat.begin(work, "decision")

    async def _decide(self, opened: OpenSession, question: ToolQuestion, choice: Choice) -> None:
        """Give a decision to the turn that waits for it.

        After a no, ask for a reason first. Do nothing if the user leaves that dialog, or if the
        turn was stopped by then.
        """
        reason: str | None = ""
        if choice is Choice.NO:
            reason = await self._ask_reason(question)
        decision = self._decisions.get(question.message.message_id)
        if reason is None or decision is None or decision.done():
            return
        opened.question = None
        if choice is Choice.ALWAYS:
            self._allow_always(question)
        decision.set_result(Decision(choice=choice, reason=" ".join(reason.split())))
        self._status.show_action(question.name)
        self._chat.leave_approval_card()

    async def _ask_reason(self, question: ToolQuestion) -> str | None:
        """Ask why a call is refused, and return the reason, which may be empty.

        Return None if the user leaves the dialog: the card then still waits for a decision.
        """
        title = f"Refuse {safe_line(question.name, limit=_MAX_NAME)}?"
        text = "The model gets your reason. Leave it empty to give none."
        reason: str | None = await self._chat.ask(
            AskDialog(title, text=text, verb="refuse", may_be_empty=True)
        )
        return reason

    def _allow_always(self, question: ToolQuestion) -> None:
        """Save that a tool is always allowed, by its name and its fingerprint.

        If config.toml says that lmchat asks about this tool, there is no fingerprint. Then nothing
        is saved, and a notice says that the tool is allowed for this session only.
        """
        if question.fingerprint:
            allowed = question.name, question.fingerprint
            self._chat.remember(lambda state: state.with_allowed(*allowed))
        else:
            name = safe_line(question.name, limit=_MAX_NAME)
            self._chat.notify(f"config.toml asks about {name}; it is allowed for this session.")
